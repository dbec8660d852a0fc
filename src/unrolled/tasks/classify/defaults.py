"""The network of a classifier, where its sizes are not given: from the data and the budget."""

from __future__ import annotations

from dataclasses import replace

from unrolled.cells import Equations
from unrolled.data.vocabulary import IntArray
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.classify.examples import Schema

__all__ = ["choose_network"]

_LADDER = (32, 48, 64, 96, 128, 192, 256, 384, 512)


def choose_network(
    equations: Equations, config: ClassifierConfig, lengths: IntArray, schema: Schema, work: float
) -> tuple[ClassifierConfig, int, float]:
    """Fill in what is None: sizes and dropout; and the batch and the learning rate.

    Args:
        equations: the cell.
        config: the network.
        lengths: (n,) time steps of the examples to train on.
        schema: what the data is.
        work: floating-point operations of the budget; infinite where it is in steps or epochs.
    """
    hidden = config.hidden_size or 128
    embedding = hidden if config.embedding_size is None else config.embedding_size
    dropout = 0.3 if config.dropout is None else config.dropout
    return replace(config, hidden_size=hidden, embedding_size=embedding, dropout=dropout), 32, 2e-3
