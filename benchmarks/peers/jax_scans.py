"""JAX: minGRU and LRU over time, by `lax.scan` and by `associative_scan`. Imported only where JAX is installed.

Axes: T time first, B batch, D input, H hidden. Weights are right factors (D, H).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["METHODS", "Scan"]

Weights = Mapping[str, Any]
Recurrence = Callable[[Any, Any], Any]


def _one_after_the_other(keep: Any, new: Any) -> Any:
    """h_t = keep_t h_(t-1) + new_t from zero, step by step."""

    def step(h: Any, given: Any) -> Any:
        h = given[0] * h + given[1]
        return h, h

    return lax.scan(step, jnp.zeros_like(new[0]), (keep, new))[1]


def _associative(keep: Any, new: Any) -> Any:
    """The same as a tree of pairs (Blelloch 1990)."""

    def join(left: Any, right: Any) -> Any:
        return left[0] * right[0], right[0] * left[1] + right[1]

    return lax.associative_scan(join, (keep, new))[1]


METHODS: dict[str, Recurrence] = {"lax.scan": _one_after_the_other, "associative_scan": _associative}


def _mingru(w: Weights, x: Any, recurrence: Recurrence) -> Any:
    z = jax.nn.sigmoid(x @ w["W.z"] + w["b.z"])
    return recurrence(1 - z, z * (x @ w["W.n"] + w["b.n"]))


def _lru(w: Weights, x: Any, recurrence: Recurrence) -> Any:
    size, phase, scale = jnp.exp(-jnp.exp(w["a.nu"])), jnp.exp(w["a.theta"]), jnp.exp(w["a.gamma"])
    keep = lax.complex(size * jnp.cos(phase), size * jnp.sin(phase))
    new = lax.complex(scale * (x @ w["W.re"]), scale * (x @ w["W.im"]))
    return recurrence(jnp.broadcast_to(keep, new.shape), new).real


_CELLS = {"mingru": _mingru, "lru": _lru}


class Scan:
    """A layer forward and back, in one compiled call.

    Args:
        cell: "mingru" or "lru".
        method: a key of `METHODS`.
        state: our parameters by name.
        x: (T, B, D).
        above: (T, B, H), the gradient that comes back to the outputs.
    """

    def __init__(self, cell: str, method: str, state: Mapping[str, Any], x: Any, above: Any) -> None:
        self._w = {name: jnp.asarray(np.asarray(value).T) for name, value in state.items()}
        self._x, self._above = (jnp.from_dlpack(tensor) for tensor in (x, above))

        def forward(w: Any, x: Any) -> Any:
            return _CELLS[cell](w, x, METHODS[method])

        def both(w: Any, x: Any, above: Any) -> Any:
            y, back = jax.vjp(forward, w, x)
            return y, back(above)

        self._both = jax.jit(both)

    def run(self) -> Any:
        """y, and the gradients of weights and x."""
        return jax.block_until_ready(self._both(self._w, self._x, self._above))

    def results(self, rows: Any) -> dict[str, Any]:
        """The time steps `rows` of y and of the gradient of x, and the gradients of all weights."""
        y, (weights, dx) = self.run()
        found = {name: np.asarray(value).T for name, value in weights.items()}
        return {"y": np.asarray(y[rows]), "x": np.asarray(dx[rows]), **found}
