"""Choosing the precision of products by a short measurement."""

from __future__ import annotations

import time

import torch

from unrolled.tasks import Trainable
from unrolled.training.configuration import Precision
from unrolled.training.loop import autocast, seeded

__all__ = ["measure_precisions"]

_ROUNDS = 3
_SECONDS = 8.0  # a busy machine is not measured for longer than this
_WORTH = 0.95  # bfloat16 must be at least so much faster: it costs digits


def measure_precisions(task: Trainable) -> tuple[Precision, dict[str, float]]:
    """The precision to train in, and the seconds that loss and gradient of a first batch took in each.

    The model is left as it was. Rounds are interleaved, so that another load on the machine meets both.
    """
    device = next(task.model.parameters()).device
    seconds: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    with seeded(device, 0):
        started = time.perf_counter()
        for done in range(_ROUNDS + 1):
            if done > 1 and time.perf_counter() - started > _SECONDS:
                break
            for precision in seconds:
                begin = time.perf_counter()
                with autocast(device, precision):
                    given = task.loss(task.start(), {})
                given.total.backward()  # type: ignore[no-untyped-call]
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                seconds[precision].append(time.perf_counter() - begin)
                task.model.zero_grad(set_to_none=True)
    # The quickest round, as another load on the machine only ever adds; the first also compiles and warms caches.
    quickest = {precision: min(times[1:]) for precision, times in seconds.items()}
    faster = quickest["bfloat16"] < _WORTH * quickest["float32"]
    return ("bfloat16" if faster else "float32"), quickest
