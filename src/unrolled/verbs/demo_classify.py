"""`demo classify`: a classifier of sentences, on text that every machine with Python has."""

from __future__ import annotations

from pathlib import Path

from unrolled.data import docstrings
from unrolled.errors import RunError
from unrolled.runs.directory import DEFAULT_ROOT, Run, unique_name
from unrolled.training.configuration import TrainingConfig
from unrolled.verbs.listening import Listener
from unrolled.verbs.supervised import TrainedTask, train_task

__all__ = ["EXAMPLES", "demo_classify"]

EXAMPLES = (
    "Return the response headers as a list of name and value pairs.",
    "Run the test case and compare the expected output with what it got.",
    "Round to the nearest even digit with the given precision.",
    "Move the cursor to the next line and redraw the screen.",
)
"""Sentences that nobody wrote into the library, to see what the model says of them."""


def demo_classify(
    run: str | Path | None = None, *, minutes: float = 1.0, listener: Listener | None = None
) -> TrainedTask:
    """Train a classifier to tell which family of modules a sentence of the documentation is from.

    The sentences are written beside the run (`<run>.csv`); see `data.docstrings`.

    Args:
        run: the directory of the run; `runs/demo-classify` or the next free name if not given.
        minutes: of training.
        listener: hears what happens.
    """
    TrainingConfig(minutes=minutes)  # a wrong budget is said before anything is written
    path = Path(run) if run is not None else DEFAULT_ROOT / unique_name(DEFAULT_ROOT, "demo-classify")
    Run.check_free(path)
    table = path.parent / f"{path.name}.csv"
    if run is not None and table.exists():
        raise RunError(
            "the sentences of the demonstration would replace a file", where=str(table), fix="choose another --run"
        )
    docstrings.write_sentences(table)
    return train_task("classify", [str(table)], run=path, minutes=minutes, listener=listener)
