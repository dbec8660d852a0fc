"""The exception tree: every error that `unrolled` raises on purpose.

    UnrolledError                  exit status 1: the machine or the program failed
    ├── InputError                 exit status 2: something the program was given is wrong
    │   ├── ConfigurationError     an option, a key or a value
    │   ├── DataError              a text, a file or a directory of them
    │   ├── CellError              a cell: its file or its equations
    │   ├── PromptError            a prompt, or a text to score
    │   └── RunError               a run directory: missing, damaged, or made for something else
    ├── StorageError               the disk is full, or a file cannot be written
    ├── DownloadError              nothing could be downloaded, or what came is not what it should be
    ├── ProcessError               another process of a training has ended, or cannot be reached
    ├── DivergenceError            a loss or a gradient is no longer finite
    └── Interrupted                exit status 130: stopped by the user, after saving

An error says what was expected, what came instead, where, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CellError",
    "ConfigurationError",
    "DataError",
    "DivergenceError",
    "DownloadError",
    "InputError",
    "Interrupted",
    "ProcessError",
    "PromptError",
    "RunError",
    "StorageError",
    "UnrolledError",
    "nearest",
]


class UnrolledError(Exception):
    """The root. `str(error)` is the whole message, one fact a line.

    Args:
        problem: what is wrong, as one sentence without a full stop at its end.
        expected: what would have been right.
        got: what came instead.
        where: file and line, byte offset, tensor and shape.
        fix: what the reader can do now.
    """

    exit_status = 1
    told = False
    """Whether another process of the same training tells the user of it."""

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.problem, self.expected, self.got, self.where, self.fix = problem, expected, got, where, fix
        facts = (("where", where), ("expected", expected), ("got", got), ("what to do", fix))
        super().__init__("\n".join([problem, *(f"  {name}: {text}" for name, text in facts if text)]))


class InputError(UnrolledError):
    """Something the program was given is wrong."""

    exit_status = 2


class ConfigurationError(InputError):
    """An option, a key of a configuration file, or a value of one."""


class DataError(InputError):
    """A text, a file or a directory of them."""


class CellError(InputError):
    """A cell: its file or its equations."""


class PromptError(InputError):
    """A prompt or a text to score that the model cannot read."""


class RunError(InputError):
    """A run directory: missing, damaged, or made for something else."""


class StorageError(UnrolledError):
    """The disk is full, or a file cannot be written."""


class DownloadError(UnrolledError):
    """Nothing could be downloaded, or what came is not what it should be."""


class ProcessError(UnrolledError):
    """Another process of a training has ended, or cannot be reached."""


class DivergenceError(UnrolledError):
    """A loss or a gradient is no longer finite."""


class Interrupted(UnrolledError):
    """Stopped by the user, after saving."""

    exit_status = 130


def nearest(given: str, known: Iterable[str]) -> str:
    """The sentence that names the known word nearest to `given`, or lists them all if none is near."""
    names = sorted(known)
    match = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return f"did you mean {match[0]!r}?" if match else f"choose one of: {', '.join(names)}"
