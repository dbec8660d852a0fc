"""The checkpoint of a fitted model: one, with the guarantees of any other (see `runs.checkpoints`), and of any size.

Its counts are written in pieces and read by memory map. Training state there is none: `training.safetensors` is empty.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from unrolled.errors import RunError
from unrolled.files import sha256, storage_errors, sync
from unrolled.runs.arrays import map_arrays, write_arrays
from unrolled.runs.checkpoints import locate
from unrolled.runs.directory import VOCABULARY, Run
from unrolled.runs.logs import lengths
from unrolled.runs.manifest import MANIFEST, MODEL, STATE, TRAINING, Manifest, read_file

__all__ = ["FittedCheckpoint", "load_fitted", "save_fitted"]

_STEP = 1


@dataclass(frozen=True, eq=False)
class FittedCheckpoint:
    """What the checkpoint of a fitted model holds.

    Attributes:
        step: 1.
        arrays: the model, mapped from its file.
        state: the rest, as JSON.
    """

    step: int
    arrays: dict[str, npt.NDArray[Any]]
    state: dict[str, Any]


def save_fitted(run: Run, arrays: Mapping[str, npt.NDArray[Any]], state: Mapping[str, Any], *, best: bool) -> Path:
    """Save a fitted model as the checkpoint of its run.

    Args:
        run: where to.
        arrays: int32, int64 or float64, in memory or mapped from files.
        state: the rest of it, as JSON.
        best: whether something of it was chosen on the validation part.

    Returns:
        The directory of the checkpoint.

    Raises:
        StorageError: the disk is full or cannot be written.
        ValueError: `state` is not JSON.
    """
    name = f"{_STEP:09d}"
    folder = run.checkpoint(name)
    temporary = folder.with_name(f".writing-{name}")
    encoded = (json.dumps(state, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    with storage_errors(f"saving the counts of {run.path}"):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            records = {}
            for file, content in ((MODEL, arrays), (TRAINING, {})):
                with (temporary / file).open("wb") as opened:
                    records[file] = write_arrays(opened, content)
            (temporary / STATE).write_bytes(encoded)
            records[STATE] = type(records[MODEL]).of(encoded)
            manifest = Manifest(_STEP, records, lengths(run), sha256(run.path / VOCABULARY), name if best else None)
            (temporary / MANIFEST).write_bytes(manifest.encode())
            for file in (MODEL, TRAINING, STATE, MANIFEST):
                sync(temporary / file)
            sync(temporary)
            os.rename(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync(folder.parent)
        sync(run.path)
        if best:
            run.point("best", name)
        run.point("last", name)
    return folder


def load_fitted(run: Run, which: str = "last") -> FittedCheckpoint:
    """Load a fitted model after verifying every byte of it.

    Raises:
        RunError: there is no such checkpoint, a file of it is missing, cut short or changed, or it was made with
            another vocabulary than the run has.
    """
    folder, manifest = locate(run, which)
    try:
        content = read_file(folder, manifest, STATE)
        record, path = manifest.files[MODEL], folder / MODEL
        arrays = map_arrays(path)
        found = sha256(path)
        if found != record.sha256:
            raise RunError(
                f"{MODEL} was changed after it was written",
                expected=f"SHA-256 {record.sha256}",
                got=f"SHA-256 {found}",
                where=str(path),
            )
    except RunError as error:
        raise RunError(
            f"the counts of the run {run.path} cannot be used: {error.problem}",
            expected=error.expected,
            got=error.got,
            where=error.where,
            fix=error.fix or "put back a copy of the file, or fit again",
        ) from error
    return FittedCheckpoint(manifest.step, arrays, json.loads(content))
