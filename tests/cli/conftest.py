from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch

from unrolled.cli import main

# A run of a moment, whatever else is asked for.
SMALL = ("--threads", "1", "--precision", "float32", "--hidden-size", "6", "--layers", "1", "--batch", "2")
QUICK = (*SMALL, "--length", "8", "--steps", "3", "--sample-every", "0")

_COMPILED = re.compile(r"compiling .*, once on this machine \.\.\. [0-9.]+ s\n")


class Result(NamedTuple):
    """What a command line did."""

    status: int
    out: str
    err: str


@pytest.fixture
def unrolled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], threads: int
) -> Iterator[Callable[..., Result]]:
    """Runs a command line in this process, in an empty directory; `stdin` are the bytes it reads."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        # Which test is the first to need a kernel is not said.
        result = Result(int(done.value.code or 0), out, _COMPILED.sub("", err))
        assert "Traceback" not in result.err
        assert "failed:" not in result.err
        return result

    yield run
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Options of a run of a moment."""
    return QUICK
