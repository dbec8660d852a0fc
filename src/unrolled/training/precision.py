"""Choosing the precision of products, and the kernel, by a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from unrolled.kernels import Kernel
from unrolled.tasks import Trainable
from unrolled.training.configuration import Precision
from unrolled.training.loop import autocast, seeded

__all__ = ["Way", "measure"]

_ROUNDS = 3
_SECONDS = 8.0  # a busy machine is not measured for longer than this
_WORTH = 0.95  # bfloat16 must be at least so much faster: it costs digits


class Way(NamedTuple):
    """One way to compute a batch."""

    precision: Precision
    kernel: Kernel

    def __str__(self) -> str:
        return f"{self.precision} {self.kernel}"


def measure(task: Trainable, ways: Sequence[Way], use: Callable[[Kernel], None]) -> tuple[Way, dict[str, float]]:
    """The best of some ways, and the seconds that loss and gradient of a first batch took in each.

    The model is left as it was, with the kernel that was found best. Rounds are interleaved, so that another load on
    the machine meets all of them.

    Args:
        task: what is trained.
        ways: at least one; where there is but one, nothing is measured.
        use: lets the model run on a kernel.
    """
    device = next(task.model.parameters()).device
    seconds: dict[Way, list[float]] = {way: [] for way in ways}
    with seeded(device, 0):
        started = time.perf_counter()
        for done in range(_ROUNDS + 1 if len(ways) > 1 else 0):
            if done > 1 and time.perf_counter() - started > _SECONDS:
                break
            for way in ways:
                use(way.kernel)
                begin = time.perf_counter()
                with autocast(device, way.precision):
                    given = task.loss(task.start(), {})
                given.total.backward()  # type: ignore[no-untyped-call]
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                seconds[way].append(time.perf_counter() - begin)
                task.model.zero_grad(set_to_none=True)
    # The quickest round, as another load on the machine only ever adds; the first also compiles and warms caches.
    quickest = {way: min(times[1:]) for way, times in seconds.items() if times}
    best = min(ways, key=lambda way: quickest.get(way, 0.0) / (_WORTH if way.precision == "bfloat16" else 1.0))
    use(best.kernel)
    return best, {str(way): spent for way, spent in quickest.items()}
