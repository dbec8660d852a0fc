"""Options of the models of the tasks; without torch, so that the command line answers at once."""

from __future__ import annotations

import itertools
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
        dropout: probability with which a unit is dropped between layers and before the output, while training;
            chosen from the passes over the text if not given.
        variational: drop the same units at every time step of a sequence, the embedding's too.
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
    """

    cell: str = "lstm"
    hidden_size: int | None = None
    layers: int = 2
    embedding_size: int | None = None
    dropout: float | None = None
    variational: bool = False
    residual: bool = False
    initial_std: float | None = None
    output: Output = "full"
    cutoffs: str | None = None
    divisor: float = 4.0
    samples: int = 4096
    experts: int = 10

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigurationError(f"{name} is too small", expected=f"at least {least}", got=str(value))
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigurationError(
                "dropout is a probability", expected="at least 0 and below 1", got=str(self.dropout)
            )
        if self.initial_std is not None and not 0 <= self.initial_std < float("inf"):
            raise ConfigurationError(
                "initial_std is a standard deviation", expected="at least 0", got=str(self.initial_std)
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


_LEAST = {"hidden_size": 1, "layers": 1, "embedding_size": 0, "samples": 1, "experts": 1}
