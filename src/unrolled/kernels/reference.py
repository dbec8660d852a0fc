"""The judge of all other kernels: a plain loop over time, node by node, differentiated by PyTorch's autograd.

It shares nothing with the derived kernels but the traced equations: no SymPy, no stages, no packed products.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unrolled.cells import Equations
from unrolled.kernels.operations import OPERATIONS, State

__all__ = ["step", "unroll"]


def step(
    equations: Equations, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, state: State
) -> tuple[torch.Tensor, State, list[Any]]:
    """One time step.

    Args:
        equations: the cell.
        parameters: by name, shapes as `Equations.shape` says.
        x: (B, D).
        state: one (B, H) for every state.

    Returns:
        the output (B, H), the state after the step, and the value of every node.
    """
    before, dtype = dict(zip(equations.states, state, strict=True)), state[0].dtype
    values: list[Any] = []
    for node in equations.nodes:
        if node.op == "input":
            values.append(x.to(dtype))
        elif node.op == "state":
            values.append(before[node.name])
        elif node.op == "parameter":
            values.append(parameters[node.name])
        elif node.op == "constant":
            values.append(node.number)
        elif node.op == "map":
            # The dtype of the state: under autocast the product comes in another.
            values.append(torch.nn.functional.linear(values[node.args[0]], parameters[node.name]).to(dtype))
        else:
            values.append(OPERATIONS[node.op](*(values[argument] for argument in node.args)))
    after = tuple(values[index].expand_as(state[0]) for index in equations.next_states)
    return values[equations.output].expand_as(state[0]), after, values


def unroll(
    equations: Equations,
    parameters: Mapping[str, torch.Tensor],
    x: torch.Tensor,
    state: State,
    watched: dict[str, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, State]:
    """The cell over a sequence: x (B, T, D) and the state before it to y (B, T, H) and the state after it.

    If `watched` is given, every map (by the name of its matrix, "U.f"), gate and state after the step (by its name in
    the equations) is put there, each (B, T, H); a gate of the input alone is (B, T, D). Of a matrix that is used
    several times in a step, the last use is seen.
    """
    outputs: list[torch.Tensor] = []
    seen: dict[str, list[torch.Tensor]] = {}
    names = {node.name: index for index, node in enumerate(equations.nodes) if node.op == "map"}
    names |= dict(equations.names) | dict(zip(equations.states, equations.next_states, strict=True))
    for t in range(x.shape[1]):
        y, state, values = step(equations, parameters, x[:, t], state)
        outputs.append(y)
        if watched is not None:
            for name, index in names.items():
                value = values[index]
                seen.setdefault(name, []).append(value.expand(x.shape[0], value.shape[-1]))
    if watched is not None:
        watched.update({name: torch.stack(steps, 1) for name, steps in seen.items()})
    return torch.stack(outputs, 1), state
