"""The words of a text with their counts, and those that are spelt nearly alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from unrolled.errors import DataError

__all__ = ["WORD", "Lexicon", "distances"]

# Letters, with apostrophes inside: don't, o'clock.
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_MOST = 2
_BUCKETS = 32


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words without regard to case.

    Attributes:
        counts: how often each word, in small letters, was seen.
        shown: words that are mostly written with capitals, as they are written most often.
        hidden: words of the text that are not among these, all counted.
    """

    counts: Mapping[str, int]
    shown: Mapping[str, str]
    hidden: int

    @classmethod
    def count(cls, pieces: Iterable[str], min_count: int = 3) -> Lexicon:
        """The words of a text in pieces that were seen at least so often: rarer ones are often misspelt themselves.

        A word that a border between pieces cuts is counted as two.

        Raises:
            DataError: no word is left.
        """
        seen: Counter[str] = Counter()
        for piece in pieces:
            seen.update(WORD.findall(piece))
        return cls.of(seen, min_count)

    @classmethod
    def of(cls, seen: Mapping[str, int], min_count: int = 1) -> Lexicon:
        """Those of words as they are written, with their counts."""
        counts: Counter[str] = Counter()
        best: dict[str, tuple[int, str]] = {}
        for word, count in seen.items():
            word = word.replace("’", "'")
            counts[word.lower()] += count
            best[word.lower()] = max(best.get(word.lower(), (0, "")), (count, word))
        kept = {word: count for word, count in counts.items() if count >= min_count}
        if not kept:
            raise DataError(
                "there are no words to correct with", got=f"{len(counts)} words, none seen {min_count} times"
            )
        shown = {
            word: best[word][1]
            for word, count in kept.items()
            if 10 * seen.get(word, 0) < count and best[word][1] != word
        }
        return cls(kept, shown, sum(counts.values()) - sum(kept.values()))

    @property
    def total(self) -> int:
        """Words of the text, hidden ones included."""
        return sum(self.counts.values()) + self.hidden

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and word.replace("’", "'").lower() in self.counts

    def p(self, word: str) -> float:
        """The share of a word in the text; that of the hidden ones together for one that is not here."""
        return (self.counts.get(word.replace("’", "'").lower(), 0) or self.hidden + 1) / (self.total + 1)

    def near(self, word: str, most: int = _MOST) -> dict[str, int]:
        """The words at a distance of 1 to `most` (2 at most) from a word, with their distances; see `distances`."""
        return {other: far for other, far in self._near(word.replace("’", "'").lower()).items() if 0 < far <= most}

    @cached_property
    def _near(self) -> Callable[[str], dict[str, int]]:
        """Remembered: the same words are asked for again and again."""
        return lru_cache(1 << 14)(self._search)

    def _search(self, word: str) -> dict[str, int]:
        words, codes, lengths, letters, starts = self._tables
        last = len(starts) - 1
        begin, end = (starts[min(max(length, 0), last)] for length in (len(word) - _MOST, len(word) + _MOST + 1))
        # An edit changes the counts of letters by two at most.
        differ = np.abs(letters[begin:end] - _letters([word])[0]).sum(1, dtype=np.int16)
        places = np.flatnonzero(differ <= 2 * _MOST) + begin
        far = distances(word, codes[places], lengths[places])
        return {words[at]: int(d) for at, d in zip(places.tolist(), far, strict=True) if d <= _MOST}

    @cached_property
    def _tables(
        self,
    ) -> tuple[list[str], npt.NDArray[np.uint32], npt.NDArray[np.int64], npt.NDArray[np.int8], list[int]]:
        """Words by length, their characters (N, longest), lengths, how often each letter is in each, and where each
        length begins."""
        words = sorted(self.counts, key=lambda word: (len(word), word))
        lengths = np.array([len(word) for word in words])
        longest = int(lengths.max())
        codes = np.array([list(word.ljust(longest, "\0").encode("utf-32-le")) for word in words], np.uint8)
        starts = np.searchsorted(lengths, np.arange(longest + 2)).tolist()
        return words, codes.view("<u4"), lengths, _letters(words), starts


def distances(word: str, codes: npt.NDArray[np.uint32], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The Damerau-Levenshtein distances (N,) of a word from others, given as code points (N, longest) and lengths (N,).

    Counted are letters left out, put in, changed, and neighbours exchanged (Damerau 1964), no letter edited twice (the
    optimal string alignment; Boytsov 2011, section 2.2.1).
    """
    longest = codes.shape[1]
    across = np.arange(longest + 1, dtype=np.int64)
    before_last = last = np.broadcast_to(across, (len(codes), longest + 1))
    previous = -1
    for row, letter in enumerate(map(ord, word), 1):
        found = np.empty_like(last)
        found[:, 0] = row
        changed = last[:, :-1] + (codes != letter)
        for column in range(1, longest + 1):
            best = np.minimum(np.minimum(found[:, column - 1], last[:, column]) + 1, changed[:, column - 1])
            if row > 1 and column > 1:
                swapped = (codes[:, column - 2] == letter) & (codes[:, column - 1] == previous)
                best = np.where(swapped, np.minimum(best, before_last[:, column - 2] + 1), best)
            found[:, column] = best
        before_last, last, previous = last, found, letter
    return last[np.arange(len(codes)), lengths]


def _letters(words: list[str]) -> npt.NDArray[np.int8]:
    """(N, buckets) how often each word has each letter; several letters may share a bucket."""
    found = np.zeros((len(words), _BUCKETS), np.int8)
    for row, word in enumerate(words):
        for letter in word[:100]:
            found[row, ord(letter) % _BUCKETS] += 1
    return found
