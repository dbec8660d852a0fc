"""The derived path: products hoisted out of the loop, one product a stage inside it, the gradient from the equations.

Any cell runs this way without a line of its own. Shapes inside are time first: (T, B, ...).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from unrolled.cells import Equations
from unrolled.cells.derivation import Derivation, Product, derive, leaf_name
from unrolled.kernels.operations import State, run

__all__ = ["Stepping", "unroll"]


def unroll(
    equations: Equations, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, state: State
) -> tuple[torch.Tensor, State]:
    """The cell over a sequence: x (B, T, D) and the state before it to y (B, T, H) and the state after it.

    Under autocast, products are in the dtype of autocast; the state and all arithmetic stay as they are given.
    """
    kind = x.device.type
    product = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else state[0].dtype
    names = tuple(equations.parameters)
    with torch.autocast(kind, enabled=False):
        # The dtype of the state, not of x: x may come from a product under autocast.
        inputs = (x.to(state[0].dtype), *state, *(parameters[name] for name in names))
        y, *after = _Unrolled.apply(derive(equations), names, product, *inputs)  # type: ignore[no-untyped-call]
    return y, tuple(after)


class _Pass:
    """What forward and backward share: the packed weights and the leaves of every time step."""

    def __init__(self, derivation: Derivation, parameters: dict[str, torch.Tensor], product: torch.dtype) -> None:
        self.derivation, self.parameters, self.dtype = derivation, parameters, product
        self.equations = derivation.equations
        self.packed = {
            stage: torch.cat([parameters[name] for name in stage.weights]).to(product) for stage in derivation.products
        }

    def apply(self, stage: Product, value: torch.Tensor, into: torch.dtype) -> torch.Tensor:
        """All maps of one value: (..., n) to (..., G·H)."""
        return torch.nn.functional.linear(value.to(self.dtype), self.packed[stage]).to(into)

    def argument(self, stage: Product, leaves: Mapping[str, Any]) -> torch.Tensor:
        """The value that a stage's maps are applied to."""
        index = stage.argument
        if self.derivation.is_leaf(index):
            found: torch.Tensor = leaves[leaf_name(self.equations, index)]
            return found
        value: torch.Tensor = run(self.derivation.argument_programs[stage], leaves)["argument"]
        return value

    def split(self, stage: Product, results: torch.Tensor) -> dict[str, torch.Tensor]:
        """The result of every map of a stage, by the name of its leaf."""
        parts = results.chunk(len(stage.maps), -1)
        return {f"@{index}": part for index, part in zip(stage.maps, parts, strict=True)}

    def hoist(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The leaves that need no state, for all time steps: the input (T, B, D) and hoisted maps (T, B, H)."""
        leaves = {self.equations.input: x}
        for stage in self.derivation.hoisted:
            value = self.hoisted_argument(stage, leaves, x.shape[:-1])
            leaves |= self.split(stage, self.apply(stage, value, x.dtype))
        return leaves

    def hoisted_argument(
        self, stage: Product, leaves: Mapping[str, torch.Tensor], shape: Sequence[int]
    ) -> torch.Tensor:
        """The value of a hoisted stage (T, B, n): one of parameters alone is the same at all times."""
        value = self.argument(stage, {**leaves, **self.parameters})
        return value.expand(*shape, value.shape[-1])


def _at(leaves: Mapping[str, torch.Tensor], t: int) -> dict[str, torch.Tensor]:
    return {name: value[t] for name, value in leaves.items()}


class _Unrolled(torch.autograd.Function):
    """The loop over time, and back."""

    @staticmethod
    def forward(
        ctx: Any, derivation: Derivation, names: tuple[str, ...], product: torch.dtype, *tensors: torch.Tensor
    ) -> Any:
        equations = derivation.equations
        x = tensors[0].transpose(0, 1).contiguous()
        state = dict(zip(equations.states, tensors[1 : 1 + len(equations.states)], strict=True))
        parameters = dict(zip(names, tensors[1 + len(equations.states) :], strict=True))
        work = _Pass(derivation, parameters, product)
        over_time = work.hoist(x)
        # Every leaf that the loop makes is kept, so that the backward pass computes gates again and no product.
        shape = (x.shape[0], *tensors[1].shape)
        kept = {name: x.new_empty(shape, dtype=state[name].dtype) for name in equations.states}
        kept |= {f"@{index}": x.new_empty(shape) for stage in derivation.recurrent for index in stage.maps}
        arguments = {
            stage: x.new_empty(shape) for stage in derivation.recurrent if not derivation.is_leaf(stage.argument)
        }
        y = x.new_empty(shape)
        for t in range(x.shape[0]):
            leaves = parameters | _at(over_time, t) | state
            for name, value in state.items():
                kept[name][t] = value
            for stage in derivation.recurrent:
                value = work.argument(stage, leaves)
                if stage in arguments:
                    arguments[stage][t] = value
                parts = work.split(stage, work.apply(stage, value, x.dtype))
                for name, part in parts.items():
                    kept[name][t] = part
                leaves |= parts
            results = run(derivation.output_program, leaves)
            state = {name: _full(results[f"next {name}"], tensors[1]) for name in equations.states}
            which = derivation.output_state
            y[t] = results["output"] if which is None else state[equations.states[which]]
        # Saved as autograd wants it: freed with the graph, and an error if a parameter changes before the way back.
        ctx.save_for_backward(*over_time.values(), *kept.values(), *arguments.values(), *tensors)
        ctx.work, ctx.names, ctx.keys = work, names, (tuple(over_time), tuple(kept), tuple(arguments))
        return (y.transpose(0, 1), *state.values())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: torch.Tensor, *d_after: torch.Tensor) -> Any:
        work: _Pass = ctx.work
        derivation, equations = work.derivation, work.equations
        saved = iter(ctx.saved_tensors)
        over_time, kept, arguments = ({key: next(saved) for key in keys} for keys in ctx.keys)
        dy = dy.transpose(0, 1)
        steps, like = dy.shape[0], d_after[0]
        d_state = dict(zip(equations.states, d_after, strict=True))
        d_hoisted = {name: torch.zeros_like(value) for name, value in over_time.items()}
        d_maps = {
            stage: like.new_empty(steps, like.shape[0], like.shape[1] * len(stage.maps))
            for stage in derivation.recurrent
        }
        d_vectors: dict[str, Any] = {name: 0.0 for name, kind in equations.parameters.items() if kind == "vector"}
        for t in reversed(range(steps)):
            leaves = work.parameters | _at(over_time, t) | _at(kept, t)
            seeds = {f"d next {name}": value for name, value in d_state.items()}
            if derivation.output_state is None:
                seeds["d output"] = dy[t]
            else:
                key = f"d next {equations.states[derivation.output_state]}"
                seeds[key] = seeds[key] + dy[t]
            adjoints = _Adjoints(run(derivation.output_adjoint, leaves | seeds), like)
            for stage in reversed(derivation.recurrent):
                d_maps[stage][t] = torch.cat([adjoints.take(f"@{index}") for index in stage.maps], -1)
                d_value = (d_maps[stage][t].to(work.dtype) @ work.packed[stage]).to(like.dtype)
                _pass_on(work, stage, leaves, d_value, adjoints)
            d_state = {name: adjoints.take(name) for name in equations.states}
            for name in d_hoisted:
                if name in adjoints:
                    d_hoisted[name][t] = adjoints.take(name)
            for name in d_vectors:
                if name in adjoints:
                    d_vectors[name] = d_vectors[name] + adjoints.take(name).sum(0)
        values = {stage: arguments[stage] if stage in arguments else work.argument(stage, kept) for stage in d_maps}
        gradients = _weights(work, over_time, values, d_maps, d_hoisted, d_vectors)
        dx = d_hoisted[equations.input].transpose(0, 1)
        zero = torch.zeros_like(like[0])
        of_parameters = [zero + gradients[name] if name in d_vectors else gradients[name] for name in ctx.names]
        return (None, None, None, dx, *d_state.values(), *of_parameters)


class _Adjoints:
    """Adjoints by the name of their leaf, added up; a program may give a plain number where a slope is constant."""

    def __init__(self, results: dict[str, Any], like: torch.Tensor) -> None:
        self._like = like
        self._held = {name[2:]: value for name, value in results.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def add(self, name: str, value: Any) -> None:
        self._held[name] = self._held[name] + value if name in self._held else value

    def take(self, name: str) -> torch.Tensor:
        return _full(self._held.get(name, 0.0), self._like)


def _full(value: Any, like: torch.Tensor) -> torch.Tensor:
    """A value that may be a number, or one number a unit, as a tensor shaped like another or of its own shape."""
    if not isinstance(value, torch.Tensor):
        return torch.full_like(like, value)
    return value if value.dim() >= like.dim() else value.expand_as(like)


def _pass_on(
    work: _Pass, stage: Product, leaves: Mapping[str, Any], d_value: torch.Tensor, adjoints: _Adjoints
) -> None:
    """Add what a stage's argument passes on to the leaves it is made of."""
    if work.derivation.is_leaf(stage.argument):
        adjoints.add(leaf_name(work.equations, stage.argument), d_value)
        return
    for name, value in run(work.derivation.argument_adjoint(stage), {**leaves, "d argument": d_value}).items():
        adjoints.add(name[2:], value)


def _weights(
    work: _Pass,
    over_time: Mapping[str, torch.Tensor],
    values: Mapping[Product, torch.Tensor],
    d_maps: Mapping[Product, torch.Tensor],
    d_hoisted: dict[str, torch.Tensor],
    d_vectors: dict[str, Any],
) -> dict[str, Any]:
    """The gradient of every parameter; those of matrices as one product over all time steps each."""
    gradients: dict[str, Any] = {}

    def matrices(stage: Product, d_map: torch.Tensor, value: torch.Tensor) -> None:
        flat, columns = d_map.flatten(0, 1).to(work.dtype), value.flatten(0, 1).to(work.dtype)
        total = (flat.t() @ columns).to(d_map.dtype)
        for name, part in zip(stage.weights, total.chunk(len(stage.maps)), strict=True):
            gradients[name] = gradients[name] + part if name in gradients else part

    for stage, d_map in d_maps.items():
        matrices(stage, d_map, values[stage])
    leaves = {**work.parameters, **over_time}
    for stage in reversed(work.derivation.hoisted):
        d_map = torch.cat([d_hoisted[f"@{index}"] for index in stage.maps], -1)
        matrices(stage, d_map, work.hoisted_argument(stage, over_time, d_map.shape[:-1]))
        d_value = (d_map.to(work.dtype) @ work.packed[stage]).to(d_map.dtype)
        passed = _Adjoints({}, d_value)
        _pass_on(work, stage, leaves, d_value, passed)
        for name in d_hoisted:
            if name in passed:
                d_hoisted[name] += passed.take(name)
        for name in d_vectors:
            if name in passed:
                d_vectors[name] = d_vectors[name] + passed.take(name).flatten(0, 1).sum(0)
    return gradients | d_vectors


class Stepping:
    """One step at a time with the weights packed once, for generating and scoring; no gradient.

    Args:
        equations: the cell.
        parameters: by name. Later changes to them are not seen.
    """

    def __init__(self, equations: Equations, parameters: Mapping[str, torch.Tensor]) -> None:
        kept = {name: value.detach() for name, value in parameters.items()}
        dtype = next((value.dtype for value in kept.values()), torch.get_default_dtype())
        self._work = _Pass(derive(equations), kept, dtype)

    @torch.no_grad()
    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """x (B, D) and the state before to the output (B, H) and the state after."""
        work, derivation = self._work, self._work.derivation
        x = x.to(state[0].dtype)
        leaves = work.parameters | work.hoist(x) | dict(zip(work.equations.states, state, strict=True))
        for stage in derivation.recurrent:
            leaves |= work.split(stage, work.apply(stage, work.argument(stage, leaves), x.dtype))
        results = run(derivation.output_program, leaves)
        after = tuple(_full(results[f"next {name}"], state[0]) for name in work.equations.states)
        which = derivation.output_state
        return _full(results["output"], state[0]) if which is None else after[which], after
