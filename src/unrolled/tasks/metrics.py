"""How good the answers of a classifier or a regression are. Fractions, not per cent; NumPy alone.

Axes: n examples, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "area_under_precision_recall",
    "area_under_roc",
    "calibration_error",
    "confusion_matrix",
    "describe_classes",
    "describe_label_sets",
    "describe_numbers",
    "rates_by_class",
]

_Floats = npt.NDArray[np.floating[Any]]
_Integers = npt.NDArray[np.integer[Any]]

_TINY = 1e-12


def confusion_matrix(truth: npt.ArrayLike, found: npt.ArrayLike, classes: int) -> _Integers:
    """How often which class was taken for which: (C, C), a row a true class, a column what was said.

    Args:
        truth: (n,) from 0 to C - 1.
        found: (n,) likewise.
        classes: C.
    """
    pairs = np.asarray(truth, np.int64) * classes + np.asarray(found, np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def rates_by_class(confusion: npt.ArrayLike) -> tuple[_Floats, _Floats, _Floats, _Integers]:
    """Of every class its precision, recall, F1 and support, each (C,).

    Precision is the share that is right of what was said to be of the class, recall the share that was found of what
    is; F1 is their harmonic mean (van Rijsbergen 1979), support how often the class occurs. A share of nothing is 0.
    """
    counts = np.asarray(confusion, np.int64)
    right, said, support = counts.diagonal(), counts.sum(0), counts.sum(1)
    return _share(right, said), _share(right, support), _share(2 * right, said + support), support


def calibration_error(probabilities: npt.ArrayLike, truth: npt.ArrayLike, bins: int = 15) -> float:
    """The expected calibration error (Guo et al. 2017, equation 3): by how much confidence and accuracy differ.

    Answers are put into bins of equal width by the probability of the class that is said; the absolute differences of
    mean probability and accuracy in the bins are averaged, each with the share of answers in it.

    Args:
        probabilities: (n, C).
        truth: (n,).
        bins: how many.
    """
    given = np.asarray(probabilities, np.float64)
    confidence, right = given.max(1), given.argmax(1) == np.asarray(truth)
    # A bin is open below and closed above, as in the paper.
    places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(places, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(given), 1))


def area_under_roc(scores: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """The area under the curve of true against false positives: the probability that an example of the class has a
    higher score than one that is not, ties counting half (Hanley & McNeil 1982). NaN where there is only one of both.

    Args:
        scores: (n,).
        truth: (n,), true or 1 where the example is of the class.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(truth, bool)
    count = int(positive.sum())
    others = len(values) - count
    if not count or not others:
        return math.nan
    _, places, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2  # of ties their mean
    return float((ranks[places][positive].sum() - count * (count + 1) / 2) / (count * others))


def area_under_precision_recall(scores: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Average precision: the precision at every threshold, weighted with the recall gained there (no interpolation,
    which would flatter; Davis & Goadrich 2006). NaN where there is no example of the class.

    Args:
        scores: (n,).
        truth: (n,), true or 1 where the example is of the class.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(truth, bool)
    if not positive.any():
        return math.nan
    order = np.argsort(-values, kind="stable")
    values, positive = values[order], positive[order]
    ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # equal scores are one threshold
    found = np.cumsum(positive)[ends]
    gained = np.diff(found, prepend=0) / positive.sum()
    return float((gained * found / (ends + 1)).sum())


def describe_classes(probabilities: npt.ArrayLike, truth: npt.ArrayLike, labels: Sequence[str]) -> dict[str, Any]:
    """All that is said of a classifier's answers, as JSON.

    Args:
        probabilities: (n, C), n at least 1; the class said is the most probable, of equals the first.
        truth: (n,) from 0 to C - 1.
        labels: C names.

    Returns:
        `examples`, `accuracy`, `macro_f1` (the mean over classes that occur or were said), `nats` (mean loss),
        `calibration_error`, `roc_area` and `precision_recall_area` (of two classes those of the second; else the mean
        over classes that occur of each against the rest; None where they are undefined), `classes` (per label
        `precision`, `recall`, `f1`, `support`) and `confusion` (rows: truth).
    """
    given, right = np.asarray(probabilities, np.float64), np.asarray(truth, np.int64)
    found = given.argmax(1)
    confusion = confusion_matrix(right, found, len(labels))
    precision, recall, f1, support = rates_by_class(confusion)
    occurring = (support > 0) | (confusion.sum(0) > 0)
    chosen = [1] if len(labels) == 2 else np.flatnonzero(support).tolist()
    areas = [area_under_roc(given[:, c], right == c) for c in chosen]
    others = [area_under_precision_recall(given[:, c], right == c) for c in chosen]
    return {
        "examples": len(right),
        "accuracy": float((found == right).mean()),
        "macro_f1": float(f1[occurring].mean()),
        "nats": float(-np.log(np.maximum(given[np.arange(len(right)), right], _TINY)).mean()),
        "calibration_error": calibration_error(given, right),
        "roc_area": _mean(areas),
        "precision_recall_area": _mean(others),
        "classes": _table(labels, precision, recall, f1, support),
        "confusion": confusion.tolist(),
    }


def describe_label_sets(
    probabilities: npt.ArrayLike, truth: npt.ArrayLike, labels: Sequence[str], threshold: float = 0.5
) -> dict[str, Any]:
    """All that is said of answers where an example may have several labels, or none, as JSON.

    Args:
        probabilities: (n, C), of each label alone.
        truth: (n, C), true or 1 where a label is there.
        labels: C names.
        threshold: from which probability on a label is said.

    Returns:
        `examples`, `subset_accuracy` (all labels of an example right), `micro_f1` (all answers pooled), `macro_f1` (the
        mean over labels), `hamming_loss` (share of wrong answers), `nats` (mean loss a label), `roc_area` and
        `precision_recall_area` (means over labels that are there and are not), and `classes` as in `describe_classes`.
    """
    given, right = np.asarray(probabilities, np.float64), np.asarray(truth, bool)
    found = given >= threshold
    hits, said, support = (found & right).sum(0), found.sum(0), right.sum(0)
    precision, recall, f1 = _share(hits, said), _share(hits, support), _share(2 * hits, said + support)
    likely = np.where(right, given, 1 - given)
    both = [c for c in range(len(labels)) if 0 < support[c] < len(right)]
    return {
        "examples": len(right),
        "subset_accuracy": float((found == right).all(1).mean()),
        "micro_f1": float(_share(2 * hits.sum(), said.sum() + support.sum())),
        "macro_f1": float(f1.mean()),
        "hamming_loss": float((found != right).mean()),
        "nats": float(-np.log(np.maximum(likely, _TINY)).mean()),
        "roc_area": _mean([area_under_roc(given[:, c], right[:, c]) for c in both]),
        "precision_recall_area": _mean([area_under_precision_recall(given[:, c], right[:, c]) for c in both]),
        "classes": _table(labels, precision, recall, f1, support),
    }


def describe_numbers(found: npt.ArrayLike, truth: npt.ArrayLike) -> dict[str, Any]:
    """All that is said of predicted numbers, as JSON: `examples`, `mae` and `rmse` (in the unit of the numbers) and
    `r2`, the share of the variance that is explained (None where the truth has none)."""
    given, right = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    errors, spread = given - right, float(((right - right.mean()) ** 2).sum())
    return {
        "examples": len(right),
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "r2": 1 - float((errors**2).sum()) / spread if spread > 0 else None,
    }


def _table(
    labels: Sequence[str], precision: _Floats, recall: _Floats, f1: _Floats, support: _Integers
) -> dict[str, dict[str, float]]:
    rows = zip(labels, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
    return {label: dict(zip(("precision", "recall", "f1", "support"), row, strict=True)) for label, *row in rows}


def _share(part: npt.ArrayLike, whole: npt.ArrayLike) -> _Floats:
    parts, wholes = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(parts, wholes, out=np.zeros_like(wholes), where=wholes > 0)


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else None
