"""Options of classification; without torch, so that the command line answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from unrolled.data.configuration import DecodingErrors, Splitter, TextConfig, Unit
from unrolled.errors import ConfigurationError

__all__ = ["DEFAULTS", "ClassifierConfig", "LabelledConfig", "Pooling"]

Pooling = Literal["last", "mean", "max", "attention"]
DEFAULTS: dict[str, Any] = {"minutes": 2.0, "clip_norm": 1.0}
"""Fields of `TrainingConfig` whose defaults are others for this task."""


@dataclass(frozen=True)
class LabelledConfig:
    """How labelled sequences are read, and which are trained on.

    Attributes:
        text: the column of the text; "text" if not given.
        label: the column of the label; "label" if not given.
        unit: what one token is: char, byte, word or subword.
        splitter: how words are cut: spaces or rules.
        min_count: what is seen fewer times in the training part is unknown.
        vocabulary_size: keep only so many words or subwords, all if not given.
        errors: what a byte that is not UTF-8 does: "strict" stops with its offset, "replace" reads it as U+FFFD.
        split: train/valid/test in percent of the examples, drawn at random, where the parts are not given as files.
        split_seed: of that draw.
    """

    text: str = "text"
    label: str = "label"
    unit: Unit = "char"
    splitter: Splitter = "spaces"
    min_count: int = 1
    vocabulary_size: int | None = None
    errors: DecodingErrors = "strict"
    split: str = "80/10/10"
    split_seed: int = 0

    def __post_init__(self) -> None:
        self.tokens()

    def tokens(self) -> TextConfig:
        """How a text becomes tokens, as a language model has it (`ConfigurationError` if that is not possible)."""
        return TextConfig(
            unit=self.unit,
            splitter=self.splitter,
            min_count=self.min_count,
            vocabulary_size=self.vocabulary_size,
            errors=self.errors,
            split=self.split,
        )


@dataclass(frozen=True)
class ClassifierConfig:
    """The network of a classifier. What is None is chosen from the data and printed.

    Attributes:
        cell: the name of a built-in cell, or FILE.py:NAME for one of your own.
        layers: L recurrent layers, one on top of the other.
        hidden_size: H units of each layer, in each direction.
        embedding_size: E numbers that stand for a symbol; 0 gives symbols as they are, one-hot.
        bidirectional: read each sequence forward and backward.
        pooling: how the outputs over time become one vector: last (the state after the whole sequence), mean, max or
            attention (weights that are learned).
        dropout: share of the units dropped between layers and before the output, while training.
    """

    cell: str = "lstm"
    layers: int = 1
    hidden_size: int | None = None
    embedding_size: int | None = None
    bidirectional: bool = True
    pooling: Pooling = "max"
    dropout: float | None = None

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ConfigurationError("layers is out of range", expected="at least 1", got=str(self.layers))
        if self.hidden_size is not None and self.hidden_size < 1:
            raise ConfigurationError("hidden_size is out of range", expected="at least 1", got=str(self.hidden_size))
        if self.embedding_size is not None and self.embedding_size < 0:
            raise ConfigurationError(
                "embedding_size is out of range", expected="at least 0", got=str(self.embedding_size)
            )
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigurationError(
                "dropout is out of range", expected="at least 0 and below 1", got=str(self.dropout)
            )
