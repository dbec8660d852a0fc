"""Options of the models of the tasks; without torch, so that the command line answers at once."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.errors import ConfigurationError

__all__ = ["LanguageModelConfig"]


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
    """

    cell: str = "lstm"
    hidden_size: int | None = None
    layers: int = 2
    embedding_size: int | None = None
    dropout: float | None = None
    variational: bool = False
    residual: bool = False
    initial_std: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("hidden_size", 1), ("layers", 1), ("embedding_size", 0)):
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
