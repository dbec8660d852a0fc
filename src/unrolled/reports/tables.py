"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from unrolled.runs.directory import RunSummary

__all__ = ["age", "run_rows", "table"]


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    """A table of the columns that have a value in any row; numbers to the right."""
    shown = [column for column in columns if any(row.get(column) not in (None, "") for row in rows)]
    built = Table(box=None, header_style="bold", pad_edge=False)
    for column in shown:
        numeric = all(isinstance(row.get(column), int | float) or row.get(column) is None for row in rows)
        built.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # Not as markup: a name may hold brackets.
        built.add_row(*(Text(_cell(row.get(column))) for column in shown))
    return built


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def age(seconds: float) -> str:
    """A span of time in its largest unit: "3 min", "2 d"."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def run_rows(summaries: Sequence[RunSummary], now: float) -> list[dict[str, Any]]:
    """One row a run: what it is, how large, how good, how old."""
    rows = []
    for summary in summaries:
        model = summary.config.get("model", {})
        if model.get("kind") == "ngram":
            network = f"{model['order']}-grams"
        elif model.get("kind") == "bow":
            network = f"bag of words, {model['classifier']}"
        else:
            network = f"{model['cell']} {model['layers']}x{model['hidden_size']}" if "hidden_size" in model else ""
        rows.append(
            {
                "run": str(summary.path),
                "task": summary.config.get("task", ""),
                "network": network,
                "parameters": summary.state.get("ngrams", summary.parameters),
                "steps": summary.step,
                "valid": summary.state.get("best"),
                "age": age(now - summary.modified),
                "modified": summary.modified,
                "damage": summary.damage,
            }
        )
    return rows
