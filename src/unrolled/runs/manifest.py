"""The manifest of a checkpoint: what its files must be, and whether they still are.

Free of torch, so that runs can be listed and verified without loading it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.errors import ConfigurationError, RunError
from unrolled.runs.configuration import dump_section, load_section
from unrolled.runs.sealed import FORMAT, read_sealed, seal

__all__ = [
    "FILES",
    "MANIFEST",
    "MODEL",
    "STATE",
    "TRAINING",
    "FileRecord",
    "Manifest",
    "check_sizes",
    "read_file",
    "read_manifest",
]

MODEL, TRAINING, STATE = "model.safetensors", "training.safetensors", "training.json"
FILES = (MODEL, TRAINING, STATE)
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileRecord:
    """What one file must be.

    Attributes:
        length: in bytes.
        sha256: the checksum of its content, in hexadecimal.
    """

    length: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> FileRecord:
        """The record of `content`."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Manifest:
    """What belongs to a checkpoint.

    Attributes:
        step: optimiser steps done.
        files: the record of each file of the checkpoint.
        logs: length of each log of the run when the checkpoint was saved, in bytes.
        vocabulary: SHA-256 of the run's `vocabulary.json`.
        best: name of the best checkpoint when this one was saved (its own, perhaps); None where there was none.
        format: version of the run directory.
    """

    step: int
    files: dict[str, FileRecord]
    logs: dict[str, int]
    vocabulary: str
    best: str | None = None
    format: int = FORMAT

    def encode(self) -> bytes:
        """The content of `manifest.json`."""
        return seal(dump_section(self))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the checkpoint in `folder`, verified.

    Raises:
        RunError: it is missing, damaged, of another version, or of another step than the folder is named for.
    """
    if not folder.is_dir():
        raise RunError(f"there is no checkpoint {folder.name}", where=str(folder))
    value: dict[str, Any] = read_sealed(folder / MANIFEST)
    try:
        manifest = load_section(Manifest, value, str(folder / MANIFEST))
    except ConfigurationError as error:
        raise RunError(error.problem, expected=error.expected, got=error.got, where=error.where) from error
    if folder.name != f"{manifest.step:09d}" or set(manifest.files) != set(FILES):
        raise RunError(
            f"{MANIFEST} does not belong to this checkpoint",
            expected=f"step {int(folder.name)} with {', '.join(FILES)}",
            got=f"step {manifest.step} with {', '.join(manifest.files)}",
            where=str(folder / MANIFEST),
        )
    return manifest


def read_file(folder: Path, manifest: Manifest, name: str) -> bytes:
    """The content of one file of a checkpoint, after its length and checksum were found right.

    Raises:
        RunError: the file is missing, cannot be read, has another length, or a changed byte.
    """
    path, record = folder / name, manifest.files[name]
    check_sizes(folder, manifest, [name])
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{name} cannot be read: {error.strerror or error}", where=str(path)) from error
    got = FileRecord.of(content)
    if got != record:
        raise RunError(
            f"{name} was changed after it was written",
            expected=f"SHA-256 {record.sha256}",
            got=f"SHA-256 {got.sha256}",
            where=str(path),
        )
    return content


def check_sizes(folder: Path, manifest: Manifest, names: Iterable[str] = FILES) -> None:
    """A look at a checkpoint that costs nothing: are its files there, and as long as they must be?

    Raises:
        RunError: one is missing, or has another length.
    """
    for name in names:
        path, expected = folder / name, manifest.files[name].length
        try:
            got = path.stat().st_size
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            problem = f"{name} is missing" if missing else f"{name} cannot be read: {error.strerror or error}"
            raise RunError(problem, where=str(path)) from None
        if got != expected:
            problem = f"{name} is {'cut short' if got < expected else 'too long'}"
            raise RunError(problem, expected=f"{expected} bytes", got=f"{got} bytes", where=str(path))
