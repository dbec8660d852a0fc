"""The one place that chooses how a cell runs over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch

from unrolled.cells import Equations
from unrolled.cells.derivation import derive
from unrolled.errors import ConfigurationError, nearest
from unrolled.kernels import cpu, gpu, library, reference, scan, staged
from unrolled.kernels.operations import State
from unrolled.kernels.pieces import in_pieces

__all__ = ["KERNELS", "Kernel", "candidates", "choose", "unroll"]

Kernel = Literal["cpu", "gpu", "library", "scan", "staged", "reference"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)


def candidates(equations: Equations, state: State, product: torch.dtype) -> list[Kernel]:
    """The kernels that are worth a measurement for a cell, the likeliest first.

    Args:
        equations: the cell.
        state: one (B, H) for every state, as for `unroll`.
        product: the dtype of matrix products.
    """
    found: list[Kernel] = []
    like = state[0]
    on_cpu = like.device.type == "cpu" and all(part.dtype == like.dtype for part in state)
    if on_cpu and cpu.form_for(equations, like.shape[0], like.shape[1], like.dtype, product) is not None:
        found.append("cpu")
    match = library.recognise(equations)
    if match is not None:
        # Of PyTorch's own only the LSTM is served by oneDNN; on a GPU cuDNN serves all.
        found.insert(0 if match.operator == "lstm" or not on_cpu else len(found), "library")
    if like.device.type == "cuda" and like.dtype != torch.float64 and gpu.serves(equations, like.shape[1], product):
        found.append("gpu")
    if not on_cpu and derive(equations).is_linear_in_state:
        found.append("scan")
    return found or ["staged"]


def choose(equations: Equations, state: State, product: torch.dtype) -> Kernel:
    """The first of `candidates`: what serves where nothing was measured."""
    return candidates(equations, state, product)[0]


def unroll(
    equations: Equations,
    parameters: Mapping[str, torch.Tensor],
    x: torch.Tensor,
    state: State,
    *,
    kernel: Kernel | None = None,
    resets: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    watched: dict[str, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, State]:
    """Run a cell over a sequence.

    Args:
        equations: the cell.
        parameters: by name, shapes as `Equations.shape` says.
        x: (B, T, D), T at least 1.
        state: one (B, H) for every state.
        kernel: which kernel; `choose` decides if it is not given.
        resets: (B, T), true where the state is set to zero before the step.
        lengths: (B,), from 1 to T: where each sequence ends. Beyond, the output is zero and nothing is computed; the
            state after is that of the sequence's own last step.
        watched: a dictionary to be filled with every map, gate and state, each (B, T, H), zero beyond a sequence's end.
            The reference then runs, which computes each of them.

    Returns:
        y (B, T, H) and the state after the last step.

    Raises:
        ConfigurationError: the kernel is unknown, or it does not compute this cell.
    """
    kind = x.device.type
    product = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else state[0].dtype
    if watched is not None:
        kernel = "reference"
    elif kernel is None:
        # PyTorch's own operators know nothing of resets and ends: with them they run piece by piece.
        found = candidates(equations, state, product)
        kernel = "cpu" if "cpu" in found and (resets is not None or lengths is not None) else found[0]
    if kernel == "cpu":
        form = cpu.form_for(equations, state[0].shape[0], state[0].shape[1], state[0].dtype, product)
        if form is None or kind != "cpu":
            raise ConfigurationError(
                f"the CPU kernel does not serve {equations.name} here",
                expected="a float32 or float64 state on a CPU whose products PyTorch lends",
                got=f"{state[0].dtype} on {kind}, products in {product}",
                fix="use 'staged'",
            )
        return cpu.unroll(equations, parameters, x, state, form, resets, lengths)

    def run(x: torch.Tensor, state: State, seen: dict[str, torch.Tensor] | None) -> tuple[torch.Tensor, State]:
        if kernel == "reference":
            return reference.unroll(equations, parameters, x, state, seen)
        if kernel == "staged":
            return staged.unroll(equations, parameters, x, state)
        if kernel == "gpu":
            return gpu.unroll(equations, parameters, x, state)
        match = library.recognise(equations)
        assert match is not None
        return library.unroll(match, parameters, x, state)

    if kernel not in KERNELS:
        raise ConfigurationError(f"unknown kernel {kernel!r}", fix=nearest(kernel, KERNELS))
    if kernel == "library" and library.recognise(equations) is None:
        raise ConfigurationError(f"PyTorch has no operator with the equations of {equations.name}", fix="use 'staged'")
    if kernel == "scan":
        return scan.unroll(equations, parameters, x, state, resets, lengths)
    if kernel == "gpu" and lengths is None:
        return gpu.unroll(equations, parameters, x, state, resets)
    if resets is None and lengths is None:
        return run(x, state, watched)
    return in_pieces(run, x, state, resets, lengths, watched)
