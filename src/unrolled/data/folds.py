"""Cross-validation: every example is tested on once, by a model that has not seen it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from unrolled.data.store import Part
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError

__all__ = ["folded", "folds_of"]


def folds_of(labels: Sequence[Hashable], folds: int, seed: int) -> IntArray:
    """(n,) in which fold each example is, from 0: drawn at random, every label with its share in each.

    Examples are shuffled, sorted by label and dealt out one by one, so that folds differ by one example at most, and
    by one of each label.

    Args:
        labels: (n) of the examples.
        folds: how many.
        seed: the folds follow from it and the labels alone.

    Raises:
        ConfigurationError: there are fewer than two folds, or more than examples.

    >>> folds_of(["a", "b"] * 3, 3, seed=0).tolist()
    [2, 2, 0, 0, 1, 1]
    """
    if not 2 <= folds <= len(labels):
        raise ConfigurationError(
            "so many folds cannot be made",
            expected=f"from 2 to {len(labels):,}, the number of examples",
            got=str(folds),
        )
    numbers: dict[Hashable, int] = {}
    classes = np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    found = np.empty(len(classes), np.int64)
    found[order] = np.arange(len(order)) % folds
    return found


def folded(labels: Sequence[Hashable], folds: int, fold: int, hold_out: float, seed: int) -> dict[Part, IntArray]:
    """The numbers of the examples of each part where one fold is tested on, ascending.

    Args:
        labels: (n) of the examples.
        folds: how many.
        fold: which of them is the test part, from 1.
        hold_out: percent of the others to validate on: whole folds of a finer division, at least one example.
        seed: of the division.

    Raises:
        ConfigurationError: there is no such fold; or see `folds_of`.
    """
    if not 1 <= fold <= folds:
        raise ConfigurationError("there is no such fold", expected=f"from 1 to {folds}", got=str(fold))
    test = folds_of(labels, folds, seed) == fold - 1
    rest = np.flatnonzero(~test)
    valid = np.zeros(len(rest), bool)
    if hold_out:
        parts = min(len(rest), max(2, round(100 / hold_out)))
        valid = folds_of([labels[row] for row in rest.tolist()], parts, seed + 1) == 0
    return {"train": rest[~valid], "valid": rest[valid], "test": np.flatnonzero(test)}
