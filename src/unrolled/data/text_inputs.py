"""Texts as a network that labels them reads them: ids of characters, bytes, words or subwords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from unrolled.data.configuration import Unit
from unrolled.data.inputs import Input, check_values, cut_down
from unrolled.data.labelled_configuration import Case, Cut, LabelledConfig
from unrolled.data.preparation import type_for
from unrolled.data.ragged import Ragged
from unrolled.data.subwords import Subwords
from unrolled.data.vocabulary import UNKNOWN, Bytes, Characters, IntArray, Vocabulary
from unrolled.data.words import Words
from unrolled.errors import DataError

__all__ = ["TextInput", "choose_reading"]

_SAMPLE = 10_000  # texts that are looked at to choose what was not given
_FEW_WORDS = 4.0  # words a text, on average, below which its characters are read
_LONG_WORD = 20.0  # characters a word, on average, above which white space does not cut the text into words
_MIN_COUNT = 2
_MOST_WORDS = 30_000
_AT_ONCE = 256  # texts that are put together
_COVERED = 99  # percent of the training part that are not cut
_SHORT = 100  # tokens, which are never too many


@dataclass(frozen=True, eq=False)
class TextInput(Input):
    """Texts as ids.

    Attributes:
        vocabulary: the symbols. What is not among them is the unknown symbol, so that there is an id for any text.
        case: "fold" reads capitals as small letters.
        max_length: longer texts are cut down to so many tokens; None for no limit.
        cut: which part of them goes.
    """

    name = "text"
    vocabulary: Vocabulary
    case: Case = "keep"
    max_length: int | None = None
    cut: Cut = "end"

    @classmethod
    def fit(cls, texts: Sequence[str], config: LabelledConfig) -> TextInput:
        """The input that fits the texts of a training part; what is not given is chosen by `choose_reading`."""
        check_values(texts, str, "a text")
        reading = choose_reading(texts, config)
        case = reading.case or "keep"
        folded = [text.lower() if case == "fold" else text for text in texts]
        return cls(_count(folded, reading, config.min_count), case)._cut(texts, config)

    @classmethod
    def of_vocabulary(cls, vocabulary: Vocabulary, texts: Sequence[str], config: LabelledConfig) -> TextInput:
        """That of the symbols of a language model; capitals are folded where it knows none, if nothing else is said."""
        capitals = any(symbol != symbol.lower() for symbol in vocabulary.symbols)
        return cls(vocabulary, config.case or ("keep" if capitals else "fold"))._cut(texts, config)

    def _cut(self, texts: Sequence[str], config: LabelledConfig) -> TextInput:
        """The same with the limit of the length that is given, or fits the texts."""
        found = replace(self, max_length=config.max_length, cut=config.cut)
        if config.max_length is None:
            lengths = np.sort(found.encode(texts).lengths)
            longest = max(_SHORT, int(lengths[-(-_COVERED * len(lengths) // 100) - 1]))
            if longest < lengths[-1]:
                found = replace(found, max_length=longest)
        return found

    @property
    def symbols(self) -> int:
        return self.vocabulary.size

    @property
    def unknown(self) -> int | None:
        return self.vocabulary.unknown

    @property
    def about(self) -> str:
        unit = {"char": "characters", "byte": "bytes", "word": "words", "subword": "subwords"}[self.vocabulary.unit]
        folded = ", in small letters" if self.case == "fold" else ""
        limit = "" if self.max_length is None else f"; cut to {self.max_length:,}, without the {self.cut}"
        return f"{self.vocabulary.size:,} {unit}{folded}{limit}"

    def chosen(self, config: LabelledConfig) -> LabelledConfig:
        splitter = self.vocabulary.splitter if isinstance(self.vocabulary, Words) else None
        unit: Unit = self.vocabulary.unit  # type: ignore[assignment]
        return replace(config, unit=unit, splitter=splitter, case=self.case, max_length=self.max_length)

    def encode(self, values: Sequence[str]) -> Ragged:
        check_values(values, str, "a text")
        kind = type_for(self.vocabulary.size)
        return Ragged.of((self._ids(text).astype(kind) for text in values), np.empty(0, kind))

    def _ids(self, text: str) -> IntArray:
        text = text.lower() if self.case == "fold" else text
        # Where all is known or unknown, nobody asks which words are not. What a unit without an unknown symbol cannot
        # read (a lone surrogate, which JSON can spell and UTF-8 cannot) is left out.
        known = self.vocabulary
        ids = known.find(text)[0] if known.unknown is None else known.encode(text)
        if not len(ids):
            ids = np.array([self.vocabulary.unknown or 0], np.int64)
        found: IntArray = cut_down(ids, self.max_length, self.cut)
        return found

    def tokens(self, text: str) -> list[str]:
        """The symbols that a text is read as, by their names."""
        return [self.vocabulary.symbols[token] for token in self._ids(text).tolist()]

    def unknown_share(self, found: Ragged) -> float:
        """The share of the tokens that are the unknown symbol."""
        if self.vocabulary.unknown is None or not len(found.values):
            return 0.0
        return float(np.mean(found.values == self.vocabulary.unknown))

    def details(self) -> dict[str, Any]:
        return {
            "vocabulary": self.vocabulary.to_json(),
            "case": self.case,
            "max_length": self.max_length,
            "cut": self.cut,
        }

    @classmethod
    def build(cls, details: Mapping[str, Any], where: str) -> TextInput:
        if set(details) != {"vocabulary", "case", "max_length", "cut"}:
            raise DataError("not an input of texts", got=", ".join(sorted(map(str, details))), where=where)
        case, cut, longest = details["case"], details["cut"], details["max_length"]
        fits = longest is None or (type(longest) is int and longest > 0)
        if case not in get_args(Case) or cut not in get_args(Cut) or not fits:
            got = f"case {case!r}, cut {cut!r}, max_length {longest!r}"
            raise DataError("not an input of texts", got=got, where=where)
        return cls(Vocabulary.from_json(details["vocabulary"], where), case, longest, cut)


def choose_reading(texts: Sequence[str], config: LabelledConfig) -> LabelledConfig:
    """Fill in what is None, but for the length: unit, splitter, case, how rare a symbol may be.

    Words are read where white space cuts the texts into several words of a usual length, characters elsewhere: names,
    codes, and languages that are written without spaces.
    """
    sample = texts[:: max(1, len(texts) // _SAMPLE)]
    unit: Unit
    if config.unit is not None:
        unit = config.unit
    elif config.vocabulary_size is not None or config.splitter is not None:
        unit = "word"
    else:
        words = sum(len(text.split()) for text in sample)
        characters = sum(map(len, sample))
        unit = "word" if words >= _FEW_WORDS * len(sample) and characters <= _LONG_WORD * words else "char"
    least = config.min_count
    if least is None:
        least = 1 if unit == "byte" else _MIN_COUNT
    size = config.vocabulary_size
    if size is None and unit == "word":
        size = _MOST_WORDS
    splitter = config.splitter or ("rules" if unit == "word" else None)
    case = config.case or ("fold" if unit == "word" else "keep")
    return replace(config, unit=unit, splitter=splitter, case=case, min_count=least, vocabulary_size=size)


def _count(texts: Sequence[str], reading: LabelledConfig, given: int | None) -> Vocabulary:
    """The vocabulary of some texts, with an unknown symbol wherever the unit has one.

    Args:
        texts: of the training part.
        reading: how they are read, with nothing left to choose.
        given: how rare a symbol may be, where that was given; else all are kept where all of them are rare.
    """
    try:
        found = _of_unit(texts, reading, reading.min_count or 1)
        if reading.unit != "word" or found.size > 2:  # more than line end and unknown
            return found
    except DataError:
        if given is not None:
            raise
    if given is not None:
        raise DataError(
            "no word is left for the vocabulary", got=f"none that is seen {given} times", fix="lower --min-count"
        )
    return _of_unit(texts, reading, 1)


def _of_unit(texts: Sequence[str], config: LabelledConfig, least: int) -> Vocabulary:
    apart = _joined(texts)
    if config.unit == "word":
        return Words.count(apart, least, vocabulary_size=config.vocabulary_size, splitter=config.splitter or "rules")
    if config.unit == "subword":
        return Subwords.count(apart, least, vocabulary_size=config.vocabulary_size)
    if config.unit == "byte":
        return Bytes.count(apart, least)
    found = Characters.count(iter(texts), least)
    if found.unknown is None:
        return Characters((*found.symbols, UNKNOWN), np.append(found.counts, 0), found.size)
    return found


def _joined(texts: Sequence[str]) -> Iterator[str]:
    """The texts in lines, so that no word or pair is made of the end of one and the start of the next."""
    for begin in range(0, len(texts), _AT_ONCE):
        yield "\n".join(texts[begin : begin + _AT_ONCE]) + "\n"
