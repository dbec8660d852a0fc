"""The files that a run of a task was trained on: what its configuration says of them, and how they are found again."""

from __future__ import annotations

import hashlib
from typing import Any

from unrolled.data.store import SplitSources
from unrolled.data.text import Source, read_bytes
from unrolled.errors import DataError, RunError
from unrolled.runs.directory import Run

__all__ = ["describe_sources", "find_data"]


def describe_sources(sources: SplitSources) -> list[dict[str, Any]]:
    """The files of a run, with what they hold, from which `find_data` finds them again."""
    return [
        {"part": part, "path": str(source.path.resolve()), "sha256": _digest(source)} for part, source in sources.parts
    ]


def _digest(source: Source) -> str:
    digest = hashlib.sha256()
    for chunk in read_bytes(source):
        digest.update(chunk)
    return digest.hexdigest()


def find_data(run: Run) -> SplitSources:
    """The files that a run was trained on.

    Raises:
        RunError: one is gone or has changed.
    """
    parts: dict[str, list[str]] = {}
    for entry in run.config["data_sources"]:
        parts.setdefault(entry["part"], []).append(entry["path"])
    given = {"text": parts.pop("text", [])} | parts
    try:
        sources = SplitSources.find(given.pop("text"), **given)
        found = describe_sources(sources)
    except DataError as error:
        raise RunError(
            f"the data of the run {run.path} is gone: {error.problem}",
            where=error.where,
            fix="put it back; predicting with one run works without it",
        ) from error
    for before, now in zip(run.config["data_sources"], found, strict=True):
        if before["sha256"] != now["sha256"]:
            raise RunError(
                "the data has changed since the run began",
                where=now["path"],
                expected=f"SHA-256 {before['sha256']}",
                got=f"SHA-256 {now['sha256']}",
                fix="put the old file back, or train anew",
            )
    return sources
