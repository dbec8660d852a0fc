"""A run that is killed again and again ends with the bits of one that was not."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TIMING = ("minutes", "targets_per_second", "seconds_left")
SMALL = ("--threads", "1", "--precision", "float32", "--hidden-size", "8", "--batch", "3", "--length", "8")
# Each with its own way of carrying something from one step to the next.
RECIPES: dict[str, tuple[str, ...]] = {
    "carried state, dropout": ("--cell", "lstm", "--layers", "2", "--dropout", "0.3", "--steps", "105"),
    "derived kernel": ("--cell", "lstm-peephole", "--layers", "2", "--dropout", "0.2", "--steps", "42"),
    "several documents": (
        "--cell",
        "gru",
        "--documents",
        "reset",
        "--dropout",
        "0.2",
        "--variational",
        "--steps",
        "42",
    ),
    "all that is dropped or penalised": (
        *("--cell", "lstm", "--tied", "--embedding-size", "6", "--variational", "--input-dropout", "0.2"),
        *("--layer-dropout", "0.1", "--output-dropout", "0.3", "--embedding-dropout", "0.1", "--weight-drop", "0.3"),
        *("--activation-penalty", "2", "--temporal-penalty", "1", "--optimizer", "rmsprop", "--steps", "42"),
    ),
    "averaged once triggered, lengths that vary": (
        *("--cell", "rnn", "--random-lengths", "--average", "triggered", "--nonmonotone", "0", "--validations", "14"),
        *("--optimizer", "sgd", "--learning-rate", "3", "--schedule", "falling", "--fall-after", "1"),
        *("--fall-factor", "0.7", "--steps", "42", "--dropout", "0.1", "--decayed", "all"),
    ),
    "shuffled blocks": (
        *("--cell", "gru", "--shuffle-block", "40", "--documents", "reset", "--dropout", "0.2", "--steps", "42"),
        *("--average", "exponential", "--random-lengths"),
    ),
    "accumulated, with momentum": (
        *("--cell", "gru-reset-before", "--layers", "1", "--accumulate", "2", "--optimizer", "sgd"),
        *("--learning-rate", "0.3", "--steps", "42", "--residual"),
    ),
}


@pytest.fixture
def texts(tmp_path: Path, make_text: Callable[[int, int], str]) -> list[Path]:
    paths = [tmp_path / f"{name}.txt" for name in ("one", "two", "three")]
    for seed, path in enumerate(paths):
        path.write_text(make_text(900 + 150 * seed, seed))
    return paths


def last(run: Path) -> int:
    """The step of the last checkpoint; -1 before the first."""
    try:
        return int((run / "last").read_text())
    except (FileNotFoundError, ValueError):
        return -1


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def assert_same(run: Path, other: Path) -> None:
    """Everything but what a clock was asked for."""
    assert last(run) == last(other)
    folders = [where / "checkpoints" / (where / "last").read_text().strip() for where in (run, other)]
    for name in ("model.safetensors", "training.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    states = [json.loads((folder / "training.json").read_text()) for folder in folders]
    assert {**states[0], "minutes": 0} == {**states[1], "minutes": 0}
    assert (run / "samples.txt").read_bytes() == (other / "samples.txt").read_bytes()
    assert (run / "best").read_bytes() == (other / "best").read_bytes()
    assert metrics(run) == metrics(other)
    assert [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith(".")] == []


class Killer:
    """Ends processes that train a run at moments it draws: some steps on, soon after one or while a checkpoint is being
    written; the first when it has only just made the directory of the run."""

    def __init__(self, run: Path, steps: int, seed: int = 0) -> None:
        self.run, self.steps, self.random = run, steps, random.Random(seed)
        self.kills = self.while_saving = 0

    def kill(self, pid: int) -> None:
        until = last(self.run) + (self.random.randrange(self.steps) if self.kills else 0)
        self.wait(lambda: (self.run / "config.json").exists() and last(self.run) >= until)
        if self.kills and self.random.random() < 0.5:
            self.wait(self.saving)
        else:
            time.sleep(self.random.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)

    def wait(self, holds: Callable[[], bool]) -> None:
        begun = time.monotonic()
        while not holds():
            assert time.monotonic() - begun < 60, "the process does not go on"
            time.sleep(0.0002)

    def count(self) -> None:
        """After the process has ended."""
        self.kills += 1
        self.while_saving += self.saving()

    def saving(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return any(path.name.startswith(".writing-") for path in (self.run / "checkpoints").iterdir())
        return False


@pytest.mark.parametrize("recipe", RECIPES)
def test_killed_at_random_moments_a_run_ends_with_the_same_bits(
    recipe: str, start: Callable[..., Any], texts: list[Path], tmp_path: Path
) -> None:
    train, run = ("train", "lm", *texts, *SMALL, *RECIPES[recipe]), tmp_path / "killed"
    assert start(*train, "--run", tmp_path / "whole").wait() == 0
    kills = 20 if recipe == "carried state, dropout" else 6
    killer = Killer(run, steps=last(tmp_path / "whole") // (kills + 1))
    process = start(*train, "--run", run, "--checkpoint-every", "1")
    while killer.kills < kills:
        killer.kill(process.pid)
        assert process.wait() == -signal.SIGKILL
        killer.count()
        process = start("resume", run)
    assert process.wait() == 0, process.stderr
    assert_same(run, tmp_path / "whole")
    assert killer.while_saving > 0 or kills < 20


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.figures)])
def test_killed_as_a_command(kills: int, texts: list[Path], tmp_path: Path) -> None:
    """The same with `python -m unrolled`, every process from nothing."""
    command = [sys.executable, "-m", "unrolled"]
    train = [*command, "train", "lm", *map(str, texts), *SMALL, *RECIPES["carried state, dropout"], "--run"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*train, tmp_path / "whole"], check=True, **quiet)
    run = tmp_path / "killed"
    killer = Killer(run, steps=last(tmp_path / "whole") // (kills + 1), seed=1)
    process = subprocess.Popen([*train, str(run), "--checkpoint-every", "1"], **quiet)
    while killer.kills < kills:
        killer.kill(process.pid)
        assert process.wait() == -signal.SIGKILL
        killer.count()
        process = subprocess.Popen([*command, "resume", run], **quiet)
    assert process.wait() == 0
    assert_same(run, tmp_path / "whole")
