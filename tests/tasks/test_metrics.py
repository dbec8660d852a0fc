"""Metrics of classifiers and regressions, against scikit-learn and against counting by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.tasks.metrics import (
    area_under_precision_recall,
    area_under_roc,
    calibration_error,
    confusion_matrix,
    describe_classes,
    describe_label_sets,
    describe_numbers,
    rates_by_class,
)

judge = pytest.importorskip("sklearn.metrics")


def draw(seed: int, examples: int, classes: int) -> tuple[Any, Any]:
    """Probabilities with many ties, and the truth."""
    source = np.random.default_rng(seed)
    scores = source.integers(1, 6, (examples, classes)).astype(float)
    return scores / scores.sum(1, keepdims=True), source.integers(0, classes, examples)


@pytest.mark.parametrize("classes", [2, 3, 18])
@settings(max_examples=25)
@given(seed=st.integers(0, 1000), examples=st.integers(1, 60))
def test_classes_as_scikit_learn_has_them(classes: int, seed: int, examples: int) -> None:
    probabilities, truth = draw(seed, examples, classes)
    found, labels, everything = probabilities.argmax(1), [f"label {c}" for c in range(classes)], [*range(classes)]
    said = describe_classes(probabilities, truth, labels)
    assert said["examples"] == examples
    assert said["accuracy"] == pytest.approx(judge.accuracy_score(truth, found))
    assert said["macro_f1"] == pytest.approx(judge.f1_score(truth, found, average="macro", zero_division=0))
    assert said["confusion"] == judge.confusion_matrix(truth, found, labels=everything).tolist()
    assert said["nats"] == pytest.approx(judge.log_loss(truth, probabilities, labels=everything))
    wanted = judge.precision_recall_fscore_support(truth, found, labels=everything, zero_division=0)
    table = np.array([[*said["classes"][label].values()] for label in labels])
    np.testing.assert_allclose(table.T, np.array(wanted))


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), examples=st.integers(1, 40))
def test_areas_as_scikit_learn_has_them(seed: int, examples: int) -> None:
    source = np.random.default_rng(seed)
    scores, truth = source.integers(0, 6, examples) / 5, source.random(examples) < 0.4
    if truth.any():
        wanted = judge.average_precision_score(truth, scores)
        assert area_under_precision_recall(scores, truth) == pytest.approx(wanted)
    else:
        assert math.isnan(area_under_precision_recall(scores, truth))
    if 0 < truth.sum() < examples:
        assert area_under_roc(scores, truth) == pytest.approx(judge.roc_auc_score(truth, scores))
    else:
        assert math.isnan(area_under_roc(scores, truth))


def test_areas_of_several_classes_are_the_mean_of_each_against_the_rest() -> None:
    probabilities, truth = draw(3, 200, 4)
    said = describe_classes(probabilities, truth, list("abcd"))
    assert said["roc_area"] == pytest.approx(judge.roc_auc_score(truth, probabilities, multi_class="ovr"))
    wanted = np.mean([judge.average_precision_score(truth == c, probabilities[:, c]) for c in range(4)])
    assert said["precision_recall_area"] == pytest.approx(wanted)
    alone = describe_classes([[0.3, 0.7]], [1], ["no", "yes"])
    assert (alone["roc_area"], alone["precision_recall_area"]) == (None, 1)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), examples=st.integers(1, 50), bins=st.integers(1, 15))
def test_calibration_error_bin_by_bin(seed: int, examples: int, bins: int) -> None:
    probabilities, truth = draw(seed, examples, 3)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    wanted = 0.0
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        if inside.any():
            wanted += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert calibration_error(probabilities, truth, bins) == pytest.approx(wanted, abs=1e-12)


def test_calibration_of_the_sure() -> None:
    assert calibration_error([[1.0, 0.0], [0.0, 1.0]], [0, 1]) == 0
    assert calibration_error([[1.0, 0.0], [0.0, 1.0]], [1, 0]) == 1
    assert calibration_error(np.zeros((0, 2)), np.zeros(0)) == 0


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), examples=st.integers(1, 30), classes=st.integers(1, 5))
def test_sets_of_labels_as_scikit_learn_has_them(seed: int, examples: int, classes: int) -> None:
    source = np.random.default_rng(seed)
    probabilities, truth = source.random((examples, classes)), source.random((examples, classes)) < 0.4
    found, labels = probabilities >= 0.5, [str(c) for c in range(classes)]
    said = describe_label_sets(probabilities, truth, labels)
    # scikit-learn takes one column for two classes.
    wide = [np.hstack([part, np.zeros((examples, 1), bool)]) for part in (truth, found)] if classes == 1 else None
    pair = (truth, found) if wide is None else tuple(wide)
    assert said["subset_accuracy"] == pytest.approx(judge.accuracy_score(*pair))
    assert said["micro_f1"] == pytest.approx(judge.f1_score(*pair, average="micro", zero_division=0))
    if wide is None:
        assert said["macro_f1"] == pytest.approx(judge.f1_score(*pair, average="macro", zero_division=0))
        assert said["hamming_loss"] == pytest.approx(judge.hamming_loss(*pair))
    both = [c for c in range(classes) if 0 < truth[:, c].sum() < examples]
    if both:
        wanted = judge.roc_auc_score(truth[:, both], probabilities[:, both], average="macro")
        assert said["roc_area"] == pytest.approx(wanted)
    else:
        assert said["roc_area"] is None


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), examples=st.integers(2, 30))
def test_numbers_as_scikit_learn_has_them(seed: int, examples: int) -> None:
    source = np.random.default_rng(seed)
    truth, found = source.normal(size=(2, examples))
    said = describe_numbers(found, truth)
    assert said["mae"] == pytest.approx(judge.mean_absolute_error(truth, found))
    assert said["rmse"] == pytest.approx(math.sqrt(judge.mean_squared_error(truth, found)))
    assert said["r2"] == pytest.approx(judge.r2_score(truth, found))


def test_a_truth_without_variance_has_no_share_of_it_explained() -> None:
    assert describe_numbers([1.0, 2.0], [3.0, 3.0])["r2"] is None


def test_a_class_that_never_occurs_has_rates_of_nothing() -> None:
    confusion = confusion_matrix([0, 0, 2], [0, 2, 2], 4)
    precision, recall, f1, support = rates_by_class(confusion)
    assert precision.tolist() == [1, 0, 0.5, 0]
    assert recall.tolist() == [0.5, 0, 1, 0]
    assert f1.tolist() == pytest.approx([2 / 3, 0, 2 / 3, 0])
    assert support.tolist() == [2, 0, 1, 0]


def test_a_probability_of_zero_for_the_truth_costs_much_but_not_everything() -> None:
    assert describe_classes([[1.0, 0.0]], [1], ["a", "b"])["nats"] == pytest.approx(-math.log(1e-12))
