"""`demo next`: what comes next in the sessions of a shop that does not exist."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from unrolled.data.made_sessions import make_sessions
from unrolled.files import write_atomically
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import demo_places
from unrolled.verbs.supervised import TrainedTask, train_task

__all__ = ["demo_next", "write_sessions"]

_EVERY = 60  # seconds between two events of a session


def demo_next(
    run: str | Path | None = None, *, minutes: float = 1.0, sessions: int = 10_000, listener: Listener | None = None
) -> TrainedTask:
    """Train on made sessions: `data.made_sessions` says how they are made and what there is to learn.

    The table is written beside the run (`<run>.csv`); its earliest sessions are trained on, its latest tested on.

    Args:
        run: the directory of the run; `runs/demo-next` or the next free name if not given.
        minutes: of training.
        sessions: how many are made.
        listener: hears what happens.
    """
    path, table = demo_places(run, "demo-next", ".csv", minutes)
    write_sessions(table, sessions)
    return train_task(
        "next", [str(table)], run=path, session="session", time="time", minutes=minutes, listener=listener
    )


def write_sessions(path: Path, sessions: int = 10_000, *, seed: int = 0) -> None:
    """Made sessions as a table with the columns session, time (in seconds) and item.

    Raises:
        StorageError: it cannot be written.
    """
    made, written = make_sessions(sessions, seed=seed), io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(("session", "time", "item"))
    for number, (items, begins) in enumerate(zip(made.items, made.begins, strict=True), 1):
        rows.writerows((number, int(begins) + _EVERY * at, item) for at, item in enumerate(items))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, written.getvalue().encode())
