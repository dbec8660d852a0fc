"""The data of a classifier: its schema, its batches, and answers in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.cells import find_cell
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.store import SplitSources
from unrolled.errors import DataError, RunError
from unrolled.tasks.classify.answers import answers, probabilities
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.classify.examples import Schema, prepare
from unrolled.tasks.classify.kind import Classify
from unrolled.tasks.classify.reading_configuration import ReadingConfig

TEXTS = ["so good", "bad", "good film", "so bad a film", "bad film indeed", "good"] * 4


def table(path: Path, labels: list[Any]) -> SplitSources:
    rows = [f'"{text}","{label}"\n' for text, label in zip(TEXTS, labels * 24, strict=False)]
    path.write_text("text,label\n" + "".join(rows))
    return SplitSources.find([str(path)])


def test_the_schema_of_classes(tmp_path: Path) -> None:
    sources = table(tmp_path / "a.csv", ["pos", "neg", "pos"])
    config = LabelledConfig(unit="word", split="50/25/25")
    prepared = prepare(sources, config)
    schema = Schema.read(prepared.vocabulary)
    assert schema.labels == ("neg", "pos")
    assert sum(schema.counts) == schema.examples == 12
    batch = prepared.parts["train"].batch(np.array([0, 1, 2]))
    assert batch.x.dtype == batch.y.dtype
    assert batch.x.shape[1] == int(batch.lengths.max())
    assert schema.truth(["pos", "neg"]).tolist() == [1, 0]
    # The same data with the vocabulary of a run gives the same examples.
    again = prepare(sources, config, prepared.vocabulary)
    for part in prepared.parts:
        rows = np.arange(len(prepared.parts[part].lengths))
        assert (again.parts[part].batch(rows).x == prepared.parts[part].batch(rows).x).all()
    assert again.vocabulary == prepared.vocabulary
    assert "in the training part, too" in prepared.facts["twice"]


def test_the_schema_of_several_labels_and_of_numbers(tmp_path: Path) -> None:
    several = prepare(table(tmp_path / "a.csv", ["x;y", "", "y"]), LabelledConfig(target="labels", separator=";"))
    schema = Schema.read(several.vocabulary)
    assert schema.labels == ("x", "y")
    assert schema.truth([("y",), (), ("x", "y")]).tolist() == [[0, 1], [0, 0], [1, 1]]
    assert schema.counts[1] == pytest.approx(2 * schema.counts[0], abs=3)
    numbers = prepare(table(tmp_path / "n.csv", [1, 2, 6]), LabelledConfig(target="number"))
    schema = Schema.read(numbers.vocabulary)
    train = numbers.parts["train"].batch(np.arange(len(numbers.parts["train"].lengths)))
    assert float(train.y.mean()) == pytest.approx(0, abs=1e-9)
    assert float(train.y.std(correction=0)) == pytest.approx(1)
    with pytest.raises(DataError, match="all the same"):
        prepare(table(tmp_path / "s.csv", [2]), LabelledConfig(target="number"))


def test_another_vocabulary_is_refused() -> None:
    for wrong in ({}, {"labels": 3}, {"target": "class", "labels": ["a", "a"]}):
        with pytest.raises((RunError, DataError)):
            Schema.read(wrong)


@pytest.mark.parametrize("target", ["class", "labels", "number"])
def test_answers_are_those_of_each_alone(tmp_path: Path, target: Any) -> None:
    labels = [1, 2, 6] if target == "number" else ["pos", "neg", "pos"]
    prepared = prepare(table(tmp_path / "a.csv", labels), LabelledConfig(target=target))
    options = {
        "data": LabelledConfig(target=target),
        "model": ClassifierConfig(hidden_size=5, embedding_size=3),
        "reading": ReadingConfig(),
    }
    model: Any = Classify().build(find_cell("gru"), options, prepared.vocabulary).eval()
    schema = Schema.read(prepared.vocabulary)
    texts = ["a much longer text than any other", "", "bad", "zzz", "good film", " "]
    together = list(answers(model, texts, schema))
    for text, answer in zip(texts, together, strict=True):
        (alone,) = answers(model, [text], schema)
        assert alone.keys() == answer.keys()
        assert answer.get("empty", False) == (not text.strip())
        if target == "number":
            assert answer["number"] == pytest.approx(alone["number"], abs=1e-5)
        else:
            assert answer["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)
    report = Classify().evaluate(model, prepared.parts["test"], options, prepared.vocabulary)
    assert f"{report['examples']:,} examples" in Classify().summary(report)
    assert report["loss"] > 0


def test_reports_are_of_the_true_scale(tmp_path: Path) -> None:
    prepared = prepare(table(tmp_path / "n.csv", [10, 20, 60]), LabelledConfig(target="number"))
    schema, kind, test = Schema.read(prepared.vocabulary), Classify(), prepared.parts["test"]
    config = ClassifierConfig(hidden_size=5, embedding_size=3)
    options = {"data": LabelledConfig(target="number"), "model": config, "reading": ReadingConfig()}
    model: Any = kind.build(find_cell("gru"), options, prepared.vocabulary).eval()
    report = kind.evaluate(model, test, options, prepared.vocabulary)
    errors = probabilities(model, test)[:, 0] - test.truth
    assert report["mae"] == pytest.approx(np.abs(errors).mean() * schema.deviation)
    assert report["loss"] == pytest.approx((errors**2).mean() / 2)
