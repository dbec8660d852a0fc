"""The one place that chooses how a cell runs over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch

from unrolled.cells import Equations
from unrolled.errors import ConfigurationError, nearest
from unrolled.kernels import library, reference, staged
from unrolled.kernels.operations import State

__all__ = ["KERNELS", "Kernel", "choose", "unroll"]

Kernel = Literal["library", "staged", "reference"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)


def choose(equations: Equations) -> Kernel:
    """The kernel that serves a cell: PyTorch's own operator where the equations are the same, else the derived path."""
    return "library" if library.recognise(equations) is not None else "staged"


def unroll(
    equations: Equations,
    parameters: Mapping[str, torch.Tensor],
    x: torch.Tensor,
    state: State,
    *,
    kernel: Kernel | None = None,
    watched: dict[str, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, State]:
    """Run a cell over a sequence.

    Args:
        equations: the cell.
        parameters: by name, shapes as `Equations.shape` says.
        x: (B, T, D), T at least 1.
        state: one (B, H) for every state.
        kernel: which kernel; `choose` decides if it is not given.
        watched: a dictionary to be filled with every map, gate and state, each (B, T, H). The reference then runs,
            which computes each of them.

    Returns:
        y (B, T, H) and the state after the last step.

    Raises:
        ConfigurationError: the kernel is unknown, or it does not compute this cell.
    """
    if watched is not None:
        return reference.unroll(equations, parameters, x, state, watched)
    kernel = kernel or choose(equations)
    if kernel == "reference":
        return reference.unroll(equations, parameters, x, state)
    if kernel == "staged":
        return staged.unroll(equations, parameters, x, state)
    if kernel != "library":
        raise ConfigurationError(f"unknown kernel {kernel!r}", fix=nearest(kernel, KERNELS))
    match = library.recognise(equations)
    if match is None:
        raise ConfigurationError(f"PyTorch has no operator with the equations of {equations.name}", fix="use 'staged'")
    return library.unroll(match, parameters, x, state)
