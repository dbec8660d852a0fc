"""Tests of memory made of English sentences: a word decides another one, many words later.

A sentence is a row of slots, each a choice of words. For a network that is trained on the test, the words are its
symbols, and all sentences of a batch have the same slots. For a language model that is asked what it has learnt from a
text of its own, each sentence is written out, with capitals and punctuation, beside two continuations of which one is
right.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unrolled.data.memory import MemoryBatch, MemoryTest, Plan, plan_distances
from unrolled.errors import ConfigurationError, DataError

__all__ = ["Agreement", "Question", "Recall", "SentenceTest", "Style", "Year"]

_Slot = tuple[str, ...]
_Known = Callable[[str], bool]


def _cut(words: str) -> _Slot:
    return tuple(words.split())


_NOUNS = (
    *((word, word + "s") for word in _cut("king girl boy friend brother sister teacher doctor soldier lord dog cat")),
    *((word, word + "s") for word in _cut("horse bird ship river tree garden house door table road letter book")),
    ("man", "men"),
    ("woman", "women"),
    ("child", "children"),
)
_SEEN = _cut("saw found followed heard knew loved feared left remembered")
_SLEPT = _cut("slept waited came fell stood laughed vanished")
_WHERE = _cut("near behind beside under above before")
_OFTEN = _cut("often never always then now again")
_COUNTRIES = (
    ("France", "French"),
    ("Spain", "Spanish"),
    ("Germany", "German"),
    ("Italy", "Italian"),
    ("Russia", "Russian"),
    ("Poland", "Polish"),
    ("Greece", "Greek"),
    ("China", "Chinese"),
    ("Japan", "Japanese"),
    ("Portugal", "Portuguese"),
)
_PLACES = _cut("Nepal Peru Kenya Iceland Cuba India Egypt Norway")
_YEARS = tuple(str(year) for year in range(1996, 2016))
_COMMA, _STOP = (",",), (".",)


@dataclass(frozen=True)
class Style:
    """How sentences are written out.

    Attributes:
        capitals: with capital letters.
        marks: with commas and full stops.
    """

    capitals: bool = True
    marks: bool = True


@dataclass(frozen=True)
class Question:
    """A sentence that is written out up to the word that is asked for.

    Attributes:
        text: ends before the space of that word.
        options: two continuations, each with its space.
        answer: which is right.
        shortcut: which of them one takes who takes what is nearest.
    """

    text: str
    options: tuple[str, str]
    answer: int
    shortcut: int


_PLAIN = Style()


class SentenceTest(MemoryTest):
    """A test made of sentences.

    Args:
        known: which words may be used; all if not given.

    Raises:
        DataError: too few of its words are known.
    """

    def __init__(self, known: _Known | None = None) -> None:
        self._known: _Known = known or (lambda word: True)
        self._slots: dict[_Slot, npt.NDArray[np.int64]] = {}
        self._number = {word: index for index, word in enumerate(sorted(self._lexicon()))}
        self.symbols = len(self._number)

    def questions(
        self, source: np.random.Generator, count: int, distance: int, style: Style = _PLAIN
    ) -> list[Question]:
        """So many sentences, written out; each second one is the one before with the other answer.

        Raises:
            ConfigurationError: the test has none.
        """
        raise ConfigurationError(
            f"the test {self.name!r} is for cells: a language model cannot be asked", expected="agreement or recall"
        )

    @abstractmethod
    def _lexicon(self) -> set[str]:
        """All words of the test."""

    @property
    def lexicon(self) -> frozenset[str]:
        """All words of the test, known or not."""
        return frozenset(self._number)

    def words(self, x: npt.NDArray[np.int64]) -> str:
        """Symbols (T,) as words."""
        listed = list(self._number)
        return " ".join(listed[symbol] for symbol in x)

    def _some(self, words: Sequence[str]) -> _Slot:
        return tuple(word for word in words if self._known(word))

    def _ids(self, slot: _Slot) -> npt.NDArray[np.int64]:
        if slot not in self._slots:
            self._slots[slot] = np.array([self._number[word] for word in slot])
        return self._slots[slot]

    def _fill(self, source: np.random.Generator, count: int, slots: Sequence[_Slot]) -> npt.NDArray[np.int64]:
        """Symbols (B, T): a word of each slot, punctuation left out."""
        drawn = [self._ids(slot) for slot in slots if slot not in (_COMMA, _STOP)]
        return np.stack([ids[source.integers(0, len(ids), count)] for ids in drawn], 1)

    def _compose(self, source: np.random.Generator, length: int, pieces: Sequence[list[_Slot]]) -> list[_Slot]:
        """Pieces one after the other, drawn among those that fit, long ones more often, with so many words together."""
        made: list[_Slot] = []
        left = length
        while left:
            fit = [piece for piece in pieces if _words(piece) <= left]
            if not fit:
                raise DataError("too few words of the test are known to make a sentence of every length")
            sizes = np.array([_words(piece) ** 2 for piece in fit])
            piece = fit[int(source.choice(len(fit), p=sizes / sizes.sum()))]
            made += piece
            left -= _words(piece)
        return made


def _words(slots: Sequence[_Slot]) -> int:
    return sum(slot not in (_COMMA, _STOP) for slot in slots)


def _written(words: Sequence[str], style: Style) -> str:
    """Words as a text: a space between two, none before punctuation, a capital at the beginning of a sentence."""
    text, begins = "", True
    for word in words:
        if word in ",.":
            text += word if style.marks else ""
        else:
            text += (" " if text else "") + (word[0].upper() + word[1:] if begins else word)
        begins = word == "."
    return text if style.capitals else text.lower()


class Agreement(SentenceTest):
    """Was or were? The number of a verb is that of its subject, whatever other nouns stand between (Linzen, Dupoux &
    Goldberg 2016).

    "Near the trees, the cat, which the dogs saw behind the house, was": the distance is the number of words between
    subject and verb. Every other noun is singular or plural by a coin of its own, before the subject too.
    """

    name = "agreement"
    about = "was or were, by the number of a subject with other nouns between"
    counts = "words between subject and verb"
    about_shortcut = "the number of the last noun before the verb"
    outcomes = 2
    verbs = ("was", "were")

    def __init__(self, known: _Known | None = None) -> None:
        super().__init__(known)
        for what, words in (("nouns", self._numbers()[0]), ("verbs", self._some(self.verbs))):
            if len(words) < 2:
                raise DataError(f"too few {what} of the test are known", expected="at least 2", got=str(len(words)))

    def _lexicon(self) -> set[str]:
        nouns = self._numbers()
        return {*nouns[0], *nouns[1], *_SEEN, *_SLEPT, *_WHERE, *_OFTEN, "the", "which"}

    def _numbers(self) -> tuple[_Slot, _Slot]:
        """The nouns, singular and plural, of which both are known."""
        kept = [pair for pair in _NOUNS if all(map(self._known, pair))]
        return tuple(pair[0] for pair in kept), tuple(pair[1] for pair in kept)

    def _slotted(self, source: np.random.Generator, distance: int) -> tuple[list[_Slot], list[_Slot]]:
        """What stands before the subject, "the" included, and what between it and the verb."""
        any_noun = self._numbers()[0] + self._numbers()[1]
        place = [self._some(_WHERE), ("the",), any_noun]
        often, slept, seen = self._some(_OFTEN), self._some(_SLEPT), self._some(_SEEN)
        pieces = [[often], [("which",), slept], place, [("which",), ("the",), any_noun, seen]]
        pieces = [piece for piece in pieces if all(piece) and all(map(self._known, piece[0]))]
        before = place * int(source.integers(0, 3)) if place in pieces else []
        return [*before, *([_COMMA] if before else []), ("the",)], self._compose(source, distance, pieces)

    def batch(self, source: np.random.Generator, count: int, distance: int) -> MemoryBatch:
        before, between = self._slotted(source, distance)
        numbers = self._numbers()
        y = source.integers(0, 2, count)
        # The same noun in both numbers: which one it is says nothing.
        subject = np.stack([self._ids(each) for each in numbers])[y, source.integers(0, len(numbers[0]), count)]
        parts = [self._fill(source, count, before), subject[:, None]]
        if between:
            parts.append(self._fill(source, count, between))
        x = np.concatenate(parts, 1)
        nouns = np.isin(x, np.concatenate([self._ids(each) for each in numbers]))
        last = x.shape[1] - 1 - np.argmax(nouns[:, ::-1], 1)
        shortcut = np.isin(x[np.arange(count), last], self._ids(numbers[1])).astype(np.int64)
        return MemoryBatch(x, y[:, None], np.array([x.shape[1] - 1]), distance, shortcut[:, None])

    def questions(
        self, source: np.random.Generator, count: int, distance: int, style: Style = _PLAIN
    ) -> list[Question]:
        """So many sentences, written out; each second one is the one before with a subject of the other number."""
        made = []
        numbers = self._numbers()
        for _ in range((count + 1) // 2):
            before, between = self._slotted(source, distance)
            noun = int(source.integers(0, len(numbers[0])))
            head, tail = ([str(source.choice(slot)) for slot in slots] for slots in (before, between))
            marks = [[","], [","]] if tail else [[], []]
            for answer in (0, 1):
                words = [*head, numbers[answer][noun], *marks[0], *tail, *marks[1]]
                nearest = next(word for word in reversed(words) if word in numbers[0] + numbers[1])
                options = (f" {self.verbs[0]} ", f" {self.verbs[1]} ")
                made.append(Question(_written(words, style), options, answer, int(nearest in numbers[1])))
        return made[:count]


class Recall(SentenceTest):
    """I grew up in France ... I speak fluent French (the example that courses explain long dependencies with): which
    language, with other countries in between and before.

    The distance is the number of words between the country and "I speak fluent".
    """

    name = "recall"
    about = "the language of the country that somebody grew up in"
    counts = "words between the country and 'I speak fluent'"
    about_shortcut = "the language of the country that was named last"
    outcomes = len(_COUNTRIES)

    def __init__(self, known: _Known | None = None) -> None:
        super().__init__(known)
        self._kept = [pair for pair in _COUNTRIES if all(map(self._known, pair))]
        if len(self._kept) < 2:
            raise DataError(
                "too few countries with their languages are known", expected="at least 2", got=str(len(self._kept))
            )

    def _lexicon(self) -> set[str]:
        told = _cut("I grew up in speak fluent my friend visited later we saw the it rained they left early")
        return {*told, *(country for country, _ in _COUNTRIES), *(noun for noun, _ in _NOUNS)}

    def _slotted(self, source: np.random.Generator, distance: int) -> tuple[list[_Slot], list[_Slot]]:
        """What stands before "I grew up in", and what between the country and "I speak fluent"."""
        country = tuple(country for country, _ in self._kept)
        nouns = self._some([noun for noun, _ in _NOUNS])
        sentences: list[list[_Slot]] = [
            [("my",), ("friend",), ("visited",), country, _STOP],
            [("we",), ("saw",), ("the",), nouns, _STOP],
            [("they",), ("left",), ("early",), _STOP],
            [("it",), ("rained",), _STOP],
            [("later",)],
        ]
        sentences = [
            each for each in sentences if all(each) and all(self._known(slot[0]) for slot in each if slot != _STOP)
        ]
        before = self._compose(source, int(source.choice((0, 4, 8))), sentences)
        return before, self._compose(source, distance, sentences)

    _HEAD: tuple[_Slot, ...] = (("I",), ("grew",), ("up",), ("in",))
    _TAIL: tuple[_Slot, ...] = (("I",), ("speak",), ("fluent",))

    def batch(self, source: np.random.Generator, count: int, distance: int) -> MemoryBatch:
        before, between = self._slotted(source, distance)
        country = tuple(country for country, _ in _COUNTRIES)
        x = self._fill(source, count, [*before, *self._HEAD, country, *between, *self._TAIL])
        named = self._ids(country)
        language = np.full(self.symbols, -1)
        language[named] = np.arange(len(named))
        asked = _words(before) + len(self._HEAD)
        heard = np.isin(x, named)
        last = x.shape[1] - 1 - np.argmax(heard[:, ::-1], 1)
        y, shortcut = language[x[:, asked]], language[x[np.arange(count), last]]
        return MemoryBatch(x, y[:, None], np.array([x.shape[1] - 1]), distance, shortcut[:, None])

    def questions(
        self, source: np.random.Generator, count: int, distance: int, style: Style = _PLAIN
    ) -> list[Question]:
        """So many texts, written out, with two languages to choose from; each second one is the one before with the
        other country in its place."""
        made = []
        for _ in range((count + 1) // 2):
            before, between = self._slotted(source, distance)
            pair = [self._kept[index] for index in source.choice(len(self._kept), 2, replace=False)]
            # Who names another country names one of the two.
            names = tuple(country for country, _ in pair)
            every = tuple(country for country, _ in self._kept)
            head, tail = (
                [str(source.choice(names if slot == every else slot)) for slot in slots] for slots in (before, between)
            )
            for answer in (0, 1):
                middle = [*(slot[0] for slot in self._HEAD), names[answer], "."]
                words = [*head, *middle, *tail, *(slot[0] for slot in self._TAIL)]
                nearest = next(word for word in reversed(words) if word in names)
                options = tuple(f" {each}" if style.capitals else f" {each.lower()}" for _, each in pair)
                made.append(Question(_written(words, style), (options[0], options[1]), answer, names.index(nearest)))
        return made[:count]


class Year(SentenceTest):
    """I went to Nepal in 2009, or: In 2009, I went to Nepal. The year, wherever it stands (Goodfellow, Bengio &
    Courville 2016, chapter 10).

    Trained with the year at some positions of the sentence, tested at others. Other words stand around it, so that all
    sentences of training are equally long; the distance is the number of words after the year. A network with weights
    of its own for each position cannot know what it has not seen there; one that shares them can.
    """

    name = "year"
    about = "the year, wherever it stands in the sentence"
    counts = "words after the year"
    about_shortcut = "always the same year"
    outcomes = len(_YEARS)
    every: int = 8
    """Every eighth position is trained."""

    _SIZE = 6  # words of "I went to Nepal in 2009"

    def __init__(self, known: _Known | None = None) -> None:
        super().__init__(known)
        self.longest = 0

    def _lexicon(self) -> set[str]:
        return {*_YEARS, *_PLACES, *_OFTEN, *_numbers(), *_cut("I went to in we saw it rained with friends")}

    def plan(self, longest: int, tested: Sequence[int]) -> Plan:
        """Trained: every eighth distance up to the longest. Sentences of training have `longest` + 6 words."""
        self.longest = longest
        tested = plan_distances(longest, tested).tested
        return Plan(tuple(range(0, longest + 1, self.every)), tested)

    def batch(self, source: np.random.Generator, count: int, distance: int) -> MemoryBatch:
        length = max(distance, self.longest) + self._SIZE
        before = length - 1 - distance
        pieces: list[list[_Slot]] = [
            [_OFTEN],
            [("it",), ("rained",)],
            [("with",), _numbers(), ("friends",)],
            [("we",), ("saw",), _PLACES],
        ]
        said: list[_Slot] = [("I",), ("went",), ("to",), _PLACES]
        first = distance >= len(said) and (before < self._SIZE - 1 or bool(source.integers(0, 2)))
        head, tail = (1, len(said)) if first else (1 + len(said), 0)
        slots = [
            *self._compose(source, before - head, pieces),
            *([("in",), _YEARS, *said] if first else [*said, ("in",), _YEARS]),
            *self._compose(source, distance - tail, pieces),
        ]
        x = self._fill(source, count, slots)
        which = np.full(self.symbols, -1)
        which[self._ids(_YEARS)] = np.arange(len(_YEARS))
        y = which[x[:, before]]
        return MemoryBatch(x, y[:, None], np.array([length - 1]), distance, np.zeros_like(y)[:, None])


def _numbers() -> _Slot:
    return tuple(str(number) for number in range(2, 13))
