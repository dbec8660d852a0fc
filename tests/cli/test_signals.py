"""Ctrl-C, a request to terminate, and a reader who has seen enough."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LONG = ("--threads", "1", "--precision", "float32", "--layers", "1", "--steps", "100000", "--sample-every", "0")
SMALL = (*LONG, "--hidden-size", "8", "--batch", "2", "--length", "8", "--validations", "1")


def wait_for(holds: Callable[[], bool], process: Any) -> None:
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < 60, "it does not get there"
        time.sleep(0.002)


def last(run: Path) -> int:
    return int((run / "last").read_text()) if (run / "last").exists() else -1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_saves_and_exits(
    start: Callable[..., Any], corpus: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("train", "lm", corpus, "--run", "run", *SMALL, "--checkpoint-every", "20", cwd=tmp_path)
    wait_for(lambda: last(tmp_path / "run") >= 20, process)
    process.kill(number)
    assert process.wait() == 130
    saved = last(tmp_path / "run")
    assert f"unrolled: stopped after step {saved}; everything is saved in run\n" in process.stderr
    assert "what to do: go on with: unrolled resume run" in process.stderr
    assert process.stdout == ""
    again = start("resume", "run", "--steps", saved + 3, cwd=tmp_path)
    assert again.wait() == 0
    assert last(tmp_path / "run") == saved + 3


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe can be set on Linux only")
def test_the_second_exits_at_once(start: Callable[..., Any], corpus: Path, tmp_path: Path) -> None:
    """What it says goes into a pipe that is soon full: there it stands still, between two steps."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    size = fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    often = (*LONG, "--hidden-size", "8", "--batch", "2", "--length", "8", "--validations", "100000")
    process = start("train", "lm", corpus, "--run", "run", *often, cwd=tmp_path, terminal=tmp_path / "pipe")
    seen = b""

    def answers_signals() -> bool:
        nonlocal seen
        with contextlib.suppress(BlockingIOError):
            seen += os.read(reader, size)
        return b", kernel " in seen

    def held() -> int:
        return int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder)

    def stands_still() -> bool:
        before = held()
        time.sleep(0.5)
        return held() == before > size - 200  # no room for another line

    wait_for(answers_signals, process)
    wait_for(stands_still, process)
    before = last(tmp_path / "run")
    process.kill(signal.SIGINT)
    time.sleep(0.2)
    process.kill(signal.SIGINT)
    os.set_blocking(reader, True)
    while piece := os.read(reader, size):
        seen += piece
    os.close(reader)
    assert process.wait() == 130
    assert seen.endswith(b"unrolled: interrupted\n")
    assert last(tmp_path / "run") == before


def test_before_training_there_is_nothing_to_save(start: Callable[..., Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = start("train", "lm", "pipe", cwd=tmp_path)
    with (tmp_path / "pipe").open("w") as writer:  # it has begun to read
        writer.write("some text")
        writer.flush()
        process.kill(signal.SIGINT)
        assert process.wait() == 130
    assert process.stderr == "unrolled: interrupted\n"
    assert not (tmp_path / "runs").exists()


def test_two_processes_on_one_run(start: Callable[..., Any], corpus: Path, tmp_path: Path) -> None:
    first = start("train", "lm", corpus, "--run", "run", *SMALL, "--checkpoint-every", "5", cwd=tmp_path)
    wait_for(lambda: last(tmp_path / "run") >= 5, first)
    second = start("resume", "run", cwd=tmp_path)
    assert second.wait() == 2
    assert "unrolled: the run run is being trained by another process" in second.stderr
    first.kill(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert start("resume", "run", "--steps", last(tmp_path / "run") + 3, cwd=tmp_path).wait() == 0


@pytest.mark.parametrize("length", ["20", "4000"])
def test_a_reader_who_has_seen_enough(trained: Path, length: str) -> None:
    """As a command: `unrolled sample RUN | head -c 10`."""
    command = [sys.executable, "-m", "unrolled", "sample", str(trained), "--length", length]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        said = process.stderr.read().splitlines()  # what is compiled, where nothing was before
        assert all(line.startswith(b"compiling") for line in said)
        assert process.wait() == 0
