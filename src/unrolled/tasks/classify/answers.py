"""What a classifier says of examples."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.tasks.classify.examples import LabelledExamples, Schema
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.labelled_answers import answer
from unrolled.tasks.supervised import batches_in_order

__all__ = ["answers", "answers_and_truth", "probabilities"]

_Floats = npt.NDArray[np.float64]

_AT_ONCE = 1024  # examples that are read before the first of them is answered


def probabilities(
    model: Classifier, examples: LabelledExamples, told: Callable[[int, int], None] | None = None
) -> _Floats:
    """(n, C) of each label, or (n, 1) the standardised number, in the order of the examples."""
    count = len(examples.lengths)
    found: _Floats | None = None
    done = 0
    for rows, batch in batches_in_order(examples):
        part = model.probabilities(batch.x, batch.lengths).numpy()
        if found is None:
            found = np.zeros((count, part.shape[1]))
        found[rows] = part
        done += int(examples.lengths[rows].sum())
        if told is not None:
            told(done, int(examples.lengths.sum()))
    return np.zeros((0, 1)) if found is None else found


def answers_and_truth(
    model: Classifier, examples: LabelledExamples, schema: Schema, told: Callable[[int, int], None] | None = None
) -> tuple[_Floats, npt.NDArray[Any]]:
    """What a classifier says of examples, and what is true; see `LabelledKind.answers_and_truth`."""
    found, truth = probabilities(model, examples, told), examples.truth
    if schema.target != "number":
        return found, truth
    return _number(found, schema), _number(truth, schema)


def _number(standardised: _Floats, schema: Schema) -> _Floats:
    return schema.mean + schema.deviation * standardised


def answers(model: Classifier, values: Iterable[Any], schema: Schema) -> Iterator[dict[str, Any]]:
    """What a classifier says of new inputs, one after the other, as JSON.

    Of one of several classes `label` and its `probability`; of labels those from one half on; both with the
    `probabilities` of all, the highest first. Of numbers `number`. Of an empty text nothing is known but how the labels
    are distributed in training: that is said, and `empty` with it.
    """
    values = iter(values)
    while some := list(itertools.islice(values, _AT_ONCE)):
        sequences = schema.input.encode(some)
        found = probabilities(model, LabelledExamples(sequences, np.zeros(len(some))))
        for value, row in zip(some, found, strict=True):
            empty = isinstance(value, str) and not value.strip()
            said = _expected(schema) if empty else row
            said = _number(said, schema) if schema.target == "number" else said
            reply = answer(said, schema.target, schema.labels)
            yield {**reply, "empty": True} if empty else reply


def _expected(schema: Schema) -> _Floats:
    """What is said where there is nothing to read."""
    if schema.target == "number":
        return np.zeros(1)
    return np.array(schema.counts, np.float64) / max(1, schema.examples)
