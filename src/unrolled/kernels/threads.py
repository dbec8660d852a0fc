"""Compiled loops side by side: threads of this process that outlive a call."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch

__all__ = ["side_by_side"]

_Result = TypeVar("_Result")


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process (a fork has none of its parent's), in which PyTorch's products use one core."""

    def alone() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()

    return ThreadPoolExecutor(max(32, os.cpu_count() or 1), "unrolled", alone)


def side_by_side(calls: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """The results of functions that do not hold the interpreter, run at the same time, each in a thread with one core.

    Meanwhile PyTorch's number of threads is 1 for whoever asks for the first time, in other threads too.
    """
    before = torch.get_num_threads()
    if len(calls) == 1 and before == 1:
        return [calls[0]()]
    waiting = [_pool(os.getpid()).submit(call) for call in calls[1:]]
    torch.set_num_threads(1)
    try:
        first = calls[0]()
    finally:
        # Also where the first one failed: the others work on arrays that must not be freed.
        wait(waiting)
        torch.set_num_threads(before)
    return [first, *(other.result() for other in waiting)]
