"""What the processes of a training do once for all, and what they must agree on before it begins."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from unrolled.data.store import TokenStore
from unrolled.errors import ConfigurationError, DataError
from unrolled.runs.configuration import dump_section, load_section
from unrolled.runs.directory import Run
from unrolled.training.configuration import TrainingConfig
from unrolled.training.processes import Processes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["agree", "check_shares", "check_sources", "create_run", "held", "in_turn"]

_Section = TypeVar("_Section", bound="DataclassInstance")
_Result = TypeVar("_Result")


def agree(processes: Processes, section: _Section) -> _Section:
    """A configuration as the first process has it: machines may differ, the network may not."""
    if processes.count == 1:
        return section
    return load_section(type(section), processes.of_the_first(dump_section(section)), "the first process")


def in_turn(processes: Processes, prepare: Callable[[], _Result]) -> _Result:
    """What `prepare` gives: one process of each machine makes it, and the others find it made."""
    if processes.local_rank == 0:
        made = prepare()
        processes.meet()
        return made
    processes.meet()
    return prepare()


def check_sources(processes: Processes, names: Sequence[str]) -> None:
    """That every process can read them (`ConfigurationError` about standard input, which comes to one)."""
    if processes.count > 1 and "-" in names:
        raise ConfigurationError(
            "several processes cannot share standard input", got="-", fix="save the text to a file, and give that"
        )


def check_shares(processes: Processes, training: TrainingConfig, store: TokenStore) -> None:
    """That there is a stream for every process, and that all read the same text.

    Raises:
        ConfigurationError: the batch has fewer streams than there are processes.
        DataError: the text of this machine is not that of the first.
    """
    if (training.batch or 1) < processes.count:
        raise ConfigurationError(
            "there are more processes than streams to share",
            expected=f"a batch of at least {processes.count}",
            got=str(training.batch),
            fix="give a larger --batch, more text, or a smaller --nproc-per-node",
        )
    first = processes.of_the_first(store.fingerprint)
    if first != store.fingerprint:
        raise DataError(
            "the text on this machine is not that of the first process",
            expected=f"fingerprint {first}",
            got=store.fingerprint,
            where=f"process {processes.rank}, {store.directory}",
            fix="give all machines the same files",
        )


def create_run(processes: Processes, path: Path, config: Mapping[str, Any], vocabulary: Mapping[str, Any]) -> Run:
    """The run, which the first process creates and the others open: its directory is one that all of them see."""
    if processes.first:
        made = Run.create(path, config, vocabulary)
        processes.meet()
        return made
    processes.meet()
    return Run.open(path)


@contextlib.contextmanager
def held(processes: Processes, run: Run) -> Iterator[None]:
    """Hold the run for training, for all processes together (`RunError` if another training holds it)."""
    with run.exclusive() if processes.first else contextlib.nullcontext():
        processes.meet()
        yield
