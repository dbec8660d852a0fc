from __future__ import annotations

from collections import Counter

import hypothesis
import hypothesis.strategies as some
import numpy as np
import pytest

from unrolled.data.folds import folded, folds_of
from unrolled.errors import ConfigurationError

LABELS = some.lists(some.sampled_from("abc"), min_size=2, max_size=60)


@hypothesis.given(LABELS, some.data())
def test_folds_are_of_one_size_in_all_and_of_each_label(labels, data):
    folds = data.draw(some.integers(2, len(labels)))
    found = folds_of(labels, folds, seed=data.draw(some.integers(0, 9)))
    sizes = np.bincount(found, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in set(labels):
        counts = Counter(found[[index for index, one in enumerate(labels) if one == label]].tolist())
        shares = [counts[fold] for fold in range(folds)]
        assert max(shares) - min(shares) <= 1


@hypothesis.given(LABELS, some.sampled_from([0.0, 10.0, 30.0]))
def test_every_example_is_tested_once_and_never_trained_on_then(labels, hold_out):
    folds = min(3, len(labels))
    tested: list[int] = []
    for fold in range(1, folds + 1):
        try:
            parts = folded(labels, folds, fold, hold_out, seed=4)
        except ConfigurationError:
            assert len(labels) - len(labels) // folds < 3  # too few are left for a validation part
            return
        every = np.concatenate(list(parts.values()))
        assert sorted(every.tolist()) == list(range(len(labels)))
        assert bool(len(parts["valid"])) == bool(hold_out)
        tested += parts["test"].tolist()
    assert sorted(tested) == list(range(len(labels)))


def test_the_share_held_out():
    parts = folded(["a", "b"] * 500, 10, 3, 10.0, seed=0)
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 810, "valid": 90, "test": 100}


def test_folds_that_cannot_be():
    for folds in (0, 1, 4):
        with pytest.raises(ConfigurationError, match="folds cannot be made"):
            folds_of(["a", "b", "a"], folds, seed=0)
    for fold in (0, 3):
        with pytest.raises(ConfigurationError, match="no such fold"):
            folded(["a", "b", "a"], 2, fold, 10, seed=0)
