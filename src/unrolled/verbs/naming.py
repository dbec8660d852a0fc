"""What a run is called, if nobody says."""

from __future__ import annotations

import re
from pathlib import Path

from unrolled.data.store import SplitSources

__all__ = ["stem"]


def stem(given: str, sources: SplitSources) -> str:
    """A name for a run: that of the directory that was given, or of the first file."""
    first = sources.parts[0][1]
    name = Path(given).resolve().name if given and Path(given).is_dir() else first.path.stem
    if first.name == "standard input":
        name = "stdin"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "text"
