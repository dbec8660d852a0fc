"""`demo classify`: a classifier of sentences, on text that every machine with Python has."""

from __future__ import annotations

from pathlib import Path

from unrolled.data import docstrings
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import demo_places
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
    path, table = demo_places(run, "demo-classify", ".csv", minutes)
    docstrings.write_sentences(table)
    return train_task("classify", [str(table)], run=path, minutes=minutes, listener=listener)
