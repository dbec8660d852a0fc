"""Where a run goes, and what it is called if nobody says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from unrolled.data.store import SplitSources
from unrolled.errors import RunError
from unrolled.runs.directory import DEFAULT_ROOT, Run, unique_name
from unrolled.training.configuration import TrainingConfig

__all__ = ["demo_places", "listed", "place_run", "stem"]


def listed(paths: str | Path | Sequence[str | Path]) -> list[str]:
    """The names of a file, directory or glob, or of several."""
    return [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


def stem(names: Sequence[str], sources: SplitSources) -> str:
    """A name for a run: that of the first directory or file that was given."""
    first = sources.parts[0][1]
    name = Path(names[0]).resolve().name if names and Path(names[0]).is_dir() else first.path.stem
    if first.name == "standard input":
        name = "stdin"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "text"


def place_run(run: str | Path | None, name: str) -> Path:
    """The directory of a new run: the one that is given, or one in `runs/` with the name or the next that is free.

    Raises:
        RunError: there is something at `run` already.
    """
    path = Path(run) if run is not None else DEFAULT_ROOT / unique_name(DEFAULT_ROOT, name)
    Run.check_free(path)
    return path


def demo_places(run: str | Path | None, name: str, ending: str, minutes: float) -> tuple[Path, Path]:
    """The directory of a demonstration's run, and beside it, under its name with an ending, where its data goes.

    Raises:
        ConfigurationError: the budget is none; nothing was written.
        RunError: there is something at one of them already.
    """
    TrainingConfig(minutes=minutes)
    path = place_run(run, name)
    data = path.parent / f"{path.name}{ending}"
    if run is not None and data.exists():
        raise RunError(
            "the data of the demonstration would replace a file", where=str(data), fix="choose another --run"
        )
    return path, data
