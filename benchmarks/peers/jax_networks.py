"""JAX: recurrent language models as `lax.scan` under `jit`, with buffers donated. Imported only where JAX is installed.

Axes: B batch, T time, D input, H hidden, V vocabulary, G gates. Weights are right factors: W (D, G·H), U (H, G·H).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

__all__ = ["GATES", "JaxTraining", "MinCharRNN", "named", "stacked"]

# The order in which gates lie beside each other.
GATES = {"lstm": ("i", "f", "o", "g"), "gru": ("r", "z", "n"), "rnn": ("h",)}


def stacked(state: Mapping[str, Any], cell: str, layers: int) -> dict[str, Any]:
    """Our parameters by name as JAX wants them: the gates of a layer side by side."""

    def side_by_side(layer: int, family: str) -> Any:
        parts = [np.asarray(state[f"recurrent.layers.{layer}.{family}.{gate}"]) for gate in GATES[cell]]
        return jnp.asarray(np.concatenate(parts).T)

    def weights(layer: int) -> dict[str, Any]:
        found = {family: side_by_side(layer, family) for family in ("W", "U", "b")}
        if cell == "gru":
            found["d"] = jnp.asarray(np.asarray(state[f"recurrent.layers.{layer}.d.n"]))
        return found

    return {
        "embedding": jnp.asarray(np.asarray(state["embedding.weight"])),
        "layers": [weights(layer) for layer in range(layers)],
        "output": jnp.asarray(np.asarray(state["output.weight"]).T),
        "bias": jnp.asarray(np.asarray(state["output.bias"])),
    }


def named(tree: Mapping[str, Any], cell: str) -> dict[str, npt.NDArray[Any]]:
    """The inverse of `stacked`."""
    found = {
        "embedding.weight": np.asarray(tree["embedding"]),
        "output.weight": np.asarray(tree["output"]).T,
        "output.bias": np.asarray(tree["bias"]),
    }
    for layer, weights in enumerate(tree["layers"]):
        for family in ("W", "U", "b"):
            parts = np.split(np.asarray(weights[family]).T, len(GATES[cell]))
            for gate, part in zip(GATES[cell], parts, strict=True):
                found[f"recurrent.layers.{layer}.{family}.{gate}"] = part
        if "d" in weights:
            found[f"recurrent.layers.{layer}.d.n"] = np.asarray(weights["d"])
    return found


def _dot(a: Any, b: Any, bfloat16: bool) -> Any:
    if not bfloat16:
        return a @ b
    return jnp.matmul(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


def _layer(cell: str, weights: Mapping[str, Any], x: Any, bfloat16: bool) -> Any:
    """x (T, B, D) from the empty state to y (T, B, H); the input's product is done for all steps at once."""
    inputs = _dot(x, weights["W"], bfloat16) + weights["b"]
    U = weights["U"].astype(jnp.bfloat16) if bfloat16 else weights["U"]
    zeros = jnp.zeros((x.shape[1], U.shape[0]), x.dtype)

    def lstm(state: Any, given: Any) -> Any:
        h, c = state
        i, f, o, g = jnp.split(given + _dot(h, U, bfloat16), 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(h: Any, given: Any) -> Any:
        (gr, gz, gn), (ur, uz, un) = jnp.split(given, 3, -1), jnp.split(_dot(h, U, bfloat16), 3, -1)
        r, z = jax.nn.sigmoid(gr + ur), jax.nn.sigmoid(gz + uz)
        n = jnp.tanh(gn + r * (un + weights["d"]))
        h = (1 - z) * n + z * h
        return h, h

    def rnn(h: Any, given: Any) -> Any:
        h = jnp.tanh(given + _dot(h, U, bfloat16))
        return h, h

    steps = {"lstm": lstm, "gru": gru, "rnn": rnn}
    return lax.scan(steps[cell], (zeros, zeros) if cell == "lstm" else zeros, inputs)[1]


def _loss(weights: Mapping[str, Any], ids: Any, cell: str, bfloat16: bool) -> Any:
    x = weights["embedding"][ids[:-1]]
    for layer in weights["layers"]:
        x = _layer(cell, layer, x, bfloat16)
    logits = _dot(x, weights["output"], bfloat16) + weights["bias"]
    chosen = jnp.take_along_axis(logits, ids[1:, :, None], -1)[..., 0]
    return (jax.nn.logsumexp(logits, -1) - chosen).mean()


class JaxTraining:
    """Whole training steps: Adam, the gradient's length clipped; one compiled call a step, its buffers donated.

    Args:
        state: our parameters by name.
        ids: (T + 1, B) symbols.
    """

    def __init__(
        self,
        state: Mapping[str, Any],
        ids: npt.NDArray[np.int64],
        cell: str,
        layers: int,
        *,
        clip: float,
        rate: float,
        bfloat16: bool,
    ) -> None:
        self._state, self._cell, self._layers = {k: np.asarray(v).copy() for k, v in state.items()}, cell, layers
        self._ids = jnp.asarray(ids.astype(np.int32))
        loss = partial(_loss, cell=cell, bfloat16=bfloat16)

        def gradients(weights: Any, ids: Any) -> Any:
            value, found = jax.value_and_grad(loss)(weights, ids)
            length = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(found)))
            scale = jnp.minimum(1.0, clip / length)
            return value, jax.tree.map(lambda leaf: leaf * scale, found)

        def step(weights: Any, first: Any, second: Any, n: Any, ids: Any) -> Any:
            value, g = gradients(weights, ids)
            n = n + 1
            first = jax.tree.map(lambda m, leaf: 0.9 * m + 0.1 * leaf, first, g)
            second = jax.tree.map(lambda v, leaf: 0.99 * v + 0.01 * leaf**2, second, g)
            size, bias = rate / (1 - 0.9**n), 1 - 0.99**n
            weights = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v / bias) + 1e-8), weights, first, second)
            return weights, first, second, n, value

        self._gradients, self._step = jax.jit(gradients), jax.jit(step, donate_argnums=(0, 1, 2, 3))
        start = stacked(self._state, cell, layers)
        self._now = (start, jax.tree.map(jnp.zeros_like, start), jax.tree.map(jnp.zeros_like, start), jnp.float32(0))

    def step(self) -> None:
        """One step."""
        *now, value = self._step(*self._now, self._ids)
        self._now = tuple(now)
        value.block_until_ready()

    def results(self) -> dict[str, Any]:
        """Loss and gradients of the first step."""
        loss, gradients = self._gradients(stacked(self._state, self._cell, self._layers), self._ids)
        return {"loss": float(loss), **named(gradients, self._cell)}


class MinCharRNN:
    """The classic minimal program: many iterations in one compiled call, a scan over iterations of scans over time.

    Args:
        weights: Wx (H, V), Wh (H, H), bh (H,), Wy (V, H), by (V,).
        ids: the text; it is read from its beginning in chunks of `steps`.
        iterations: in one call.
    """

    def __init__(
        self, weights: Mapping[str, npt.NDArray[Any]], ids: npt.NDArray[np.int64], steps: int, iterations: int
    ) -> None:
        dtype = weights["Wh"].dtype
        text, chunks = jnp.asarray(ids.astype(np.int32)), (len(ids) - 1) // steps
        self._start = dict(weights)

        def loss(w: Any, h: Any, x: Any, y: Any) -> Any:
            def step(h: Any, given: Any) -> Any:
                h = jnp.tanh(given + h @ w["Wh"])
                return h, h

            # Not unrolled: by 2 or 5 steps it is half as fast, by all 25 a little slower.
            after, states = lax.scan(step, h, w["Wx"][x] + w["bh"])
            logits = states @ w["Wy"] + w["by"]
            chosen = jnp.take_along_axis(logits, y[:, None], -1)[:, 0]
            return (jax.nn.logsumexp(logits, -1) - chosen).sum(), after

        def iterate(now: Any, _: Any) -> Any:
            w, memory, h, position = now
            x = lax.dynamic_slice(text, (position,), (steps,))
            y = lax.dynamic_slice(text, (position + 1,), (steps,))
            (value, h), g = jax.value_and_grad(loss, has_aux=True)(w, h, x, y)
            g = jax.tree.map(lambda leaf: jnp.clip(leaf, -5, 5), g)
            memory = jax.tree.map(lambda m, leaf: m + leaf * leaf, memory, g)
            w = jax.tree.map(lambda p, leaf, m: p - 0.1 * leaf / jnp.sqrt(m + 1e-8), w, g, memory)
            position = position + steps
            again = position >= chunks * steps
            return (w, memory, jnp.where(again, 0, h), jnp.where(again, 0, position)), value

        def call(now: Any, length: int) -> Any:
            return lax.scan(iterate, now, None, length=length)

        self._call = jax.jit(call, static_argnums=1, donate_argnums=0)
        self._iterations, self._dtype = iterations, dtype
        self._now = self._begin()

    def _begin(self) -> Any:
        turned = {k: v.T if v.ndim == 2 else v for k, v in self._start.items()}
        w = {name: jnp.array(value, self._dtype) for name, value in turned.items()}
        hidden = len(self._start["bh"])
        return w, jax.tree.map(jnp.zeros_like, w), jnp.zeros(hidden, self._dtype), jnp.int32(0)

    def run(self) -> None:
        """So many iterations, from where the last call ended."""
        self._now, losses = self._call(self._now, self._iterations)
        losses.block_until_ready()

    def results(self) -> dict[str, Any]:
        """Loss, weights and Adagrad's memories after the first iteration."""
        (w, memory, *_), losses = self._call(self._begin(), 1)
        turned = lambda value: np.asarray(value).T  # noqa: E731
        found = {name: turned(value) for name, value in w.items()}
        return {
            "loss": float(losses[0]),
            **found,
            **{f"{name} memory": turned(value) for name, value in memory.items()},
        }
