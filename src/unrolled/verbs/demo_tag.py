"""`demo tag`: a tagger of program text, on sources that every machine with Python has."""

from __future__ import annotations

from pathlib import Path

from unrolled.data import python_tokens
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import demo_places
from unrolled.verbs.supervised import TrainedTask, train_task

__all__ = ["EXAMPLES", "demo_tag"]

EXAMPLES = (
    "for row , cell in enumerate ( self . cells ) :",
    "print ( 'no such file' , file = file )",
    "def walk ( tree , depth = 0 ) :",
)
"""Lines that nobody wrote into the library, cut into tokens, to see what the model says of them."""


def demo_tag(run: str | Path | None = None, *, minutes: float = 1.0, listener: Listener | None = None) -> TrainedTask:
    """Train a tagger to tell what every name in a line of Python is.

    The lines are written beside the run (`<run>.conll`); see `data.python_tokens`.

    Args:
        run: the directory of the run; `runs/demo-tag` or the next free name if not given.
        minutes: of training.
        listener: hears what happens.
    """
    path, lines = demo_places(run, "demo-tag", ".conll", minutes)
    python_tokens.write(lines)
    return train_task("tag", [str(lines)], run=path, minutes=minutes, listener=listener)
