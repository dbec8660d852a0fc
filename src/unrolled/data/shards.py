"""Shards: the tokens of a store in files of bounded size, which are read as one array.

    tokens-00000.bin, tokens-00001.bin, ...    every one full but the last, and that one with a token in it at least

A file system or a copy that takes no large files takes these, and one that is cut short or empty is known by its name.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, overload

import numpy as np
import numpy.typing as npt

from unrolled.data.vocabulary import IntArray
from unrolled.errors import DataError

__all__ = ["SHARD", "ShardWriter", "Shards", "map_shards", "read_shards", "shard_name"]

SHARD = 1 << 28
"""Bytes of a shard that is full."""

_PIECE = 1 << 16


class Shards:
    """The N tokens of several files, mapped: a view of them that is sliced and indexed as an array of one axis is.

    Args:
        arrays: the tokens of each file, all as many but in the last.
        start, stop: the range of all these tokens that is looked at.

    >>> view = Shards([np.array([3, 1]), np.array([4, 1]), np.array([5])], 1, 5)
    >>> len(view), view[2], view[np.array([[0, 3]])], np.asarray(view[1:])
    (4, 1, array([[1, 5]]), array([4, 1, 5]))
    """

    def __init__(self, arrays: Sequence[npt.NDArray[Any]], start: int, stop: int) -> None:
        self._arrays, self._start, self._stop = arrays, start, stop
        self._each = len(arrays[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a token."""
        return self._arrays[0].dtype

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> npt.NDArray[Any] | Shards: ...
    @overload
    def __getitem__(self, key: IntArray) -> npt.NDArray[Any]: ...
    def __getitem__(self, key: int | slice | IntArray) -> Any:
        """A token; a range of them, again a view; or those at some places (...), from 0 on."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                raise ValueError(f"tokens are taken one after the other, got a step of {step}")
            return _view(self._arrays, self._start + start, self._start + max(start, stop))
        if isinstance(key, int):
            shard, at = divmod(self._start + range(len(self))[key], self._each)
            return int(self._arrays[shard][at])
        if key.size and not 0 <= key.min() <= key.max() < len(self):
            raise IndexError(f"places from {key.min()} to {key.max()} of {len(self)} tokens")
        shards, places = np.divmod(key + self._start, self._each)
        if key.size and shards.min() == shards.max():
            return self._arrays[int(shards.min())][places]
        found = np.empty(key.shape, self.dtype)
        for shard in np.unique(shards).tolist():
            here = shards == shard
            found[here] = self._arrays[shard][places[here]]
        return found

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("tokens of several files are copied to become one array")
        whole = [array[max(self._start - begin, 0) : max(self._stop - begin, 0)] for begin, array in self._placed()]
        return np.concatenate(whole).astype(dtype or self.dtype, copy=False)

    def tolist(self) -> list[int]:
        """The tokens as a list."""
        found: list[int] = np.asarray(self).tolist()
        return found

    def _placed(self) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        for number, array in enumerate(self._arrays):
            yield number * self._each, array


class ShardWriter:
    """Writes tokens to the shards of a directory, one after the other, each synced when it is whole.

    Args:
        directory: where they are put.
        kind: the type of a token.

    Attributes:
        lengths: how many tokens each shard has.
    """

    def __init__(self, directory: Path, kind: np.dtype[Any]) -> None:
        self._directory, self._kind, self._each = directory, kind, SHARD // kind.itemsize
        self._file: IO[bytes] | None = None
        self.lengths: list[int] = []

    def write(self, ids: npt.NDArray[Any]) -> None:
        """Write tokens (n,) of any type that holds no larger ones."""
        ids = ids.astype(self._kind, copy=False)
        while len(ids):
            if self._file is None or self.lengths[-1] == self._each:
                self._next()
            assert self._file is not None
            here = ids[: self._each - self.lengths[-1]]
            self._file.write(np.ascontiguousarray(here).data)
            self.lengths[-1] += len(here)
            ids = ids[len(here) :]

    def _next(self) -> None:
        self.close()
        self._file = (self._directory / shard_name(len(self.lengths))).open("wb")
        self.lengths.append(0)

    def close(self) -> None:
        """Finish the last shard."""
        if self._file is not None:
            with self._file as file:
                self._file = None
                file.flush()
                os.fsync(file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def shard_name(number: int) -> str:
    """What the file of a shard is called."""
    return f"tokens-{number:05d}.bin"


def map_shards(files: Sequence[Path], kind: np.dtype[Any], lengths: Sequence[int]) -> npt.NDArray[Any] | Shards:
    """The tokens of some files, mapped: they are read when they are touched. Those of one file are an array.

    Raises:
        DataError: a file is empty, or longer or shorter than it should be.
        ValueError: the files but the last are not equally long.
        OSError: a file cannot be read.
    """
    if not lengths or set(lengths[:-1]) - {lengths[0]} or lengths[-1] > lengths[0]:
        raise ValueError(f"shards of {list(lengths)} tokens")
    for path, length in zip(files, lengths, strict=True):
        size = path.stat().st_size
        if not size or size != length * kind.itemsize:
            raise DataError(
                "a shard of the token store is empty" if not size else "a shard of the token store is damaged",
                where=str(path),
                expected=f"{max(length, 1) * kind.itemsize} bytes",
                got=f"{size} bytes",
                fix="remove its directory; it is made again from the text",
            )
    return _view([_map(path, kind) for path in files], 0, sum(lengths))


def _map(path: Path, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    array = np.memmap(path, kind, "r")
    if hasattr(mmap, "MADV_RANDOM") and isinstance(array.base, mmap.mmap):
        # Parallel streams touch a page each, far apart, and the system reads ahead of every one of them: 8 MB on the
        # machine this was measured on, 268 MB for 32 streams. With its memory capped at 400 MB, training was 13 times
        # slower, as what was read for one stream put out what was read for another.
        array.base.madvise(mmap.MADV_RANDOM)
    return array


def read_shards(directory: Path, kind: np.dtype[Any], start: int, end: int) -> Iterator[npt.NDArray[Any]]:
    """A range of the tokens that were written to a directory, in pieces that are read and not mapped."""
    each = SHARD // kind.itemsize
    while start < end:
        shard, at = divmod(start, each)
        count = min(_PIECE, end - start, each - at)
        yield np.fromfile(directory / shard_name(shard), kind, count, offset=at * kind.itemsize)
        start += count


def _view(arrays: Sequence[npt.NDArray[Any]], start: int, stop: int) -> npt.NDArray[Any] | Shards:
    """A range of the tokens of several files: an array where it lies in one of them."""
    each = len(arrays[0])
    first, last = start // each, max(stop - 1, start) // each
    if first == last and first < len(arrays):
        return arrays[first][start - first * each : stop - first * each]
    if start == stop:
        return arrays[0][:0]
    return Shards(arrays, start, stop)
