"""A disk that is full: exit status 1, and what was saved before is as good as ever."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SMALL = ("--threads", "1", "--precision", "float32", "--batch", "2", "--length", "8", "--layers", "1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB; one who may not make one is let off."""
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", path], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small file system can only be made by the administrator")
    yield path
    subprocess.run(["umount", path], check=True)


def failed(process: Any, *lines: str) -> None:
    assert process.wait() == 1, process.stderr
    assert "Traceback" not in process.stderr
    assert "failed: " in process.stderr
    assert "what was saved before is untouched" in process.stderr
    for line in lines:
        assert line in process.stderr, process.stderr


def test_while_the_text_is_prepared(start: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("some text\n" * 10_000)
    environment = {"UNROLLED_CACHE": str(tmp_path / "cache")}
    command = ("train", "lm", "text", "--run", "run", *SMALL, "--steps", "2", "--hidden-size", "4")
    process = start(*command, cwd=tmp_path, environment=environment, file_size=30_000)
    failed(process, "unrolled: preparing", "File too large")
    assert list((tmp_path / "cache" / "tokens").iterdir()) == []
    assert not (tmp_path / "run").exists()
    assert start(*command, cwd=tmp_path, environment=environment).wait() == 0


def test_while_the_run_is_made(start: Callable[..., Any], corpus: Path, tmp_path: Path) -> None:
    command = ("train", "lm", corpus, "--run", "run", *SMALL, "--steps", "2", "--hidden-size", "4")
    assert (
        start("train", "lm", corpus, *command[3:4], "first", *command[5:], cwd=tmp_path).wait() == 0
    )  # the text is ready
    failed(start(*command, cwd=tmp_path, file_size=300), "run/vocabulary.json", "File too large")
    failed(start(*command, cwd=tmp_path, file_size=2000), "run/config.json", "File too large")
    assert not (tmp_path / "run").exists()


def test_while_the_first_checkpoint_is_written(start: Callable[..., Any], corpus: Path, tmp_path: Path) -> None:
    command = ("train", "lm", corpus, *SMALL, "--steps", "4", "--hidden-size", "64")
    assert start(*command, "--run", "whole", cwd=tmp_path).wait() == 0
    process = start(*command, "--run", "run", cwd=tmp_path, file_size=20_000)
    failed(process, "saving checkpoint 000000000 of run failed")
    assert start("resume", "run", cwd=tmp_path).wait() == 0
    assert_same(tmp_path / "run", tmp_path / "whole")


def assert_same(run: Path, other: Path) -> None:
    name = (other / "last").read_text().strip()
    assert (run / "last").read_text().strip() == name
    found, expected = (where / "checkpoints" / name / "model.safetensors" for where in (run, other))
    assert found.read_bytes() == expected.read_bytes()


def test_while_a_later_checkpoint_is_written(start: Callable[..., Any], corpus: Path, tmp_path: Path) -> None:
    """The file of the optimiser is larger than that of the weights: the one is written, the other is not."""
    command = ("train", "lm", corpus, *SMALL, "--steps", "9", "--hidden-size", "32", "--validations", "3")
    assert start(*command, "--run", "whole", cwd=tmp_path).wait() == 0
    model = tmp_path / "whole" / "checkpoints" / "000000009" / "model.safetensors"
    process = start(*command, "--run", "run", cwd=tmp_path, file_size=model.stat().st_size + 1000)
    failed(process, "saving checkpoint 000000003 of run failed", "File too large")
    run = tmp_path / "run"
    assert (run / "last").read_text() == "000000000\n"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["000000000"]
    assert start("sample", "run", "--length", "5", cwd=tmp_path).wait() == 0
    assert start("resume", "run", cwd=tmp_path).wait() == 0
    assert_same(run, tmp_path / "whole")


def test_on_a_file_system_that_fills_up(
    start: Callable[..., Any], corpus: Path, tmp_path: Path, small_disk: Path
) -> None:
    command = ("train", "lm", corpus, *SMALL, "--steps", "60", "--hidden-size", "40", "--checkpoint-every", "2")
    more = ("--keep", "30", "--sample-every", "0", "--validations", "1")
    assert start(*command, *more, "--run", "whole", cwd=tmp_path).wait() == 0
    process = start(*command, *more, "--run", small_disk / "run", cwd=tmp_path)
    failed(process, "No space left on device")
    run = small_disk / "run"
    saved = int((run / "last").read_text())
    assert 0 < saved < 60
    assert start("evaluate", run, "--checkpoint", "last", cwd=tmp_path).wait() == 0
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    assert start("resume", moved, cwd=tmp_path).wait() == 0
    assert_same(moved, tmp_path / "whole")


@pytest.mark.parametrize("command", [("cells",), ("sample", "RUN", "--length", "20"), ("evaluate", "RUN", "--json")])
def test_standard_output_that_cannot_be_written(trained: Path, command: tuple[str, ...]) -> None:
    """As a command: Python itself complains once more at its end unless it is kept from it."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    arguments = [str(trained) if argument == "RUN" else argument for argument in command]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "unrolled", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "unrolled: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
