"""Layers around a cell: what mixes time steps before it, or units after it, and is therefore no part of its equations.

All keep the contract of a recurrent layer: `y, state = layer(x, state, resets)` for x (B, T, D), and `step` for one
time step. Axes: B batch, T time, D input, H output, N state.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from unrolled.cells import Equations, find_cell
from unrolled.errors import ConfigurationError
from unrolled.kernels.dispatch import Kernel
from unrolled.kernels.operations import State
from unrolled.layers.dropping import Dropout
from unrolled.layers.recurrent import RecurrentLayer

__all__ = ["ComplexLayer", "ResidualBlock", "WindowLayer"]


class _Stepped(torch.nn.Module):
    """A layer whose step is a sequence of one."""

    input_size: int
    hidden_size: int

    def initial_state(self, batch: int) -> State:
        """Zeros."""
        raise NotImplementedError

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """One time step: x (B, D) and a state to the output (B, H) and the state after."""
        y, state = self(x.unsqueeze(1), state)
        return y[:, 0], state


class WindowLayer(_Stepped):
    """A cell that is given the last few inputs at once: a masked convolution over time in front of it.

    With k inputs in a window, a map `W.z @ x` of the cell becomes W¹ x[t-k+1] + ... + Wᵏ x[t], which is the convolution
    of quasi-recurrent networks (Bradbury et al. 2017, section 2, equations 1 and 2): the columns of `W.z` are W¹ to Wᵏ
    side by side. What lies before the sequence, or before a reset, counts as zeros.

    The state is the k-1 inputs before (B, k-1, D), and then that of the cell.

    Args:
        equations: the cell.
        input_size: D.
        hidden_size: H.
        width: k; 1 is the cell alone.
        kernel: how the cell runs over time; chosen by `kernels.dispatch` if not given.
        path: its name when it is watched.

    Raises:
        ConfigurationError: a size is not positive.
    """

    def __init__(
        self,
        equations: Equations,
        input_size: int,
        hidden_size: int,
        width: int = 2,
        *,
        kernel: Kernel | None = None,
        path: str = "layer",
    ) -> None:
        super().__init__()
        if width < 1:
            raise ConfigurationError("a window holds at least the input itself", got=f"width {width}")
        self.input_size, self.hidden_size, self.width = input_size, hidden_size, width
        self.cell = RecurrentLayer(equations, width * input_size, hidden_size, kernel=kernel, path=path)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start again as the cell says."""
        self.cell.reset_parameters(generator)

    def initial_state(self, batch: int) -> State:
        state = self.cell.initial_state(batch)
        return (state[0].new_zeros(batch, self.width - 1, self.input_size), *state)

    def forward(
        self, x: torch.Tensor, state: State | None = None, resets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """Run over a sequence: x (B, T, D) to y (B, T, H) and the state after it.

        `resets` (B, T) is true where the state is set to zero before the step, the inputs before it included.

        Raises:
            ConfigurationError: a shape is another.
        """
        before, *of_cell = self.initial_state(x.shape[0]) if state is None else state
        wanted = (x.shape[0], self.width - 1, self.input_size)
        if x.dim() != 3 or x.shape[2] != self.input_size or tuple(before.shape) != wanted:
            raise ConfigurationError(
                "x or the inputs before it have a wrong shape",
                expected=f"x (B, T, {self.input_size}) and (B, {self.width - 1}, {self.input_size}) before it",
                got=f"{tuple(x.shape)} and {tuple(before.shape)}",
            )
        windows, before = self._windows(x, before, resets)
        y, after = self.cell(windows, tuple(of_cell), resets)
        return y, (before, *after)

    def _windows(
        self, x: torch.Tensor, before: torch.Tensor, resets: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The last k inputs of every time step side by side (B, T, k·D), and the last k-1 of all."""
        steps, whole = x.shape[1], torch.cat([before.to(x.dtype), x], 1)
        parts, last = [whole[:, begin : begin + steps] for begin in range(self.width)], whole[:, steps:]
        if resets is not None:
            # The number of resets up to an input: it is seen from a step of the same number.
            epochs = torch.nn.functional.pad(resets.long().cumsum(1), (self.width - 1, 0))
            now = epochs[:, self.width - 1 :]
            for begin, part in enumerate(parts):
                parts[begin] = part.masked_fill((epochs[:, begin : begin + steps] != now).unsqueeze(-1), 0.0)
            last = last.masked_fill((epochs[:, steps:] != now[:, -1:]).unsqueeze(-1), 0.0)
        return torch.cat(parts, -1), last.to(before.dtype)


class ComplexLayer(_Stepped):
    """The linear recurrent unit with its mixing of outputs: y = Re(C s) + d ⊙ x (Orvieto et al. 2023, section 3).

    s is the complex state of the cell `lru`, N numbers. Both parts of C start normal with the variance 1 / N, d
    standard normal (the paper's appendix A). The cell runs once for either part of s.

    Args:
        size: D and H.
        state_size: N; as many if not given.
        kernel: how the cell runs over time; chosen by `kernels.dispatch` if not given.
        path: its name when it is watched.

    Attributes:
        mix: the linear map of [Re s, Im s]; its weight (H, 2N) is [Re C, -Im C].
        skip: d, (H,).
    """

    def __init__(
        self, size: int, state_size: int | None = None, *, kernel: Kernel | None = None, path: str = "layer"
    ) -> None:
        super().__init__()
        equations, units = find_cell("lru"), size if state_size is None else state_size
        self.input_size = self.hidden_size = size
        self.cell = RecurrentLayer(equations, size, units, kernel=kernel, path=path)
        imaginary = replace(equations, output=equations.next_states[1])
        # In a tuple: it has no parameters of its own, it is lent those of `cell`.
        self._imaginary = (RecurrentLayer(imaginary, size, units, kernel=kernel, path=f"{path}.im"),)
        self.mix = torch.nn.Linear(2 * units, size, bias=False)
        self.skip = torch.nn.Parameter(torch.empty(size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start again as the paper does."""
        self.cell.reset_parameters(generator)
        torch.nn.init.normal_(self.mix.weight, std=1 / math.sqrt(self.cell.hidden_size), generator=generator)
        torch.nn.init.normal_(self.skip, generator=generator)

    def initial_state(self, batch: int) -> State:
        return self.cell.initial_state(batch)

    def forward(
        self, x: torch.Tensor, state: State | None = None, resets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """Run over a sequence: x (B, T, D) to y (B, T, D) and the state after it, its parts (B, N).

        `resets` (B, T) is true where the state is set to zero before the step.
        """
        state = self.initial_state(x.shape[0]) if state is None else state
        re, after = self.cell(x, state, resets)
        im, _ = torch.func.functional_call(self._imaginary[0], self.cell.cell_parameters(), (x, state, resets))
        return self.mix(torch.cat([re, im], -1)) + self.skip * x, after


class ResidualBlock(_Stepped):
    """x + GLU(GELU(layer(norm(x)))): the block that Orvieto et al. 2023 (section 2, figure 1) put linear layers in.

    A linear recurrence needs something between two layers that is not linear; here it is GELU and a gated linear unit,
    (A v + a) ⊙ sigmoid(B v + b). The paper normalises over the batch; here every time step is normalised over its
    units, so that a step needs no other.

    Args:
        layer: a layer with as many outputs as inputs.
        dropout: the probability with which what is added is dropped while training.

    Raises:
        ConfigurationError: the layer has not as many outputs as inputs.
    """

    def __init__(self, layer: ComplexLayer | WindowLayer | RecurrentLayer, dropout: float = 0.0) -> None:
        super().__init__()
        size = layer.input_size
        if layer.hidden_size != size:
            raise ConfigurationError(
                "what a residual block adds to its input has another size",
                expected=f"a layer of {size} outputs",
                got=str(layer.hidden_size),
            )
        self.input_size = self.hidden_size = size
        self.norm, self.layer = torch.nn.LayerNorm(size), layer
        self.gate, self.dropout = torch.nn.Linear(size, 2 * size), Dropout(dropout)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start again: the layer as it says, the normalisation as none, the gates as linear maps of PyTorch do."""
        self.norm.reset_parameters()
        self.layer.reset_parameters(generator)
        bound = 1 / math.sqrt(self.input_size)
        for parameter in self.gate.parameters():
            torch.nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def initial_state(self, batch: int) -> State:
        return self.layer.initial_state(batch)

    def forward(
        self, x: torch.Tensor, state: State | None = None, resets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """Run over a sequence: x (B, T, D) to y (B, T, D) and the state of the layer after it."""
        y, state = self.layer(self.norm(x), state, resets)
        added = torch.nn.functional.glu(self.gate(torch.nn.functional.gelu(y)), -1)
        return x + self.dropout(added), state
