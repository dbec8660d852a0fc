"""Cells that are linear in their state over long sequences: minGRU and LRU 1x512, B 8, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.agreement import TOLERANCES
from benchmarks.limits import product_rate, read_bandwidth
from benchmarks.registry import Absent, Case, Contender, Limit, Results, Work, peer
from unrolled.cells import find_cell
from unrolled.layers import RecurrentLayer
from unrolled.training.memory import keep_freed_memory

__all__ = ["LENGTHS", "Scans", "works"]

H, B = 512, 8
LENGTHS = (784, 8192, 65_536)
_COMPARED = 256  # time steps of outputs and of the input's gradient; gradients of weights are compared whole
_KEPT = 8192  # steps up to which freed memory is kept: arrays of a GB that are kept leave no room for others
_CHUNK = 512  # steps of the reference that are held at a time

# Rounding λ to float32 turns its powers, by more the longer they are remembered: every contender is as far from float64
# as the plain loop in float32, and the gradient of the angle most of all.
_TOLERANCES = {"mingru": TOLERANCES["float32"], "lru": 4e-5}
_EXCEPTIONS = {"a.theta": 4e-4}


class Scans:
    """A layer, its input x (B, T, D) and what comes back to its output; in memory time comes first.

    Args:
        cell: its name.
        steps: T.
    """

    def __init__(self, cell: str, steps: int, hidden: int = H, batch: int = B) -> None:
        if steps <= _KEPT:
            keep_freed_memory()
        torch.manual_seed(0)
        self.cell, self.steps = cell, steps
        self.layer = RecurrentLayer(find_cell(cell), hidden, hidden)
        self.start = {name: value.clone() for name, value in self.layer.state_dict().items()}
        self.x, self.above = torch.randn(steps, batch, hidden), torch.randn(steps, batch, hidden)
        self.rows: npt.NDArray[np.int64] = np.unique(np.linspace(0, steps - 1, _COMPARED).astype(np.int64))

    def ours(self) -> Contender:
        """Us."""
        x, above = self.x.transpose(0, 1).requires_grad_(), self.above.transpose(0, 1)

        def run() -> tuple[torch.Tensor, torch.Tensor | None]:
            self.layer.zero_grad()
            y, _ = self.layer(x)
            y.backward(above)
            dx, x.grad = x.grad, None  # nothing stays: at the greatest length others need the room
            return y.detach(), dx

        def results() -> Results:
            y, dx = run()
            assert dx is not None
            weights = {name: parameter.grad for name, parameter in self.layer.named_parameters()}
            seen = (part[:, self.rows].transpose(0, 1) for part in (y, dx))
            return dict(zip(("y", "x"), seen, strict=True)) | weights

        return Contender("unrolled", run, results)

    def jax(self, method: str) -> Contender | Absent:
        """JAX."""

        def build() -> Contender:
            from benchmarks.peers.jax_scans import Scan

            scan = Scan(self.cell, method, self.start, self.x, self.above)
            return Contender(name, scan.run, lambda: scan.results(self.rows))

        name = f"JAX {method}"
        return peer(name, ["jax"], build)

    def reference(self) -> Results:
        """In float64: forward once for the states between chunks, then chunk by chunk back."""
        w = {name: value.double().requires_grad_() for name, value in self.start.items()}
        coefficients = _COEFFICIENTS[self.cell]
        begins, before = range(0, self.steps, _CHUNK), []
        with torch.no_grad():
            state = torch.zeros_like(coefficients(w, self.x[:1].double())[1][0])
            for begin in begins:
                before.append(state)
                state = _follow(*coefficients(w, self.x[begin : begin + _CHUNK].double()), state)[-1]
        coming = torch.zeros_like(state)
        seen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for begin, start in reversed(list(zip(begins, before, strict=True))):
            x = self.x[begin : begin + _CHUNK].double().requires_grad_()
            keep, new = coefficients(w, x)
            with torch.no_grad():
                states = _follow(keep, new, start)
                d_new = _follow_back(keep, self.above[begin : begin + _CHUNK].double(), coming)
                coming = keep[0].conj() * d_new[0]
                d_keep = d_new * torch.cat([start[None], states[:-1]]).conj()
            torch.autograd.backward([keep, new], [d_keep, d_new])
            assert x.grad is not None
            for row in self.rows[(self.rows >= begin) & (self.rows < begin + _CHUNK)].tolist():
                y = states[row - begin]
                seen[row] = (y.real if y.is_complex() else y, x.grad[row - begin])
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


def _mingru(w: Mapping[str, torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.sigmoid(x @ w["W.z"].T + w["b.z"])
    return 1 - z, z * (x @ w["W.n"].T + w["b.n"])


def _lru(w: Mapping[str, torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    keep = torch.polar(torch.exp(-torch.exp(w["a.nu"])), torch.exp(w["a.theta"]))
    new = torch.exp(w["a.gamma"]) * torch.complex(x @ w["W.re"].T, x @ w["W.im"].T)
    return keep.expand(new.shape), new


# What a cell keeps of its state and what it adds, of weights and x (T, B, D), as the papers have it.
_COEFFICIENTS = {"mingru": _mingru, "lru": _lru}


def _follow(keep: torch.Tensor, new: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """s_t = keep_t s_(t-1) + new_t, one after the other."""
    states = torch.empty_like(new)
    for t in range(len(new)):
        state = torch.addcmul(new[t], keep[t], state, out=states[t])
    return states


def _follow_back(keep: torch.Tensor, above: torch.Tensor, coming: torch.Tensor) -> torch.Tensor:
    """The gradients of all states: g_t = above_t + conj(keep_(t+1)) g_(t+1), where the last step gets `coming`."""
    found = above.to(keep.dtype)
    found[-1] += coming
    for t in range(len(found) - 2, -1, -1):
        found[t].addcmul_(keep[t + 1].conj(), found[t + 1])
    return found


def _build(cell: str, steps: int) -> Case:
    scans = Scans(cell, steps)
    return Case(
        ours=scans.ours(),
        peers=(scans.jax("lax.scan"), scans.jax("associative_scan")),
        reference=scans.reference,
        tolerance=_TOLERANCES[cell],
        amount=steps * B,
        limit=scans.limit,
        exceptions=_EXCEPTIONS,
    )


def works() -> list[Work]:
    """Both cells at every length."""
    about = f"1x{H}, B {B}, float32, forward and backward"
    return [
        Work(f"scan-{cell}-{steps}", f"{cell} {about}, T {steps:,}", "token/s", 1.5, 2, partial(_build, cell, steps))
        for cell in ("mingru", "lru")
        for steps in LENGTHS
    ]
