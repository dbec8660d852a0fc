"""Keeping results in a file, showing them, and putting two files side by side."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.machine import describe, slug
from benchmarks.runner import Result
from unrolled.errors import DataError
from unrolled.files import write_json

__all__ = ["DIRECTORY", "comparison", "default_path", "load", "remarks", "save", "table"]

DIRECTORY = Path(__file__).parent / "results"
_FORMAT = 1


def default_path(machine: Mapping[str, Any], now: datetime) -> Path:
    """A file of its own for every run, named after the minute and the processor."""
    return DIRECTORY / f"{now:%Y-%m-%d-%H%M}-{slug(machine)}.json"


def save(path: Path, results: Iterable[Result], now: datetime) -> None:
    """Write results with the description of the machine."""
    content = {
        "format": _FORMAT,
        "date": now.isoformat(timespec="seconds"),
        "revision": _revision(),
        "machine": describe(),
        "works": [asdict(result) for result in results],
    }
    write_json(path, content)


def _revision() -> str | None:
    """The commit of the checkout, with a mark where it was changed since."""
    with suppress(OSError):
        command = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        return done.stdout.strip() or None
    return None


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote, with the works as `Result`.

    Raises:
        DataError: there is no such file, or it is of something else.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}")
        content["works"] = [Result(**work) for work in content["works"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        expected = f"a file that a benchmark wrote, of format {_FORMAT}"
        raise DataError("the file holds no results", where=str(path), expected=expected, got=str(error)) from error
    return content


def _figure(value: float | None) -> str:
    """Three or four digits that count."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _target(result: Result) -> str:
    return f"{'≥' if result.measure == 'rate' else '≤'} {result.target:g}"


def table(results: Sequence[Result]) -> Table:
    """One line a work: our figure, the best peer's, the ratio, the target, the share of what the machine allows."""
    built = Table(box=None, header_style="bold", pad_edge=False)
    columns = ("work", "agrees", "ours", "unit", "best peer", "", "ratio", "target", "reached", "of limit")
    for column in columns:
        built.add_column(column, justify="right" if column in ("ours", "best peer", "ratio", "of limit") else "left")
    for result in results:
        best = result.peers.get(result.best_peer)
        of_limit = "–" if result.of_limit is None else f"{result.of_limit:.0%}"
        agrees = {True: "yes", False: "NO", None: "–"}[result.agrees]
        reached = {True: "yes", False: "no", None: "–"}[result.reached]
        cells = (result.name, agrees, _figure(result.ours), result.unit, _figure(best), result.best_peer)
        cells += (_ratio(result.ratio), _target(result), reached, of_limit)
        style = "" if result.reached else "red" if result.agrees is False else "yellow"
        built.add_row(
            *(
                Text(cell, style=style if column == "reached" else "")
                for column, cell in zip(columns, cells, strict=True)
            )
        )
    return built


def remarks(results: Iterable[Result]) -> list[str]:
    """What the table has no room for: other peers, who is absent and why, limits, notes."""
    lines = []
    for result in results:
        facts = [f"{name} {_figure(figure)}" for name, figure in result.peers.items() if name != result.best_peer]
        facts += [f"{name}: {why}" for name, why in result.absent.items()]
        facts += [f"limit {_figure(result.limit)}: {result.limit_why}"] if result.limit else []
        facts += [result.note] if result.note else []
        if facts:
            lines.append(f"{result.name}: {'; '.join(facts)}")
    return lines


def comparison(earlier: Sequence[Result], later: Sequence[Result]) -> Table:
    """Works of both runs: figures and ratios then and now.

    The last column compares ratios to the best peer, in which the machine's own drift cancels.
    """
    before = {result.name: result for result in earlier}
    built = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("work", "ours then", "ours now", "unit", "ratio then", "ratio now", "change of ratio"):
        built.add_column(column, justify="left" if column in ("work", "unit") else "right")
    for now in later:
        then = before.get(now.name)
        if then is None:
            continue
        change = f"{now.ratio / then.ratio - 1:+.1%}" if now.ratio and then.ratio else "–"
        cells = (
            now.name,
            _figure(then.ours),
            _figure(now.ours),
            now.unit,
            _ratio(then.ratio),
            _ratio(now.ratio),
            change,
        )
        built.add_row(*map(Text, cells))
    return built
