"""Runs: configuration, the run directory, checkpoints and logs. Everything that reads a run starts here.

Checkpoints need torch; it is imported when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unrolled.runs.configuration import NON_FINITE, dump_section, load_section
from unrolled.runs.directory import DEFAULT_ROOT, Run, RunSummary, list_runs, unique_name
from unrolled.runs.logs import Logs, read_metrics

if TYPE_CHECKING:
    from unrolled.runs.checkpoints import Checkpoint, load, rewind, save

__all__ = [
    "DEFAULT_ROOT",
    "NON_FINITE",
    "Checkpoint",
    "Logs",
    "Run",
    "RunSummary",
    "dump_section",
    "list_runs",
    "load",
    "load_section",
    "read_metrics",
    "rewind",
    "save",
    "unique_name",
]


def __getattr__(name: str) -> Any:
    if name not in ("Checkpoint", "load", "rewind", "save"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unrolled.runs import checkpoints

    return getattr(checkpoints, name)
