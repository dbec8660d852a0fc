"""The output layer and its softmax loss for large vocabularies, forward and back: time, and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.agreement import TOLERANCES
from benchmarks.limits import products_limit
from benchmarks.registry import Absent, Case, Contender, Limit, Results, Work
from unrolled.kernels import linear_cross_entropy
from unrolled.training.memory import keep_freed_memory

__all__ = ["Softmax", "works"]

H = 512
_ROWS = 256  # of the reference at a time


class Softmax:
    """The layer: x (N, H), weight (V, H), bias (V,), targets (N,), products in bfloat16."""

    def __init__(self, size: int, rows: int, hidden: int = H) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(rows, hidden, generator=generator)
        self.weight = torch.randn(size, hidden, generator=generator) * (2 / hidden**0.5)
        self.bias = torch.randn(size, generator=generator)
        self.targets = torch.randint(size, (rows,), generator=generator)
        for tensor in (self.x, self.weight, self.bias):
            tensor.requires_grad_()

    def contender(self, name: str, loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Contender:
        """A mean loss of x, weight, bias and targets, under autocast, and all gradients back."""
        leaves = (self.x, self.weight, self.bias)

        def run() -> Tensor:
            for leaf in leaves:
                leaf.grad = None
            with torch.autocast("cpu", torch.bfloat16):
                value = loss(*leaves, self.targets)
            value.backward()
            return value.detach()

        def results() -> Results:
            value = run()
            found = {"loss": value, "x": self.x.grad, "weight": self.weight.grad, "bias": self.bias.grad}
            for leaf in leaves:
                leaf.grad = None
            return found

        return Contender(name, run, results)

    def reference(self) -> Results:
        """In float64, some rows at a time."""
        rows = len(self.x)
        weight, bias = (tensor.detach().double().requires_grad_() for tensor in (self.weight, self.bias))
        x = self.x.detach().double().requires_grad_()
        total = 0.0
        for begin in range(0, rows, _ROWS):
            block = slice(begin, begin + _ROWS)
            logits = torch.nn.functional.linear(x[block], weight, bias)
            loss = torch.nn.functional.cross_entropy(logits, self.targets[block], reduction="sum") / rows
            loss.backward()
            total += float(loss.detach())
        return {"loss": total, "x": x.grad, "weight": weight.grad, "bias": bias.grad}

    def limit(self) -> Limit:
        """One product forward and two back."""
        size, hidden = self.weight.shape
        return products_limit(6.0 * size * hidden, [(2048, hidden, size)], torch.bfloat16)


def _plain(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(torch.nn.functional.linear(x, weight, bias), targets)


def _narrow(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Without the conversion of the logits to float32, which autocast does."""
    logits = torch.nn.functional.linear(x, weight, bias)
    with torch.autocast("cpu", enabled=False):
        return torch.nn.functional.cross_entropy(logits, targets)


def _build(size: int, rows: int, measure: str) -> Case:
    softmax = Softmax(size, rows)
    ours: Contender | Absent = softmax.contender("unrolled", lambda *given: linear_cross_entropy(*given).mean())
    if measure == "rate":
        keep_freed_memory()
    elif not Path("/proc/self/clear_refs").exists():
        ours = Absent("unrolled", "not available: only Linux says how much memory a run took at its highest")
    return Case(
        ours=ours,
        peers=(
            softmax.contender("F.cross_entropy(F.linear())", _plain),
            softmax.contender("the same, logits in bfloat16", _narrow),
        ),
        reference=softmax.reference,
        tolerance=TOLERANCES["bfloat16"],
        amount=rows if measure == "rate" else 1.0,
        limit=softmax.limit if measure == "rate" else None,
    )


def works() -> list[Work]:
    """Time and memory, at both sizes."""
    found = []
    for size, rows in ((10_000, 8192), (100_000, 4096)):
        about = f"output layer and softmax loss, V {size:,}, H {H}, {rows:,} targets, bfloat16, forward and backward"
        name, build = f"softmax-{size}", partial(_build, size, rows)
        found.append(Work(name, about, "target/s", 1.5, 2, partial(build, "rate")))
        note = f"{about}: memory beyond what was held before"
        found.append(Work(f"{name}-memory", note, "MB", 0.1, 2, partial(build, "memory"), measure="memory"))
    return found
