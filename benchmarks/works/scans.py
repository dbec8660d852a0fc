"""To come."""

from __future__ import annotations

from benchmarks.registry import Work


def works() -> list[Work]:
    return []
