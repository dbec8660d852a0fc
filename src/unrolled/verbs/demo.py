"""`demo`: the main job on a text that every machine with Python has."""

from __future__ import annotations

from pathlib import Path

from unrolled.data import standard_library
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import demo_places
from unrolled.verbs.training import Trained, train_lm

__all__ = ["demo"]


def demo(run: str | Path | None = None, *, minutes: float = 2.0, listener: Listener | None = None) -> Trained:
    """Train a character model on the source of Python's standard library.

    The text is written beside the run (`<run>.txt`); `data.standard_library` says which files it is made of. It is cut
    90/10/0: nine tenths to train on, one tenth held out.

    Args:
        run: the directory of the run; `runs/demo` or the next free name if not given.
        minutes: of training.
        listener: hears what happens.
    """
    path, text = demo_places(run, "demo", ".txt", minutes)
    standard_library.write(text)
    return train_lm([str(text)], run=path, split="90/10/0", minutes=minutes, listener=listener)
