"""Counting n-grams, one order after the other, in memory or on disk.

An n-gram of order k is its first k-1 symbols, which have a number already, and one symbol more: with the two in one
integer, counting is sorting integers, whatever the order and however many symbols there are. The text is read in pieces
for each order; what does not fit in memory lies in files (`data.scratch`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data.scratch import Scratch
from unrolled.data.store import Tokens
from unrolled.errors import DataError
from unrolled.tasks import ngram_loops as loops

__all__ = ["Counts", "Level", "sequence_starts"]

_Array = npt.NDArray[Any]
_Reading = Callable[[int, int], None]

_PIECE = 1 << 22  # symbols that are read at once
_DENSE = 1 << 24  # so many possible n-grams are counted in a table instead of being sorted


@dataclass(frozen=True, eq=False)
class Level:
    """The n-grams of one order.

    Attributes:
        words: (M,) their last symbols.
        first: (P+1,) the place of the first n-gram of each of the P of the order below, which they begin with.
        counts: (M,) how often they stand in the text.
        suffixes: (M,) the n-grams of the order below that they end with.
        continuations: (M,) by how many different symbols they are preceded; their count, where a sequence begins with
            them, which nothing precedes. Known when the next order is.
        begin: the first n-gram that begins with the start of a sequence; all after it do.
    """

    words: _Array
    first: _Array
    counts: _Array
    suffixes: _Array
    continuations: _Array
    begin: int


class Counts:
    """The n-grams of a text.

    Args:
        tokens: the text.
        size: V.
        boundary: the symbol after which a sequence ends, if there is one.
        documents: whether a document begins a sequence.
        scratch: where arrays are put.

    Attributes:
        levels: from order 1 on.
        kind: the type of stored numbers: int32, or int64 for a text of 2 billion symbols and more.

    Raises:
        DataError: the text is empty.
    """

    def __init__(
        self,
        tokens: Tokens,
        size: int,
        *,
        boundary: int | None = None,
        documents: bool = False,
        scratch: Scratch | None = None,
    ) -> None:
        if not len(tokens):
            raise DataError("there is nothing to count", expected="a text of at least one symbol")
        self._tokens, self._boundary, self._documents = tokens, boundary, documents
        self._scratch = scratch or Scratch()
        self.size = size
        self.kind: type[np.int32] | type[np.int64] = np.int32 if len(tokens) < 2**31 - 2 else np.int64
        self._grams = self._scratch.empty(len(tokens), self.kind)  # the n-gram that ends at each place
        raw = np.zeros(size + 1, np.int64)
        for at, ids, _ in self._pieces():
            self._grams[at : at + len(ids)] = ids
            raw += np.bincount(ids, minlength=size + 1)
        words = np.arange(size + 1, dtype=self.kind)
        nothing = np.zeros(size + 1, self.kind)
        self.levels = [
            Level(words, np.array([0, size + 1], self.kind), raw.astype(self.kind), nothing, nothing.copy(), size)
        ]

    @property
    def order(self) -> int:
        """The highest order that was counted."""
        return len(self.levels)

    def grow(self, progress: _Reading | None = None) -> None:
        """Count the n-grams of the next order.

        Args:
            progress: called with the symbols read so far and their number.

        Raises:
            StorageError: the disk is full.
        """
        below = self.levels[-1]
        if self.order > 1:
            self._advance()
        keys, counts = self._count(len(below.words), progress)
        words = self._scratch.empty(len(keys), self.kind)
        first = self._scratch.empty(len(below.words) + 1, self.kind)
        loops.split(keys, self.size + 1, words, first)
        del keys
        suffix = self._suffixes(words, first)
        begin = int(first[below.begin])
        self.levels.append(
            Level(words, first, counts, suffix, self._scratch.zeros(len(words), self.kind), begin),
        )

    def _advance(self) -> None:
        """From the n-grams of the order below that end at each place to those of the last."""
        last, before = self.levels[-1], -1
        for at, ids, starts in self._pieces():
            grams = self._grams[at : at + len(ids)]
            before = loops.advance(ids, starts, grams, before, self._before(self.order), last.words, last.first)

    def _before(self, order: int) -> int:
        """The n-gram of the order below `order` that is before a sequence: its start, or nothing that long."""
        return self.size if order == 2 else -1

    def _pieces(self) -> Iterator[tuple[int, _Array, _Array]]:
        """Place, symbols and starts of sequences of each piece of the text."""
        for at in range(0, len(self._tokens), _PIECE):
            ids = np.asarray(self._tokens.ids[at : at + _PIECE], np.int64)
            yield at, ids, sequence_starts(self._tokens, at, at + len(ids), self._boundary, self._documents)

    def _count(self, contexts: int, progress: _Reading | None) -> tuple[_Array, _Array]:
        """The keys of the n-grams of the next order, sorted, and their counts."""
        possible = contexts * (self.size + 1)
        table = np.zeros(possible, np.int64) if possible <= _DENSE else None
        runs: list[tuple[_Array, _Array]] = []
        before = -1
        for at, ids, starts in self._pieces():
            grams = self._grams[at : at + len(ids)]
            context = np.empty(len(ids), np.int64)
            context[0], context[1:], before = before, grams[:-1], int(grams[-1])
            context[starts] = self._before(self.order + 1)
            keys = context[context >= 0] * (self.size + 1) + ids[context >= 0]
            if table is not None:
                loops.tally(keys, table)
            elif len(keys):
                self._pile(runs, np.unique(keys, return_counts=True))
            if progress is not None:
                progress(at + len(ids), len(self._tokens))
        if table is not None:
            found = np.flatnonzero(table)
            return found, table[found].astype(self.kind)
        while len(runs) > 1:
            runs.append(self._merge(runs.pop(), runs.pop()))
        return runs[0] if runs else (np.empty(0, np.int64), np.empty(0, self.kind))

    def _pile(self, runs: list[tuple[_Array, _Array]], run: tuple[_Array, _Array]) -> None:
        """Put a sorted run on the pile; runs of about the same length are merged, so that few stay."""
        runs.append((run[0], run[1].astype(self.kind)))
        while len(runs) > 1 and len(runs[-2][0]) < 2 * len(runs[-1][0]):
            runs.append(self._merge(runs.pop(), runs.pop()))

    def _merge(self, a: tuple[_Array, _Array], b: tuple[_Array, _Array]) -> tuple[_Array, _Array]:
        length = len(a[0]) + len(b[0])
        keys, counts = self._scratch.empty(length, np.int64), self._scratch.empty(length, self.kind)
        n = loops.merge(*a, *b, keys, counts)
        return keys[:n], counts[:n]

    def _suffixes(self, words: _Array, first: _Array) -> _Array:
        """The suffixes of the n-grams of a new order; completes the continuations of the order below."""
        below = self.levels[-1]
        own = self._scratch.empty(len(words), self.kind)
        below.continuations[:] = 0
        loops.suffixes(words, first, below.suffixes, below.words, below.first, own, below.continuations)
        below.continuations[below.begin :] = below.counts[below.begin :]
        return own


def sequence_starts(tokens: Tokens, start: int, end: int, boundary: int | None, documents: bool) -> _Array:
    """Whether a sequence begins with each of the symbols start:end of a text, (end - start,).

    One begins at the start of the text, after each `boundary`, and with each document where `documents` says so.
    """
    found = np.zeros(end - start, np.bool_)
    if not len(found):
        return found
    found[0] = start == 0
    if boundary is not None:
        found[1:] = np.asarray(tokens.ids[start : end - 1]) == boundary
        if start:
            found[0] = tokens.ids[start - 1] == boundary
    if documents:
        places = tokens.document_starts
        found[places[(places >= start) & (places < end)] - start] = True
    return found
