"""`demo`: the main job on a text that every machine with Python has."""

from __future__ import annotations

from pathlib import Path

from unrolled.data import standard_library
from unrolled.errors import RunError
from unrolled.runs.directory import DEFAULT_ROOT, Run, unique_name
from unrolled.training.configuration import TrainingConfig
from unrolled.verbs.listening import Listener
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
    TrainingConfig(minutes=minutes)  # a wrong budget is said before anything is written
    path = Path(run) if run is not None else DEFAULT_ROOT / unique_name(DEFAULT_ROOT, "demo")
    Run.check_free(path)
    text = path.parent / f"{path.name}.txt"
    if run is not None and text.exists():
        raise RunError(
            "the text of the demonstration would replace a file", where=str(text), fix="choose another --run"
        )
    standard_library.write(text)
    return train_lm([str(text)], run=path, split="90/10/0", minutes=minutes, listener=listener)
