"""Reading on: what a text costs a network piece after piece, several texts side by side.

Axes: B texts, T symbols, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from unrolled.data.vocabulary import IntArray
from unrolled.errors import DivergenceError
from unrolled.tasks.language_model import LanguageModel

if TYPE_CHECKING:
    from unrolled.decoding.engine import Engine
    from unrolled.tasks.ngram import NGram
    from unrolled.tasks.ngram_model import NGramModel

__all__ = ["Floats", "MixedReader", "NGramReader", "Place", "Reader", "log_softmax"]

Floats = npt.NDArray[np.float64]
# Logits held at once: 32 MB in float32.
_LOGITS = 1 << 23
_LENGTH = 256


class Place:
    """Where B texts have been read to.

    Attributes:
        state: of the network, after the last symbol of each.
    """

    def __init__(self, state: Any, following: Floats) -> None:
        self.state, self._following = state, following

    @property
    def following(self) -> Floats:
        """(B, V) ln p of the symbol that comes next."""
        return self._following

    @property
    def texts(self) -> int:
        """B."""
        return len(self.following)


class Reader:
    """A network that reads, on the processor with its engine, elsewhere with PyTorch.

    Args:
        model: the network.
        first: (V,) the probabilities of a first symbol, which a network that has read nothing cannot know.
        engine: the network's engine, to read with it instead.
    """

    def __init__(self, model: LanguageModel, first: Floats, engine: Engine | None = None) -> None:
        self._model, self._engine = model.eval(), engine
        self._first: Floats = np.log(first)

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return len(self._first)

    def start(self, texts: int = 1) -> Place:
        """Before the first symbol of each text."""
        state = (self._engine or self._model).initial_state(texts)
        return Place(state, np.tile(self._first, (texts, 1)))

    def select(self, place: Place, texts: npt.ArrayLike) -> Place:
        """The place of some of the texts, in a new order, each as often as it is named."""
        rows = np.asarray(texts, np.int64)
        return Place((self._engine or self._model).select(place.state, rows), place.following[rows])

    def read(self, ids: npt.ArrayLike, place: Place) -> tuple[Floats, Place]:
        """The nats of every symbol of (B, T), given all before it, as (B, T); and the place after them.

        Raises:
            DivergenceError: the network gives something that is not a number.
        """
        symbols = np.asarray(ids, np.int64)
        texts, length = symbols.shape
        nats = np.zeros((texts, length))
        at = max(1, min(_LENGTH, _LOGITS // (texts * self.vocabulary_size)))
        for begin in range(0, length, at):
            part = symbols[:, begin : begin + at]
            nats[:, begin] = -place.following[np.arange(texts), part[:, 0]]
            logits, state = self._read(part, place.state)
            if part.shape[1] > 1:
                before = logits[:, :-1]
                given = before.gather(2, torch.from_numpy(part[:, 1:, None])).squeeze(2)
                found = torch.logsumexp(before, 2).double() - given.double()
                nats[:, begin + 1 : begin + part.shape[1]] = found.numpy()
            place = Place(state, log_softmax(logits[:, -1]))
        if not np.isfinite(nats).all():
            raise DivergenceError(
                "the model gives probabilities that are not finite numbers",
                fix="its training diverged: use an earlier checkpoint, or train again with a smaller --learning-rate",
            )
        return nats, place

    @torch.no_grad()
    def _read(self, symbols: IntArray, state: Any) -> tuple[torch.Tensor, Any]:
        if self._engine is not None:
            return self._engine.read(symbols, state)
        device = next(self._model.parameters()).device
        logits, state = self._model(torch.from_numpy(symbols).to(device), state)
        return logits.cpu(), state


def log_softmax(logits: torch.Tensor) -> Floats:
    """ln p of logits (..., V), in float64."""
    found: Floats = torch.log_softmax(logits.double(), -1).numpy()
    return found


class NGramReader(Reader):
    """An n-gram model that reads: the probability of each symbol is looked up, and no distribution made for it."""

    def __init__(self, model: NGramModel, first: Floats) -> None:
        super().__init__(model, first)
        self._ngram = model.ngram

    def start(self, texts: int = 1) -> Place:
        return _Counted(self._ngram, self._ngram.initial_state(texts), self._first)

    def select(self, place: Place, texts: npt.ArrayLike) -> Place:
        assert isinstance(place, _Counted)
        return _Counted(self._ngram, self._ngram.select(place.state, texts), place.first)

    def read(self, ids: npt.ArrayLike, place: Place) -> tuple[Floats, Place]:
        assert isinstance(place, _Counted)
        symbols, state = np.asarray(ids, np.int64), np.array(place.state, np.int64)
        rows = zip(symbols, state, strict=True)
        nats = np.stack([-np.log(self._ngram.likelihoods(row, after)) for row, after in rows])
        if place.first is not None:
            nats[:, 0] = -place.first[symbols[:, 0]]
        return nats, _Counted(self._ngram, state)


class _Counted(Place):
    """Where texts have been read to by an n-gram model; distributions are made where they are asked for.

    Attributes:
        first: (V,) ln p of the first symbol, before it was read.
    """

    def __init__(self, ngram: NGram, state: npt.NDArray[np.int64], first: Floats | None = None) -> None:
        self.state, self._ngram, self.first = state, ngram, first

    @property
    def following(self) -> Floats:
        if self.first is not None:
            return np.tile(self.first, (len(self.state), 1))
        found: Floats = np.log(np.stack([self._ngram.probabilities(after) for after in self.state]))
        return found

    @property
    def texts(self) -> int:
        return len(self.state)


class MixedReader(Reader):
    """Several models of the same symbols, read side by side: p is the mean of theirs, symbol by symbol.

    Args:
        readers: one or more.
    """

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = list(readers)
        self._first = readers[0]._first

    def start(self, texts: int = 1) -> Place:
        return self._mixed([reader.start(texts) for reader in self._readers])

    def select(self, place: Place, texts: npt.ArrayLike) -> Place:
        places = zip(self._readers, place.state, strict=True)
        return self._mixed([reader.select(each, texts) for reader, each in places])

    def read(self, ids: npt.ArrayLike, place: Place) -> tuple[Floats, Place]:
        places = zip(self._readers, place.state, strict=True)
        found = [reader.read(ids, each) for reader, each in places]
        return -_mean([-nats for nats, _ in found]), self._mixed([after for _, after in found])

    def _mixed(self, places: list[Place]) -> Place:
        return Place(places, _mean([place.following for place in places]))


def _mean(log_p: list[Floats]) -> Floats:
    """ln of the mean of probabilities."""
    found: Floats = np.logaddexp.reduce(log_p) - np.log(len(log_p))
    return found
