"""The logs of a run: `metrics.jsonl` and `samples.txt`, which only ever grow, except when a run is rewound."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from unrolled.errors import RunError
from unrolled.files import storage_errors, sync
from unrolled.runs.directory import Run

__all__ = ["LOGS", "METRICS", "SAMPLES", "Logs", "NoLogs", "finite", "lengths", "read_metrics", "truncate_to"]

METRICS, SAMPLES = "metrics.jsonl", "samples.txt"
LOGS = (METRICS, SAMPLES)


class Logs:
    """Writes the logs of a run. Every call has reached the operating system when it returns.

    Raises:
        StorageError: a log cannot be written; what the failed call wrote of it is taken back.
    """

    def __init__(self, run: Run) -> None:
        with storage_errors(f"opening the logs of {run.path}"):
            _drop_torn_line(run.path / METRICS)
            self._metrics = _Log(run.path / METRICS)
            try:
                self._samples = _Log(run.path / SAMPLES)
            except OSError:
                self._metrics.close()
                raise

    def metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to `metrics.jsonl`. A number that is not finite becomes null, as JSON has no other way."""
        self._metrics.append(json.dumps(finite(record), ensure_ascii=False, allow_nan=False) + "\n")

    def sample(self, heading: str, text: str) -> None:
        """Add a sampled text to `samples.txt` under a line with its heading ("step 1200, 1.61 nats")."""
        self._samples.append(f"=== {heading} ===\n{text}\n\n")

    def close(self) -> None:
        """Close both files."""
        self._metrics.close()
        self._samples.close()

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NoLogs(Logs):
    """Logs of a process that leaves the writing to another."""

    def __init__(self) -> None:
        pass

    def metrics(self, record: Mapping[str, Any]) -> None:
        """Nothing."""

    def sample(self, heading: str, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class _Log:
    """One file that is appended to, a whole piece at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)

    def append(self, text: str) -> None:
        content = memoryview(text.encode(errors="replace"))
        with storage_errors(f"writing {self.path}"):
            before = os.fstat(self._file.fileno()).st_size
            try:
                while content:
                    content = content[self._file.write(content) :]
            except BaseException:
                os.ftruncate(self._file.fileno(), before)
                raise

    def close(self) -> None:
        self._file.close()


def finite(value: Any) -> Any:
    """A value of JSON with null for every number that is not finite, which JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _drop_torn_line(path: Path) -> None:
    """Cut off what follows the last newline: a line that a crash left unfinished would spoil the next one too."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end, torn = file.seek(0, os.SEEK_END), b""
        while end and b"\n" not in torn:
            start = max(0, end - 65536)
            file.seek(start)
            torn = file.read(end - start)
            keep, end = start + torn.rfind(b"\n") + 1, start
        if torn and not torn.endswith(b"\n"):
            file.truncate(keep)


def lengths(run: Run) -> dict[str, int]:
    """The length of each log, in bytes; 0 for one that is not there. They are synced, so that this much will stay."""
    found = {}
    for name in LOGS:
        path = run.path / name
        if path.exists():
            sync(path)
        found[name] = path.stat().st_size if path.exists() else 0
    return found


def truncate_to(run: Run, recorded: Mapping[str, int]) -> list[str]:
    """Cut the logs to the lengths that a checkpoint recorded, for an exact resume.

    Returns:
        One sentence for each log that is shorter than recorded. A missing tail of a log does not cost the run.

    Raises:
        StorageError: a log cannot be written.
    """
    notes = []
    for name in LOGS:
        path, wanted = run.path / name, recorded.get(name, 0)
        length = path.stat().st_size if path.exists() else 0
        if length < wanted:
            notes.append(f"{path} has {length} bytes where {wanted} were recorded: its tail is lost, the run goes on")
        elif length > wanted:
            with storage_errors(f"cutting {path}"):
                os.truncate(path, wanted)
    return notes


def read_metrics(run: Run) -> list[dict[str, Any]]:
    """The records of `metrics.jsonl`, without a last line that is not finished yet; none where there is no such file.

    Raises:
        RunError: another line is no JSON object.
    """
    path = run.path / METRICS
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            shown = line[:60].decode(errors="replace")
            raise RunError(f"{METRICS} is damaged", expected="a JSON object", got=shown, where=f"{path}, line {number}")
        records.append(record)
    return records
