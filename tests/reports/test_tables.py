from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from unrolled.reports.tables import age, run_rows, table
from unrolled.runs.directory import RunSummary


def printed(rows: list[dict[str, Any]], columns: tuple[str, ...], width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(rows, columns))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0 s"), (0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "60 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_a_span_of_time_in_its_largest_unit(seconds: float, expected: str) -> None:
    assert age(seconds) == expected


def test_columns_without_a_value_are_left_out_and_numbers_stand_to_the_right() -> None:
    rows = [{"name": "a", "steps": 1234567, "loss": 1.5, "damage": None}, {"name": "long", "steps": 3, "loss": None}]
    assert printed(rows, ("name", "steps", "loss", "damage")) == [
        "name      steps    loss",
        "a     1,234,567  1.5000",
        "long          3",
    ]


def test_brackets_are_no_markup() -> None:
    assert printed([{"name": "x[red]y"}, {"name": "a[b]"}], ("name",)) == ["name", "x[red]y", "a[b]"]


def test_what_is_too_wide_is_folded_and_not_lost() -> None:
    lines = printed([{"name": "n" * 50}], ("name",), width=20)
    assert "".join(lines[1:]) == "n" * 50


def test_a_row_says_what_a_run_is() -> None:
    config = {"task": "lm", "model": {"cell": "gru", "layers": 2, "hidden_size": 64}}
    summary = RunSummary(Path("runs/a"), 100.0, config, 7, {"best": 1.25}, 900, 1000)
    assert run_rows([summary], now=160.0) == [
        {
            "run": "runs/a",
            "task": "lm",
            "network": "gru 2x64",
            "parameters": 900,
            "steps": 7,
            "valid": 1.25,
            "age": "1 min",
            "modified": 100.0,
            "damage": None,
        }
    ]


def test_a_damaged_run_has_a_row_too() -> None:
    (row,) = run_rows([RunSummary(Path("runs/a"), 100.0, damage="config.json is cut short")], now=100.0)
    assert (row["run"], row["network"], row["steps"], row["valid"]) == ("runs/a", "", None, None)
    assert row["damage"] == "config.json is cut short"
