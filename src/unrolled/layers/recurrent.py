"""Recurrent layers and stacks of them. State is explicit: it comes in, and it comes out.

Axes: B batch, T time, D input, H hidden, L layers.
"""

from __future__ import annotations

from typing import Any

import torch

from unrolled.cells import Equations, mogrified
from unrolled.errors import CellError, ConfigurationError
from unrolled.kernels import unroll
from unrolled.kernels.dispatch import Kernel
from unrolled.kernels.operations import State
from unrolled.kernels.staged import Stepping
from unrolled.layers.dropping import Dropout, check_probability, drop_weights
from unrolled.layers.initial import initialise, starting_value
from unrolled.layers.watching import current

__all__ = ["LayerStepping", "Recurrent", "RecurrentLayer", "StackState", "StackStepping", "detach"]

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
        reverse: run from the end of each sequence to its beginning.
        weight_drop: the probability with which each weight of a recurrent matrix is dropped while training, for all
            time steps of a call alike (Merity et al. 2018, section 2).

    Attributes:
        dropped: the matrices that this is done to: those applied to anything but the input.

    Raises:
        CellError: the equations do not fit the sizes, or a parameter has a name that PyTorch needs itself.
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
        reverse: bool = False,
        weight_drop: float = 0.0,
    ) -> None:
        super().__init__()
        check_probability("weight_drop", weight_drop)
        if min(input_size, hidden_size) < 1:
            raise ConfigurationError("a layer needs at least one unit", got=f"D = {input_size}, H = {hidden_size}")
        equations.check_sizes(input_size, hidden_size)
        self.equations, self.input_size, self.hidden_size = equations, input_size, hidden_size
        self.kernel, self.path, self.reverse = kernel, path, reverse
        self.weight_drop = weight_drop
        self.dropped = tuple(name for name, kind in equations.parameters.items() if kind == "hidden matrix")
        # What a state is like, in a cell without parameters too.
        self.register_buffer("_like", torch.empty(0), persistent=False)
        for name in equations.parameters:
            family, _, gate = name.partition(".")
            parameter = torch.nn.Parameter(torch.empty(equations.shape(name, input_size, hidden_size)))
            try:
                if family not in self._modules:
                    self.add_module(family, _Family())
                self.get_submodule(family).register_parameter(gate, parameter)
            except KeyError as error:
                raise CellError(
                    f"no parameter can be called {name}: PyTorch's modules have something of that name",
                    where=f"cell {equations.name}",
                    fix="choose another name",
                ) from error
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
        like = self.get_buffer("_like")
        return tuple(like.new_zeros(batch, self.hidden_size) for _ in self.equations.states)

    def forward(
        self,
        x: torch.Tensor,
        state: State | None = None,
        resets: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, State]:
        """Run over a sequence.

        Args:
            x: (B, T, D).
            state: (B, H) for every state; zeros if not given.
            resets: (B, T), true where a new document begins: the state is set to zero before the step (in reverse:
                before the last step of each document).
            lengths: (B,), from 1 to T: where each sequence ends. Nothing is computed beyond, and the output is zero.

        Returns:
            y (B, T, H) and the state after the last step of each sequence (in reverse: after its first).

        Raises:
            ConfigurationError: a shape or a length is out of range.
        """
        _check("x", x, ("B", "T", self.input_size))
        batch, steps = x.shape[:2]
        if not batch or not steps:
            raise ConfigurationError(
                "there is no time step", expected="x (B, T, D) with B and T at least 1", got=str(tuple(x.shape))
            )
        state = self.initial_state(batch) if state is None else state
        self._check_state(state, batch)
        if resets is not None:
            _check("resets", resets, (batch, steps))
        if lengths is not None:
            _check("lengths", lengths, (batch,))
            if not 1 <= int(lengths.min()) <= int(lengths.max()) <= steps:
                got = f"from {int(lengths.min())} to {int(lengths.max())}"
                raise ConfigurationError("a length is out of range", expected=f"from 1 to T = {steps}", got=got)
        if not self.reverse:
            return self._run(x, state, resets, lengths)
        # The order of each sequence from its own end, which turns it round and back.
        ends = torch.full((batch,), steps, device=x.device) if lengths is None else lengths.to(x.device)
        times = torch.arange(steps, device=x.device)
        order = torch.where(times < ends.unsqueeze(1), ends.unsqueeze(1) - 1 - times, times)
        rows = torch.arange(batch, device=x.device).unsqueeze(1)
        if resets is not None:
            # What begins at t ends, seen from the other side, before t - 1.
            marks = torch.nn.functional.pad(resets.bool()[:, 1:], (0, 1)) & (times + 1 < ends.unsqueeze(1))
            resets = marks[rows, order]
        y, state = self._run(x[rows, order], state, resets, lengths)
        return y[rows, order], state

    def _check_state(self, state: State, batch: int) -> None:
        names = self.equations.states
        if len(state) != len(names):
            raise ConfigurationError(
                "the state is of another cell",
                expected=f"({', '.join(names)}), each ({batch}, {self.hidden_size})",
                got=f"{len(state)} parts",
            )
        for name, part in zip(names, state, strict=True):
            _check(f"state {name}", part, (batch, self.hidden_size))

    def _run(
        self, x: torch.Tensor, state: State, resets: torch.Tensor | None, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, State]:
        watcher = current()
        watched: dict[str, torch.Tensor] | None = None if watcher is None else {}
        parameters = self.cell_parameters()
        if self.training and self.weight_drop:
            parameters = drop_weights(parameters, self.dropped, self.weight_drop)
        y, state = unroll(
            self.equations,
            parameters,
            x,
            state,
            kernel=self.kernel,
            resets=resets,
            lengths=lengths,
            watched=watched,
        )
        if watcher is not None and watched is not None:
            watcher.add(self, self.path, watched)
        return y, state

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """One time step: x (B, D) and a state to the output (B, H) and the state after."""
        _check("x", x, ("B", self.input_size))
        y, state = self(x.unsqueeze(1), state)
        return y[:, 0], state

    def stepping(self) -> LayerStepping:
        """The layer with its weights packed for many steps without gradients."""
        return LayerStepping(self)


class _Family(torch.nn.Module):
    """The parameters of one family: `layer.W.f`, or `layer.W["f"]`."""

    def __getitem__(self, gate: str) -> torch.nn.Parameter:
        return self.get_parameter(gate)


class LayerStepping:
    """One step at a time through a layer whose weights are packed once. Later changes to them are not seen."""

    def __init__(self, layer: RecurrentLayer) -> None:
        self._layer, self._packed = layer, Stepping(layer.equations, layer.cell_parameters())

    @torch.no_grad()
    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """x (B, D) and the state before to the output (B, H) and the state after."""
        # Whoever watches sees every gate, which the layer itself tells.
        return self._packed.step(x, state) if current() is None else self._layer.step(x, state)


def _check(what: str, tensor: torch.Tensor, shape: tuple[int | str, ...]) -> None:
    """Raise unless a tensor has this shape, in which a letter stands for any size."""
    got = tuple(tensor.shape)
    if len(got) != len(shape) or any(isinstance(b, int) and a != b for a, b in zip(got, shape, strict=True)):
        expected = f"({', '.join(map(str, shape))})"
        raise ConfigurationError(f"{what} has a wrong shape", expected=expected, got=str(got))


class Recurrent(torch.nn.Module):
    """A stack of recurrent layers.

    Args:
        equations: the cell, the same in every layer.
        input_size: D.
        hidden_size: H, the same in every layer but perhaps the last.
        layers: L.
        dropout: the probability with which what passes between two layers is dropped while training.
        variational: drop the same units at every time step of a call (Gal & Ghahramani 2016), not others at each.
        weight_drop: the probability with which each weight of the recurrent matrices is dropped; see `RecurrentLayer`.
        residual: add what goes into a layer to what comes out of it, from the second layer on.
        last_size: units of the last layer; H if not given.
        mogrifier: rounds in which input and state gate each other before the cell reads them; see `cells.mogrified`.
        bidirectional: run every layer in both directions, with weights of their own, and put the outputs side by side:
            (B, T, 2H) (Schuster & Paliwal 1997). Its states are those of the layers in order, of each the one that runs
            forward, then the one that runs backward.
        kernel: how cells run over time; chosen by `kernels.dispatch` if not given.

    Attributes:
        output_size: units of the last layer, twice as many in both directions.
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
        weight_drop: float = 0.0,
        residual: bool = False,
        last_size: int | None = None,
        mogrifier: int = 0,
        bidirectional: bool = False,
        kernel: Kernel | None = None,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigurationError("a stack needs at least one layer", got=str(layers))
        last_size = hidden_size if last_size is None else last_size
        if residual and layers > 1 and last_size != hidden_size:
            raise ConfigurationError(
                "a residual stack has layers of one size", got=f"{hidden_size} units, the last layer {last_size}"
            )
        directions = 2 if bidirectional else 1
        units = [*[hidden_size] * (layers - 1), last_size]
        sizes = list(zip([input_size, *[directions * size for size in units]], units, strict=False))
        self.output_size = directions * last_size
        if mogrifier and any(size != wide for size, wide in sizes):
            raise ConfigurationError(
                "a mogrifier gates as many inputs as units, in every layer",
                expected="an embedding and layers of one size, in one direction",
                got=", ".join(f"{size} inputs of {wide} units" for size, wide in sizes),
            )
        recurrent = tuple(name for name, kind in equations.parameters.items() if kind == "hidden matrix")
        equations = mogrified(equations, mogrifier)
        options: dict[str, Any] = {"kernel": kernel, "weight_drop": weight_drop}
        self.layers = torch.nn.ModuleList(
            RecurrentLayer(equations, *size, path=f"layers.{index}", **options) for index, size in enumerate(sizes)
        )
        self.backward_layers = torch.nn.ModuleList(
            RecurrentLayer(equations, *size, path=f"backward_layers.{index}", reverse=True, **options)
            for index, size in enumerate(sizes)
            if bidirectional
        )
        for layer in [*self.layers, *self.backward_layers]:
            layer.dropped = recurrent  # of the cell alone, not of what gates its input
        self.dropout = Dropout(dropout, variational)
        self.equations, self.input_size, self.hidden_size, self.residual = equations, input_size, hidden_size, residual

    def _layers(self) -> list[tuple[RecurrentLayer, ...]]:
        """The layers in order: of each the one that runs forward and, with two directions, the one that runs back."""
        return list(zip(*([self.layers, self.backward_layers] if self.backward_layers else [self.layers]), strict=True))

    def use(self, kernel: Kernel | None) -> None:
        """Let all layers run on this kernel; `None` lets `kernels.dispatch` choose at every call."""
        for directions in self._layers():
            for layer in directions:
                layer.kernel = kernel

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start again as the cell says."""
        for directions in self._layers():
            for layer in directions:
                layer.reset_parameters(generator)

    def initial_state(self, batch: int) -> StackState:
        """Zeros, for every layer, direction and state (B, H)."""
        return tuple(layer.initial_state(batch) for directions in self._layers() for layer in directions)

    def forward(
        self,
        x: torch.Tensor,
        state: StackState | None = None,
        resets: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, StackState]:
        """Run over a sequence: x (B, T, D) to y (B, T, H) of the last layer and the state after the last step.

        `resets` (B, T) is true where a new document begins, `lengths` (B,) says where each sequence ends, as for
        `RecurrentLayer.forward`.
        """
        stack = self._layers()
        before = list(self.initial_state(len(x)) if state is None else state)
        if len(before) != sum(map(len, stack)):
            raise ConfigurationError(
                "the state is of another stack", expected=f"{sum(map(len, stack))} layers", got=str(len(before))
            )
        after = []
        for index, directions in enumerate(stack):
            given = self.dropout(x) if index else x
            outputs = []
            for layer in directions:
                y, last = layer(given, before.pop(0), resets, lengths)
                outputs.append(y)
                after.append(last)
            y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
            x = x + y if self.residual and index else y
        return x, tuple(after)

    def step(self, x: torch.Tensor, state: StackState) -> tuple[torch.Tensor, StackState]:
        """One time step: x (B, D) and a state to the output (B, H) and the state after."""
        self._check_one_direction()
        _check("x", x, ("B", self.input_size))
        y, state = self(x.unsqueeze(1), state)
        return y[:, 0], state

    def stepping(self) -> StackStepping:
        """The stack with its weights packed for many steps without gradients or dropout."""
        self._check_one_direction()
        return StackStepping(self)

    def _check_one_direction(self) -> None:
        if self.backward_layers:
            raise ConfigurationError(
                "a stack of both directions cannot be run step by step",
                fix="give it the whole sequence, or build it with bidirectional=False",
            )


class StackStepping:
    """One step at a time through a stack whose weights are packed once. Later changes to them are not seen."""

    def __init__(self, stack: Recurrent) -> None:
        self._layers = [layer.stepping() for (layer,) in stack._layers()]
        self._residual = stack.residual

    def step(self, x: torch.Tensor, state: StackState) -> tuple[torch.Tensor, StackState]:
        """x (B, D) and the state before to the output (B, H) and the state after."""
        after = []
        for index, (layer, before) in enumerate(zip(self._layers, state, strict=True)):
            y, last = layer.step(x, before)
            after.append(last)
            x = x + y if self._residual and index else y
        return x, tuple(after)
