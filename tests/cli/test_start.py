"""What a command brings with it: speed itself is no matter for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"numpy", "safetensors", "sympy", "torch"}


def imported(*arguments: str) -> set[str]:
    """The packages that a command imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=False)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}


def test_the_package_is_light() -> None:
    assert imported("-c", "import unrolled") & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train"], []], ids=" ".join)
def test_what_computes_nothing_brings_nothing(arguments: list[str]) -> None:
    found = imported("-m", "unrolled", *arguments)
    assert "cyclopts" in found
    assert found & HEAVY == set()


@pytest.mark.parametrize(
    "arguments", [["train", "lm", "--help"], ["train", "lm", "text", "--stepz", "3"], ["runs", "nowhere"]], ids=" ".join
)
def test_what_needs_no_network_brings_none(arguments: list[str]) -> None:
    assert imported("-m", "unrolled", *arguments) & (HEAVY - {"numpy"}) == set()


@pytest.mark.parametrize("arguments", [["cells"], ["describe", "lstm"]])
def test_cells_need_no_torch(arguments: list[str]) -> None:
    assert "torch" not in imported("-m", "unrolled", *arguments)


def test_it_is_a_command() -> None:
    command = Path(sys.executable).with_name("unrolled")
    if not command.exists():
        pytest.skip("the package is not installed beside this Python")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert (
        done.stdout
        == subprocess.run(
            [sys.executable, "-c", "import unrolled; print(unrolled.__version__)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
