"""A bag of words is a run like any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from unrolled import describe, resume
from unrolled.errors import ConfigurationError, DataError, RunError
from unrolled.runs.directory import Run, list_runs
from unrolled.runs.models import load_bag
from unrolled.verbs.bags import FittedBag, fit_bag
from unrolled.verbs.describing_bags import BagDescription
from unrolled.verbs.supervised import open_task

GOOD, BAD = ["fine", "lovely", "bright", "sweet"], ["dull", "grim", "awful", "bitter"]


def write_reviews(path: Path, count: int = 200) -> Path:
    random = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        label = int(random.integers(2))
        words = [*random.choice(["the", "film", "was", "a", "story", "plot"], 5), random.choice([BAD, GOOD][label])]
        random.shuffle(words)
        rows.append({"text": " ".join(words), "label": ["bad", "good"][label]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("data") / "reviews.jsonl")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> FittedBag:
    """Not to be changed (copy it)."""
    return fit_bag([str(reviews)], run=tmp_path_factory.mktemp("runs") / "bag")


def test_the_example_of_the_lectures(tmp_path: Path) -> None:
    file = tmp_path / "sun.csv"
    file.write_text(
        "text,label\nThe sun is shining,0\nThe weather is sweet,1\n"
        '"The sun is shining, the weather is sweet, and one and one is two",0\n'
    )
    options = {"classifier": "naive-bayes", "weighting": "counts", "word_ngrams": "1", "char_ngrams": "0"}
    fit_bag(train=[str(file)], hold_out=0, run=tmp_path / "run", **options)
    run = Run.open(tmp_path / "run")
    assert run.vocabulary["words"]["symbols"] == [
        "and", "is", "one", "shining", "sun", "sweet", "the", "two", "weather",
    ]  # fmt: skip
    bag, _, _ = load_bag(run)
    texts = ["The sun is shining", "The weather is sweet", file.read_text().splitlines()[3].split('"')[1]]
    assert bag.features.counts(texts).toarray().tolist() == [
        [0, 1, 0, 1, 1, 0, 1, 0, 0],
        [0, 1, 0, 0, 0, 1, 1, 0, 1],
        [2, 3, 2, 1, 1, 1, 2, 1, 1],
    ]
    assert [said["label"] for said in open_task(run.path).predict(texts)] == ["0", "1", "0"]


def test_it_is_evaluated_and_predicts(fitted: FittedBag) -> None:
    opened = open_task(fitted.run)
    valid, test = opened.evaluate("valid"), opened.evaluate("test")
    assert fitted.valid is not None
    assert valid["accuracy"] == fitted.valid["accuracy"] == max(tried["score"] for tried in fitted.tried)
    assert test["accuracy"] > 0.9
    assert {"macro_f1", "calibration_error", "confusion", "classes", "loss"} <= test.keys()
    said = list(opened.predict(["a lovely plot", "grim", ""]))
    assert [each["label"] for each in said[:2]] == ["good", "bad"]
    for each in said:
        assert sum(each["probabilities"].values()) == pytest.approx(1)
    many = list(opened.predict(["a lovely plot", "grim"] * 600))
    assert [each["label"] for each in many] == ["good", "bad"] * 600


def test_the_likeliest_label_comes_first(fitted: FittedBag) -> None:
    for said in open_task(fitted.run).predict(["a lovely plot", "grim"]):
        shares = list(said["probabilities"].values())
        assert shares == sorted(shares, reverse=True)
        assert said["probability"] == shares[0] == said["probabilities"][said["label"]]


def test_what_was_tried_is_in_the_run(fitted: FittedBag) -> None:
    config = Run.open(fitted.run).config
    assert config["fitted"]["tried"] == fitted.tried
    assert config["fitted"]["chosen_on_valid"]
    best = max(config["fitted"]["tried"], key=lambda tried: (tried["score"], -tried["loss"]))
    for name in ("classifier", "weighting", "word_ngrams", "char_ngrams", "tokens", "cost", "added"):
        assert config["model"][name] == best[name]
    assert len(fitted.tried) > 10


def test_it_is_listed_and_described(fitted: FittedBag) -> None:
    summary = next(run for run in list_runs(fitted.run.parent) if run.name == "bag")
    assert summary.damage is None
    found = describe(fitted.run)
    assert isinstance(found, BagDescription)
    assert found.parameters == fitted.parameters
    assert set(found.telling) == {"good", "bad"}
    assert "what speaks for each" in found.text()


def test_two_fits_are_the_same_bytes(reviews: Path, tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        fit_bag([str(reviews)], run=tmp_path / name, classifier="nbsvm")
        files.append((tmp_path / name / "checkpoints" / "000000001" / "model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_a_changed_byte_is_noticed(fitted: FittedBag, tmp_path: Path) -> None:
    shutil.copytree(fitted.run, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "000000001" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"model.safetensors was changed"):
        open_task(tmp_path / "run")


def test_what_wants_a_network_says_so(fitted: FittedBag) -> None:
    with pytest.raises(RunError, match="has no network"):
        resume(fitted.run)


def test_the_best_of_the_family_stands_beside(fitted: FittedBag) -> None:
    found = open_task(fitted.run).opponent("test")
    assert found["accuracy"] == open_task(fitted.run).evaluate("test")["accuracy"]
    assert found["opponent"].endswith("bags of words on the validation part")


def test_several_labels_and_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    rows = [[str(word) for word in random.choice(["red", "green", "blue", "and"], 4)] for _ in range(120)]
    several = tmp_path / "several.jsonl"
    several.write_text(
        "".join(json.dumps({"text": " ".join(row), "label": sorted({*row} - {"and"})}) + "\n" for row in rows)
    )
    fit_bag([str(several)], run=tmp_path / "several", target="labels", classifier="logistic", char_ngrams="0")
    opened = open_task(tmp_path / "several")
    assert opened.evaluate("test")["micro_f1"] > 0.95
    assert next(iter(opened.predict(["blue and red"])))["labels"] == ["blue", "red"]
    numbers = tmp_path / "numbers.csv"
    numbers.write_text("text,label\n" + "".join(f"{' '.join(row)},{10 + 3 * row.count('red')}\n" for row in rows))
    fit_bag([str(numbers)], run=tmp_path / "numbers", target="number")
    opened = open_task(tmp_path / "numbers")
    assert opened.evaluate("test")["r2"] > 0.9
    assert 12 < next(iter(opened.predict(["red and blue and"])))["number"] < 14


def test_wrong_options_are_refused(reviews: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"hidden_size": 5}, "is none of a bag of words"),
        ({"unit": "word"}, "is none of a bag of words"),
        ({"word_ngrams": "two"}, "cannot be read"),
        ({"classifier": "ridge"}, "is not for one label"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            fit_bag([str(reviews)], run=tmp_path / "run", **options)
        assert not (tmp_path / "run").exists()
    empty = tmp_path / "marks.csv"
    empty.write_text("text,label\n" + "!!!,a\n???,b\n" * 10)
    with pytest.raises(DataError, match="anything that is counted"):
        fit_bag([str(empty)], run=tmp_path / "run", word_ngrams="1", tokens="words")
    assert not (tmp_path / "run").exists()
