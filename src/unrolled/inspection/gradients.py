"""How gradients travel back through a recurrent layer: the Jacobian of a step, their products, and what a step adds.

Everything here comes from the derived equations: the adjoint programs that SymPy's derivatives became, and the matrices
of the maps between them. The words are those of Pascanu, Mikolov & Bengio 2013, "On the difficulty of training
recurrent neural networks": for a loss E_t at step t, a state s and a parameter θ,

    dE_t/dθ = Σ_{1≤k≤t} dE_t/ds_t · ds_t/ds_k · ∂⁺s_k/∂θ        (equation 4)
    ds_t/ds_k = Π_{t≥i>k} ds_i/ds_{i-1}                         (equation 5)

where ∂⁺s_k/∂θ is the immediate derivative, which holds the state before step k fixed.

Axes: B batch, T time, D input, H hidden; S states of the cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unrolled.cells import Equations
from unrolled.cells.derivation import Product, derive, leaf_name
from unrolled.errors import ConfigurationError
from unrolled.kernels import reference
from unrolled.kernels.operations import State, run
from unrolled.layers import RecurrentLayer

__all__ = ["BpttTerms", "GradientFlow", "bptt_terms", "gradient_flow", "step_jacobian"]

_Blocks = dict[tuple[str, str], torch.Tensor]


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """How much of a change of the state at step k is left at the last step T.

    All are norms of Jacobians, so they have no unit: the length of the change after, per length of the change before.
    Below 1 the gradient shrinks on its way back from T to k, above 1 it grows. Step 0 is the state that the sequence
    starts from, step k the state after k inputs. float64; nan where a product is beyond that.

    Attributes:
        states: the names of the S states, which the whole Jacobian (S·H, S·H) holds in this order.
        spectral: (B, T + 1) the largest singular value of ds_T/ds_k, k from 0 to T: what the direction that is carried
            best keeps. 1 at k = T.
        frobenius: (B, T + 1) the root of the sum of the squares of ds_T/ds_k. sqrt(S·H) at k = T.
        steps: (B, T) the largest singular value of every single step, ds_{k+1}/ds_k. Their product bounds `spectral`
            from above, and can be far from it (equations 6 and 7).
        parts: for a state after and a state before ("c", "c") the largest singular value (B, T + 1) of that block of
            ds_T/ds_k.
    """

    states: tuple[str, ...]
    spectral: torch.Tensor
    frobenius: torch.Tensor
    steps: torch.Tensor
    parts: Mapping[tuple[str, str], torch.Tensor]


@dataclass(frozen=True, eq=False)
class BpttTerms:
    """The gradient of a loss at one step, as the sum that backpropagation through time is.

    K is the number of steps up to the one of the loss, that one included.

    Attributes:
        terms: for each parameter, by its name in the equations, (K, *its shape): entry k is what its use at step k
            adds, dE/ds_k · ∂⁺s_k/∂θ, summed over the batch. In units of the loss per unit of the parameter.
        adjoints: for each state (K, B, H): entry k is dE/ds_k, the gradient that has come back to the state after step
            k, the states of one step counted as if none were made of another. At the step of the loss it is the given
            gradient for the state that is the output, and zero for others.
    """

    terms: Mapping[str, torch.Tensor]
    adjoints: Mapping[str, torch.Tensor]

    def gradient(self) -> dict[str, torch.Tensor]:
        """The gradient of every parameter: the sum of its terms."""
        return {name: term.sum(0) for name, term in self.terms.items()}

    def norms(self) -> dict[str, torch.Tensor]:
        """For each parameter (K,): the length of each of its terms, all entries together one vector."""
        return {name: torch.linalg.vector_norm(term.flatten(1), dim=1) for name, term in self.terms.items()}


@torch.no_grad()
def step_jacobian(layer: RecurrentLayer, x: torch.Tensor, state: State) -> dict[tuple[str, str], torch.Tensor]:
    """The Jacobian of one time step, state by state.

    Args:
        layer: the layer.
        x: (B, D) the input of the step.
        state: (B, H) for every state, before the step.

    Returns:
        for each state after the step and each before, by name: (B, H, H), entry [b, i, j] the derivative of unit i of
        the first by unit j of the second, in sequence b. In the dtype of the layer.

    Raises:
        ConfigurationError: a shape does not fit the layer.

    >>> from unrolled.cells import find_cell
    >>> layer = RecurrentLayer(find_cell("lstm-1997"), input_size=3, hidden_size=2)
    >>> blocks = step_jacobian(layer, torch.ones(1, 3), layer.initial_state(1))
    >>> blocks["c", "c"][0].tolist()  # without a forget gate the memory is carried as it is
    [[1.0, 0.0], [0.0, 1.0]]
    """
    _check("x", x, (x.shape[0], layer.input_size))
    _check_state(layer, state, x.shape[0])
    return _jacobian(_Step(layer.equations, _detached(layer), x, state))


@torch.no_grad()
def gradient_flow(layer: RecurrentLayer, x: torch.Tensor, state: State | None = None) -> GradientFlow:
    """How gradients vanish or explode along a sequence: the norms of ds_T/ds_k for every k.

    Computed in float64 whatever the dtype of the layer, since a product of many Jacobians soon leaves float32. A step
    costs a product and two singular value decompositions of (S·H, S·H) matrices a sequence.

    Args:
        layer: the layer.
        x: (B, T, D), T at least 1.
        state: (B, H) for every state; zeros if not given.

    Raises:
        ConfigurationError: a shape does not fit the layer.
    """
    state = _checked(layer, x, state)
    # float64 is not known to every accelerator.
    device = torch.device("cpu") if x.device.type == "mps" else x.device
    parameters = {name: value.to(device, torch.float64) for name, value in _detached(layer).items()}
    x, state = x.to(device, torch.float64), tuple(part.to(device, torch.float64) for part in state)
    steps = _forward(layer.equations, parameters, x, state)
    names, size = layer.equations.states, len(state) * layer.hidden_size
    product = torch.eye(size, dtype=torch.float64, device=device).expand(x.shape[0], size, size)
    products, singles = [_norms(product, names)], []
    while steps:
        # One Jacobian at a time: all of them together would not fit where the states do.
        blocks = _jacobian(steps.pop())
        single = torch.cat([torch.cat([blocks[after, before] for before in names], -1) for after in names], -2)
        product = product @ single
        products.append(_norms(product, names))
        singles.append(_spectral(single))
    norms = {key: torch.stack([each[key] for each in reversed(products)], 1) for key in products[0]}
    return GradientFlow(
        states=names,
        spectral=norms.pop("spectral"),
        frobenius=norms.pop("frobenius"),
        steps=torch.stack(singles[::-1], 1),
        parts={key: value for key, value in norms.items() if isinstance(key, tuple)},
    )


@torch.no_grad()
def bptt_terms(
    layer: RecurrentLayer, x: torch.Tensor, state: State | None, output_gradient: torch.Tensor, *, step: int = -1
) -> BpttTerms:
    """The gradient of a loss at one step, taken apart into what each step before it and it itself add.

    The sum stops at the step of the loss: what comes after cannot have caused it.

    Args:
        layer: the layer.
        x: (B, T, D), T at least 1.
        state: (B, H) for every state; zeros if None.
        output_gradient: (B, H) the gradient of the loss by the output of that step.
        step: the step of the loss, counted as `x[:, step]`: from 0, or from the end if negative.

    Raises:
        ConfigurationError: a shape does not fit the layer, or there is no such step.
    """
    state = _checked(layer, x, state)
    _check("output_gradient", output_gradient, (x.shape[0], layer.hidden_size))
    if not -x.shape[1] <= step < x.shape[1]:
        raise ConfigurationError(f"there is no step {step}", expected=f"0 to {x.shape[1] - 1}", got=str(step))
    last = step % x.shape[1]
    steps = _forward(layer.equations, _detached(layer), x[:, : last + 1], state)
    derivation, names = derive(layer.equations), layer.equations.states
    seeds = {name: torch.zeros_like(part) for name, part in zip(_results(names), state, strict=True)}
    place = derivation.output_state
    seeds["output" if place is None else _results(names)[place]] = output_gradient
    terms: list[dict[str, torch.Tensor]] = []
    arrived: list[State] = []
    for taken in reversed(steps):
        arrived.append(tuple(seeds[name] for name in _results(names)))
        adjoints = taken.back(seeds, derivation.products)
        terms.append(taken.immediate(adjoints))
        seeds = {after: adjoints[before] for after, before in zip(_results(names), names, strict=True)}
    return BpttTerms(
        terms={name: torch.stack([each[name] for each in reversed(terms)]) for name in terms[0]},
        adjoints={name: torch.stack([each[place] for each in reversed(arrived)]) for place, name in enumerate(names)},
    )


class _Step:
    """One time step taken apart: the value of every node, and the way back from what it gives to what it used.

    Args:
        equations: the cell.
        parameters: by name.
        x: (B, D).
        state: (B, H) for every state, before the step.
    """

    def __init__(
        self, equations: Equations, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, state: State
    ) -> None:
        self.equations, self._parameters, self._like = equations, parameters, state[0]
        self._derivation = derive(equations)
        _, self.after, self._values = reference.step(equations, parameters, x, state)
        leaves = (index for index in range(len(self._values)) if self._derivation.is_leaf(index))
        self._leaves = {leaf_name(equations, index): self._values[index] for index in leaves}

    def back(self, seeds: Mapping[str, torch.Tensor], stages: Sequence[Product]) -> dict[str, torch.Tensor]:
        """The adjoints of all leaves but the input, from those of what the step gives.

        Args:
            seeds: (..., B, H), all alike, for some of "next h", ..., "output"; zero for the others.
            stages: the products to go back through.

        Returns:
            (..., B, H) for each state, vector and map, by the name of the leaf.
        """
        # A state that the equations do not read is no leaf, but has an adjoint: zero.
        leaves = {*self._leaves, *self.equations.states} - {self.equations.input}
        sums: dict[str, Any] = dict.fromkeys(leaves, 0.0)
        shape = next(iter(seeds.values())).shape

        def add(found: Mapping[str, Any]) -> None:
            for name, value in found.items():
                if (leaf := name.removeprefix("d ")) in sums:
                    sums[leaf] = sums[leaf] + value

        def whole(leaf: str) -> torch.Tensor:
            # A program gives a plain number, or one number a unit, where a slope is the same everywhere.
            return torch.broadcast_to(torch.as_tensor(sums[leaf]).to(self._like), shape)

        given = {f"d {name}": seeds.get(name, torch.zeros_like(self._like)) for name, _ in self._derivation.results}
        add(run(self._derivation.output_adjoint, self._leaves | given))
        for stage in reversed(stages):
            maps = zip(stage.maps, stage.weights, strict=True)
            value = torch.stack([whole(f"@{index}") @ self._parameters[weight] for index, weight in maps]).sum(0)
            if self._derivation.is_leaf(stage.argument):
                add({f"d {leaf_name(self.equations, stage.argument)}": value})
            else:
                add(run(self._derivation.argument_adjoint(stage), self._leaves | {"d argument": value}))
        return {leaf: whole(leaf) for leaf in sums}

    def immediate(self, adjoints: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What each parameter's use in this step adds to its gradient, from the adjoints (B, H) of the leaves."""
        found: dict[str, torch.Tensor] = {}
        for name, kind in self.equations.parameters.items():
            if kind == "vector":
                found[name] = adjoints[name].sum(0)
        for stage in self._derivation.products:
            argument = self._values[stage.argument]
            argument = argument.expand(len(self._like), *argument.shape[-1:])
            for index, name in zip(stage.maps, stage.weights, strict=True):
                term = adjoints[f"@{index}"].T @ argument
                found[name] = found[name] + term if name in found else term
        return {name: found[name] for name in self.equations.parameters}


def _forward(
    equations: Equations, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, state: State
) -> list[_Step]:
    """Every step of a sequence x (B, T, D), taken apart."""
    steps: list[_Step] = []
    for t in range(x.shape[1]):
        steps.append(_Step(equations, parameters, x[:, t], state))
        state = steps[-1].after
    return steps


def _jacobian(step: _Step) -> _Blocks:
    """The blocks (B, H, H) of a step's Jacobian: the way back for a seed in each unit, all at once."""
    names, like = step.equations.states, step.after[0]
    units = torch.eye(like.shape[1], dtype=like.dtype, device=like.device).unsqueeze(1).expand(-1, *like.shape)
    blocks: _Blocks = {}
    for after, result in zip(names, _results(names), strict=True):
        adjoints = step.back({result: units}, derive(step.equations).recurrent)
        # (unit after, B, unit before) -> (B, unit after, unit before)
        blocks |= {(after, before): adjoints[before].transpose(0, 1).contiguous() for before in names}
    return blocks


def _results(states: Sequence[str]) -> list[str]:
    """What the derivation calls the states after a step."""
    return [f"next {state}" for state in states]


def _norms(product: torch.Tensor, names: Sequence[str]) -> dict[str | tuple[str, str], torch.Tensor]:
    """The norms (B,) of a Jacobian (B, S·H, S·H): "spectral", "frobenius", and the spectral one of each block."""
    norms: dict[str | tuple[str, str], torch.Tensor] = {"spectral": _spectral(product)}
    norms["frobenius"] = _frobenius(product)
    for after, rows in zip(names, product.chunk(len(names), -2), strict=True):
        for before, block in zip(names, rows.chunk(len(names), -1), strict=True):
            norms[after, before] = norms["spectral"] if len(names) == 1 else _spectral(block)
    return norms


def _frobenius(matrices: torch.Tensor) -> torch.Tensor:
    """The root of the sum of squares (B,) of matrices (B, n, n), also where a square is beyond float64."""
    largest = matrices.abs().amax((-2, -1), keepdim=True)
    scaled: torch.Tensor = torch.linalg.matrix_norm(matrices / torch.where(largest > 0, largest, 1.0))
    return scaled * largest[:, 0, 0]


def _spectral(matrices: torch.Tensor) -> torch.Tensor:
    """The largest singular value (B,) of matrices (B, n, n); nan for one that is not finite, which LAPACK refuses."""
    finite = matrices.isfinite().all(-1).all(-1)
    largest = torch.linalg.matrix_norm(torch.where(finite[:, None, None], matrices, 0.0), 2)
    return torch.where(finite, largest, torch.nan)


def _detached(layer: RecurrentLayer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in layer.cell_parameters().items()}


def _checked(layer: RecurrentLayer, x: torch.Tensor, state: State | None) -> State:
    """The state to start from, once the shapes of it and of the sequence fit the layer."""
    if x.dim() != 3 or x.shape[1] < 1 or x.shape[2] != layer.input_size:
        expected = f"(B, T, {layer.input_size}), T at least 1"
        raise ConfigurationError("x does not fit the layer", expected=expected, got=str(tuple(x.shape)))
    if state is None:
        return layer.initial_state(x.shape[0])
    _check_state(layer, state, x.shape[0])
    return state


def _check_state(layer: RecurrentLayer, state: State, batch: int) -> None:
    names = layer.equations.states
    if len(state) != len(names):
        raise ConfigurationError(
            "the state does not fit the layer", expected=f"{len(names)}: {', '.join(names)}", got=str(len(state))
        )
    for name, part in zip(names, state, strict=True):
        _check(f"state {name}", part, (batch, layer.hidden_size))


def _check(name: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
    # Broadcasting would make something of most wrong shapes.
    if tuple(tensor.shape) != shape:
        raise ConfigurationError(f"{name} does not fit the layer", expected=str(shape), got=str(tuple(tensor.shape)))
