"""Options of the models of the tasks; without torch, so that the command line answers at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from unrolled.errors import ConfigurationError, nearest

__all__ = ["LanguageModelConfig", "Output"]

Output = Literal["full", "adaptive", "sampled", "mixture"]


@dataclass(frozen=True)
class LanguageModelConfig:
    """The network of a language model. What is None is chosen from the text and the budget, and printed.

    Attributes:
        cell: a cell's name (see `unrolled cells`), or FILE.py:NAME for one of your own.
        hidden_size: units of every layer; chosen from text and budget if not given.
        layers: recurrent layers on top of each other.
        embedding_size: units of a symbol's vector, as many as a layer has if not given; 0 gives the first layer the
            symbols themselves, one-hot.
        tied: the output layer has the embedding's vectors as its weights (Press & Wolf 2017; Inan et al. 2017), with
            adaptive in its clusters (Baevski & Auli 2019); the last layer then has as many units as the embedding.
        embedding_scale: what vectors are multiplied with when they are read; if not given, the root of their size where
            tied, as the output layer wants them small (Vaswani et al. 2017, section 3.4), else 1.
        dropout: probability with which a unit is dropped between layers and before the output, while training;
            chosen from the passes over the text if not given.
        variational: drop the same units at every time step of a sequence (Gal & Ghahramani 2016), the embedding's too.
        input_dropout: that of the embedding's units; if not given, dropout where variational, else 0.
        layer_dropout: that between layers, if not dropout.
        output_dropout: that before the output, if not dropout.
        embedding_dropout: probability with which a whole word is dropped, wherever it occurs in a batch.
        weight_drop: probability with which a weight of the recurrent matrices is dropped, at all time steps alike.
        activation_penalty: times the mean square of the last layer's output, after dropout, is added to the loss a
            target (AR of Merity et al. 2018, section 4.5); 0 is off.
        temporal_penalty: the same of its change from one time step to the next, before dropout (TAR); 0 is off.
        mogrifier: rounds in which input and state gate each other before the cell reads them (Melis et al. 2020; 4 or 5
            there); the embedding then is as wide as the layers.
        residual: add the input of a layer to its output, from the second layer on.
        initial_std: start all matrices from a normal distribution of this standard deviation and all vectors from zero;
            by default as the cell says.
        output: full (softmax over all symbols), adaptive (rare symbols in clusters of fewer dimensions), sampled (while
            training, over a few that are drawn) or mixture (of several softmaxes).
        cutoffs: of adaptive: how many of the most frequent symbols are in the head, then where each cluster but the
            last ends, as 2000,10000; chosen from the frequencies in the text if not given.
        divisor: of adaptive: each cluster has so many times fewer dimensions than the one before, the first than a
            layer has units.
        samples: of sampled: symbols that are drawn for a batch.
        experts: of mixture: how many softmaxes.
        initial_range: start all parameters uniformly within plus or minus this, but those that the cell gives a number.
    """

    cell: str = "lstm"
    hidden_size: int | None = None
    layers: int = 2
    embedding_size: int | None = None
    tied: bool = False
    embedding_scale: float | None = None
    dropout: float | None = None
    variational: bool = False
    input_dropout: float | None = None
    layer_dropout: float | None = None
    output_dropout: float | None = None
    embedding_dropout: float = 0.0
    weight_drop: float = 0.0
    activation_penalty: float = 0.0
    temporal_penalty: float = 0.0
    mogrifier: int = 0
    residual: bool = False
    initial_std: float | None = None
    output: Output = "full"
    cutoffs: str | None = None
    divisor: float = 4.0
    samples: int = 4096
    experts: int = 10
    initial_range: float | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigurationError(f"{name} is too small", expected=f"at least {least}", got=str(value))
        for name in _PROBABILITIES:
            self._check(name, "probability", "at least 0 and below 1", lambda value: 0 <= value < 1)
        for name, kind in _LENGTHS.items():
            self._check(name, kind, "at least 0, and finite", lambda value: 0 <= value < float("inf"))
        if self.initial_std is not None and self.initial_range is not None:
            raise ConfigurationError("initial_std and initial_range say two things", fix="keep one of them")
        if not self.embedding_size and self.embedding_size is not None and (self.tied or self.embedding_dropout):
            raise ConfigurationError(
                "tied and embedding_dropout are of an embedding", got="embedding_size 0", fix="leave it out"
            )
        if self.output not in get_args(Output):
            raise ConfigurationError(
                f"output has no such choice: {self.output!r}", fix=nearest(self.output, get_args(Output))
            )
        if not 1 <= self.divisor < float("inf"):
            raise ConfigurationError("divisor is out of range", expected="at least 1", got=str(self.divisor))
        if self.cutoffs is not None:
            self.ends  # noqa: B018

    @property
    def ends(self) -> tuple[int, ...]:
        """The cut-offs as numbers."""
        try:
            found = tuple(int(part) for part in (self.cutoffs or "").split(",") if self.cutoffs)
            ascending = all(first < second for first, second in itertools.pairwise((0, *found)))
        except ValueError:
            ascending = False
        if not ascending:
            raise ConfigurationError(
                "cutoffs are out of range",
                expected="ascending whole numbers from 1 on, with commas between them, as 2000,10000",
                got=repr(self.cutoffs),
                fix="leave them out: they are chosen from the frequencies of the text",
            )
        return found

    def _check(self, name: str, kind: str, expected: str, holds: Callable[[float], bool]) -> None:
        value = getattr(self, name)
        if value is not None and not holds(value):
            raise ConfigurationError(f"{name} is a {kind}", expected=expected, got=str(value))


_LEAST = {"hidden_size": 1, "layers": 1, "embedding_size": 0, "mogrifier": 0, "samples": 1, "experts": 1}
_PROBABILITIES = ("dropout", "input_dropout", "layer_dropout", "output_dropout", "embedding_dropout", "weight_drop")
_LENGTHS = {
    "activation_penalty": "factor",
    "temporal_penalty": "factor",
    "initial_std": "standard deviation",
    "initial_range": "bound",
    "embedding_scale": "factor",
}
