"""A run is a directory, and everything that reads one starts here.

config.json       every setting, chosen or measured          (sealed with its checksum)
vocabulary.json   the symbols                                (sealed with its checksum)
checkpoints/      one directory a checkpoint, named by its step in nine digits
last, best        the name of one of them each
metrics.jsonl     one JSON object a line
samples.txt       text sampled while training
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unrolled.errors import RunError, UnrolledError, nearest
from unrolled.files import storage_errors, write_atomically
from unrolled.runs.manifest import MODEL, STATE, check_sizes, read_file, read_manifest
from unrolled.runs.sealed import FORMAT, read_sealed, write_sealed

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "DEFAULT_ROOT",
    "VOCABULARY",
    "Pointer",
    "Run",
    "RunSummary",
    "list_runs",
    "unique_name",
]

DEFAULT_ROOT = Path("runs")
"""Where runs go, and are looked for by name, unless the user says otherwise."""

CONFIG, VOCABULARY, CHECKPOINTS = "config.json", "vocabulary.json", "checkpoints"

Pointer = Literal["last", "best"]

_CHECKPOINT_NAME = re.compile(r"[0-9]{9,}")


@dataclass(frozen=True)
class Run:
    """A run directory that was found whole.

    Attributes:
        path: the directory.
        config: the content of `config.json`, without its format and checksum.
        vocabulary: the content of `vocabulary.json`, without its checksum.
    """

    path: Path
    config: dict[str, Any]
    vocabulary: dict[str, Any]

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any], vocabulary: Mapping[str, Any]) -> Run:
        """Make a new run directory.

        Raises:
            RunError: there is something at `path` already (an empty directory is fine).
            StorageError: it cannot be written; what was begun is removed.
            ValueError: a value is not JSON (a number that is not finite, say).
        """
        path = Path(path)
        cls.check_free(path)
        with storage_errors(f"creating {path}"):
            path.mkdir(parents=True, exist_ok=True)
        try:
            # config.json comes last: where it is, the run is whole
            write_sealed(path / VOCABULARY, vocabulary)
            run = cls(path, {}, json.loads(json.dumps(vocabulary))).with_config(config)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return run

    @staticmethod
    def check_free(path: str | Path) -> None:
        """Check that a run can be made at `path`: before the work that a new run begins with.

        Raises:
            RunError: there is something already (an empty directory is fine).
            StorageError: it cannot be looked at.
        """
        path = Path(path)
        with storage_errors(f"creating {path}"):
            if path.exists() and not path.is_dir():
                raise RunError(f"{path} is a file", expected="a new directory for the run", fix="choose another --run")
            if path.is_dir() and any(path.iterdir()):
                known = (path / CONFIG).exists()
                go_on = f", or go on with it: unrolled resume {path}" if known else ""
                raise RunError(
                    f"{path} {'holds a run already' if known else 'is not empty'}",
                    expected="a new or an empty directory",
                    fix=f"choose another --run, remove it{go_on}",
                )

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run directory; a bare name is also looked for in `runs/`.

        Raises:
            RunError: no such directory, not a run, made by another version, or a file of it is missing or damaged.
        """
        path = Path(path)
        if not path.exists() and len(path.parts) == 1 and (DEFAULT_ROOT / path).is_dir():
            path = DEFAULT_ROOT / path
        if not path.exists():
            known = [summary.name for summary in list_runs(path.parent if len(path.parts) > 1 else DEFAULT_ROOT)]
            fix = nearest(path.name, known) if known else "list the runs there are: unrolled runs"
            raise RunError(f"there is no run {path}", expected="the directory of a run", fix=fix)
        if not (path / CONFIG).exists() and not (path / CHECKPOINTS).exists():
            raise RunError(
                f"{path} is not a run",
                expected=f"a directory with {CONFIG} in it",
                got="another directory" if path.is_dir() else "a file",
                fix="list the runs there are: unrolled runs",
            )
        config = _read(path / CONFIG)
        del config["format"]
        return cls(path, config, _read(path / VOCABULARY, versioned=False))

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.path.absolute().name

    def with_config(self, config: Mapping[str, Any]) -> Run:
        """The run with another configuration, written to `config.json`: an extended budget, something measured.

        Raises:
            StorageError: it cannot be written; the old one stays.
            ValueError: a value is not JSON, or a key is `format` or `sha256`.
        """
        if "format" in config:
            raise ValueError("the key 'format' is taken by the version of the run directory")
        write_sealed(self.path / CONFIG, {"format": FORMAT, **config})
        return Run(self.path, json.loads(json.dumps(config)), self.vocabulary)

    def checkpoint(self, name: str) -> Path:
        """The directory of the checkpoint `name`, there or not."""
        return self.path / CHECKPOINTS / name

    def checkpoint_names(self) -> list[str]:
        """The names of the checkpoints, earliest first; intact or not."""
        with contextlib.suppress(FileNotFoundError):
            names = (entry.name for entry in (self.path / CHECKPOINTS).iterdir())
            return sorted((name for name in names if _CHECKPOINT_NAME.fullmatch(name)), key=int)
        return []

    def pointer(self, which: Pointer) -> str | None:
        """The name of the last or the best checkpoint; None where there is none yet.

        Raises:
            RunError: the file holds something else, or cannot be read.
        """
        try:
            content = (self.path / which).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            problem = f"the file {which!r} of the run {self.path} cannot be read: {error.strerror or error}"
            raise RunError(problem, where=str(self.path / which)) from error
        name = content.decode("ascii", "replace").removesuffix("\n")
        if not _CHECKPOINT_NAME.fullmatch(name):
            raise RunError(
                f"the file {which!r} of the run {self.path} is damaged",
                expected="the name of a checkpoint, nine digits",
                got=repr(name[:40]),
                where=str(self.path / which),
            )
        return name

    def point(self, which: Pointer, name: str) -> None:
        """Make `last` or `best` name the checkpoint `name`, at once (`StorageError` if it cannot be written)."""
        write_atomically(self.path / which, f"{name}\n".encode())

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the run for training: two processes that train it at once would destroy it.

        The lock ends with the process, however that ends.

        Raises:
            RunError: another process holds it.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"the run {self.path} is being trained by another process", fix="wait for it, or stop it"
                ) from None
            except OSError:  # a file system without locks
                pass
            yield
        finally:
            os.close(descriptor)


def _read(path: Path, *, versioned: bool = True) -> dict[str, Any]:
    try:
        return read_sealed(path, versioned=versioned)
    except RunError as error:
        raise RunError(
            f"the run {path.parent} is damaged: {error.problem}",
            expected=error.expected,
            got=error.got,
            where=error.where,
            fix=error.fix or f"put back a copy of {path.name}, or train again into another --run",
        ) from error


def unique_name(root: str | Path, stem: str) -> str:
    """`stem`, or the first of stem-2, stem-3, ... that is not in `root` yet."""
    root, name, number = Path(root), stem, 1
    while (root / name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name


@dataclass(frozen=True)
class RunSummary:
    """One line of the table of runs.

    Attributes:
        path: the run's directory.
        modified: when it last moved on, in seconds since 1970.
        config: its configuration; empty where that cannot be read.
        step: optimiser steps of its last checkpoint; None before the first.
        state: the training state of that checkpoint, as the trainer stored it.
        parameters: numbers in its model, tied ones once; None before the first checkpoint.
        bytes_on_disk: the lengths of its files together.
        damage: what is wrong with it, as one line; None where nothing was seen. File contents are not hashed.
    """

    path: Path
    modified: float
    config: dict[str, Any] = field(default_factory=dict)
    step: int | None = None
    state: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    bytes_on_disk: int = 0
    damage: str | None = None

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.path.name


def list_runs(root: str | Path = DEFAULT_ROOT) -> list[RunSummary]:
    """The runs right below `root`, the one that moved on last first; damaged ones too, called so."""
    try:
        entries = sorted(entry for entry in Path(root).iterdir() if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    runs = [entry for entry in entries if (entry / CONFIG).exists() or (entry / CHECKPOINTS).exists()]
    return sorted(map(_summary, runs), key=lambda summary: -summary.modified)


def _summary(path: Path) -> RunSummary:
    facts: dict[str, Any] = {}
    try:
        run = Run.open(path)
        facts["config"] = run.config
        name = run.pointer("last")
        if name is not None:
            folder = run.checkpoint(name)
            manifest = read_manifest(folder)
            facts["step"] = manifest.step
            check_sizes(folder, manifest)
            facts["state"] = json.loads(read_file(folder, manifest, STATE))
            facts["parameters"] = _parameters(folder / MODEL, run.config)
        elif run.checkpoint_names():
            facts["damage"] = "the file 'last' is missing"
    except (UnrolledError, OSError, ValueError) as error:
        facts["damage"] = error.problem if isinstance(error, UnrolledError) else str(error)
    sizes, moments = [], [path.stat().st_mtime]
    for entry in path.rglob("*"):
        with contextlib.suppress(OSError):  # a run in training may remove it right now
            found = entry.lstat()
            sizes.append(found.st_size)
            moments.append(found.st_mtime)
    return RunSummary(path, modified=max(moments), bytes_on_disk=sum(sizes), **facts)


def _parameters(path: Path, config: dict[str, Any]) -> int:
    """How many parameters a safetensors file holds, from its header: a length of 8 bytes and that much JSON.

    Whole numbers are no parameters of a network; what is tied stands in the file under both names and counts once.
    """
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    network = config.get("model")
    if isinstance(network, dict):
        entries = {name: entry for name, entry in entries.items() if "F" in entry["dtype"]}
        if network.get("tied") and "embedding.weight" in entries:
            entries.pop("output.weight", None)
    return sum(math.prod(entry["shape"]) for entry in entries.values())
