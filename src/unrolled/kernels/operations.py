"""The whitelisted operations in PyTorch, and running a program of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from unrolled.cells.derivation import Program

__all__ = ["OPERATIONS", "State", "run"]

State = tuple[torch.Tensor, ...]


def _either(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[Any, Any], torch.Tensor]:
    """`maximum` and `minimum` of PyTorch, which take no plain numbers, for operands of which one may be a number."""

    def apply(left: Any, right: Any) -> torch.Tensor:
        like = left if isinstance(left, torch.Tensor) else right
        return function(torch.as_tensor(left).to(like), torch.as_tensor(right).to(like))

    return apply


OPERATIONS: dict[str, Callable[..., Any]] = {
    "neg": lambda value: -value,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "step": lambda value: (value > 0).to(value.dtype),
    "softplus": torch.nn.functional.softplus,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "absolute": torch.abs,
    "add": lambda left, right: left + right,
    "sub": lambda left, right: left - right,
    "mul": lambda left, right: left * right,
    "div": lambda left, right: left / right,
    "pow": lambda left, right: left**right,
    "maximum": _either(torch.maximum),
    "minimum": _either(torch.minimum),
}


def run(program: Program, leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The results of a program by name, from its inputs by name: tensors whose last axis is units."""
    values = dict(leaves)
    for instruction in program.instructions:
        arguments = [values[name] if isinstance(name, str) else name for name in instruction.args]
        values[instruction.target] = OPERATIONS[instruction.op](*arguments)
    return {name: values[held] if isinstance(held, str) else held for name, held in program.outputs}
