"""`suggest`: the words that may come next, as one types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unrolled.data.vocabulary import UNKNOWN, IntArray
from unrolled.decoding.beam import beam_search
from unrolled.decoding.sampling import Floats, diverged
from unrolled.errors import ConfigurationError
from unrolled.verbs.using import LanguageModelRun

__all__ = ["Suggester", "Suggestion"]

# Letters, digits, underscores and apostrophes make a word; a model of words cut between spaces knows more.
_WORD = re.compile(r"[\w'’]*\Z")
_RUN = re.compile(r"\S*\Z")
_KEPT = 512  # states of the text typed last, so that going back costs nothing
_SPARSE = 256  # and one in so many of those before


@dataclass(frozen=True)
class Suggestion:
    """A word that may come.

    Attributes:
        word: the whole word, with what was typed of it.
        rest: what is left to type.
        p: its probability given all that was typed, the beginning of the word included.
    """

    word: str
    rest: str
    p: float


class Suggester:
    """Suggests words for a text that grows and shrinks: what was read stays read, only what is new is stepped.

    A model of words is asked for the word as a whole: p(word | text before) over the sum of those that begin with what
    was typed. A model of characters or bytes has read the beginning of the word, and a beam search goes on to its end:
    p is that of the letters that are left and of anything that is no letter after them.

    Args:
        model: the run.
        count: how many suggestions.
        width: beams, for a model of characters or bytes.
        length: letters that a word may still have, for such a model.

    Raises:
        ConfigurationError: a number below 1, or a model of other units.
    """

    def __init__(self, model: LanguageModelRun, *, count: int = 5, width: int = 16, length: int = 24) -> None:
        for name, value in (("count", count), ("width", width), ("length", length)):
            if value < 1:
                raise ConfigurationError(f"{name} is too small", expected="at least 1", got=str(value))
        self._vocabulary = model.vocabulary
        if self._vocabulary.unit not in ("char", "byte", "word"):
            raise ConfigurationError(
                f"suggestions from a model of {self._vocabulary.unit}s are not made",
                expected="a model of characters, bytes or words",
                fix="train with --unit word or --unit char",
            )
        self._whole = self._vocabulary.unit == "word"
        self._half = _RUN if getattr(self._vocabulary, "splitter", "") == "spaces" else _WORD
        self._count, self._width, self._length = count, max(width, count), length
        self._steps = model.branches()
        self._ids: IntArray = np.empty(0, np.int64)
        self._states: dict[int, Any] = {0: self._steps.initial_state(1)}
        self._last: tuple[Floats, Any] | None = None

    def suggest(self, text: str) -> list[Suggestion]:
        """The likeliest words at the end of a text, likeliest first: the next, where the text ends between words; the
        ways to complete the last, where it ends inside one.

        Raises:
            DivergenceError: the model gives something that is not a number.
        """
        found = self._half.search(text)
        half = found.group() if found else ""
        if self._whole:
            return self._words(self._read(text[: len(text) - len(half)])[0], half)
        return self._completions(*self._read(text), half)

    def _words(self, following: Floats, half: str) -> list[Suggestion]:
        p = np.exp(following)
        begins = self._begins(half)
        total = float(p[begins].sum())
        best = begins[np.argsort(-p[begins], kind="stable")[: 4 * self._count]]
        merged: dict[str, float] = {}
        for at in best.tolist():
            # A word that is attached to others is a symbol of its own.
            merged[self._texts[at]] = merged.get(self._texts[at], 0.0) + float(p[at]) / total
        ranked = sorted(merged.items(), key=lambda each: -each[1])[: self._count]
        return [Suggestion(word, word[len(half) :], p) for word, p in ranked]

    def _completions(self, following: Floats, state: Any, half: str) -> list[Suggestion]:
        ways = beam_search(
            self._steps,
            following,
            state,
            width=self._width,
            length=self._length,
            ends=self._ends,
            empty=bool(half),
            count=self._count,
        )
        rests = [(self._vocabulary.decode(way.tokens), way.log_p) for way in ways if way.ended]
        # Bytes that are no whole character are no word.
        return [Suggestion(half + rest, rest, float(np.exp(log_p))) for rest, log_p in rests if "\ufffd" not in rest]

    def _begins(self, half: str) -> IntArray:
        """The symbols that begin with some letters; without regard to case where none does."""
        if not half:
            return self._symbols
        found = [at for at in self._symbols.tolist() if self._texts[at].startswith(half)]
        if not found:
            low = half.lower()
            found = [at for at in self._symbols.tolist() if self._texts[at].lower().startswith(low)]
        return np.array(found, np.int64)

    @cached_property
    def _texts(self) -> list[str]:
        """(V,) the symbols as they are shown."""
        return [self._vocabulary.decode([at]).strip() for at in range(self._vocabulary.size)]

    @cached_property
    def _symbols(self) -> IntArray:
        """The symbols that are words."""
        shown = enumerate(zip(self._texts, self._vocabulary.symbols, strict=True))
        words = [at for at, (text, name) in shown if at != self._vocabulary.unknown and text and name != UNKNOWN]
        return np.array([at for at in words if any(map(str.isalnum, self._texts[at]))], np.int64)

    @cached_property
    def _ends(self) -> npt.NDArray[np.bool_]:
        """(V,) the characters, or bytes, that are no part of a word."""
        ends = []
        for at, name in enumerate(self._vocabulary.symbols):
            letter = len(name) == 1 and bool(_WORD.match(name) and (name.isalnum() or name in "_'’"))
            ends.append(not letter and not name.startswith("\\x") and at != self._vocabulary.unknown)
        found = np.array(ends, np.bool_)
        if self._vocabulary.unknown is not None:
            found[self._vocabulary.unknown] = True
        return found

    @torch.no_grad()
    def _read(self, text: str) -> tuple[Floats, Any]:
        """(V,) ln p of the symbol after a text, and the state there."""
        ids, _ = self._vocabulary.encode_known(text)
        same = min(len(ids), len(self._ids))
        differ = np.flatnonzero(ids[:same] != self._ids[:same])
        same = int(differ[0]) if len(differ) else same
        if self._last is not None and same == len(ids) == len(self._ids):
            return self._last
        self._states = {at: state for at, state in self._states.items() if at <= same}
        self._ids = ids
        if not len(ids):
            self._last = np.log(self._vocabulary.unigram()), self._states[0]
            return self._last
        # The logits at the end are those of one step: from the last state before it that is kept.
        at = max(place for place in self._states if place < len(ids))
        state = self._states[at]
        for place in range(at, len(ids)):
            logits, state = self._steps.step(torch.from_numpy(ids[place : place + 1]), state)
            if place >= len(ids) - _KEPT or not (place + 1) % _SPARSE:
                self._states[place + 1] = state
        if len(self._states) > 2 * _KEPT:
            first = len(ids) - _KEPT
            self._states = {at: state for at, state in self._states.items() if at >= first or not at % _SPARSE}
        row: Floats = torch.log_softmax(logits[0].double().cpu(), -1).numpy()
        if np.isnan(row).any():
            raise diverged()
        self._last = row, state
        return row, state
