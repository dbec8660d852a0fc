"""What a hidden word costs: a model of the characters of words, for the unknown symbol of a vocabulary of words.

An n-gram model of characters, interpolated as Witten and Bell proposed (Witten & Bell 1991, method C; Chen & Goodman
1998, section 2.5). With c(hw) the count of a character w after the characters h, and t(h) the number of different ones,

    p(w | h) = (c(hw) + t(h) p(w | h')) / (c(h) + t(h)),

h' being h without its first; below single characters all outcomes are equally likely. A word ends with a mark of its
own, so that the probabilities of all strings sum to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Spelling"]

_ORDER = 5
_BITS = 12  # of a character within an n-gram: five of them fit in 64 bits
_BORDER, _OTHER = 0, 1  # the codes of what stands before and after a word, and of characters that were never seen
_UNICODE = 0x110000 - 0x800  # characters there are, surrogates left out
_AT_ONCE = 1 << 20  # characters, so that the arrays made of them stay small

_Codes = npt.NDArray[np.uint64]


class Spelling:
    """Learnt from some words, each counted once.

    >>> round(float(Spelling(["sea", "seal", "seas"]).nats(["sea"])[0]), 2)
    1.14
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def nats(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """(n,) -ln p of each of some texts, in nats; each is finite, whatever it is made of."""
        found = [np.empty(0)]
        at = 0
        while at < len(texts):
            end, size = at, 0
            while end < len(texts) and (end == at or size + len(texts[end]) <= _AT_ONCE):
                size, end = size + len(texts[end]), end + 1
            found.append(self._nats(texts[at:end]))
            at = end
        return np.concatenate(found)

    def _nats(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        codes, predicted = self._coded(texts)
        p = np.full(predicted.size, 1 / (self._alphabet.size + 2))
        for n, (grams, counts, contexts, totals, kinds) in enumerate(self._tables, 1):
            keys = _keys(codes, predicted, n)
            count = _look_up(grams, counts, keys)
            total, kind = (_look_up(contexts, values, keys >> np.uint64(_BITS)) for values in (totals, kinds))
            p = np.where(total > 0, (count + kind * p) / np.maximum(total + kind, 1), p)
        others = (codes[predicted] == _OTHER) * math.log(_UNICODE - self._alphabet.size)
        ends = np.cumsum([len(text) + 1 for text in texts])
        return np.add.reduceat(others - np.log(p), np.r_[0, ends[:-1]])

    @cached_property
    def _alphabet(self) -> npt.NDArray[np.uint32]:
        """(A,) the code points that have codes of their own, ascending: the most frequent, if they are too many."""
        points, counts = np.unique(_points("".join(self._words)), return_counts=True)
        kept = np.argsort(-counts, kind="stable")[: (1 << _BITS) - 2]
        return np.sort(points[kept])

    @cached_property
    def _tables(self) -> list[tuple[Any, Any, Any, Any, Any]]:
        """For n from 1 to the order: n-grams and their counts; contexts, their counts and numbers of followers."""
        if not self._words:
            return []
        codes, predicted = self._coded(self._words)
        tables = []
        for n in range(1, _ORDER + 1):
            grams, counts = np.unique(_keys(codes, predicted, n), return_counts=True)
            contexts, places, kinds = np.unique(grams >> np.uint64(_BITS), return_inverse=True, return_counts=True)
            tables.append((grams, counts, contexts, np.bincount(places, counts), kinds))
        return tables

    def _coded(self, texts: Sequence[str]) -> tuple[_Codes, npt.NDArray[np.int64]]:
        """The codes of some texts with borders between them, and the places of those that are predicted."""
        border = "\0" * (_ORDER - 1)
        points = _points("".join([f"{border}{text}\0" for text in texts]))
        lengths = np.array([len(text) + 1 for text in texts], np.int64)
        starts = np.cumsum(lengths + _ORDER - 1) - lengths
        predicted = np.arange(lengths.sum()) + np.repeat(starts - np.r_[0, np.cumsum(lengths)[:-1]], lengths)
        codes = np.zeros(points.size, np.uint64)
        if self._alphabet.size:
            at = np.minimum(np.searchsorted(self._alphabet, points), self._alphabet.size - 1)
            codes[:] = np.where(self._alphabet[at] == points, at + 2, _OTHER)
        else:
            codes[:] = _OTHER
        inside = np.zeros(points.size, np.bool_)
        inside[predicted] = True
        inside[starts + lengths - 1] = False
        codes[~inside] = _BORDER
        return codes, predicted


def _points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _keys(codes: _Codes, predicted: npt.NDArray[np.int64], n: int) -> _Codes:
    """The n-gram that ends at each place, as one number: the last character in the lowest bits."""
    keys = np.zeros(predicted.size, np.uint64)
    for back in range(n - 1, -1, -1):
        keys = keys << np.uint64(_BITS) | codes[predicted - back]
    return keys


def _look_up(known: _Codes, values: npt.NDArray[Any], keys: _Codes) -> npt.NDArray[np.float64]:
    """The value of each key, 0 where it is not among the ascending ones that are known."""
    at = np.minimum(np.searchsorted(known, keys), known.size - 1)
    return np.where(known[at] == keys, values[at], 0).astype(np.float64)
