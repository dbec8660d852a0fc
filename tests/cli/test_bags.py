"""`train classify --model bow` from the command line, and what is made of its run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROWS = "text,label\n" + "a lovely day,good\nsweet and bright,good\na grim day,bad\ndull and bitter,bad\n" * 15


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text(ROWS)
    return path


def test_a_bag_of_words_from_end_to_end(unrolled: Callable[..., Any], reviews: Path, tmp_path: Path) -> None:
    done = unrolled("train", "classify", reviews, "--model", "bow", "--classifier", "naive-bayes", "--run", "runs/bag")
    assert done.status == 0, done.err
    assert "fitted naive-bayes" in done.out
    assert "best so far" in done.err
    assert "bag of words, naive-bayes" in unrolled("runs").out
    assert "what speaks for each" in unrolled("describe", "runs/bag").out
    assert unrolled("describe", "runs/bag", "--latex").out.startswith("\\begin")
    assert json.loads(unrolled("describe", "runs/bag", "--json").out)["telling"].keys() == {"good", "bad"}
    assert json.loads(unrolled("evaluate", "runs/bag", "--split", "test", "--json").out)["accuracy"] == 1
    (tmp_path / "new.txt").write_text("a lovely day\ndull\n")
    said = [json.loads(line) for line in unrolled("predict", "runs/bag", tmp_path / "new.txt").out.splitlines()]
    assert [each["label"] for each in said] == ["good", "bad"]
    beside = unrolled("evaluate", "runs/bag", "--split", "test", "--baseline")
    assert beside.status == 0, beside.err
    assert "beside it:" in beside.out
    value = json.loads(unrolled("evaluate", "runs/bag", "--baseline", "--json").out)
    assert value["beside"][0]["accuracy"] == 1
    assert unrolled("resume", "runs/bag").status == 2
    other = unrolled("train", "classify", reviews, "--model", "bow", "--classifier", "logistic", "--run", "runs/other")
    assert other.status == 0, other.err
    both = unrolled("evaluate", "runs/bag", "--mix", "runs/other", "--split", "test")
    assert "beside it: mixture: " in both.out, both.err
    assert "\nthe mixture:\n" in both.out
    assert "chosen on these" not in both.out
    assert "and so were the weights of the mixture" in unrolled("evaluate", "runs/bag", "--mix", "runs/other").out
    value = json.loads(unrolled("evaluate", "runs/bag", "--mix", "runs/other", "--json").out)
    assert [sorted({"run", "mixture"} & each.keys()) for each in value["beside"]] == [["run"], ["mixture"]]
    mixed = unrolled("predict", "runs/bag", tmp_path / "new.txt", "--mix", "runs/other", "--json")
    assert json.loads(mixed.out)["mixture"].keys() == {"runs/bag", "runs/other"}
    mixed = unrolled("predict", "runs/bag", tmp_path / "new.txt", "--mix", "runs/other")
    assert [json.loads(line)["label"] for line in mixed.out.splitlines()] == ["good", "bad"]
    assert unrolled("evaluate", "runs/bag", "--mix", "runs/bag").status == 2


def test_json(unrolled: Callable[..., Any], reviews: Path) -> None:
    done = unrolled("train", "classify", reviews, "--model", "bow", "--classifier", "nbsvm", "--json")
    value = json.loads(done.out)
    assert value["run"] == "runs/reviews-classify-bow"
    assert value["setting"]["classifier"] == "nbsvm"
    assert value["chosen_on_valid"]
    assert value["valid"]["accuracy"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--word-ngrams", "1-2"), "--word-ngrams is an option of a bag of words"),
        (("--model", "bow", "--hidden-size", "5"), "'hidden_size' is none of a bag of words"),
        (("--model", "bow", "--minutes", "5"), "'minutes' is none of a bag of words"),
        (("--model", "bow", "--from", "run"), "'init_from' is none of a bag of words"),
        (("--model", "bow", "--folds", "3"), "which fold is tested on is not said"),
        (("--model", "bow", "--word-ngrams", "2-1"), "word_ngrams cannot be read"),
        (("--model", "bow", "--stop-words", "nowhere.txt"), "nowhere.txt"),
        (("--model", "bows"), "bows"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    unrolled: Callable[..., Any], reviews: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = unrolled("train", "classify", reviews, *arguments)
    assert done.status == 2
    assert said in done.err
    assert not Path("runs").exists()
