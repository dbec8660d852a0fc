"""A process that dies, or whose disk fails, at each single step that a save takes."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled.errors import StorageError
from unrolled.runs import Checkpoint, Logs, Run, load, read_metrics, rewind, save

# Python from 3.12 on, and JAX, warn of a fork beside other threads; what is forked here touches none of theirs.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning"),
]

SAVED, REFUSED, KILLED = 0, 1, -signal.SIGKILL


def save_step(run: Run, step: int, best: bool) -> None:
    with Logs(run) as logs:
        logs.metrics({"step": step})
    save(run, step, {"w": torch.full((2,), step)}, {"m": torch.full((1,), -step)}, {"n": step}, best)


def is_whole(checkpoint: Checkpoint) -> bool:
    step = checkpoint.step
    same = torch.equal(checkpoint.model["w"], torch.full((2,), step))
    return same and torch.equal(checkpoint.training["m"], torch.full((1,), -step)) and checkpoint.state == {"n": step}


def fork(work: Callable[[], None]) -> int:
    """Run `work` in another process, which ends with it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except StorageError:
            os._exit(REFUSED)
        except BaseException as error:
            sys.__stderr__.write(f"{error!r}\n")
            os._exit(9)
        os._exit(SAVED)
    return child


def ending(child: int) -> int:
    """Wait for a process. Returns its exit status, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watch(below: Path, act: Callable[[int], None]) -> None:
    """From here on, `act` right before each call of the operating system that concerns `below`.

    It is given the number of the call, from 1 on.
    """
    numbers = itertools.count(1)
    watched = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        # shutil.rmtree removes by names relative to a directory it holds open
        if event in watched and (str(arguments[0]).startswith(str(below)) or event in ("os.remove", "os.rmdir")):
            act(next(numbers))

    fsync = os.fsync

    def counted(descriptor: int) -> None:
        act(next(numbers))
        fsync(descriptor)

    sys.addaudithook(hook)
    os.fsync = counted


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise OSError(errno.EIO, "Input/output error")


def crashes(tmp_path: Path, act: Callable[[], None], steps: int, best: bool) -> Iterator[tuple[Run, int]]:
    """For each call that saving the last of `steps` makes: the run after that call went wrong, and how it ended."""

    original = Run.create(tmp_path / "original", {"task": "lm"}, {"symbols": ["a"]})
    for step in range(1, steps):
        save_step(original, step, best=step == 2)

    def prepared(name: str) -> Run:
        return Run.open(shutil.copytree(original.path, tmp_path / name))

    def counting(run: Run) -> None:
        calls = []
        watch(run.path, calls.append)
        save_step(run, steps, best)
        os._exit(len(calls))

    def failing(run: Run, number: int) -> None:
        watch(run.path, lambda call: act() if call == number else None)
        save_step(run, steps, best)

    whole = prepared("whole")
    calls = ending(fork(lambda: counting(whole)))
    assert 30 < calls < 256
    for number in range(1, calls + 1):
        run = prepared(str(number))
        yield run, ending(fork(partial(failing, run, number)))


@pytest.mark.parametrize("best", [False, True])
def test_a_process_killed_at_any_call_leaves_a_whole_run_that_goes_on(tmp_path: Path, best: bool) -> None:
    steps = 5
    for run, ended in crashes(tmp_path, die, steps, best):
        assert ended == KILLED
        last = load(run, "last")
        assert is_whole(last)
        assert last.step in (steps - 1, steps)
        assert is_whole(load(run, "best"))
        # going on from there ends as if nothing had happened
        rewind(run, last)
        assert run.pointer("best") == last.best
        for step in range(last.step + 1, steps + 2):
            save_step(run, step, best and step <= steps)
        assert is_whole(load(run))
        assert load(run, "best").step == (steps if best else 2)
        found = [path.name for path in (run.path / "checkpoints").iterdir()]
        assert sorted(found) == [f"{step:09d}" for step in ((5, 6) if best else (2, 5, 6))]
        assert read_metrics(run) == [{"step": step} for step in range(1, steps + 2)]


@pytest.mark.parametrize("best", [False, True])
def test_a_disk_that_fails_at_any_call_leaves_a_whole_run(tmp_path: Path, best: bool) -> None:
    steps = 5
    for run, ended in crashes(tmp_path, fail, steps, best):
        assert ended in (SAVED, REFUSED)
        last = load(run, "last")
        assert is_whole(last)
        assert last.step == steps if ended == SAVED else last.step in (steps - 1, steps)
        assert is_whole(load(run, "best"))
        save_step(run, steps, best)
        assert (load(run).step, load(run, "best").step) == (steps, steps if best else 2)


def test_a_process_killed_at_random_moments_goes_on_each_time(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {"task": "lm"}, {"symbols": ["a"]})
    save_step(run, 0, best=True)

    def train() -> None:
        last = load(run)
        rewind(run, last)
        for step in range(last.step + 1, 10**6):
            save_step(run, step, best=step % 3 == 0)

    moments = torch.rand(12, generator=torch.Generator().manual_seed(1)).mul(0.05).tolist()
    for moment in moments:
        before = run.pointer("last")
        child = fork(train)
        deadline = time.monotonic() + 60
        while run.pointer("last") == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        assert ending(child) == KILLED
        assert is_whole(load(run))
        assert is_whole(load(run, "best"))
    last = load(run)
    rewind(run, last)
    assert read_metrics(run) == [{"step": step} for step in range(last.step + 1)]
    assert load(run, "best").step == last.step // 3 * 3
    assert last.step >= len(moments)
