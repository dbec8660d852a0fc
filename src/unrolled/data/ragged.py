"""Sequences of different lengths in one array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unrolled.data.vocabulary import IntArray

__all__ = ["Ragged"]


@dataclass(frozen=True, eq=False)
class Ragged:
    """n sequences, one after the other.

    Attributes:
        values: (N, ...) the time steps of all.
        starts: (n + 1,) where each begins, and N.

    >>> words = Ragged.of([np.array([1, 2]), np.array([], int), np.array([3])])
    >>> len(words), words.lengths.tolist(), words[2].tolist()
    (3, [2, 0, 1], [3])
    >>> words.padded(np.array([2, 0]))[0].tolist()
    [[3, 0], [1, 2]]
    """

    values: npt.NDArray[np.generic]
    starts: IntArray

    @classmethod
    def of(cls, sequences: Iterable[npt.NDArray[np.generic]], like: npt.NDArray[np.generic] | None = None) -> Ragged:
        """Of some arrays (T, ...) whose axes but the first are alike.

        Args:
            sequences: the arrays.
            like: an empty array of their kind, for the case that there is none.
        """
        arrays = list(sequences)
        starts = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        empty = np.empty(0, np.int64) if like is None else like
        return cls(np.concatenate(arrays) if arrays else empty, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> npt.NDArray[np.generic]:
        index = range(len(self))[index]
        return self.values[self.starts[index] : self.starts[index + 1]]

    @property
    def lengths(self) -> IntArray:
        """(n,) time steps of each."""
        lengths: IntArray = np.diff(self.starts)
        return lengths

    def select(self, rows: Sequence[int] | IntArray) -> Ragged:
        """Some of them, in a new order, each as often as it is named."""
        return Ragged.of((self[int(row)] for row in rows), self.values[:0])

    def padded(self, rows: Sequence[int] | IntArray) -> tuple[npt.NDArray[np.generic], IntArray]:
        """Some of them side by side: (B, T, ...), with zeros after the end of each, and their lengths (B,)."""
        rows = np.asarray(rows, np.int64)
        lengths = self.lengths[rows]
        longest = int(lengths.max(initial=0))
        shape = (len(rows), longest, *self.values.shape[1:])
        times = np.arange(longest)
        inside = times < lengths[:, None]
        side: npt.NDArray[np.generic] = np.zeros(shape, self.values.dtype)
        side[inside] = self.values[(self.starts[rows][:, None] + times)[inside]]
        return side, lengths
