"""The network that fits what a classifier reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from unrolled.cells import Equations
from unrolled.data.letter_inputs import LetterInput
from unrolled.data.picture_inputs import PictureInput
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.classify.examples import Schema
from unrolled.tasks.classify.letters import LetterClassifier
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.classify.pictures import PictureClassifier
from unrolled.tasks.classify.reading_configuration import ReadingConfig

__all__ = ["build_classifier", "with_letters"]

_VECTOR = 64  # units of a stretch of letters that is a symbol


def build_classifier(
    equations: Equations, config: ClassifierConfig, reading: ReadingConfig, schema: Schema
) -> Classifier:
    """A classifier with fresh weights.

    Args:
        equations: the cell.
        config: the network.
        reading: how letters and pictures come to it.
        schema: what it reads and says.
    """
    shared: dict[str, Any] = {
        "classes": max(1, len(schema.labels)),
        "target": schema.target,
        "weights": None if schema.target == "number" else config.weights(schema.labels, schema.counts),
    }
    found = schema.input
    if isinstance(found, LetterInput):
        return LetterClassifier(equations, config, reading, found.alphabet, **shared)
    if isinstance(found, PictureInput):
        return PictureClassifier(equations, config, found, move=reading.move, **shared)
    return Classifier(equations, config, symbols=found.symbols, inputs=found.width, unknown=found.unknown, **shared)


def with_letters(config: ClassifierConfig, reading: ReadingConfig) -> ClassifierConfig:
    """The network with a vector for each stretch of letters where that is a symbol, unless its size is given."""
    if reading.stretch == "symbol" and config.embedding_size is None:
        return replace(config, embedding_size=_VECTOR)
    return config
