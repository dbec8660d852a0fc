"""Several processes that train one model, on one machine or on many, as `torchrun` starts them.

Each reads its own streams of the batch; gradients are summed, so that every process makes the same update of the same
weights. Sums are weighted by targets, so that how streams are divided decides nothing but the order of additions. What
one process must not do twice (files, the screen) the first one does.

A process that is gone is noticed by what the others wait for: at once where its connection is closed, as it is when
a process ends in whatever way; after `_SILENCE` where a machine has just vanished.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from unrolled.errors import ConfigurationError, ProcessError, UnrolledError

if TYPE_CHECKING:
    import torch

__all__ = ["ALONE", "Processes", "current", "is_first", "joined", "refuse_several"]

_SILENCE = timedelta(seconds=45)  # in the middle of an update
_PATIENCE = timedelta(days=1)  # while another may be preparing a text, validating or saving
_BEHIND_THE_FIRST = 3.0  # seconds in which the first process may say what another would say too


def is_first() -> bool:
    """Whether this process is the one that shows and writes; without torch, for the command line."""
    return int(os.environ.get("RANK", 0)) == 0 or int(os.environ.get("WORLD_SIZE", 1)) == 1


def refuse_several(what: str) -> None:
    """Say that something is done in one process (`ConfigurationError` where `torchrun` has started several)."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        error = ConfigurationError(f"{what} is done in one process", fix="leave out torchrun")
        error.told = os.environ.get("LOCAL_RANK", "0") != "0"
        raise error


@dataclass(frozen=True, eq=False)
class Processes:
    """The processes of a training, seen from one of them.

    Attributes:
        rank: which this is, from 0 on.
        count: how many there are.
        local_rank: which this is on its machine.
        local_count: how many there are on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    _store: Any = None
    _updating: Any = None  # the group of processes, for what happens within an update
    _gradients: Any = None  # likewise, where gradients are on GPUs

    @property
    def first(self) -> bool:
        """Whether this one writes and shows."""
        return self.rank == 0

    def rows(self, batch: int) -> tuple[int, int]:
        """The half-open range of a batch's streams that this process reads.

        >>> [Processes(rank, 3).rows(8) for rank in range(3)]
        [(0, 2), (2, 5), (5, 8)]
        """
        return self.rank * batch // self.count, (self.rank + 1) * batch // self.count

    def seed(self, seed: int) -> int:
        """A seed of this process's own, from one of all: what is dropped differs from stream to stream."""
        return (seed + self.rank * 0x5851F42D4C957F2D) % 2**63

    def device(self, device: torch.device) -> torch.device:
        """Of several GPUs of a machine each process has its own."""
        import torch

        if self.count == 1 or device.type != "cuda":
            return device
        if self.local_rank >= torch.cuda.device_count():
            raise ConfigurationError(
                "there are more processes than GPUs on this machine",
                expected=f"--nproc-per-node of at most {torch.cuda.device_count()}",
                got=str(self.local_count),
                fix="start fewer, or train with --device cpu",
            )
        placed = torch.device("cuda", self.local_rank)
        torch.cuda.set_device(placed)
        return placed

    def meet(self) -> None:
        """Wait for all, for as long as it takes."""
        self.sum([0.0])

    def sum(self, values: Sequence[float], *, updating: bool = False) -> list[float]:
        """Sums over all processes, of one number or several, in float64: the same in each.

        Args:
            values: of this process.
            updating: whether all are in the middle of an update: then none may be silent for long.
        """
        if self.count == 1:
            return [*values]
        import torch
        import torch.distributed as dist

        total = torch.tensor(values, dtype=torch.float64)
        with self._waiting():
            dist.all_reduce(total, group=self._updating if updating else None)
        return [float(value) for value in total]

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put the sum over all processes into each tensor: the same bits in each. None may be silent for long."""
        if self.count == 1 or not tensors:
            return
        import torch
        import torch.distributed as dist

        with self._waiting():
            for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
                same = [tensor for tensor in tensors if tensor.dtype == dtype]
                flat = torch.cat([tensor.flatten() for tensor in same])
                dist.all_reduce(flat, group=self._gradients if flat.is_cuda else self._updating)
                for tensor, part in zip(same, torch.split(flat, [tensor.numel() for tensor in same]), strict=True):
                    tensor.copy_(part.view_as(tensor))

    def spread(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put what the first process has in its tensors into those of all."""
        if self.count == 1:
            return
        import torch.distributed as dist

        with self._waiting():
            for tensor in tensors:
                there = tensor.detach().cpu().contiguous()
                dist.broadcast(there, 0)
                if not self.first and there.data_ptr() != tensor.data_ptr():
                    tensor.detach().copy_(there)

    def of_the_first(self, value: Any) -> Any:
        """What the first process has (JSON); what the others give is not looked at."""
        if self.count == 1:
            return value
        import torch
        import torch.distributed as dist

        content = json.dumps(value).encode() if self.first else b""
        with self._waiting():
            length = torch.tensor([len(content)])
            dist.broadcast(length, 0)
            letters = torch.zeros(int(length), dtype=torch.uint8)
            if self.first:
                letters = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            dist.broadcast(letters, 0)
        return json.loads(bytes(letters.tolist()))

    def gather(self, rows: torch.Tensor, batch: int) -> torch.Tensor:
        """The rows of all, (batch, ...), on the processor, from those of each, whose numbers are those of `rows`."""
        if self.count == 1:
            return rows
        import torch
        import torch.distributed as dist

        widest = -(-batch // self.count)
        mine = torch.zeros(widest, *rows.shape[1:], dtype=rows.dtype)
        mine[: len(rows)] = rows.detach().cpu()
        found = [torch.empty_like(mine) for _ in range(self.count)]
        with self._waiting():
            dist.all_gather(found, mine)
        sizes = [(rank + 1) * batch // self.count - rank * batch // self.count for rank in range(self.count)]
        return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """What is said where another process is gone."""
        try:
            yield
        except RuntimeError as error:
            raise ProcessError(
                f"another process of this training has ended, or cannot be reached: process {self.rank} of "
                f"{self.count} (counted from 0) ends too",
                got=self._said() or _in_words(error),
                fix="look at what that process said last; then go on from the last checkpoint: the same torchrun, with "
                "unrolled resume RUN",
            ) from error

    def _said(self) -> str:
        """What processes that failed have said."""
        found = []
        with suppress(RuntimeError):
            for rank in range(self.count):
                if rank != self.rank and self._store.check([f"failed {rank}"]):
                    found.append(f"process {rank}: {self._store.get(f'failed {rank}').decode().splitlines()[0]}")
        return "; ".join(found)

    def fail(self, error: BaseException) -> None:
        """Tell the others why this process ends. Where the first one says the same, `error.told` is set."""
        if self.count == 1:
            return
        with suppress(RuntimeError):
            self._store.set(f"failed {self.rank}", f"{type(error).__name__}: {error}")
            if self.first:
                return
            until = time.monotonic() + _BEHIND_THE_FIRST
            while not self._store.check(["failed 0"]):
                if time.monotonic() > until:
                    return
                time.sleep(0.02)
            same = self._store.get("failed 0").decode() == f"{type(error).__name__}: {error}"
            if isinstance(error, UnrolledError) and (same or isinstance(error, ProcessError)):
                error.told = True


def _in_words(error: RuntimeError) -> str:
    """What the network of processes says, without where in its source."""
    said = str(error)
    if "closed by peer" in said or "reset by peer" in said:
        return "its connection was closed"
    if "imed out" in said:
        return f"nothing was heard of it for {_SILENCE.seconds} seconds"
    return said.splitlines()[0]


ALONE = Processes()
"""One process, as most trainings have it."""

_current = ALONE


def current() -> Processes:
    """The processes that are joined now; `ALONE` where none are."""
    return _current


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that `torchrun` has started, connected to each other; `ALONE` where it has not.

    As a decorator, `@joined()`, it connects them while the function runs, in which `current` says which they are.

    Raises:
        ConfigurationError: the variables that `torchrun` sets are not whole.
        ProcessError: the others cannot be reached.
    """
    global _current
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or _current is not ALONE:
        yield _current
        return
    try:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        rank, count, local_rank, local_count = (int(os.environ[name]) for name in names)
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            "WORLD_SIZE is set, but not all that torchrun sets",
            got=str(error),
            fix="start several processes with torchrun, or unset WORLD_SIZE to train in one",
        ) from None
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(rendezvous("env://"))
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE)
        updating = dist.new_group(backend="gloo", timeout=_SILENCE)
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        gradients = dist.new_group(backend="nccl", timeout=_SILENCE) if gpus else None
    except (RuntimeError, ValueError) as error:
        raise ProcessError(
            "the processes of this training do not find each other",
            got=str(error).splitlines()[0],
            fix="check what torchrun was given: --nnodes, --node-rank, --master-addr, --master-port",
        ) from error
    processes = Processes(rank, count, local_rank, local_count, PrefixStore("unrolled", store), updating, gradients)
    _current = processes
    try:
        yield processes
        processes.meet()
        dist.destroy_process_group()
    except BaseException as error:
        processes.fail(error)
        raise
    finally:
        _current = ALONE
