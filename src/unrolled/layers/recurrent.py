"""Recurrent layers and stacks of them. State is explicit: it comes in, and it comes out.

Axes: B batch, T time, D input, H hidden, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unrolled.cells import Equations
from unrolled.errors import ConfigurationError
from unrolled.kernels import unroll
from unrolled.kernels.dispatch import Kernel
from unrolled.kernels.operations import State
from unrolled.kernels.staged import Stepping
from unrolled.layers.initial import initialise, starting_value
from unrolled.layers.watching import current

__all__ = ["Dropout", "Recurrent", "RecurrentLayer", "StackState", "StackStepping", "detach"]

StackState = tuple[State, ...]


def detach(state: StackState) -> StackState:
    """The same state, cut off from the graph that made it: where backpropagation through time is truncated."""
    return tuple(tuple(part.detach() for part in layer) for layer in state)


class RecurrentLayer(torch.nn.Module):
    """One cell over time.

    Its parameters are named as in the equations: `layer.W.f` is the matrix written `W.f` there.

    Args:
        equations: the cell.
        input_size: D.
        hidden_size: H.
        kernel: how it runs over time; chosen by `kernels.dispatch` if not given.
        path: its name when it is watched.

    Raises:
        CellError: the equations do not fit the sizes.
        ConfigurationError: a size is not positive.
    """

    def __init__(
        self,
        equations: Equations,
        input_size: int,
        hidden_size: int,
        *,
        kernel: Kernel | None = None,
        path: str = "layer",
    ) -> None:
        super().__init__()
        if min(input_size, hidden_size) < 1:
            raise ConfigurationError("a layer needs at least one unit", got=f"D = {input_size}, H = {hidden_size}")
        equations.check_sizes(input_size, hidden_size)
        self.equations, self.input_size, self.hidden_size = equations, input_size, hidden_size
        self.kernel, self.path = kernel, path
        for name in equations.parameters:
            family, _, gate = name.partition(".")
            if not hasattr(self, family):
                self.add_module(family, torch.nn.ParameterDict())
            parameter = torch.nn.Parameter(torch.empty(equations.shape(name, input_size, hidden_size)))
            self.get_submodule(family)[gate] = parameter  # type: ignore[index]
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start again as the cell says."""
        for name, parameter in self.cell_parameters().items():
            initialise(parameter, starting_value(self.equations, name), generator)

    def cell_parameters(self) -> dict[str, torch.Tensor]:
        """The parameters by their names in the equations."""
        named = dict(self.named_parameters())
        return {name: named[name] for name in self.equations.parameters}

    def initial_state(self, batch: int) -> State:
        """Zeros, (B, H) for every state of the cell."""
        like = next(self.parameters())
        return tuple(like.new_zeros(batch, self.hidden_size) for _ in self.equations.states)

    def forward(
        self, x: torch.Tensor, state: State | None = None, resets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """Run over a sequence.

        Args:
            x: (B, T, D).
            state: (B, H) for every state; zeros if not given.
            resets: (B, T), true where the state is set to zero before the step (a new document begins).

        Returns:
            y (B, T, H) and the state after the last step.
        """
        state = self.initial_state(x.shape[0]) if state is None else state
        outputs = []
        for begin, end in _segments(resets, x.shape[1]):
            if resets is not None:
                keep = ~resets[:, begin].unsqueeze(1)
                state = tuple(part * keep for part in state)
            y, state = self._run(x[:, begin:end], state)
            outputs.append(y)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1), state

    def _run(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        watcher = current()
        watched: dict[str, torch.Tensor] | None = None if watcher is None else {}
        y, state = unroll(self.equations, self.cell_parameters(), x, state, kernel=self.kernel, watched=watched)
        if watcher is not None and watched is not None:
            watcher.add(self.path, watched)
        return y, state

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """One time step: x (B, D) and a state to the output (B, H) and the state after."""
        y, state = self._run(x.unsqueeze(1), state)
        return y[:, 0], state

    def stepping(self) -> Stepping:
        """The layer with its weights packed for many steps without gradients."""
        return Stepping(self.equations, self.cell_parameters())


def _segments(resets: torch.Tensor | None, steps: int) -> list[tuple[int, int]]:
    """The stretches of time between resets of any sequence of the batch."""
    if resets is None:
        return [(0, steps)]
    starts = sorted({0, *resets.any(0).nonzero().flatten().tolist()})
    return list(zip(starts, [*starts[1:], steps], strict=True))


class Recurrent(torch.nn.Module):
    """A stack of recurrent layers.

    Args:
        equations: the cell, the same in every layer.
        input_size: D.
        hidden_size: H, the same in every layer.
        layers: L.
        dropout: the probability with which what passes between two layers is dropped while training.
        variational: drop the same units at every time step of a call (Gal & Ghahramani 2016), not others at each.
        residual: add what goes into a layer to what comes out of it, from the second layer on.
        kernel: how cells run over time; chosen by `kernels.dispatch` if not given.
    """

    def __init__(
        self,
        equations: Equations,
        input_size: int,
        hidden_size: int,
        layers: int = 1,
        *,
        dropout: float = 0.0,
        variational: bool = False,
        residual: bool = False,
        kernel: Kernel | None = None,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigurationError("a stack needs at least one layer", got=str(layers))
        sizes = [input_size, *[hidden_size] * (layers - 1)]
        self.layers = torch.nn.ModuleList(
            RecurrentLayer(equations, size, hidden_size, kernel=kernel, path=f"layers.{index}")
            for index, size in enumerate(sizes)
        )
        self.dropout = Dropout(dropout, variational)
        self.equations, self.input_size, self.hidden_size, self.residual = equations, input_size, hidden_size, residual

    def _layers(self) -> Sequence[RecurrentLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start again as the cell says."""
        for layer in self._layers():
            layer.reset_parameters(generator)

    def initial_state(self, batch: int) -> StackState:
        """Zeros, for every layer and state (B, H)."""
        return tuple(layer.initial_state(batch) for layer in self._layers())

    def forward(
        self, x: torch.Tensor, state: StackState | None = None, resets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, StackState]:
        """Run over a sequence: x (B, T, D) to y (B, T, H) of the last layer and the state after the last step.

        `resets` (B, T) is true where the state is set to zero before the step.
        """
        after = []
        for index, layer in enumerate(self._layers()):
            given = self.dropout(x) if index else x
            y, last = layer(given, None if state is None else state[index], resets)
            after.append(last)
            x = x + y if self.residual and index else y
        return x, tuple(after)

    def step(self, x: torch.Tensor, state: StackState) -> tuple[torch.Tensor, StackState]:
        """One time step: x (B, D) and a state to the output (B, H) and the state after."""
        y, state = self(x.unsqueeze(1), state)
        return y[:, 0], state

    def stepping(self) -> StackStepping:
        """The stack with its weights packed for many steps without gradients or dropout."""
        return StackStepping(self)


class StackStepping:
    """One step at a time through a stack whose weights are packed once. Later changes to them are not seen."""

    def __init__(self, stack: Recurrent) -> None:
        self._layers = [layer.stepping() for layer in stack._layers()]
        self._residual = stack.residual

    def step(self, x: torch.Tensor, state: StackState) -> tuple[torch.Tensor, StackState]:
        """x (B, D) and the state before to the output (B, H) and the state after."""
        after = []
        for index, (layer, before) in enumerate(zip(self._layers, state, strict=True)):
            y, last = layer.step(x, before)
            after.append(last)
            x = x + y if self._residual and index else y
        return x, tuple(after)


class Dropout(torch.nn.Module):
    """Dropout (Srivastava et al. 2014), or its variational form: one mask for all time steps (Gal & Ghahramani 2016)."""

    def __init__(self, probability: float, variational: bool = False) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ConfigurationError("dropout is a probability", expected="at least 0 and below 1", got=str(probability))
        self.probability, self.variational = probability, variational

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, D) with units dropped, in training only."""
        if not self.training or self.probability == 0:
            return x
        if not self.variational:
            return torch.nn.functional.dropout(x, self.probability)
        mask = torch.nn.functional.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), self.probability)
        return x * mask
