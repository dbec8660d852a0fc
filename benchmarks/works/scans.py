"""Cells that are linear in their state over long sequences: minGRU and LRU 1x512, B 8, forward and backward."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.agreement import TOLERANCES
from benchmarks.limits import product_rate, read_bandwidth
from benchmarks.registry import Absent, Case, Contender, Limit, Results, Work, missing
from unrolled.cells import find_cell
from unrolled.kernels.reference import step as reference_step
from unrolled.layers import RecurrentLayer
from unrolled.training.memory import keep_freed_memory

__all__ = ["LENGTHS", "Scans", "works"]

H, B = 512, 8
LENGTHS = (784, 8192, 65_536)
_COMPARED = 256  # time steps of outputs and of the input's gradient; gradients of weights are compared whole
_CHUNK = 512  # steps of the reference that are held at a time


class Scans:
    """A layer, its input x (B, T, D) and what comes back to its output; in memory time comes first.

    Args:
        cell: its name.
        steps: T.
    """

    def __init__(self, cell: str, steps: int, hidden: int = H, batch: int = B) -> None:
        keep_freed_memory()
        torch.manual_seed(0)
        self.cell, self.steps = cell, steps
        self.layer = RecurrentLayer(find_cell(cell), hidden, hidden)
        self.start = {name: value.clone() for name, value in self.layer.state_dict().items()}
        self.x, self.above = torch.randn(steps, batch, hidden), torch.randn(steps, batch, hidden)
        self.rows: npt.NDArray[np.int64] = np.unique(np.linspace(0, steps - 1, _COMPARED).astype(np.int64))

    def ours(self) -> Contender:
        """Us."""
        x, above = self.x.transpose(0, 1).contiguous().requires_grad_(), self.above.transpose(0, 1).contiguous()

        def run() -> torch.Tensor:
            self.layer.zero_grad()
            x.grad = None
            y, _ = self.layer(x)
            y.backward(above)
            return y.detach()

        def results() -> Results:
            y = run()
            assert x.grad is not None
            weights = {name: parameter.grad for name, parameter in self.layer.named_parameters()}
            seen = (part[:, self.rows].transpose(0, 1) for part in (y, x.grad))
            return dict(zip(("y", "x"), seen, strict=True)) | weights

        return Contender("unrolled", run, results)

    def jax(self, method: str) -> Contender | Absent:
        """JAX."""
        name = f"JAX {method}"
        if absent := missing(name, "jax"):
            return absent
        from benchmarks.peers.jax_scans import Scan

        peer = Scan(self.cell, method, self.start, self.x, self.above)
        return Contender(name, peer.run, lambda: peer.results(self.rows))

    def reference(self) -> Results:
        """The plain loop over time in float64, forward once for the states between chunks, then chunk by chunk back."""
        equations = self.layer.equations
        w: dict[str, Any] = {name: value.double().requires_grad_() for name, value in self.start.items()}
        state = tuple(torch.zeros_like(self.x[0], dtype=torch.float64) for _ in equations.states)
        begins, before = range(0, self.steps, _CHUNK), []
        with torch.no_grad():
            for begin in begins:
                before.append(state)
                for x in self.x[begin : begin + _CHUNK].double():
                    _, state, _ = reference_step(equations, w, x, state)
        coming = [torch.zeros_like(part) for part in state]
        seen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        wanted = set(self.rows.tolist())
        for begin, start in reversed(list(zip(begins, before, strict=True))):
            x = self.x[begin : begin + _CHUNK].double().requires_grad_()
            first = now = tuple(part.clone().requires_grad_() for part in start)
            ys = []
            for given in x:
                y, now, _ = reference_step(equations, w, given, now)
                ys.append(y)
            outputs = torch.stack(ys)
            torch.autograd.backward([outputs, *now], [self.above[begin : begin + _CHUNK].double(), *coming])
            coming = [part.grad for part in first if part.grad is not None]
            assert x.grad is not None
            seen |= {begin + t: (outputs[t].detach(), x.grad[t]) for t in range(len(x)) if begin + t in wanted}
        found = {name: torch.stack([seen[row][k] for row in self.rows.tolist()]) for k, name in enumerate(("y", "x"))}
        return found | {name: value.grad for name, value in w.items()}

    def limit(self) -> Limit:
        """The products at the highest rate, and every array that the recurrence cannot do without passed through memory
        once: what the maps give, the output, and the gradients of both, in float32."""
        matrices = [p for p in self.layer.parameters() if p.dim() == 2]
        hidden, batch = self.layer.hidden_size, self.x.shape[1]
        rate, name = product_rate(min(self.steps * batch, 8192), hidden, len(matrices) * hidden, torch.float32)
        flop, size = 6.0 * sum(p.numel() for p in matrices), 4 * hidden * 2 * (len(matrices) + 1)
        bandwidth = read_bandwidth(min(size * self.steps * batch, 2**30), torch.get_num_threads())
        why = (
            f"products ({name}) at {rate / 1e9:.0f} GFLOP/s, then {size:,} bytes a token at {bandwidth / 1e9:.0f} GB/s"
        )
        return Limit(1 / (flop / rate + size / bandwidth), why)


def _build(cell: str, steps: int) -> Case:
    scans = Scans(cell, steps)
    return Case(
        ours=scans.ours(),
        peers=(scans.jax("lax.scan"), scans.jax("associative_scan")),
        reference=scans.reference,
        tolerance=TOLERANCES["float32"],
        amount=steps * B,
        limit=scans.limit,
    )


def works() -> list[Work]:
    """Both cells at every length."""
    about = f"1x{H}, B {B}, float32, forward and backward"
    return [
        Work(f"scan-{cell}-{steps}", f"{cell} {about}, T {steps:,}", "token/s", 1.5, 2, partial(_build, cell, steps))
        for cell in ("mingru", "lru")
        for steps in LENGTHS
    ]
