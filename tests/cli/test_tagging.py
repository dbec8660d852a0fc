"""`train tag` from the command line, and what is made of its run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = "# text\nAnn\tB-PER\nsaw\tO\nNew\tB-LOC\nYork\tI-LOC\n\nhe\tO\nslept\tO\n\n"
SMALL = (
    *("--threads", "1", "--precision", "float32", "--hidden-size", "6", "--character-hidden", "4"),
    *("--learning-rate", "0.02", "--batch", "4", "--epochs", "8", "--dropout", "0"),
)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.conll"
    path.write_text(WORDS * 20)
    return path


def test_a_tagger_from_end_to_end(unrolled: Callable[..., Any], words: Path, tmp_path: Path) -> None:
    parts = ("--train", words, "--valid", words, "--test", words)
    done = unrolled("train", "tag", *parts, "--run", "runs/tags", *SMALL)
    assert done.status == 0, done.err
    assert "4 tags (BIO)" in done.err
    assert "span F1" in done.out
    report = json.loads(unrolled("evaluate", "runs/tags", "--split", "test", "--json").out)
    assert (report["task"], report["span_f1"], report["accuracy"]) == ("tag", 1, 1)
    shown = unrolled("evaluate", "runs/tags", "--split", "test", "--baseline", "--picture", "confusion.svg").out
    assert "beside it: logistic regression on windows" in shown
    assert "sequences without an error" in shown.split("\nruns/tags:\n")[1]
    assert "B-PER" in shown
    assert "the confusion matrix is in confusion.svg" in shown
    assert "<svg" in (tmp_path / "confusion.svg").read_text()
    (tmp_path / "new.txt").write_text("Ann slept\nhe saw New York\n")
    said = [json.loads(line) for line in unrolled("predict", "runs/tags", "new.txt").out.splitlines()]
    assert [each["tags"] for each in said] == [["B-PER", "O"], ["O", "O", "B-LOC", "I-LOC"]]
    assert said[1]["spans"] == [{"start": 2, "end": 4, "type": "LOC", "text": "New York"}]
    stripped = WORDS.replace("B-PER", "O").encode()
    written = unrolled("predict", "runs/tags", "-", "--conll", stdin=stripped).out
    assert written == WORDS
    assert "runs/tags" in unrolled("runs").out
    assert unrolled("resume", "runs/tags", "--epochs", "9").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tag-column", "upos"), "no column 'upos'"),
        (("--tag-column", "3"), "no column 3"),
        (("--output", "crt"), "crt"),
        (("--split", "80/30"), "per cent"),
        (("--valid", "words.conll"), "given twice"),
        (("--format", "npz"), "cannot be read as NPZ"),
        (("--format", "csv"), "--tag-column"),
        (("--cell", "sru"), "the equations use x unit by unit"),
        (("--length", "8"), "--length"),
    ],
)
def test_what_does_not_fit_is_refused(
    unrolled: Callable[..., Any], words: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = unrolled("train", "tag", words, *arguments)
    assert done.status == 2
    assert said in done.err
    assert not Path("runs").exists()
