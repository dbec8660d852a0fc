"""`demo tag`: a tagger of program text, on sources that every machine with Python has."""

from __future__ import annotations

from pathlib import Path

from unrolled.data import python_tokens
from unrolled.errors import RunError
from unrolled.runs.directory import DEFAULT_ROOT, Run, unique_name
from unrolled.training.configuration import TrainingConfig
from unrolled.verbs.listening import Listener
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
    TrainingConfig(minutes=minutes)  # a wrong budget is said before anything is written
    path = Path(run) if run is not None else DEFAULT_ROOT / unique_name(DEFAULT_ROOT, "demo-tag")
    Run.check_free(path)
    lines = path.parent / f"{path.name}.conll"
    if run is not None and lines.exists():
        raise RunError(
            "the lines of the demonstration would replace a file", where=str(lines), fix="choose another --run"
        )
    python_tokens.write(lines)
    return train_task("tag", [str(lines)], run=path, minutes=minutes, listener=listener)
