"""Checkpoints: written whole or not at all, verified before use, never pickled.

What a crash can leave behind: a checkpoint is written and synced under `.writing-<step>`, renamed, and only then do
`best` and `last` name it. So both name whole checkpoints at every instant, and `last` alone decides where a run goes
on: `rewind` puts the logs and `best` back to what that checkpoint recorded.

What is kept: the checkpoints that `last` and `best` name, and the `keep` latest. Those later than the one a save came
from are of a continuation that was given up (a crash, or a resume from an earlier step) and go with that save.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from unrolled.errors import RunError
from unrolled.files import sha256, storage_errors, sync, write_atomically
from unrolled.runs.directory import CHECKPOINTS, VOCABULARY, Pointer, Run
from unrolled.runs.logs import lengths, truncate_to
from unrolled.runs.manifest import (
    FILES,
    MANIFEST,
    MODEL,
    STATE,
    TRAINING,
    FileRecord,
    Manifest,
    read_file,
    read_manifest,
)

__all__ = ["Checkpoint", "load", "locate", "rewind", "save"]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        step: optimiser steps done.
        model: the weights, on the CPU.
        training: tensors of the training state (optimiser memories, carried state, random generators); empty when only
            the weights were asked for.
        state: the rest of the training state, as JSON.
        logs: length of each log when it was saved, in bytes.
        best: name of the best checkpoint when it was saved; None where there was none.
    """

    step: int
    model: dict[str, Tensor]
    training: dict[str, Tensor]
    state: dict[str, Any]
    logs: dict[str, int]
    best: str | None

    @property
    def name(self) -> str:
        """The name of its directory."""
        return _name(self.step)


def save(
    run: Run,
    step: int,
    model: Mapping[str, Tensor],
    training: Mapping[str, Tensor],
    state: Mapping[str, Any],
    best: bool = False,
    *,
    keep: int = 2,
) -> Path:
    """Save a checkpoint, make `last` name it (and `best`), and remove old ones.

    A checkpoint of the same step that `last` or `best` names stays as it is, unless it is damaged.

    Args:
        run: where to.
        step: optimiser steps done.
        model: the weights, any device and strides. Tied ones are stored under each of their names.
        training: tensors of the training state.
        state: the rest of it, as JSON; None, not infinity, for a loss that is not known yet.
        best: whether it is the best so far.
        keep: how many of the latest stay beside those that `last` and `best` name.

    Returns:
        The directory of the checkpoint.

    Raises:
        StorageError: the disk is full or cannot be written. Earlier checkpoints are untouched.
        ValueError: `state` is not JSON.
    """
    if step < 0:
        raise ValueError(f"step {step} is negative")
    name = _name(step)
    folder = run.checkpoint(name)
    contents = {MODEL: _encode(model), TRAINING: _encode(training), STATE: _encode_state(state)}
    previous = _pointer(run, "last")
    with storage_errors(f"saving checkpoint {name} of {run.path}"):
        if name in {previous, _pointer(run, "best")} and _damage(run, name) is None:
            manifest = _read_manifest(run, name)
            if best and manifest.best != name:
                write_atomically(folder / MANIFEST, replace(manifest, best=name).encode())
        else:
            manifest = Manifest(
                step=step,
                files={file: FileRecord.of(content) for file, content in contents.items()},
                logs=lengths(run),
                vocabulary=sha256(run.path / VOCABULARY),
                best=name if best else _pointer(run, "best"),
            )
            _write(folder, {**contents, MANIFEST: manifest.encode()})
        # best comes first: a crash in between leaves `last` at an earlier step, which comes here once more
        if best:
            run.point("best", name)
        run.point("last", name)
    _prune(run, keep, name if previous is None else previous)
    return folder


def load(run: Run, which: str | int = "last", *, weights_only: bool = False) -> Checkpoint:
    """Load a checkpoint after verifying every file of it that is read.

    Args:
        run: the run.
        which: "last", "best" or a step.
        weights_only: leave `training.safetensors` alone, which need not even be there.

    Raises:
        RunError: there is no such checkpoint; or a file of it is missing, cut short or changed, and then an intact one
            is named; or it was made with another vocabulary than the run has.
    """
    wanted = (MODEL, STATE) if weights_only else FILES
    folder, manifest = locate(run, which)
    try:
        contents = {file: read_file(folder, manifest, file) for file in wanted}
        tensors = {file: _decode(folder / file, contents[file]) for file in wanted if file != STATE}
    except RunError as error:
        raise _unusable(run, folder.name, error) from error
    return Checkpoint(
        step=manifest.step,
        model=tensors[MODEL],
        training=tensors.get(TRAINING, {}),
        state=json.loads(contents[STATE]),
        logs=manifest.logs,
        best=manifest.best,
    )


def locate(run: Run, which: str | int = "last") -> tuple[Path, Manifest]:
    """Where a checkpoint lies and what it must be; only its manifest is read.

    Raises:
        RunError: there is no such checkpoint, its manifest is damaged, or it was made with another vocabulary.
    """
    name = _resolve(run, str(which))
    try:
        manifest = _read_manifest(run, name)
    except RunError as error:
        raise _unusable(run, name, error) from error
    return run.checkpoint(name), manifest


def rewind(run: Run, checkpoint: Checkpoint) -> list[str]:
    """Make the run what it was when `checkpoint` was saved: its logs, `best` and `last`. Resuming starts with this.

    Where none was best yet, or that one was removed since, `best` stays what it is.

    Returns:
        One sentence for each log that has lost its tail, for the user to read.

    Raises:
        StorageError: a file cannot be written.
    """
    best = checkpoint.best
    if best is not None and best != _pointer(run, "best") and run.checkpoint(best).is_dir():
        run.point("best", best)
    if _pointer(run, "last") != checkpoint.name:
        run.point("last", checkpoint.name)
    # the logs come last: a crash before this leaves them too long, which the next rewinding mends
    return truncate_to(run, checkpoint.logs)


def _unusable(run: Run, name: str, error: RunError) -> RunError:
    return RunError(
        f"checkpoint {int(name)} of the run {run.path} cannot be used: {error.problem}",
        expected=error.expected,
        got=error.got,
        where=error.where,
        fix=error.fix or _alternative(run, name),
    )


def _name(step: int) -> str:
    return f"{step:09d}"


def _pointer(run: Run, which: Pointer) -> str | None:
    """As `run.pointer`, but None for one that is damaged: it shall not keep a run from being saved."""
    with contextlib.suppress(RunError):
        return run.pointer(which)
    return None


def _encode(tensors: Mapping[str, Tensor]) -> bytes:
    # a copy of each: safetensors refuses tensors that share memory, and wants them contiguous
    plain = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return safetensors.torch.save(plain)


def _encode_state(state: Mapping[str, Any]) -> bytes:
    return (json.dumps(state, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _decode(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise RunError(f"{path.name} is not a safetensors file: {error}", where=str(path)) from error


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write a directory of files whole, or leave what was there: under another name, synced, then renamed."""
    temporary = folder.with_name(f".writing-{folder.name}")
    folder.parent.mkdir(exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        for name, content in contents.items():
            with (temporary / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync(temporary)
        if folder.exists():  # damaged, or of a continuation that was given up
            _discard(folder)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(folder.parent)
    sync(folder.parent.parent)


def _discard(folder: Path) -> None:
    """Remove a checkpoint; a crash in between leaves no half of one under its name."""
    trash = folder.with_name(f".removing-{folder.name}")
    shutil.rmtree(trash, ignore_errors=True)
    os.rename(folder, trash)
    shutil.rmtree(trash, ignore_errors=True)


def _prune(run: Run, keep: int, previous: str) -> None:
    """Remove what is no longer kept, after `last` moved on from `previous`; at once, or with a later save."""
    # without knowing what is best, nothing is removed; and what cannot be removed now costs no saved checkpoint
    with contextlib.suppress(RunError, OSError):
        last, best = run.pointer("last"), run.pointer("best")
        own = [name for name in run.checkpoint_names() if name == last or int(name) <= int(previous)]
        kept = {last, best, *own[max(0, len(own) - keep) :]}
        for name in run.checkpoint_names():
            if name not in kept:
                _discard(run.checkpoint(name))
        for left_over in (run.path / CHECKPOINTS).glob(".*-*"):
            shutil.rmtree(left_over, ignore_errors=True)


def _read_manifest(run: Run, name: str) -> Manifest:
    manifest = read_manifest(run.checkpoint(name))
    try:
        vocabulary = sha256(run.path / VOCABULARY)
    except OSError as error:
        problem = f"{VOCABULARY} cannot be read: {error.strerror or error}"
        raise RunError(problem, where=str(run.path / VOCABULARY)) from error
    if manifest.vocabulary != vocabulary:
        raise RunError(
            "it was made with another vocabulary than the run has",
            expected=f"a {VOCABULARY} with SHA-256 {manifest.vocabulary}",
            where=str(run.path / VOCABULARY),
            fix=f"put back the {VOCABULARY} of the run that the checkpoint came from",
        )
    return manifest


def _damage(run: Run, name: str) -> RunError | None:
    """What is wrong with a checkpoint, after reading all of it; None where nothing is."""
    try:
        manifest = _read_manifest(run, name)
        for file in FILES:
            read_file(run.checkpoint(name), manifest, file)
    except RunError as error:
        return error
    return None


def _resolve(run: Run, which: str) -> str:
    """The name of the checkpoint that `which` means, there or not."""
    steps = [str(int(name)) for name in run.checkpoint_names()]
    if not steps:
        raise RunError(
            f"the run {run.path} has no checkpoint yet",
            expected=f"at least one in {run.path / CHECKPOINTS}",
            fix="train again into another --run, or remove this one",
        )
    if which in ("last", "best"):
        try:
            name = run.pointer("last" if which == "last" else "best")
        except RunError as error:
            fix = _alternative(run)
            raise RunError(error.problem, expected=error.expected, got=error.got, where=error.where, fix=fix) from error
        if name is None:
            problem = f"the run {run.path} has no {which} checkpoint"
            raise RunError(problem, expected=f"a file {run.path / which}", fix=_alternative(run))
        return name
    if not (which.isascii() and which.isdigit() and str(int(which)) in steps):
        raise RunError(
            f"the run {run.path} has no checkpoint {which!r}",
            expected=f"last, best or one of the steps {', '.join(steps)}",
            fix=f"--checkpoint {steps[-1]}",
        )
    return _name(int(which))


def _alternative(run: Run, damaged: str | None = None) -> str:
    """What to do about a checkpoint that cannot be used: name the latest that can."""
    for name in reversed(run.checkpoint_names()):
        if name != damaged and _damage(run, name) is None:
            return f"use another checkpoint of this run, which is intact: --checkpoint {int(name)}"
    return "no other checkpoint of this run is intact: put back a copy of the file, or train again"
