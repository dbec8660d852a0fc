"""`demo generate`: names of Python's standard library, by what they name."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

from unrolled.data import standard_library
from unrolled.files import write_atomically
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import demo_places
from unrolled.verbs.supervised import TrainedTask, train_task

__all__ = ["demo_generate", "library_names"]

_BYTES = 5_000_000  # of source that is read: some seconds
_SHORTEST = 3


def demo_generate(
    run: str | Path | None = None, *, minutes: float = 1.0, listener: Listener | None = None
) -> TrainedTask:
    """Train a generator of names of the standard library: of classes, functions, constants and arguments.

    They are written beside the run (`<run>.tsv`), each once in its category, and drawn 80/10/10.

    Args:
        run: the directory of the run; `runs/demo-generate` or the next free name if not given.
        minutes: of training.
        listener: hears what happens.
    """
    path, table = demo_places(run, "demo-generate", ".tsv", minutes)
    (listener or Listener()).doing("reading names of the standard library")
    found = sorted({(kind, name) for kind, name in library_names() if len(name) >= _SHORTEST})
    lines = ["kind\tname", *(f"{kind}\t{name}" for kind, name in found)]
    write_atomically(table, ("\n".join(lines) + "\n").encode())
    return train_task("generate", [str(table)], run=path, listener=listener, by="kind", text="name", minutes=minutes)


def library_names() -> Iterator[tuple[str, str]]:
    """What names in the first megabytes of the standard library's source stand for, and the names."""
    left = _BYTES
    for path in standard_library.files():
        content = path.read_bytes()
        left -= len(content)
        if left < 0:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in old strings
                tree = ast.parse(content)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            match node:
                case ast.ClassDef(name=name):
                    yield "class", name
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    yield "function", name
                case ast.arg(arg=name):
                    yield "argument", name
                case ast.Assign(targets=[ast.Name(id=name)]) if name.isupper():
                    yield "constant", name
