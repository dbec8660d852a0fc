"""The vocabulary of words; see `data.splitting` for what a word is, and for what is lost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from unrolled.data.configuration import Splitter
from unrolled.data.decoders import Decoder, Ids
from unrolled.data.spelling import Spelling
from unrolled.data.splitting import JOINT, LINE_END, cut_pieces, raw_words, split_word
from unrolled.data.vocabulary import UNKNOWN, Floats, IntArray, Unknown, Vocabulary
from unrolled.errors import DataError, nearest

__all__ = ["Joints", "Words"]

_SPELLINGS = 20_000  # words that the spelling of hidden ones is learnt from
_REMEMBERED = 1 << 20  # different runs of characters whose words are remembered
_RUN = re.compile(r"\n|[^ \t\n\r\x0b\x0c]+")

_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Joints:
    """What N words add to a text one after the other: their characters, and the spaces between them.

    Attributes:
        lengths: (N,) characters of each.
        left: (N,) whether nothing stands between a word and the one before it.
        right: (N,) whether nothing stands between a word and the one after it.
        ends: (N,) whether it is a line end, which counts as a word.
    """

    lengths: IntArray
    left: _Flags
    right: _Flags
    ends: _Flags

    @classmethod
    def of(cls, words: Sequence[str], splitter: Splitter) -> Joints:
        """Those of some words."""
        marked = splitter == "rules"
        ends = np.array([word == LINE_END for word in words], np.bool_)
        left = np.array([marked and word.startswith(JOINT) for word in words], np.bool_)
        right = np.array([marked and word.endswith(JOINT) for word in words], np.bool_)
        lengths = np.array([len(word) for word in words], np.int64) - left - right
        return cls(np.where(ends, 1, lengths), left | ends, right | ends, ends)

    def characters(self, y: IntArray, x: IntArray) -> IntArray:
        """(...) characters that each word y after a word x adds, x being -1 at the start of a text."""
        return self.lengths[y] + ~((x < 0) | self.right[x] | self.left[y])

    def words(self, y: IntArray, x: IntArray) -> IntArray:
        """(...) 1 where a word y after x begins a run of characters that white space ends, or is a line end."""
        starts = self.ends[y] | (x < 0) | self.ends[x] | ~(self.right[x] | self.left[y])
        return starts.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Words(Vocabulary):
    """Words by falling frequency, with `<eos>` for a line end and `<unk>` for every word that is not among them.

    >>> vocabulary = Words.count(["to be or\\n", "not to be\\n"])
    >>> vocabulary.symbols
    ('<eos>', 'be', 'to', 'not', 'or', '<unk>')
    >>> vocabulary.decode(vocabulary.encode("to  be seen\\nor not"))
    'to be <unk>\\nor not'

    Attributes:
        splitter: how runs of characters are cut: "spaces" or "rules".
        spellings: words of the training text, rare ones, that the back-off for hidden ones is learnt from.
    """

    unit = "word"
    splitter: Splitter = "spaces"
    spellings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.splitter not in get_args(Splitter):
            raise DataError(f"there is no splitter {self.splitter!r}", fix=nearest(self.splitter, get_args(Splitter)))
        if len(set(self.symbols)) < self.size:
            raise DataError("a word is there twice")
        if self.unknown is None or self.symbols[self.unknown] != UNKNOWN or LINE_END not in self.symbols:
            raise DataError(f"the words have no {LINE_END}, or no unknown symbol called {UNKNOWN}")
        if not all(_RUN.fullmatch(symbol) for symbol in self.symbols):
            raise DataError("a word is empty, or has white space in it")

    @classmethod
    def count(
        cls,
        texts: Iterable[str],
        min_count: int = 1,
        *,
        vocabulary_size: int | None = None,
        splitter: Splitter = "spaces",
    ) -> Words:
        counts: Counter[str] = Counter()
        for piece in cut_pieces(texts):
            for raw, count in Counter(raw_words(piece)).items():
                word = raw.decode("utf-8", "surrogatepass")
                for token in [word] if splitter == "spaces" else split_word(word):
                    counts[token] += count
        return cls.choose(list(counts), np.array(list(counts.values()), np.int64), min_count, vocabulary_size, splitter)

    @classmethod
    def choose(
        cls,
        words: Sequence[str],
        counts: IntArray,
        min_count: int = 1,
        vocabulary_size: int | None = None,
        splitter: Splitter = "spaces",
    ) -> Words:
        """The vocabulary of words (N,) with their counts (N,) in the training text.

        Kept are those counted `min_count` times, and of these the most frequent, `vocabulary_size` with `<eos>` and
        `<unk>`; of words counted equally often those that come first in the order of their code points.

        Raises:
            DataError: no word is left.
        """
        given = dict(zip(words, counts.tolist(), strict=True))
        ends, unknown = given.pop(LINE_END, 0), given.pop(UNKNOWN, 0)
        order = sorted(((-count, word) for word, count in given.items() if count >= max(min_count, 1)))
        if vocabulary_size is not None:
            order = order[: max(0, vocabulary_size - 2)]
        if not order and not (ends or unknown):
            most = max(given.values(), default=0)
            raise DataError(
                "no word is left for the vocabulary",
                got=f"no word is seen {min_count} times; the most frequent is seen {most} times"
                if most
                else "an empty text",
                fix="lower --min-count" if most else None,
            )
        hidden = sum(given.values()) + sum(count for count, _ in order)
        kept = sorted([*order, (-ends, LINE_END), (-(unknown + hidden), UNKNOWN)])
        symbols = tuple(word for _, word in kept)
        return cls(
            symbols,
            np.array([-count for count, _ in kept], np.int64),
            symbols.index(UNKNOWN),
            splitter,
            _rare(given),
        )

    def details(self) -> dict[str, Any]:
        return {"splitter": self.splitter, "spellings": list(self.spellings)}

    @classmethod
    def build(
        cls, symbols: tuple[str, ...], counts: IntArray, unknown: int | None, details: Mapping[str, Any]
    ) -> Words:
        if set(details) != {"splitter", "spellings"}:
            raise DataError("words need two details", expected="splitter, spellings", got=", ".join(map(str, details)))
        splitter, spellings = details["splitter"], details["spellings"]
        if not isinstance(splitter, str) or not isinstance(spellings, list):
            raise DataError("the splitter is not a string, or the spellings are not a list")
        if not all(isinstance(word, str) for word in spellings):
            raise DataError("the spellings are not a list of strings")
        return cls(symbols, counts, unknown, splitter, tuple(spellings))  # type: ignore[arg-type]

    def with_counts(self, counts: IntArray) -> Words:
        return replace(self, counts=counts)

    def find(self, text: str) -> tuple[IntArray, IntArray]:
        """The (n,) ids of a text, and where its unknown words begin."""
        ids, unknown = self.encode_known(text)
        return ids, np.array([word.position for word in unknown], np.int64)

    def encode(self, text: str) -> IntArray:
        raw = raw_words(text)
        if self.splitter == "spaces":
            return np.fromiter(map(self._table.__getitem__, raw), np.int64, len(raw))
        return np.array([at for word in raw for at in self._cut[word]], np.int64)

    def encode_known(self, text: str) -> tuple[IntArray, list[Unknown]]:
        ids = self.encode(text)
        if not (ids == self.unknown).any():
            return ids, []
        unknown: list[Unknown] = []
        for found in _RUN.finditer(text):
            at, word = found.start(), found.group()
            if word == "\n" or self.splitter == "spaces":
                parts = [LINE_END if word == "\n" else word]
            else:
                parts = split_word(word)
            for part in parts:
                if part != UNKNOWN and self._ids.get(part) is None:
                    unknown.append(Unknown(at, part))
                at += len(part.strip(JOINT) if self.splitter == "rules" else part)
        return ids, unknown

    def spell(self, texts: Sequence[str]) -> Floats:
        return self._spelling.nats(texts)

    @property
    def line_end(self) -> int | None:
        return self._ids[LINE_END]

    @cached_property
    def contents(self) -> Sequence[bytes]:
        strip = JOINT if self.splitter == "rules" else ""
        return [b"\n" if word == LINE_END else word.strip(strip).encode() or word.encode() for word in self.symbols]

    def characters(self, ids: Ids, before: Ids | None = None) -> int:
        return int(self.joints.characters(*_pairs(ids, before)).sum())

    def words(self, ids: Ids, before: Ids | None = None) -> int:
        return int(self.joints.words(*_pairs(ids, before)).sum())

    def extent(self, text: str) -> tuple[int, int]:
        raw = [word.decode("utf-8", "surrogatepass") for word in raw_words(text)]
        joints, places = Joints.of(raw, "spaces"), np.arange(len(raw))
        return int(joints.characters(places, places - 1).sum()), len(raw)

    @cached_property
    def joints(self) -> Joints:
        """Those of the symbols; what the unknown symbol hides is taken for a word between spaces, called `<unk>`."""
        return Joints.of(self.symbols, self.splitter)

    def decoder(self, before: Ids = ()) -> Decoder:
        return _WordDecoder([content.decode() for content in self.contents], self.joints, before)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: at for at, word in enumerate(self.symbols)}

    @cached_property
    def _table(self) -> _Known:
        assert self.unknown is not None
        return _Known(self.unknown, {word.encode(): at for word, at in self._ids.items()})

    @cached_property
    def _cut(self) -> _Cut:
        assert self.unknown is not None
        return _Cut(self._ids, self.unknown)

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self.spellings)


class _Known(dict[bytes, int]):
    """Words to ids; the unknown symbol for any other."""

    def __init__(self, unknown: int, known: Mapping[bytes, int]) -> None:
        super().__init__(known)
        self._unknown = unknown

    def __missing__(self, word: bytes) -> int:
        return self._unknown


class _Cut(dict[bytes, list[int]]):
    """Runs of characters to the ids of their words, remembered: most runs of a text come again."""

    def __init__(self, ids: Mapping[str, int], unknown: int) -> None:
        super().__init__()
        self._ids, self._unknown = ids, unknown

    def __missing__(self, run: bytes) -> list[int]:
        words = split_word(run.decode("utf-8", "surrogatepass"))
        if len(self) >= _REMEMBERED:
            self.clear()
        found = self[run] = [self._ids.get(word, self._unknown) for word in words]
        return found


class _WordDecoder(Decoder):
    def __init__(self, texts: Sequence[str], joints: Joints, before: Ids) -> None:
        self._texts, self._joints = texts, joints
        self._joined = len(before) == 0 or bool(joints.right[before[-1]])

    def feed(self, ids: Ids) -> str:
        y = np.asarray(ids, dtype=np.int64)
        if not y.size:
            return ""
        joined = self._joints.left[y] | np.r_[self._joined, self._joints.right[y[:-1]]]
        self._joined = bool(self._joints.right[y[-1]])
        return "".join(
            [self._texts[at] if close else " " + self._texts[at] for at, close in zip(y.tolist(), joined, strict=True)]
        )


def _pairs(ids: Ids, before: Ids | None) -> tuple[IntArray, IntArray]:
    """Words, and the one before each; -1 before the first of a text."""
    y = np.asarray(ids, dtype=np.int64)
    return y, np.r_[-1, y][: y.size] if before is None else np.asarray(before, dtype=np.int64)


def _rare(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Rare words, evenly taken from the rarest that there are enough of: those that hidden words are most like."""
    seen = sorted((count, word) for word, count in counts.items() if count)
    if len(seen) <= _SPELLINGS:
        return tuple(word for _, word in seen)
    limit = seen[_SPELLINGS][0]
    rare = [word for count, word in seen if count <= limit]
    return tuple(rare[at * len(rare) // _SPELLINGS] for at in range(_SPELLINGS))
