"""`train classify`, `evaluate`, `predict` and `resume` of a classifier, as they are typed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled.cli import main

Unrolled = Callable[..., Any]
SMALL = ("--threads", "1", "--precision", "float32", "--hidden-size", "8", "--batch", "8", "--learning-rate", "0.02")


def write_names(folder: Path, count: int = 60) -> Path:
    """One file a label, as the names of languages come: letters of the first or the second half of the alphabet."""
    source = random.Random(0)
    folder.mkdir()
    for label, letters in (("First", "abcdef"), ("Second", "uvwxyz")):
        words = ["".join(source.choices(letters, k=source.randint(1, 9))) for _ in range(count)]
        (folder / f"{label}.txt").write_text("\n".join(words) + "\n")
    (folder / "README.txt").write_text("made by a program\n")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, made by the command; the data is gone."""
    folder = tmp_path_factory.mktemp("classify")
    names, run = write_names(folder / "names"), folder / "run"
    with pytest.raises(SystemExit) as done:
        main(["train", "classify", str(names), "--steps", "60", "--run", str(run), *SMALL, "--split-seed", "3"])
    assert not done.value.code
    return run


def test_what_was_chosen_is_written_and_shown(unrolled: Unrolled, tmp_path: Path) -> None:
    names = write_names(tmp_path / "names")
    done = unrolled("train", "classify", names, "--steps", "2", "--json", *SMALL)
    assert done.status == 0, done.err
    said = json.loads(done.out)
    assert said["task"] == "classify"
    assert said["run"] == "runs/names-classify-lstm"
    assert {"accuracy", "macro_f1", "calibration_error"} <= said["valid"].keys()
    assert "96 to train on, 12 to validate, 12 to test" in done.err
    assert "2: First 50.0%, Second 50.0%" in done.err
    assert "README.txt" in done.err
    config = json.loads(Path("runs/names-classify-lstm/config.json").read_text())
    assert config["data"]["unit"] == "char"
    assert config["data"]["split_seed"] == 0


def test_predictions_come_from_the_run_alone(unrolled: Unrolled, trained: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    (tmp_path / "new.txt").write_text("abba\n\nzyx\n???\n")
    done = unrolled("predict", moved, "new.txt", "--top", "1")
    assert done.status == 0, done.err
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["line"] for line in lines] == [1, 2, 3, 4]
    assert [lines[0]["label"], lines[2]["label"]] == ["First", "Second"]
    assert all(len(line["probabilities"]) == 1 for line in lines)
    assert lines[0]["probability"] > 0.8
    assert lines[1]["empty"]
    assert lines[1]["probability"] == 0.5
    again = unrolled("predict", moved, "-", stdin=b"abba\n\nzyx\n???\n")
    whole = [json.loads(line) for line in again.out.splitlines()]
    assert [line["label"] for line in whole] == [line["label"] for line in lines]
    assert all(sum(line["probabilities"].values()) == pytest.approx(1) for line in whole)
    assert list(whole[0]["probabilities"]) == ["First", "Second"]


def test_every_format_is_predicted(unrolled: Unrolled, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("label,text\nFirst,abc\nOther,xyz\n")
    (tmp_path / "first").write_text("First abc\n")
    table = unrolled("predict", trained, "new.csv")
    assert [json.loads(line)["given"] for line in table.out.splitlines()] == ["First", "Other"]
    assert [json.loads(line)["line"] for line in table.out.splitlines()] == [2, 3]
    first = unrolled("predict", trained, "first", "--format", "first")
    assert json.loads(first.out)["given"] == "First"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("abc\n")
    (folder / "b.txt").write_text("zzz\n")
    files = [json.loads(line) for line in unrolled("predict", trained, folder).out.splitlines()]
    assert [Path(line["file"]).name for line in files] == ["a.txt", "b.txt"]
    wrong = unrolled("predict", trained, "new.csv", "--format", "cvs")
    assert wrong.status == 2
    assert "did you mean 'csv'?" in wrong.err
    assert unrolled("predict", trained, "new.csv", "--top", "0").status == 2


def test_evaluation(unrolled: Unrolled, trained: Path, tmp_path: Path) -> None:
    done = unrolled("evaluate", trained, "--split", "test", "--picture", "a.svg", "--json")
    assert done.status == 0, done.err
    report = json.loads(done.out)
    assert report["accuracy"] >= 0.9
    assert report["split"] == "test"
    assert sum(map(sum, report["confusion"])) == report["examples"] == 12
    assert set(report["classes"]) == {"First", "Second"}
    assert Path("a.svg").read_text().startswith("<?xml")
    people = unrolled("evaluate", trained, "--split", "test")
    assert f"accuracy {report['accuracy']:.4f}" in people.out
    assert "precision" in people.out
    assert unrolled("evaluate", trained, "--picture", "a.jpeg").status == 2
    (tmp_path / "other.csv").write_text("text,label\nabc,First\nxyz,Second\nabx,First\n")
    other = json.loads(unrolled("evaluate", trained, "--on", "other.csv", "--json").out)
    assert other["examples"] == 3
    twice = unrolled("evaluate", trained, "--on", "other.csv", "--split", "test")
    assert (twice.status, "leave one of them out" in twice.err) == (2, True)
    (tmp_path / "strange.csv").write_text("text,label\nabc,First\nxyz,Sekond\n")
    strange = unrolled("evaluate", trained, "--on", "strange.csv")
    assert strange.status == 2
    assert "'Sekond' is none that the model is trained on" in strange.err
    assert "strange.csv, line 3" in strange.err
    assert "did you mean 'Second'?" in strange.err


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("text,label\na b,1\nc\n", (), "bad.csv, line 3"),
        ("text,label\na,1\nb,1\n", (), "one label only"),
        ("text,label\na,1\n,2\n", (), "the example is empty"),
        ("text,label\na,1\nb,\n", (), "the label is missing"),
        ("text,lable\na,1\nb,2\n", (), "did you mean 'lable'?"),
        ("text,label\na,1\nb,x\n", ("--target", "number"), "the label is not a number"),
        ("text,label\na,1\nb,1.0\n", ("--target", "number"), "all the same"),
        ("text,label\n", (), "there are no examples"),
        ("text,label\na,1\nb,2\n", ("--unit", "words"), "unit"),
        ("text,label\na,1\nb,2\n", ("--class-weights", "3=2"), "class weight"),
        ("text,label\na,1\nb,2\n", ("--max-length", "0"), "max_length"),
        ("text,label\na,1\nb,2\n", ("--folds", "2", "--valid", "bad.csv"), "folds are made of all examples"),
    ],
)
def test_what_is_wrong_stops_before_anything_is_trained(
    unrolled: Unrolled, tmp_path: Path, content: str, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "bad.csv").write_text(content)
    done = unrolled("train", "classify", "bad.csv", "--steps", "1", *SMALL, *options)
    assert done.status == 2
    assert said in done.err
    assert not Path("runs").exists()


def test_labels_at_once_and_numbers(unrolled: Unrolled, tmp_path: Path) -> None:
    rows = [{"text": text, "label": sorted(set(text)), "size": len(text)} for text in ("ab", "a", "b", "aab", "") * 20]
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "a.jsonl").write_text(lines)
    options = ("--bad-rows", "skip", "--steps", "3", *SMALL, "--json")
    done = unrolled("train", "classify", "a.jsonl", "--target", "labels", "--run", "sets", *options)
    assert done.status == 0, done.err
    assert "20 rows (empty)" in done.err
    assert {"micro_f1", "macro_f1"} <= json.loads(done.out)["valid"].keys()
    assert set(json.loads(unrolled("predict", "sets", "-", stdin=b"ab").out)["probabilities"]) == {"a", "b"}
    assert unrolled("evaluate", "sets", "--split", "test").status == 0
    done = unrolled("train", "classify", "a.jsonl", "--target", "number", "--label", "size", "--run", "size", *options)
    assert {"mae", "rmse", "r2"} <= json.loads(done.out)["valid"].keys()
    answers = [json.loads(line) for line in unrolled("predict", "size", "-", stdin=b"ab\n\n").out.splitlines()]
    assert answers[1] == {"line": 2, "number": pytest.approx(1.75, abs=0.2), "empty": True}
    assert unrolled("evaluate", "size", "--split", "test", "--picture", "a.png").status == 2


def test_a_killed_run_goes_on_to_the_same_bits(unrolled: Unrolled, tmp_path: Path) -> None:
    names = write_names(tmp_path / "names")
    often = ("--steps", "80", "--checkpoint-every", "10", "--validations", "2", "--dropout", "0.3")
    options = ["train", "classify", str(names), *often, *SMALL]
    assert unrolled(*options, "--run", "whole").status == 0
    log, last = tmp_path / "log", tmp_path / "killed" / "last"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "unrolled", *options, "--run", "killed"],
            cwd=tmp_path,
            stdout=out,
            stderr=out,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        end = time.monotonic() + 120
        while process.poll() is None and not (last.exists() and int(last.read_text()) > 0):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert unrolled("resume", "killed").status == 0
    for name in ("model.safetensors", "training.safetensors"):
        checkpoint = Path("checkpoints") / "000000080" / name
        assert (tmp_path / "whole" / checkpoint).read_bytes() == (tmp_path / "killed" / checkpoint).read_bytes()
    reports = [unrolled("evaluate", run, "--json").out for run in ("whole", "killed")]
    assert reports[0].replace('"whole"', '"killed"') == reports[1]


def test_options_of_language_models_and_of_files_are_told_apart(unrolled: Unrolled, trained: Path) -> None:
    done = unrolled("train", "classify", "x", "--shuffle-block", "3")
    assert done.status == 2
    assert "--shuffle-block" in done.err
    help_text = unrolled("train", "classify", "--help").out
    assert "--bad-rows" in help_text
    assert "demo" in unrolled("--help").out
    assert "classify" in unrolled("demo", "--help").out


def test_folds_are_cut_from_one_set_of_files(unrolled: Unrolled, tmp_path: Path) -> None:
    names = write_names(tmp_path / "names")
    done = unrolled("train", "classify", names, "--test", names, "--folds", "3")
    assert done.status == 2
    assert "folds are made of all examples together" in done.err
