from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from unrolled.cli.screen import Screen
from unrolled.training.events import Saved, Stepped, Validated


def screen_on(terminal: bool, **options: Any) -> tuple[Screen, io.StringIO]:
    written = io.StringIO()
    screen = Screen(**options)
    screen.console = Console(file=written, force_terminal=terminal, width=150, highlight=False, soft_wrap=True)
    return screen, written


def stepped(step: int, progress: float) -> Stepped:
    return Stepped(step, 0.5, progress, 2.0, 2.0, 1.5, 0.01, 12_345.0, 61.0)


def test_lines_where_there_is_no_terminal() -> None:
    screen, written = screen_on(False)
    with screen:
        screen.preparing(1, 2, "counting")
        screen.started("run", {"text": "5 characters [of] it"})
        screen.event(stepped(1, 0.1))
        screen.event(stepped(2, 0.2))  # too soon after the line before
        screen.event(Validated(2, 1.5, best=True))
        screen.event(Validated(3, 1.6, best=False))
        screen.event(Saved(3, Path("run")))
        screen.note("something [odd]")
    assert written.getvalue().splitlines() == [
        "run",
        "  text      5 characters [of] it",
        "   10%  step 1 epoch 0.50  12.3k/s  loss 2.000 nats 2.885 bits  gradient 1.50  61 s left",
        "   20%  step 2: held out 1.5000 nats (2.164 bits) a symbol, training 2.000  best so far",
        "   20%  step 3: held out 1.6000 nats (2.308 bits) a symbol, training 2.000",
        "note: something [odd]",
    ]


def test_a_bar_on_a_terminal_leaves_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    screen, written = screen_on(True)
    with screen:
        screen.preparing(1_000_000, 2_000_000, "counting")
        print("a line")
        screen.started("run", {})
        screen.event(stepped(1, 0.5))
        screen.event(stepped(2, 1.0))
        screen.event(Saved(2, Path("run")))
        print("another")
    assert capsys.readouterr().out == "a line\nanother\n"
    assert "counting 2.0 MB" in written.getvalue()
    assert "1:01 left" in written.getvalue()


def test_samples_that_come_too_fast_are_not_shown() -> None:
    screen, written = screen_on(False)
    screen.sampled(0, "first")
    screen.sampled(5, "second")
    assert "after 0 steps" in written.getvalue()
    assert "second" not in written.getvalue()


def test_what_would_move_the_cursor_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().sampled(0, "a\x1b[31mred\x07\n[bold]b :key:")
    assert capsys.readouterr().err.endswith("\na\ufffd[31mred\ufffd\n[bold]b :key:\n")


def test_quiet_is_notes_only() -> None:
    screen, written = screen_on(True, quiet=True)
    with screen:
        screen.preparing(1, 2, "counting")
        screen.started("run", {"a": "b"})
        screen.event(stepped(1, 0.5))
        screen.sampled(0, "text")
        screen.reading(1, 2)
        screen.note("x")
    assert "note:" in written.getvalue()
    assert written.getvalue().count("\n") == 1


def test_tensorboard_gets_what_the_metrics_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []

    class SummaryWriter:
        def __init__(self, directory: str) -> None:
            told.append(("open", directory))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, value, step))

        def add_text(self, name: str, value: str, step: int) -> None:
            told.append((name, value, step))

        def close(self) -> None:
            told.append(("close",))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    from unrolled.cli.tensorboard import TensorBoardScreen

    with TensorBoardScreen(tmp_path) as screen:
        screen.event(stepped(3, 0.5))
        screen.event(Validated(3, 1.5, best=True))
        screen.sampled(3, "text")
    assert told == [
        ("open", str(tmp_path)),
        ("train/loss", 2.0, 3),
        ("train/smoothed", 2.0, 3),
        ("train/norm", 1.5, 3),
        ("train/rate", 0.01, 3),
        ("train/targets_per_second", 12_345.0, 3),
        ("valid/loss", 1.5, 3),
        ("sample", "text", 3),
        ("close",),
    ]


SOURCE = "from numba import njit\n@njit(cache=True)\ndef answer():\n    return {}\n"


def test_what_is_compiled_is_said_before_it_takes_its_time(cache: Path) -> None:
    from unrolled.kernels.compiling import compiled

    screen, written = screen_on(False, quiet=True)
    with screen:
        assert compiled("a [test]", SOURCE.format(42)).answer() == 42
    assert compiled("another test", SOURCE.format(43)).answer() == 43
    assert re.fullmatch(r"compiling a \[test\] \(answer\), once on this machine \.\.\. \d+\.\d s\n", written.getvalue())
