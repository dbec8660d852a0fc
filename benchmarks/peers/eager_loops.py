"""Cells that PyTorch does not have, as one writes them in PyTorch: a loop over time, gates side by side, autograd.

Axes: B batch, T time, H hidden, V vocabulary, G gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmarks.registry import Results

__all__ = ["GATES", "EagerTraining"]

# Gates in the order in which they lie beside each other, and vectors of one number a unit.
GATES = {
    "lstm-peephole": (("i", "f", "g", "o"), ("p.i", "p.f", "p.o")),
    "lstm-coupled": (("f", "o", "g"), ()),
    "made-up": (("k", "n", "o"), ("p.k",)),
}

Weights = Mapping[str, Tensor]
State = tuple[Tensor, Tensor]


def _peephole(g: Tensor, state: State, w: Weights) -> State:
    _, c = state
    i, f, n, o = g.chunk(4, -1)
    i, f = torch.sigmoid(i + w["p.i"] * c), torch.sigmoid(f + w["p.f"] * c)
    c = f * c + i * torch.tanh(n)
    return torch.sigmoid(o + w["p.o"] * c) * torch.tanh(c), c


def _coupled(g: Tensor, state: State, w: Weights) -> State:
    _, c = state
    f, o, n = g.chunk(3, -1)
    f = torch.sigmoid(f)
    c = f * c + (1 - f) * torch.tanh(n)
    return torch.sigmoid(o) * torch.tanh(c), c


def _made_up(g: Tensor, state: State, w: Weights) -> State:
    _, m = state
    k, n, o = g.chunk(3, -1)
    k = torch.sigmoid(k + w["p.k"] * m)
    m = k * m + (1 - k) * torch.tanh(n)
    return torch.sigmoid(o) * m / (1 + m * m), m


_STEPS: dict[str, Callable[[Tensor, State, Weights], State]] = {
    "lstm-peephole": _peephole,
    "lstm-coupled": _coupled,
    "made-up": _made_up,
}


class EagerTraining:
    """Whole training steps of a language model of one layer: fused Adam, the gradient's length clipped.

    Args:
        state: our parameters by name.
        cell: a key of `GATES`.
        ids: (T + 1, B) symbols.
    """

    def __init__(self, state: Weights, cell: str, ids: Tensor, clip: float, rate: float) -> None:
        gates, vectors = GATES[cell]
        layer = "recurrent.layers.0."
        w = {family: torch.cat([state[f"{layer}{family}.{gate}"] for gate in gates]) for family in ("W", "U", "b")}
        w |= {name: state[layer + name].clone() for name in vectors}
        w |= {name: state[name].clone() for name in ("embedding.weight", "output.weight", "output.bias")}
        self._w = {name: torch.nn.Parameter(value) for name, value in w.items()}
        self._cell, self._ids, self._clip = cell, ids, clip
        self._optimizer = torch.optim.Adam(self._w.values(), rate, fused=True)

    def _gradients(self) -> Tensor:
        w, step = self._w, _STEPS[self._cell]
        inputs = torch.nn.functional.linear(w["embedding.weight"][self._ids[:-1]], w["W"], w["b"])
        h = inputs.new_zeros(self._ids.shape[1], w["U"].shape[1])
        state, outputs, U = (h, h), [], w["U"].t()
        for given in inputs:
            state = step(torch.addmm(given, state[0], U), state, w)
            outputs.append(state[0])
        logits = torch.nn.functional.linear(torch.stack(outputs), w["output.weight"], w["output.bias"])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), self._ids[1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(w.values(), self._clip, foreach=True)
        return loss

    def step(self) -> None:
        """One step."""
        self._optimizer.zero_grad()
        self._gradients()
        self._optimizer.step()

    def results(self) -> Results:
        """Loss and gradients of the first step. Ask before the first `step`."""
        self._optimizer.zero_grad()
        found: dict[str, Tensor] = {"loss": self._gradients().detach()}
        gates, vectors = GATES[self._cell]
        gradients = {name: p.grad.clone() for name, p in self._w.items() if p.grad is not None}
        for family in ("W", "U", "b"):
            for gate, part in zip(gates, gradients[family].chunk(len(gates)), strict=True):
                found[f"recurrent.layers.0.{family}.{gate}"] = part
        found |= {f"recurrent.layers.0.{name}": gradients[name] for name in vectors}
        return found | {name: gradients[name] for name in ("embedding.weight", "output.weight", "output.bias")}
