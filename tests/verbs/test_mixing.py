"""Several classifiers as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from unrolled.errors import ConfigurationError, RunError
from unrolled.tasks.bow.kind import BagExamples
from unrolled.verbs.bags import fit_bag
from unrolled.verbs.mixing import MixedTask, mix_tasks
from unrolled.verbs.supervised import open_task, train_task

WORDS = {"good": ["fine", "lovely", "bright"], "bad": ["dull", "grim", "awful"], "odd": ["strange", "weird", "queer"]}
TRAINING: dict[str, Any] = {"steps": 12, "batch": 16, "threads": 1, "precision": "float32", "hidden_size": 8}


def write(path: Path, labels: Sequence[str], count: int = 240, several: bool = False) -> Path:
    """Sentences with words that tell their label, one in four of them the words of another."""
    random = np.random.default_rng(3)
    rows = []
    for _ in range(count):
        label, other = random.choice(labels, 2)
        said = random.choice(WORDS[other if random.random() < 0.25 else label], 2)
        words = random.permutation([*random.choice(["the", "film", "was", "a", "plot"], 5), *said])
        rows.append({"text": " ".join(words), "label": sorted({label, other}) if several else label})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A network, a bag of words, and another network of the same files; not to be changed."""
    root = tmp_path_factory.mktemp("mixed")
    data = write(root / "reviews.jsonl", ["good", "bad", "odd"])
    train_task("classify", data, run=root / "one", learning_rate=0.03, **TRAINING)
    fit_bag([str(data)], run=root / "bag", classifier="naive-bayes", word_ngrams="1")
    train_task("classify", data, run=root / "two", seed=5, learning_rate=0.03, **TRAINING)
    return [root / "one", root / "bag", root / "two"]


def test_the_mixture_by_its_definition(runs: list[Path]) -> None:
    mixed = mix_tasks(open_task(runs[0]), runs[1:2])
    weights = list(mixed.shares.values())
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    data = runs[0].parent / "reviews.jsonl"
    texts = [json.loads(line) for line in data.read_text().splitlines()]
    each = [list(open_task(run).predict([row["text"] for row in texts])) for run in runs[:2]]
    said = list(mixed.predict_file(str(data)))
    for one, two, found in zip(*each, said, strict=True):
        wanted = {
            label: weights[0] * share + weights[1] * two["probabilities"][label]
            for label, share in one["probabilities"].items()
        }
        assert found["probabilities"] == pytest.approx(wanted, abs=1e-6)
        assert found["label"] == max(wanted, key=lambda label: wanted[label])
    assert [found["line"] for found in said] == list(range(1, len(texts) + 1))
    *alone, both = mixed.evaluate_file(str(data))
    right = [found["label"] == row["label"] for found, row in zip(said, texts, strict=True)]
    assert both["accuracy"] == pytest.approx(np.mean(right))
    assert both["mixture"] == mixed.shares
    for run, report in zip(runs, alone, strict=False):
        assert report["accuracy"] == pytest.approx(open_task(run).evaluate_file(str(data))["accuracy"])


def test_no_other_weights_are_better_on_the_validation_part(runs: list[Path]) -> None:
    mixed = mix_tasks(open_task(runs[0]), runs[1:2])

    def loss(weight: float) -> float:
        other = MixedTask(mixed.runs, np.array([weight, 1 - weight]), mixed.target, mixed.labels)
        return float(other.evaluate("valid")[-1]["loss"])

    best = minimize_scalar(loss, bounds=(0, 1), method="bounded")
    *alone, both = mixed.evaluate("valid")
    assert both["loss"] == pytest.approx(best.fun, abs=1e-5)
    assert both["loss"] <= min(report["loss"] for report in alone) + 1e-6


def test_what_comes_first_changes_no_answer(runs: list[Path]) -> None:
    data = runs[0].parent / "more.jsonl"
    data.write_text((runs[0].parent / "reviews.jsonl").read_text() + '{"text": ""}\n')
    first, second = (
        mix_tasks(open_task(one), others) for one, others in ((runs[0], runs[1:]), (runs[1], [runs[2], runs[0]]))
    )
    assert first.shares == pytest.approx(second.shares, abs=1e-3)
    for one, two in zip(first.predict_file(str(data)), second.predict_file(str(data)), strict=True):
        assert one["probabilities"] == pytest.approx(two["probabilities"], abs=1e-3)
    assert one["empty"] is two["empty"] is True


def test_sets_of_labels(tmp_path: Path) -> None:
    data = write(tmp_path / "sets.jsonl", ["good", "bad", "odd"], several=True)
    train_task("classify", data, run=tmp_path / "net", target="labels", **TRAINING)
    fit_bag([str(data)], run=tmp_path / "bag", target="labels", classifier="logistic", word_ngrams="1")
    *alone, both = mix_tasks(open_task(tmp_path / "net"), [tmp_path / "bag"]).evaluate("valid")
    assert both["loss"] <= min(report["loss"] for report in alone) + 1e-6
    said = next(mix_tasks(open_task(tmp_path / "bag"), [tmp_path / "net"]).predict_file(str(data)))
    assert said["labels"] == [label for label, share in said["probabilities"].items() if share >= 0.5]


def test_what_cannot_be_mixed(runs: list[Path], tmp_path: Path) -> None:
    data, first = runs[0].parent / "reviews.jsonl", open_task(runs[0])
    with pytest.raises(ConfigurationError, match="mixed with itself"):
        mix_tasks(first, [runs[1], runs[0]])
    fit_bag([str(data)], run=tmp_path / "split", classifier="naive-bayes", word_ngrams="1", split_seed=7)
    with pytest.raises(RunError, match="kept other examples for validation"):
        mix_tasks(first, [tmp_path / "split"])
    one_label = fit_bag([str(data)], run=tmp_path / "labels", target="labels", classifier="naive-bayes")
    with pytest.raises(ConfigurationError, match="a label and any number of labels"):
        mix_tasks(first, [one_label.run])
    fit_bag([str(data)], run=tmp_path / "whole", classifier="naive-bayes", word_ngrams="1", split="90/0/10")
    with pytest.raises(ConfigurationError, match="valid part of the data is empty"):
        mix_tasks(first, [tmp_path / "whole"])
    two = write(tmp_path / "two.jsonl", ["good", "bad"])
    fit_bag([str(two)], run=tmp_path / "two", classifier="naive-bayes", word_ngrams="1")
    with pytest.raises(RunError, match="other labels"):
        mix_tasks(first, [tmp_path / "two"])
    (tmp_path / "n.csv").write_text("text,label\n" + "a b,1\nb c,2.5\nc d,7\n" * 20)
    train_task("classify", tmp_path / "n.csv", run=tmp_path / "n", target="number", **TRAINING)
    for one, others in ((first, [tmp_path / "n"]), (open_task(tmp_path / "n"), [runs[0]])):
        with pytest.raises(ConfigurationError, match="labels are mixed"):
            mix_tasks(one, others)


def test_examples_are_told_apart_where_their_labels_are_the_same(tmp_path: Path) -> None:
    """Of a file a label, the labels of what is held out are the same in the same order, however it is drawn."""
    for label, words in WORDS.items():
        (tmp_path / f"{label}.txt").write_text(
            "".join(f"{one} {two} {n}\n" for one in words for two in words for n in range(9))
        )
    files = [str(tmp_path / f"{label}.txt") for label in WORDS]
    for seed in (0, 1):
        fit_bag(files, run=tmp_path / f"seed-{seed}", split_seed=seed, classifier="naive-bayes", word_ngrams="1")
    one, two = (open_task(tmp_path / f"seed-{seed}") for seed in (0, 1))
    truth = [cast("BagExamples", each.examples("valid")).texts.targets.tolist() for each in (one, two)]
    assert truth[0] == truth[1]
    with pytest.raises(RunError, match="kept other examples for validation"):
        mix_tasks(one, [two.run.path])


def test_parts_that_are_not_the_same(tmp_path: Path) -> None:
    data = write(tmp_path / "reviews.jsonl", ["good", "bad"], 80)
    lines = data.read_text().splitlines(keepends=True)
    parts = {"train": lines[:50], "valid": lines[50:60], "one": lines[60:70], "two": lines[65:80]}
    for name, some in parts.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(some))
    train, valid = ([str(tmp_path / f"{name}.jsonl")] for name in ("train", "valid"))
    for name in ("one", "two"):
        test = [str(tmp_path / f"{name}.jsonl")]
        fit_bag(train=train, valid=valid, test=test, run=tmp_path / name, classifier="naive-bayes", word_ngrams="1")
    mixed = mix_tasks(open_task(tmp_path / "one"), [tmp_path / "two"])
    assert mixed.evaluate("valid")[-1]["examples"] == 10
    with pytest.raises(RunError, match="have other test examples"):
        mixed.evaluate("test")
