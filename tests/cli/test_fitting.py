"""`train lm --model ngram` from the command line, and what is made of its run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_an_ngram_model_from_end_to_end(unrolled: Callable[..., Any], corpus: Path) -> None:
    done = unrolled("train", "lm", corpus, "--model", "ngram", "--order", "4", "--run", "runs/sea")
    assert done.status == 0, done.err
    assert "fitted 4-grams" in done.out
    assert "counting 4-grams" in done.err
    assert "4-grams" in unrolled("runs").out
    assert "discounts of counts" in unrolled("describe", "runs/sea").out
    assert unrolled("describe", "runs/sea", "--latex").out.startswith("\\begin")
    assert len(json.loads(unrolled("describe", "runs/sea", "--json").out)["discounts"]) == 4
    assert unrolled("evaluate", "runs/sea", "--split", "test").out.startswith("test, carried (1 stream)")
    assert len(unrolled("sample", "runs/sea", "--length", "20").out) == 21
    lines = unrolled("score", "runs/sea", corpus, "--each", "line").out.splitlines()
    assert json.loads(lines[0])["text"].endswith("\n")


def test_what_was_chosen_is_said(unrolled: Callable[..., Any], corpus: Path) -> None:
    done = unrolled("train", "lm", corpus, "--model", "ngram", "--discounts", "tuned", "--json")
    value = json.loads(done.out)
    assert value["run"] == "runs/sea-ngram"
    assert value["chosen_on_valid"] == ["order", "discounts"]
    assert min(value["tried"], key=value["tried"].get) == str(value["order"])
    assert value["best_valid_perplexity"] < 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--order", "5"), "--order is an option of n-grams"),
        (("--model", "ngram", "--hidden-size", "5"), "'hidden_size' is none of an n-gram model"),
        (("--model", "ngram", "--recipe", "min-char-rnn"), "'recipe' is none of an n-gram model"),
        (("--model", "ngram", "--order", "0"), "order is out of range"),
        (("--model", "ngrams"), "ngrams"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    unrolled: Callable[..., Any], corpus: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = unrolled("train", "lm", corpus, *arguments)
    assert done.status == 2
    assert said in done.err
    assert not Path("runs").exists()


def test_a_disk_that_is_full_leaves_nothing(start: Callable[..., Any], corpus: Path, tmp_path: Path) -> None:
    begun = start(
        "train", "lm", corpus, "--model", "ngram", "--order", "5", "--in-memory", "0", "--run", "run",
        cwd=tmp_path, file_size=20_000,
    )  # fmt: skip
    assert begun.wait() == 1
    assert "what was saved before is untouched" in begun.stderr
    assert not (tmp_path / "run").exists()


def test_others_beside_a_run(unrolled: Callable[..., Any], trained: Path, corpus: Path) -> None:
    done = unrolled("evaluate", trained, "--split", "test", "--baseline", "ngram", "--mix", "ngram")
    assert done.status == 0, done.err
    assert "beside it, on the same symbols:" in done.out
    assert "  ngram: Kneser-Ney" in done.out
    assert "  mixture: 0.0" in done.out or f"{trained} + " in done.out
    value = json.loads(unrolled("score", trained, corpus, "--mix", "ngram", "--json").out)
    assert [other["name"] for other in value["beside"]] == ["ngram", "mixture"]
    for arguments, said in (
        (("evaluate", trained, "--baseline", "ngram", "--protocol", "windows"), "--protocol carried"),
        (("score", trained, corpus, "--mix", "ngram", "--each", "line"), "scores a text as a whole"),
        (("evaluate", trained, "--mix", "nothing"), "there is no run nothing"),
    ):
        done = unrolled(*arguments)
        assert (done.status, said in done.err) == (2, True), done.err
