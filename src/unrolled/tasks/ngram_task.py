"""Fitting an n-gram model: counting, and choosing what is chosen on the validation part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from unrolled.data.configuration import Documents
from unrolled.data.scratch import Scratch
from unrolled.data.store import Tokens
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigurationError
from unrolled.tasks.ngram import NGram
from unrolled.tasks.ngram_configuration import MOST, NGramConfig
from unrolled.tasks.ngram_counts import Counts, sequence_starts
from unrolled.tasks.ngram_discounts import tune

__all__ = ["NGramTask", "Tried", "resets_lines"]

_WITHOUT_VALIDATION = 5
_PATIENCE = 2
_TUNED_ON = 200_000  # symbols: a few numbers are tuned, and all is held in memory


@dataclass(frozen=True)
class Tried:
    """One order that was looked at.

    Attributes:
        order: n.
        ngrams: of all orders up to n.
        valid: nats a symbol of the validation part; None where there is none.
    """

    order: int
    ngrams: int
    valid: float | None


class NGramTask:
    """An n-gram model and its text; see `tasks.Fittable`.

    Args:
        train: the text to count.
        valid: the text that what is chosen is chosen on; may be empty.
        vocabulary: their symbols.
        config: the model.
        documents: whether contexts begin anew with each document.
        reading: called with what is counted, the symbols read so far and their number.
        tried: called with every order that was looked at.

    Raises:
        ConfigurationError: something is to be chosen on the validation part, and there is none; or contexts are to
            begin anew with each line, and no symbol ends a line.
    """

    def __init__(
        self,
        train: Tokens,
        valid: Tokens,
        vocabulary: Vocabulary,
        config: NGramConfig | None = None,
        *,
        documents: Documents = "carry",
        reading: Callable[[str, int, int], None] | None = None,
        tried: Callable[[Tried], None] | None = None,
    ) -> None:
        self.config = config = config or NGramConfig()
        self._train, self._valid, self._documents = train, valid, documents == "reset"
        self._size, self._reading, self._tried = vocabulary.size, reading, tried
        self.boundary = vocabulary.line_end if resets_lines(config, vocabulary) else None
        if config.lines == "reset" and self.boundary is None:
            raise ConfigurationError(
                "contexts cannot begin anew with each line: no symbol ends one",
                got=f"unit {vocabulary.unit}",
                fix="leave out --lines reset, or use a text with lines in another --unit",
            )
        if config.discounts == "tuned" and len(valid) < 2:
            raise ConfigurationError(
                "discounts are tuned on the validation part, and there is none",
                fix="give one with --split or --valid, or leave them estimated",
            )

    def fit(self) -> NGram:
        """Count, up to the order that was given, or until two orders in a row are not better than the best.

        Orders are compared with estimated discounts; those of the chosen one are tuned, where that is asked for.

        Raises:
            StorageError: the disk is full.
        """
        best: NGram | None = None
        lowest, worse = math.inf, 0
        for model in self._orders():
            loss = self.validate(model)
            if self._tried is not None:
                self._tried(Tried(model.order, model.ngrams, loss))
            if best is None or loss is None or self.config.order is not None or loss < lowest:
                best, lowest, worse = model, math.inf if loss is None else loss, 0
            else:
                worse += 1
            if worse == _PATIENCE:
                break
        assert best is not None
        return self._tuned(best) if self.config.discounts == "tuned" else best

    def _orders(self) -> Iterator[NGram]:
        """The models that are looked at, counted as they are asked for."""
        scratch = Scratch(int(self.config.in_memory * 1e9))
        counts = Counts(self._train, self._size, documents=self._documents, boundary=self.boundary, scratch=scratch)
        last = self.config.order or (_WITHOUT_VALIDATION if len(self._valid) < 2 else MOST)
        for order in range(1, last + 1):
            if order > 1:
                counts.grow(None if self._reading is None else self._counting(order))
            if order == last or (self.config.order is None and len(self._valid) > 1):
                yield NGram.of(counts, order, boundary=self.boundary, scratch=scratch)

    def _counting(self, order: int) -> Callable[[int, int], None]:
        reading = self._reading
        assert reading is not None
        return lambda done, total: reading(f"counting {order}-grams", done, total)

    def _tuned(self, model: NGram) -> NGram:
        keep = min(len(self._valid), _TUNED_ON)
        starts = sequence_starts(self._valid, 0, keep, None, True) if self._documents else None
        table = model.look(np.asarray(self._valid.ids[:keep]), model.initial_state(1)[0], starts)
        return model.with_discounts(tune(table[1:], model.discounts, self._size))

    def validate(self, model: NGram) -> float | None:
        """Nats a symbol of the validation part; its first is not predicted."""
        if len(self._valid) < 2:
            return None
        p = model.text_likelihoods(self._valid, documents=self._documents)
        counting = np.arange(len(p)) > 0
        if self._documents:
            counting[self._valid.document_starts] = False
        return float(-np.log(p[counting]).mean()) if counting.any() else None


def resets_lines(config: NGramConfig, vocabulary: Vocabulary) -> bool:
    """Whether contexts begin anew with each line: as was said, else where symbols are words."""
    return config.lines == "reset" if config.lines is not None else vocabulary.unit == "word"
