"""What is said of labelled examples, whatever the model: as JSON, in a line, and how good it is.

Axes: n examples, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data.labelled_configuration import Target
from unrolled.tasks.metrics import describe_classes, describe_label_sets, describe_numbers

__all__ = ["answer", "describe", "summarise"]

_Floats = npt.NDArray[np.float64]
_THRESHOLD = 0.5


def describe(found: _Floats, truth: npt.NDArray[Any], target: Target, labels: Sequence[str]) -> dict[str, Any]:
    """How good answers are, as JSON: `target`, `labels` and `loss` (nats a label; of numbers the squared error, in the
    square of their unit), and what `tasks.metrics` says of such answers.

    Args:
        found: (n, C) probabilities, or (n, 1) numbers.
        truth: (n,) classes, (n, C) whether a label is there, or (n,) numbers.
        target: what a label is.
        labels: C names.
    """
    if target == "number":
        report = describe_numbers(found[:, 0], truth)
        loss = report["rmse"] ** 2
    else:
        report = (describe_label_sets if target == "labels" else describe_classes)(found, truth, labels)
        loss = report["nats"]
    return {"target": target, "labels": list(labels), "loss": loss, **report}


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


def answer(row: _Floats, target: Target, labels: Sequence[str]) -> dict[str, Any]:
    """What is said of one input, as JSON: a number, a label, or those labels whose probability is one half or more; of
    labels with the probabilities of all, the highest first.

    Args:
        row: (C,) probabilities, or (1,) a number.
        target: what a label is.
        labels: C names.
    """
    if target == "number":
        return {"number": float(row[0])}
    shares = {labels[place]: float(row[place]) for place in np.argsort(-row, kind="stable").tolist()}
    if target == "labels":
        said = [label for label, share in shares.items() if share >= _THRESHOLD]
        return {"labels": said, "probabilities": shares}
    best = next(iter(shares))
    return {"label": best, "probability": shares[best], "probabilities": shares}
