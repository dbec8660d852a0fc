"""Vocabularies: text to token numbers and back.

One class a unit, listed in `UNITS` as soon as it is defined: characters and bytes here, words and subwords in files of
their own. White space is that of ASCII everywhere, so that every unit counts the same words in the same text.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from unrolled.data.decoders import ByteDecoder, CharacterDecoder, Decoder, Ids
from unrolled.errors import DataError, PromptError, nearest

__all__ = [
    "UNITS",
    "UNKNOWN",
    "WHITE_SPACE",
    "Bytes",
    "Characters",
    "Floats",
    "IntArray",
    "Unknown",
    "Vocabulary",
]

IntArray = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNITS: dict[str, type[Vocabulary]] = {}
UNKNOWN = "<unk>"
WHITE_SPACE = b" \t\n\r\x0b\x0c"
_FORMAT = 1
_REPLACEMENT = 0xFFFD
_CODE_POINTS = 0x110000
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True)
class Unknown:
    """A piece of text that a vocabulary does not know.

    Attributes:
        position: where it stands, in characters from the start of the text.
        text: the piece itself.
    """

    position: int
    text: str


@dataclass(frozen=True, eq=False)
class Vocabulary(ABC):
    """The V symbols of a model, each with a number from 0 to V-1.

    Attributes:
        symbols: what each token is called, V strings.
        counts: (V,) how often each stands in the training text.
        unknown: the number of the symbol that stands for everything else, if there is one.

    Raises:
        DataError: symbols, counts and unknown do not fit together.
    """

    unit: ClassVar[str]
    symbols: tuple[str, ...]
    counts: IntArray
    unknown: int | None = None

    def __init_subclass__(cls) -> None:
        UNITS[cls.unit] = cls

    def __post_init__(self) -> None:
        if self.counts.shape != (self.size,) or self.size == 0 or int(self.counts.min()) < 0:
            raise DataError("a vocabulary needs one count from 0 on for each of its symbols")

    @classmethod
    @abstractmethod
    def count(cls, texts: Iterable[str], min_count: int = 1) -> Vocabulary:
        """The vocabulary of a text that comes in pieces; `counts` are those of all of it.

        Raises:
            DataError: no symbol is left.
        """

    @abstractmethod
    def find(self, text: str) -> tuple[IntArray, IntArray]:
        """The (n,) ids of a text, and the positions of its characters that are not known.

        What is not known is the unknown symbol among the ids, or is left out where there is none.
        """

    @abstractmethod
    def decoder(self, before: Ids = ()) -> Decoder:
        """A decoder for ids that come in pieces, after some that were decoded before."""

    @property
    @abstractmethod
    def contents(self) -> Sequence[bytes]:
        """(V,) what each symbol adds to a text, in UTF-8 and without what may stand between two symbols."""

    def spell(self, texts: Sequence[str]) -> Floats:
        """(n,) nats that each of some texts, hidden behind the unknown symbol, costs by a back-off over characters.

        With p(unknown symbol) this makes a probability for the text itself, so that a vocabulary that hides much
        gains nothing. Here a hidden text is one character, any of Unicode's that have no symbol, all equally likely.
        """
        return np.full(len(texts), math.log(_CODE_POINTS - len(_SURROGATES) - (self.size - 1)))

    @cached_property
    def symbol_bytes(self) -> IntArray:
        """(V,) the length of each symbol in bytes of UTF-8; U+FFFD stands for the unknown symbol."""
        return np.array([len(content) for content in self.contents], np.int64)

    @cached_property
    def symbol_characters(self) -> IntArray:
        """(V,) how many characters of the decoded text each symbol begins: what bits per character are counted by."""
        # Every byte begins a character but the continuation bytes, 10xxxxxx.
        return np.array([sum(byte & 0xC0 != 0x80 for byte in content) for content in self.contents], np.int64)

    @property
    def line_end(self) -> int | None:
        """The number of the symbol that ends a line, if there is one."""
        return next((at for at, content in enumerate(self.contents) if content == b"\n"), None)

    @property
    def size(self) -> int:
        """V, the number of symbols."""
        return len(self.symbols)

    def encode(self, text: str) -> IntArray:
        """The (n,) ids of a text.

        Raises:
            PromptError: a character is not known and there is no unknown symbol to stand for it.
        """
        ids, positions = self.find(text)
        if positions.size and self.unknown is None:
            shown = [f"{text[at]!r} at position {at}" for at in positions[:5].tolist()]
            more = [f"and {positions.size - 5} more"] if positions.size > 5 else []
            raise PromptError(
                "the text has characters that the model does not know",
                expected=f"only the {self.size} characters of its training text",
                got=", ".join(shown + more),
                fix="leave them out, or train with --min-count 2 or --unit byte, which read any text",
            )
        return ids

    def encode_known(self, text: str) -> tuple[IntArray, list[Unknown]]:
        """The (n,) ids of a text, and a report of what in it is not known.

        That is folded into the unknown symbol, or left out where there is none.
        """
        ids, positions = self.find(text)
        return ids, [Unknown(at, text[at]) for at in positions.tolist()]

    def decode(self, ids: Ids) -> str:
        """The text of some ids; the unknown symbol, and bytes that are no character, are shown as U+FFFD."""
        decoder = self.decoder()
        return decoder.feed(ids) + decoder.finish()

    def characters(self, ids: Ids, before: Ids | None = None) -> int:
        """How many characters of text the ids stand for.

        Args:
            ids: (...) the symbols.
            before: (...) the symbol before each; if not given, the ids follow each other from the start of a text.
        """
        return int(self.symbol_characters[np.asarray(ids, dtype=np.int64)].sum())

    def words(self, ids: Ids, before: Ids | None = None) -> int:
        """How many words begin in the text that the ids stand for, a line end counting as one; see `characters`.

        A word is a run of what is not white space. Perplexity per word is counted by these in every unit.
        """
        starts, ends, inner = self._edges
        y = np.asarray(ids, dtype=np.int64)
        if before is None:
            return int(inner[y].sum() + starts[y[:1]].sum() + (starts[y[1:]] & ends[y[:-1]]).sum())
        return int(inner[y].sum() + (starts[y] & ends[np.asarray(before, dtype=np.int64)]).sum())

    @cached_property
    def _edges(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], IntArray]:
        """(V,) whether a symbol starts within a word; whether it ends in white space; line ends, and words that begin
        after its start."""
        starts = np.array([content[0] not in WHITE_SPACE for content in self.contents])
        ends = np.array([content[-1] in WHITE_SPACE for content in self.contents])
        words = np.array([len(content.split()) + content.count(b"\n") for content in self.contents], np.int64)
        return starts, ends, words - starts

    def extent(self, text: str) -> tuple[int, int]:
        """How many characters and words a text has, as far as the vocabulary reads it."""
        ids, _ = self.find(text)
        return self.characters(ids), self.words(ids)

    def unigram(self) -> npt.NDArray[np.float64]:
        """(V,) the probability of each symbol by its count in the training text, one added to each; it sums to 1."""
        smoothed = self.counts + 1.0
        return np.asarray(smoothed / smoothed.sum(), dtype=np.float64)

    def with_counts(self, counts: IntArray) -> Self:
        """The same symbols with other counts."""
        return replace(self, counts=counts)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the unit and the symbols in their order, in hexadecimal.

        Two vocabularies with the same fingerprint read every text the same. Counts do not enter it.
        """
        value = {key: part for key, part in self.to_json().items() if key != "counts"}
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as JSON; `from_json` reads it back."""
        value = {
            "format": _FORMAT,
            "unit": self.unit,
            "symbols": list(self.symbols),
            "unknown": self.unknown,
            "counts": self.counts.tolist(),
        }
        details = self.details()
        return {**value, "details": details} if details else value

    def details(self) -> dict[str, Any]:
        """What the unit needs besides its symbols to read a text, as JSON; most need nothing."""
        return {}

    @classmethod
    def build(
        cls, symbols: tuple[str, ...], counts: IntArray, unknown: int | None, details: Mapping[str, Any]
    ) -> Vocabulary:
        """The vocabulary with these fields and what `details` said.

        Raises:
            DataError: they do not fit together.
        """
        if details:
            raise DataError(f"unit {cls.unit!r} has no details", got=", ".join(map(str, details)))
        return cls(symbols, counts, unknown)

    @staticmethod
    def from_json(value: object, where: str) -> Vocabulary:
        """Read what `to_json` wrote.

        Args:
            value: the parsed JSON.
            where: the file it came from, for the message.

        Raises:
            DataError: anything but a whole vocabulary of a known unit.
        """
        try:
            unit, symbols, counts, unknown, details = _read_fields(value)
            return unit.build(symbols, counts, unknown, details)
        except DataError as error:
            raise DataError(
                f"not a vocabulary: {error.problem}", expected=error.expected, got=error.got, where=where, fix=error.fix
            ) from None


class Characters(Vocabulary):
    """Unicode characters, sorted by code point; the unknown symbol comes last.

    >>> vocabulary = Characters.count(["to be", " or not to be"])
    >>> vocabulary.symbols
    (' ', 'b', 'e', 'n', 'o', 'r', 't')
    >>> vocabulary.encode("bee").tolist()
    [1, 2, 2]
    """

    unit = "char"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self.symbols if self.unknown is None else self.symbols[:-1]
        if self.unknown not in (None, self.size - 1) or (self.unknown is not None and self.symbols[-1] != UNKNOWN):
            raise DataError(f"the unknown symbol is not the last one, called {UNKNOWN}")
        if any(len(symbol) != 1 or ord(symbol) in _SURROGATES for symbol in known):
            raise DataError("a symbol is not one Unicode character")
        if any(first >= second for first, second in itertools.pairwise(known)):
            raise DataError("the characters are not in the order of their code points, each once")

    @classmethod
    def count(cls, texts: Iterable[str], min_count: int = 1) -> Characters:
        totals = np.zeros(_CODE_POINTS, np.int64)
        for text in texts:
            found = np.bincount(_code_points(text))
            totals[: found.size] += found
        kept = np.flatnonzero(totals >= max(min_count, 1))
        if not kept.size:
            most = f"no character is seen {min_count} times; the most frequent is seen {totals.max()} times"
            raise DataError(
                "no character is left for the vocabulary",
                got=most if totals.any() else "an empty text",
                fix="lower --min-count" if totals.any() else None,
            )
        symbols, counts = tuple(map(chr, kept.tolist())), totals[kept]
        if min_count <= 1:
            return cls(symbols, counts)
        return cls((*symbols, UNKNOWN), np.append(counts, totals.sum() - counts.sum()), len(symbols))

    def find(self, text: str) -> tuple[IntArray, IntArray]:
        # Code points beyond the table are clipped to its last entry, which is never a character's.
        ids = self._table.take(_code_points(text), mode="clip")
        if not ids.size or ids.min() >= 0:
            return ids, np.empty(0, np.int64)
        positions = np.flatnonzero(ids < 0)
        if self.unknown is None:
            return np.delete(ids, positions), positions
        ids[positions] = self.unknown
        return ids, positions

    @cached_property
    def _code_points(self) -> npt.NDArray[np.uint32]:
        """(V,) the character that each id is shown as."""
        shown = [_REPLACEMENT if at == self.unknown else ord(symbol) for at, symbol in enumerate(self.symbols)]
        return np.array(shown, "<u4")

    @cached_property
    def _table(self) -> IntArray:
        """Code point to id, up to one beyond the highest known; -1 for what is not known."""
        known = self._code_points[: self.unknown]
        table = np.full(int(known.max(initial=0)) + 2, -1, np.int64)
        table[known] = np.arange(known.size)
        return table

    @cached_property
    def contents(self) -> Sequence[bytes]:
        return [chr(point).encode() for point in self._code_points.tolist()]

    def decoder(self, before: Ids = ()) -> Decoder:
        return CharacterDecoder(self._code_points)


_BYTES = tuple(chr(value) if value < 0x80 else f"\\x{value:02x}" for value in range(256))


class Bytes(Vocabulary):
    """The 256 bytes of UTF-8. Every text can be read; only a lone surrogate, which is no character, is unknown.

    >>> Bytes.count(["é"]).encode("é").tolist()
    [195, 169]
    """

    unit = "byte"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.symbols != _BYTES or self.unknown is not None:
            raise DataError("the symbols are not the 256 bytes")

    @classmethod
    def count(cls, texts: Iterable[str], min_count: int = 1) -> Bytes:
        counts = np.zeros(256, np.int64)
        for text in texts:
            counts += np.bincount(np.frombuffer(text.encode(), np.uint8), minlength=256)
        if not counts.any():
            raise DataError("no byte is left for the vocabulary", got="an empty text")
        return cls(_BYTES, counts)

    def find(self, text: str) -> tuple[IntArray, IntArray]:
        positions = np.empty(0, np.int64)
        try:
            content = text.encode()
        except UnicodeEncodeError:
            positions = np.array([at for at, char in enumerate(text) if ord(char) in _SURROGATES], np.int64)
            content = text.encode(errors="ignore")
        return np.frombuffer(content, np.uint8).astype(np.int64), positions

    @cached_property
    def contents(self) -> Sequence[bytes]:
        return [bytes([value]) for value in range(256)]

    def decoder(self, before: Ids = ()) -> Decoder:
        return ByteDecoder(self.contents)


def _code_points(text: str) -> npt.NDArray[Any]:
    """(n,) the code points of a text. ASCII stays one byte a character: four times less to move."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _read_fields(
    value: object,
) -> tuple[type[Vocabulary], tuple[str, ...], IntArray, int | None, Mapping[str, Any]]:
    """The fields of a vocabulary in JSON, with their types checked."""
    if not isinstance(value, dict):
        raise DataError("not an object", expected="an object", got=type(value).__name__)
    wanted = {"format", "unit", "symbols", "unknown", "counts"}
    if set(value) - {"details"} != wanted:
        got = ", ".join(sorted(map(str, value)))
        raise DataError("missing or further keys", expected=", ".join(sorted(wanted)), got=got)
    if value["format"] != _FORMAT:
        raise DataError("another format", expected=f"format {_FORMAT}", got=repr(value["format"]))
    unit, symbols, unknown, counts = value["unit"], value["symbols"], value["unknown"], value["counts"]
    if not isinstance(unit, str) or unit not in UNITS:
        raise DataError(f"there is no unit {unit!r}", fix=nearest(str(unit), UNITS))
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise DataError("symbols are not a list of strings")
    if not isinstance(counts, list) or not all(type(count) is int and 0 <= count < 2**63 for count in counts):
        raise DataError("counts are not a list of whole numbers from 0 on")
    if unknown is not None and type(unknown) is not int:
        raise DataError("unknown is neither a number nor null", got=repr(unknown))
    details = value.get("details", {})
    if not isinstance(details, dict):
        raise DataError("details are not an object", got=type(details).__name__)
    return UNITS[unit], tuple(symbols), np.array(counts, np.int64), unknown, details
