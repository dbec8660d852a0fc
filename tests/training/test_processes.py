"""Several processes that train one model: beside one, killed, interrupted, and with what goes wrong in one of them.

Processes are forked and told what `torchrun` would tell them; one test has `torchrun` itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed import TCPStore

from unrolled.training.processes import Processes, current, joined

# With residual layers there is no training step to compile.
NET = ("--threads", "1", "--precision", "float32", "--hidden-size", "7", "--layers", "2", "--residual")
DATA = ("--batch", "5", "--length", "9", "--sample-every", "0", "--validations", "3")
START = (*NET, *DATA)

Group = Callable[..., list[Any]]


@pytest.fixture
def told() -> Iterator[Callable[[int, int], dict[str, str]]]:
    """A function from a number of processes and a rank to what `torchrun` tells that process; it keeps their store."""
    stores = []

    def tell(count: int, rank: int) -> dict[str, str]:
        if rank == 0:
            stores.append(TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False))
        values = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "RANK": rank, "LOCAL_RANK": rank}
        values |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": stores[-1].port}
        values |= {"TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0}
        return {name: str(value) for name, value in values.items()}

    yield tell
    stores.clear()


@pytest.fixture
def group(start: Callable[..., Any], told: Callable[[int, int], dict[str, str]], tmp_path: Path) -> Group:
    """Starts a command in so many processes that find each other."""

    def begin(*arguments: str | Path, count: int = 2) -> list[Any]:
        return [start(*arguments, cwd=tmp_path, environment=told(count, rank)) for rank in range(count)]

    return begin


def ended(processes: list[Any]) -> list[int]:
    return [process.wait() for process in processes]


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def checkpoint(run: Path) -> dict[str, bytes]:
    folder = run / "checkpoints" / (run / "last").read_text().strip()
    state = json.loads((folder / "training.json").read_text())
    found = {name: (folder / name).read_bytes() for name in ("model.safetensors", "training.safetensors")}
    return {**found, **{name: str(state[name]).encode() for name in ("step", "epoch", "position", "smoothed")}}


def wait_until(holds: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < 60, "it does not get there"
        time.sleep(0.005)


def last(run: Path) -> int:
    return int((run / "last").read_text()) if (run / "last").exists() else -1


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (2, ("--accumulate", "2", "--documents", "reset", "--clip-norm", "0.1", "--cell", "rnn")),
        (3, ("--reduction", "sum", "--optimizer", "sgd", "--learning-rate", "0.001")),
        (2, ("--random-lengths", "--average", "exponential", "--average-decay", "0.8", "--shuffle-block", "60")),
        (
            2,
            (
                *("--random-lengths", "--average", "triggered", "--nonmonotone", "0"),
                *("--optimizer", "sgd", "--learning-rate", "3", "--schedule", "constant", "--warmup", "0"),
            ),
        ),
    ],
)
def test_the_curves_of_one_and_of_several_agree(
    start: Callable[..., Any], group: Group, corpus: Path, tmp_path: Path, count: int, options: tuple[str, ...]
) -> None:
    for part in range(3):
        (tmp_path / f"{part}.txt").write_text(corpus.read_text()[2000 * part :][: 1500 - 113 * part])
    texts = [tmp_path / f"{part}.txt" for part in range(3)]
    command = ("train", "lm", *texts, *START, "--steps", "12", *options, "--json")
    alone = start(*command, "--run", "alone", cwd=tmp_path)
    assert alone.wait() == 0
    processes = group(*command, "--run", "together", count=count)
    assert ended(processes) == [0] * count
    assert [process.stdout + process.stderr for process in processes[1:]] == [""] * (count - 1)
    theirs, ours = metrics(tmp_path / "alone"), metrics(tmp_path / "together")
    for one, other in zip(theirs, ours, strict=True):
        for key in {"loss", "norm", "valid", "rate", "epoch", "step"} & one.keys():
            assert other[key] == pytest.approx(one[key], rel=1e-4), (key, one["step"])
    of_one, of_all = (json.loads(process.stdout) for process in (alone, processes[0]))
    for key in ("best_valid_nats_per_token", "best_valid_bits_per_character", "parameters", "steps"):
        assert of_all[key] == pytest.approx(of_one[key], rel=1e-6)
    assert json.loads((tmp_path / "together" / "config.json").read_text())["measured"]["processes"] == count


@pytest.mark.parametrize(
    ("victim", "more"),
    [(0, ()), (1, ("--random-lengths", "--average", "exponential", "--shuffle-block", "60"))],
)
def test_one_is_killed_the_other_says_so_and_the_run_goes_on_exactly(
    group: Group, start: Callable[..., Any], corpus: Path, tmp_path: Path, victim: int, more: tuple[str, ...]
) -> None:
    # With a constant rate the updates do not depend on the budget.
    options = (*START, "--dropout", "0.3", "--checkpoint-every", "4", "--schedule", "constant", *more)
    harmed = tmp_path / "harmed"
    processes = group("train", "lm", corpus, *options, "--steps", "100000", "--run", "harmed")
    wait_until(lambda: last(harmed) >= 8)
    processes[victim].kill(signal.SIGKILL)
    begun = time.monotonic()
    statuses = ended(processes)
    assert time.monotonic() - begun < 60
    assert statuses[victim] == -signal.SIGKILL
    assert statuses[1 - victim] == 1
    said = processes[1 - victim].stderr
    assert "another process of this training has ended, or cannot be reached" in said
    assert "got: its connection was closed" in said
    assert "unrolled resume RUN" in said
    steps = last(harmed) + 7
    assert ended(group("resume", "harmed", "--steps", steps)) == [0, 0]
    assert ended(group("train", "lm", corpus, *options, "--steps", steps, "--run", "whole")) == [0, 0]
    assert checkpoint(harmed) == checkpoint(tmp_path / "whole")
    if victim == 0:
        other = start("resume", "harmed", "--steps", steps + 2, cwd=tmp_path)
        assert other.wait() == 0
        assert "the run was begun by 2 processes and goes on with 1" in other.stderr


def test_one_is_interrupted_and_all_stop_together(group: Group, corpus: Path, tmp_path: Path) -> None:
    processes = group("train", "lm", corpus, *START, "--steps", "100000", "--checkpoint-every", "3", "--run", "run")
    wait_until(lambda: last(tmp_path / "run") >= 3)
    processes[1].kill(signal.SIGINT)
    assert ended(processes) == [130, 130]
    saved = last(tmp_path / "run")
    assert f"unrolled: stopped after step {saved}; everything is saved in run\n" in processes[0].stderr
    assert processes[1].stderr == ""
    assert ended(group("resume", "run", "--steps", saved + 3)) == [0, 0]
    assert last(tmp_path / "run") == saved + 3


def test_a_budget_in_minutes_ends_together(group: Group, corpus: Path, tmp_path: Path) -> None:
    processes = group("train", "lm", corpus, *NET, *DATA[:4], "--minutes", "0.02", "--run", "run")
    assert ended(processes) == [0, 0]
    assert (tmp_path / "run" / "samples.txt").read_text().startswith("=== step 0, ")


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--batch", "1", "--length", "9"), 2, "there are more processes than streams to share"),
        ((*DATA, "--stepz", "1"), 2, "Unknown option: --stepz"),
        ((*DATA, "--dropout", "2"), 2, "dropout is a probability"),
        ((*DATA, "--optimizer", "sgd", "--learning-rate", "1e30", "--clip-norm", "0"), 1, "training diverged at step"),
    ],
)
def test_what_is_wrong_is_said_once(
    group: Group, corpus: Path, options: tuple[str, ...], status: int, said: str
) -> None:
    processes = group("train", "lm", corpus, *NET, "--steps", "9", "--run", "run", *options)
    assert ended(processes) == [status, status]
    assert said in processes[0].stderr
    assert processes[1].stderr == ""


def test_an_ngram_model_is_counted_in_one(group: Group, corpus: Path) -> None:
    processes = group("train", "lm", corpus, "--model", "ngram", "--order", "2")
    assert ended(processes) == [2, 2]
    assert "counting an n-gram model is done in one process" in processes[0].stderr
    assert processes[1].stderr == ""


def test_what_is_wrong_in_one_is_said_by_it(
    start: Callable[..., Any], told: Callable[[int, int], dict[str, str]], corpus: Path, tmp_path: Path
) -> None:
    processes = []
    for rank, name in ((0, corpus), (1, tmp_path / "elsewhere.txt")):
        command = ("train", "lm", name, *START, "--steps", "3", "--run", "run")
        processes.append(start(*command, cwd=tmp_path, environment=told(2, rank)))
    assert ended(processes) == [1, 2]
    assert processes[1].stderr.startswith("unrolled (process 1): there is no such file or directory")
    assert "got: process 1: DataError: there is no such file or directory" in processes[0].stderr


def test_torchrun_itself(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    arguments = ["unrolled", "train", "lm", str(corpus), *START, "--steps", "2", "--run", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained 2 steps") == 1


@given(st.integers(1, 9), st.integers(0, 40))
def test_every_stream_has_one_reader(count: int, batch: int) -> None:
    rows = [range(*Processes(rank, count).rows(batch)) for rank in range(count)]
    assert [row for share in rows for row in share] == [*range(batch)]
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_seeds_differ() -> None:
    seeds = {Processes(rank, 64).seed(seed) for rank in range(64) for seed in range(100)}
    assert len(seeds) == 6400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert Processes().seed(17) == 17


def test_one_process_is_joined_with_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with joined() as processes:
        assert (processes.rank, processes.count) == (0, 1)
        assert current() is processes
    monkeypatch.setenv("WORLD_SIZE", "2")
    from unrolled.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="not all that torchrun sets"), joined():
        pass
