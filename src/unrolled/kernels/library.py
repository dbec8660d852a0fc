"""PyTorch's own recurrent operators, for the cells whose equations are theirs.

What a cell is called does not matter: its equations are matched against those that PyTorch computes, whatever the names
of its gates and the order of its sums and products. (oneDNN serves `torch.lstm` on a CPU, cuDNN all three on a GPU.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Any

import torch

from unrolled.cells import Equations, find_cell
from unrolled.kernels.operations import State

__all__ = ["Match", "recognise", "unroll"]

_GATES = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n"), "rnn": ("h",), "rnn-relu": ("h",)}
_OPERATORS: dict[str, Any] = {"gru": torch.gru, "rnn": torch.rnn_tanh, "rnn-relu": torch.rnn_relu}


@dataclass(frozen=True)
class Match:
    """Which of PyTorch's operators computes a cell.

    Attributes:
        operator: the built-in cell whose equations they are.
        names: for each parameter of that cell its name in the matched one.
        states: for each state of that cell its place among the states of the matched one.
    """

    operator: str
    names: Mapping[str, str]
    states: tuple[int, ...]

    def packed(self, parameters: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """Weights as PyTorch lays them out: (G·H, D), (G·H, H) and two biases (G·H,), in its order of gates."""
        gates = _GATES[self.operator]

        def gather(family: str) -> torch.Tensor:
            return torch.cat([parameters[self.names[f"{family}.{gate}"]] for gate in gates])

        outside = gather("b")
        inside = torch.zeros_like(outside)
        if self.operator == "gru":
            inside[-len(outside) // 3 :] = parameters[self.names["d.n"]]
        return [gather("W"), gather("U"), outside, inside]

    def gradients(self, packed: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Gradients of what `packed` was given, from those of its results."""
        gates = _GATES[self.operator]
        found = {
            self.names[f"{family}.{gate}"]: part
            for family, stacked in zip(("W", "U", "b"), packed, strict=False)
            for gate, part in zip(gates, stacked.chunk(len(gates)), strict=True)
        }
        if self.operator == "gru":
            found[self.names["d.n"]] = packed[3].chunk(len(gates))[-1]
        return found

    def unpacked(self, weights: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The inverse of `packed`; PyTorch's second bias is added to the first where the equations hold only one."""
        gates, found = _GATES[self.operator], {}
        for family, stacked in zip(("W", "U", "b", "d"), weights, strict=True):
            for gate, part in zip(gates, stacked.chunk(len(gates)), strict=True):
                name = self.names.get(f"{family}.{gate}")
                if name is not None:
                    found[name] = part
                elif family == "d":
                    bias = self.names[f"b.{gate}"]
                    found[bias] = found[bias] + part
        return found


@cache
def recognise(equations: Equations) -> Match | None:
    """The operator that computes these equations, or `None`."""
    for operator in _GATES:
        pattern = find_cell(operator)
        if len(pattern.states) != len(equations.states) or _sizes(pattern) != _sizes(equations):
            continue
        for order in permutations(range(len(pattern.states))):
            targets = [(pattern.output, equations.output)]
            targets += [(p, equations.next_states[k]) for p, k in zip(pattern.next_states, order, strict=True)]
            states = {pattern.states[place]: equations.states[k] for place, k in enumerate(order)}
            pairs = [(_normal(pattern, p), _normal(equations, g)) for p, g in targets]
            for names in _unify_all(pairs, states):
                return Match(operator, {key: value for key, value in names.items() if "." in key}, order)
    return None


def _sizes(equations: Equations) -> list[int]:
    """For the output and each state after the step how large it is written out, but for sums and products.

    Trees that match are of one size; and a cell that would take forever to write out is told by it.
    """
    sizes: list[int] = []
    for node in equations.nodes:
        sizes.append((node.op not in ("add", "mul")) + sum(sizes[argument] for argument in node.args))
    return [sizes[equations.output], *sorted(sizes[index] for index in equations.next_states)]


def _normal(equations: Equations, index: int) -> tuple[Any, ...]:
    """A node as a tree in which sums and products are flat, and a difference is a sum with a negative."""
    node = equations.nodes[index]
    children = [_normal(equations, argument) for argument in node.args]
    if node.op == "sub":
        return _normal_flat("add", [children[0], ("neg", "", children[1])])
    if node.op in ("add", "mul"):
        return _normal_flat(node.op, children)
    label = node.number if node.op == "constant" else node.name
    return (node.op, label, *children)


def _normal_flat(op: str, children: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    flat = [inner for child in children for inner in (child[2:] if child[0] == op else (child,))]
    return (op, "", *flat)


def _unify_all(pairs: list[tuple[Any, Any]], names: dict[str, str]) -> Iterator[dict[str, str]]:
    if not pairs:
        yield names
        return
    for more in _unify(*pairs[0], names):
        yield from _unify_all(pairs[1:], more)


def _unify(pattern: tuple[Any, ...], given: tuple[Any, ...], names: dict[str, str]) -> Iterator[dict[str, str]]:
    """Every way to name the pattern's parameters so that it becomes the given tree."""
    if pattern[0] != given[0] or len(pattern) != len(given):
        return
    if pattern[0] == "constant" and pattern[1] != given[1]:
        return
    if pattern[0] in ("parameter", "map", "state"):
        if names.get(pattern[1], given[1]) != given[1] or (pattern[1] not in names and given[1] in names.values()):
            return
        names = names | {pattern[1]: given[1]}
    orders = permutations(given[2:]) if pattern[0] in ("add", "mul") else [given[2:]]
    for order in orders:
        yield from _unify_all(list(zip(pattern[2:], order, strict=True)), names)


class _Packed(torch.autograd.Function):
    """`Match.packed` in the dtype of the products, as one operation: an LSTM has a dozen parameters a layer."""

    @staticmethod
    def forward(
        ctx: Any, match: Match, dtype: torch.dtype, names: tuple[str, ...], *parameters: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        ctx.match, ctx.names, ctx.dtype = match, names, parameters[0].dtype
        return tuple(weight.to(dtype) for weight in match.packed(dict(zip(names, parameters, strict=True))))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        found = ctx.match.gradients([gradient.to(ctx.dtype) for gradient in gradients])
        return (None, None, None, *(found[name] for name in ctx.names))


def unroll(
    match: Match, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, state: State
) -> tuple[torch.Tensor, State]:
    """The cell over a sequence: x (B, T, D) and the state before it to y (B, T, H) and the state after it."""
    kind, names = x.device.type, tuple(match.names.values())
    like = parameters[names[0]].dtype
    product = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) and like != torch.float64 else like
    weights = list(_Packed.apply(match, product, names, *(parameters[name] for name in names)))  # type: ignore[no-untyped-call]
    before = [state[place].unsqueeze(0).contiguous() for place in match.states]
    training = torch.is_grad_enabled()
    x = x if torch.is_autocast_enabled(x.device.type) else x.to(weights[0].dtype)
    if match.operator == "lstm":
        y, *after = torch.lstm(x, before, weights, True, 1, 0.0, training, False, True)
    else:
        y, *after = _OPERATORS[match.operator](x, before[0], weights, True, 1, 0.0, training, False, True)
    # Under autocast the operators hand back their own dtype; a state keeps the one it came in.
    ordered = {place: value[0].to(state[place].dtype) for place, value in zip(match.states, after, strict=True)}
    return y, tuple(ordered[place] for place in range(len(state)))
