"""The classic minimal character network in NumPy: every operation as the published program has it.

One-hot columns, one product a time step, the gradient by hand, entries beyond ±5 cut, Adagrad (Karpathy 2015).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["MinCharRNN"]

Array = npt.NDArray[np.float64]


class MinCharRNN:
    """The program.

    Args:
        weights: Wx (H, V), Wh (H, H), bh (H,), Wy (V, H), by (V,).
        ids: the text; it is read from its beginning in chunks of `steps`.
    """

    def __init__(self, weights: Mapping[str, Array], ids: npt.NDArray[np.int64], steps: int) -> None:
        self._start, self._ids, self._steps = weights, ids, steps
        self._begin()

    def _begin(self) -> None:
        columns = {name: np.array(value, np.float64) for name, value in self._start.items()}
        self._w = {name: value[:, None] if value.ndim == 1 else value for name, value in columns.items()}
        self._memory = {name: np.zeros_like(value) for name, value in self._w.items()}
        self._h, self._position = np.zeros((len(self._w["Wh"]), 1)), 0

    def _gradients(self, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> tuple[float, dict[str, Array]]:
        w, size, loss = self._w, len(self._w["by"]), 0.0
        xs, hs, ps = {}, {-1: self._h.copy()}, {}
        for t in range(len(x)):
            xs[t] = np.zeros((size, 1))
            xs[t][x[t]] = 1
            hs[t] = np.tanh(w["Wx"] @ xs[t] + w["Wh"] @ hs[t - 1] + w["bh"])
            odds = np.exp(w["Wy"] @ hs[t] + w["by"])
            ps[t] = odds / np.sum(odds)
            loss -= float(np.log(ps[t][y[t], 0]))
        g = {name: np.zeros_like(value) for name, value in w.items()}
        later = np.zeros_like(self._h)
        for t in reversed(range(len(x))):
            dy = ps[t].copy()
            dy[y[t]] -= 1
            g["Wy"] += dy @ hs[t].T
            g["by"] += dy
            inside = (1 - hs[t] * hs[t]) * (w["Wy"].T @ dy + later)
            g["bh"] += inside
            g["Wx"] += inside @ xs[t].T
            g["Wh"] += inside @ hs[t - 1].T
            later = w["Wh"].T @ inside
        self._h = hs[len(x) - 1]
        return loss, g

    def _iterate(self) -> float:
        if self._position + self._steps + 1 > len(self._ids):
            self._position, self._h = 0, np.zeros_like(self._h)
        begin, self._position = self._position, self._position + self._steps
        loss, g = self._gradients(self._ids[begin : self._position], self._ids[begin + 1 : self._position + 1])
        for name, gradient in g.items():
            np.clip(gradient, -5, 5, out=gradient)
            self._memory[name] += gradient * gradient
            self._w[name] -= 0.1 * gradient / np.sqrt(self._memory[name] + 1e-8)
        return loss

    def run(self, iterations: int) -> None:
        """So many iterations, from where the last call ended."""
        for _ in range(iterations):
            self._iterate()

    def results(self) -> dict[str, object]:
        """Loss, weights and Adagrad's memories after the first iteration."""
        self._begin()
        loss = self._iterate()
        shaped = {name: value.reshape(self._start[name].shape) for name, value in self._w.items()}
        memories = {f"{name} memory": value.reshape(self._start[name].shape) for name, value in self._memory.items()}
        self._begin()
        return {"loss": loss, **shaped, **memories}
