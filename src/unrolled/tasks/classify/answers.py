"""What a classifier says of examples, and how good that is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.tasks.classify.examples import LabelledExamples, Schema
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.metrics import describe_classes, describe_label_sets, describe_numbers
from unrolled.tasks.supervised import batches_in_order

__all__ = ["answers", "describe", "evaluate", "probabilities", "summarise"]

_Floats = npt.NDArray[np.float64]

_AT_ONCE = 1024  # examples that are read before the first of them is answered
_THRESHOLD = 0.5


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


def evaluate(
    model: Classifier, examples: LabelledExamples, schema: Schema, told: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """How good a classifier's answers are; see `describe`."""
    return describe(probabilities(model, examples, told), examples.truth, schema)


def describe(found: _Floats, truth: npt.NDArray[Any], schema: Schema) -> dict[str, Any]:
    """How good answers are, as JSON: `target`, `labels` and `loss`, and what `tasks.metrics` says of such answers.

    Args:
        found: (n, C) probabilities, or (n, 1) standardised numbers.
        truth: see `Schema.truth`.
        schema: what the data is.
    """
    if schema.target == "number":
        numbers, right = (schema.mean + schema.deviation * values for values in (found[:, 0], truth))
        report = describe_numbers(numbers, right)
        loss = float(np.square(found[:, 0] - truth).mean() / 2)
    else:
        of_target = describe_label_sets if schema.target == "labels" else describe_classes
        report = of_target(found, truth, schema.labels)
        loss = report["nats"]
    return {"target": schema.target, "labels": list(schema.labels), "loss": loss, **report}


def summarise(report: Mapping[str, Any]) -> str:
    """A report of `describe` in a line."""
    count = f"{report['examples']:,} examples"
    if report["target"] == "number":
        share = "" if report["r2"] is None else f", R² {report['r2']:.4f}"
        return f"mean absolute error {report['mae']:.4g}, root mean square {report['rmse']:.4g}{share}; {count}"
    if report["target"] == "labels":
        first = f"micro F1 {report['micro_f1']:.4f}, macro F1 {report['macro_f1']:.4f}"
        return f"{first}, all labels right {report['subset_accuracy']:.4f}, {report['loss']:.4f} nats a label; {count}"
    first = f"accuracy {report['accuracy']:.4f}, macro F1 {report['macro_f1']:.4f}"
    if len(report["classes"]) == 2 and report["roc_area"] is not None:
        first += f", ROC area {report['roc_area']:.4f}"
    return f"{first}, {report['loss']:.4f} nats, calibration error {report['calibration_error']:.4f}; {count}"


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
            if isinstance(value, str) and not value.strip():
                yield {**_answer(_expected(schema), schema), "empty": True}
            else:
                yield _answer(row, schema)


def _expected(schema: Schema) -> _Floats:
    """What is said where there is nothing to read."""
    if schema.target == "number":
        return np.zeros(1)
    return np.array(schema.counts, np.float64) / max(1, schema.examples)


def _answer(row: _Floats, schema: Schema) -> dict[str, Any]:
    if schema.target == "number":
        return {"number": float(schema.mean + schema.deviation * row[0])}
    order = np.argsort(-row, kind="stable").tolist()
    shares = {schema.labels[place]: float(row[place]) for place in order}
    if schema.target == "labels":
        said = [label for label, share in shares.items() if share >= _THRESHOLD]
        return {"labels": said, "probabilities": shares}
    best = schema.labels[order[0]]
    return {"label": best, "probability": shares[best], "probabilities": shares}
