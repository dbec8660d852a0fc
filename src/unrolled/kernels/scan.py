"""All time steps at once: for cells whose step is an affine map of the state, unit by unit.

Such a step is s[t] = A[t] s[t-1] + b[t], where A[t] is a number for every unit, or a small matrix if the cell has
several states that meet (the real and imaginary part of a complex one). Maps compose: two steps in a row are the step
with A = A₂ A₁ and b = A₂ b₁ + b₂. So neighbours are paired, the half as long sequence is solved, and what lies between
is filled in (Ladner & Fischer 1980; Martin & Cundy 2018 for recurrent networks). That is O(T) work in O(log T) rounds,
without logarithms or divisions, as stable as the steps themselves. The way back is the same scan in reverse.

The programs of A and b are made from the derived gradient (`affine`). Time is cut into chunks, so that beside inputs,
states and outputs little is held at once.

Shapes inside are batch first: (B, T, H); A may have 1 in place of B and T, where it is the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from unrolled.cells import Equations
from unrolled.cells.derivation import Derivation, derive, leaf_name
from unrolled.errors import ConfigurationError
from unrolled.kernels.affine import Steps, affine_steps
from unrolled.kernels.operations import State, run

__all__ = ["Matrix", "Newton", "unroll"]

# Elements (B·T·H) of a chunk: what a GPU needs to be busy, and what stays in the cache of a processor.
_CHUNK = 2**24
_CHUNK_ON_CPU = 2**18

Matrix = dict[tuple[int, int], torch.Tensor]
"""For every unit a small matrix: by row and column (both states), (B, T, H); an entry that is missing is zero."""


@dataclass
class Newton:
    """Iterations over a whole sequence, for a cell without recurrent maps that is not linear in its state.

    The step is replaced by its tangent at the states found so far, the sequence solved as a scan, and so on (DEER, Lim
    et al. 2024; ParaRNN, Danieli et al. 2025). After n iterations the first n steps are right in any case.

    Attributes:
        most: how many iterations are allowed for a chunk of time.
        taken: the number of iterations of every chunk; filled in.
    """

    most: int = 50
    taken: list[int] = field(default_factory=list)


def unroll(
    equations: Equations,
    parameters: Mapping[str, torch.Tensor],
    x: torch.Tensor,
    state: State,
    resets: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    *,
    newton: Newton | None = None,
) -> tuple[torch.Tensor, State]:
    """The cell over a sequence: x (B, T, D) and the state before it to y (B, T, H) and the state after it.

    Under autocast, products are in the dtype of autocast; the state and all arithmetic stay as they are given.

    Args:
        equations: the cell.
        parameters: by name, shapes as `Equations.shape` says.
        x: (B, T, D), T at least 1.
        state: one (B, H) for every state.
        resets: (B, T), true where the state is set to zero before the step.
        lengths: (B,), from 1 to T: where each sequence ends. The output is zero beyond, and the state after is that of
            the sequence's own last step.
        newton: for a cell that is not linear in its state; it is changed.

    Raises:
        ConfigurationError: the cell has a recurrent map, or it is not linear in its state and `newton` is not given, or
            the iterations do not end.
    """
    steps, derivation = affine_steps(equations), derive(equations)
    if newton is None and not derivation.is_linear_in_state:
        raise ConfigurationError(
            f"{equations.name} is not linear in its state", expected="a linear cell, or `newton`", fix="use 'staged'"
        )
    ends = None
    if lengths is not None:
        ends = lengths.to(x.device, torch.int64) - 1
        # What is beyond an end counts for nothing, but it is computed: it has to be finite.
        x = x.masked_fill(_beyond(ends, x.shape[1]), 0.0)
    leaves = _hoisted(derivation, parameters, x, state[0].dtype)
    used = {*derivation.output_program.inputs, *derivation.output_adjoint.inputs}
    names = tuple(name for name in leaves if name in used)
    if derivation.is_linear_in_state:
        newton = None
    with torch.autocast(x.device.type, enabled=False):
        tensors = (*state, *(leaves[name] for name in names))
        y, *after = _Scanned.apply(derivation, steps, names, x.shape[1], resets, ends, newton, *tensors)  # type: ignore[no-untyped-call]
    return y, tuple(after)


def _beyond(ends: torch.Tensor, steps: int) -> torch.Tensor:
    """Where a sequence has ended, (B, T, 1), from its last step (B,)."""
    return (torch.arange(steps, device=ends.device) > ends.unsqueeze(1)).unsqueeze(-1)


def _hoisted(
    derivation: Derivation, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Every leaf but the states: the input and maps (B, T, H), or (H,) for parameters and maps of them."""
    leaves = {**parameters, derivation.equations.input: x.to(dtype)}
    for stage in derivation.hoisted:
        index = stage.argument
        if derivation.is_leaf(index):
            value = leaves[leaf_name(derivation.equations, index)]
        else:
            value = run(derivation.argument_programs[stage], leaves)["argument"]
        packed = torch.cat([parameters[name] for name in stage.weights])
        product = torch.nn.functional.linear(value, packed).to(dtype)
        parts = product.chunk(len(stage.maps), -1)
        leaves |= {f"@{node}": part for node, part in zip(stage.maps, parts, strict=True)}
    return leaves


class _Scanned(torch.autograd.Function):
    """The scan over time, and back."""

    @staticmethod
    def forward(
        ctx: Any,
        derivation: Derivation,
        steps: Steps,
        names: tuple[str, ...],
        length: int,
        resets: torch.Tensor | None,
        ends: torch.Tensor | None,
        newton: Newton | None,
        *tensors: torch.Tensor,
    ) -> Any:
        count = len(derivation.equations.states)
        before, which = list(tensors[:count]), derivation.output_state
        work = _Work(derivation, steps, dict(zip(names, tensors[count:], strict=True)), resets, before[0])
        batch, units = before[0].shape
        states = [before[0].new_empty(batch, length, units) for _ in before]
        y = states[which] if which is not None else torch.empty_like(states[0])
        for span in _chunks(batch, length, units, before[0].device):
            leaves, reset = work.leaves(span), work.reset(span)
            shape = (batch, span.stop - span.start, units)
            if newton is None:
                a, b = work.slopes(leaves, reset), _each(run(steps.offsets, leaves), shape, before[0])
                found = _solve(a, b, before, guarded=reset is not None)
            else:
                found = _iterate(work, newton, leaves, reset, before, shape)
            if which is None:
                given = leaves | work.shifted(before, found, reset)
                y[:, span] = run(derivation.output_program, given)["output"]
            for whole, part in zip(states, found, strict=True):
                whole[:, span] = part
            before = [part[:, -1] for part in found]
        ctx.save_for_backward(*tensors, *states)
        ctx.static = derivation, steps, names, resets, ends
        if ends is None:
            return (y, *(part.clone() for part in before))
        rows = torch.arange(batch, device=ends.device)
        return (y.masked_fill(_beyond(ends, length), 0.0), *(state[rows, ends] for state in states))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: torch.Tensor, *d_after: torch.Tensor) -> Any:
        derivation, steps, names, resets, ends = ctx.static
        count, which = len(d_after), derivation.output_state
        first, given = ctx.saved_tensors[:count], ctx.saved_tensors[count:-count]
        states = ctx.saved_tensors[-count:]
        work = _Work(derivation, steps, dict(zip(names, given, strict=True)), resets, dy)
        d_leaves = {name: torch.zeros_like(leaf) for name, leaf in work.over_time.items()}
        batch, length, units = states[0].shape
        carry = list(d_after)
        if ends is not None:
            dy = dy.masked_fill(_beyond(ends, length), 0.0)
            carry = [torch.zeros_like(part) for part in d_after]
        for span in reversed(list(_chunks(batch, length, units, dy.device))):
            reset, shape = work.reset(span), (batch, span.stop - span.start, units)
            before = first if span.start == 0 else [state[:, span.start - 1] for state in states]
            leaves = work.leaves(span)
            leaves |= work.shifted(before, [state[:, span] for state in states], reset)
            d_output = dy[:, span]
            # What every state has of the outputs: of the step that made it, and of the one after.
            direct = [torch.zeros_like(d_output) for _ in states]
            if which is None:
                leaves["d output"] = d_output
                backs = _each(run(steps.backs, leaves), shape, d_output)
                for total, back in zip(direct, backs, strict=True):
                    total[:, :-1] += _cleared(back, reset)[:, 1:]
            else:
                direct[which] += d_output
            if ends is not None:
                # From the state after, to the step that made it.
                inside = ((ends >= span.start) & (ends < span.stop)).unsqueeze(1)
                place = (ends - span.start).clamp(0, shape[1] - 1).view(-1, 1, 1).expand(batch, 1, units)
                for total, part in zip(direct, d_after, strict=True):
                    total.scatter_add_(1, place, torch.where(inside, part, 0.0).unsqueeze(1))
            last = [part + total[:, -1] for part, total in zip(carry, direct, strict=True)]
            adjoints = _solve_back(work.slopes(leaves, reset), direct, last, guarded=reset is not None)
            seeds = {f"d {name}": part for (name, _), part in zip(derivation.results, adjoints, strict=False)}
            found = run(derivation.output_adjoint, leaves | seeds)
            for name, total in d_leaves.items():
                if f"d {name}" in found:
                    into = total[:, span] if total.dim() > 2 else total
                    value = _full(found[f"d {name}"], shape, dy)
                    into += value.sum_to_size(into.shape)
            parts = [found.get(f"d {name}", 0.0) for name in derivation.equations.states]
            carry = [_cleared(_full(part, shape, dy), reset)[:, 0] for part in parts]
        return (None, None, None, None, None, None, None, *carry, *d_leaves.values())


class _Work:
    """What forward and backward share: the leaves over time, and A in a chunk of it."""

    def __init__(
        self,
        derivation: Derivation,
        steps: Steps,
        over_time: dict[str, torch.Tensor],
        resets: torch.Tensor | None,
        like: torch.Tensor,
    ) -> None:
        self.derivation, self.steps, self.over_time, self._like = derivation, steps, over_time, like
        self._resets = None if resets is None else resets.bool().unsqueeze(-1)

    def leaves(self, span: slice) -> dict[str, torch.Tensor]:
        """The leaves in a chunk of time."""
        return {name: leaf[:, span] if leaf.dim() > 2 else leaf for name, leaf in self.over_time.items()}

    def reset(self, span: slice) -> torch.Tensor | None:
        """Where the state is set to zero before a step of the chunk, (B, T, 1)."""
        return None if self._resets is None else self._resets[:, span]

    def shifted(
        self, before: Sequence[torch.Tensor], states: Sequence[torch.Tensor], reset: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """The states before every step of a chunk by name, from that before it and those after its steps."""
        pairs = zip(self.derivation.equations.states, before, states, strict=True)
        moved = {name: torch.cat([start.unsqueeze(1), state[:, :-1]], 1) for name, start, state in pairs}
        return {name: _cleared(state, reset) for name, state in moved.items()}

    def slopes(self, leaves: Mapping[str, torch.Tensor], reset: torch.Tensor | None) -> Matrix:
        """A of every step of a chunk."""
        matrix: Matrix = {}
        for name, value in run(self.steps.slopes, leaves).items():
            row, column = name.split()
            entry = _tensor(value, self._like)
            entry = entry.view(1, 1, -1) if entry.dim() < 3 else entry
            matrix[int(row), int(column)] = _cleared(entry, reset)
        return matrix


def _tensor(value: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def _full(value: Any, shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return _tensor(value, like).expand(shape)


def _each(results: Mapping[str, Any], shape: Sequence[int], like: torch.Tensor) -> list[torch.Tensor]:
    """The results of a program in order, each (B, T, H)."""
    return [_full(results[str(place)], shape, like) for place in range(len(results))]


def _cleared(value: torch.Tensor, reset: torch.Tensor | None) -> torch.Tensor:
    # Filled, not multiplied: what is no longer finite is cleared too.
    return value if reset is None else torch.where(reset, 0.0, value)


def _chunks(batch: int, steps: int, units: int, device: torch.device) -> Iterator[slice]:
    length = max(1, (_CHUNK_ON_CPU if device.type == "cpu" else _CHUNK) // (batch * units))
    return (slice(begin, min(begin + length, steps)) for begin in range(0, steps, length))


def _plus(b: torch.Tensor, a: torch.Tensor, s: torch.Tensor, guarded: bool) -> torch.Tensor:
    """b + a s; where `guarded`, zero times anything is zero."""
    total = torch.addcmul(b, a, s)
    return torch.where(a == 0, b, total) if guarded else total


def _step(a: Matrix, s: Sequence[torch.Tensor], b: Sequence[torch.Tensor], guarded: bool) -> list[torch.Tensor]:
    """A s + b."""
    results = list(b)
    for (row, column), entry in a.items():
        results[row] = _plus(results[row], entry, s[column], guarded)
    return results


def _compose(later: Matrix, earlier: Matrix, guarded: bool) -> Matrix:
    """The product of two matrices of every unit."""
    product: Matrix = {}
    for (row, inner), left in later.items():
        for (of, column), right in earlier.items():
            if inner == of:
                total = product.get((row, column), torch.zeros((), dtype=left.dtype, device=left.device))
                product[row, column] = _plus(total, left, right, guarded)
    return product


def _half(a: torch.Tensor, begin: int) -> torch.Tensor:
    """Every other time step; what is the same at all times stays so."""
    return a if a.shape[1] == 1 else a[:, begin::2]


def _solve(
    a: Matrix, b: Sequence[torch.Tensor], start: Sequence[torch.Tensor], *, back: bool = False, guarded: bool = False
) -> list[torch.Tensor]:
    """All states (B, T, H) of s[t] = A[t] s[t-1] + b[t] from the state before the first step, (B, H).

    With `back`, of s[t] = A[t] s[t+1] + b[t], from the state after the last step. Where `guarded`, a zero in A stops
    what is not finite.
    """
    steps = b[0].shape[1]
    edge = [part.unsqueeze(1) for part in start]
    if steps == 1:
        return _step(a, edge, b, guarded)
    # In the order in which states follow each other: the first, third, ... and the second, fourth, ...
    odd, even = ((steps - 1) % 2, steps % 2) if back else (0, 1)
    pairs = slice(-(steps // 2), None) if back else slice(steps // 2)
    a_odd, a_even = ({key: _half(entry, begin) for key, entry in a.items()} for begin in (odd, even))
    b_odd, b_even = ([part[:, begin::2] for part in b] for begin in (odd, even))
    paired = {key: entry[:, pairs] for key, entry in a_odd.items()}
    composed = _compose(a_even, paired, guarded)
    s_even = _solve(
        composed, _step(a_even, [part[:, pairs] for part in b_odd], b_even, guarded), start, back=back, guarded=guarded
    )
    length = b_odd[0].shape[1]
    if back:
        previous = [torch.cat([part, end], 1)[:, -length:] for part, end in zip(s_even, edge, strict=True)]
    else:
        previous = [torch.cat([end, part], 1)[:, :length] for part, end in zip(s_even, edge, strict=True)]
    s_odd = _step(a_odd, previous, b_odd, guarded)
    whole = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in b]
    for out, one, two in zip(whole, s_odd, s_even, strict=True):
        out[:, odd::2], out[:, even::2] = one, two
    return whole


def _solve_back(
    a: Matrix, direct: Sequence[torch.Tensor], last: Sequence[torch.Tensor], *, guarded: bool
) -> list[torch.Tensor]:
    """The adjoints of the states after every step: that after the last, and Aᵀ of each step from there back."""
    if direct[0].shape[1] == 1:
        return [part.unsqueeze(1) for part in last]
    turned = {(column, row): entry if entry.shape[1] == 1 else entry[:, 1:] for (row, column), entry in a.items()}
    found = _solve(turned, [part[:, :-1] for part in direct], last, back=True, guarded=guarded)
    return [torch.cat([part, end.unsqueeze(1)], 1) for part, end in zip(found, last, strict=True)]


def _iterate(
    work: _Work,
    newton: Newton,
    leaves: Mapping[str, torch.Tensor],
    reset: torch.Tensor | None,
    before: Sequence[torch.Tensor],
    shape: tuple[int, int, int],
) -> list[torch.Tensor]:
    """The states of a chunk by Newton's method, from a start of no memory."""
    found = [part.unsqueeze(1).expand(shape) for part in before]
    precision = 16 * torch.finfo(before[0].dtype).eps
    for count in range(newton.most + 1):
        moved = work.shifted(before, found, reset)
        after = _each(run(work.steps.after, {**leaves, **moved}), shape, before[0])
        distances = [float((new - old).abs().max()) for new, old in zip(after, found, strict=True)]
        sizes = [float(part.abs().max()) for part in after]
        # Infinite sizes are no end: nothing could then be too far.
        if all(d <= precision * max(1.0, size) < math.inf for d, size in zip(distances, sizes, strict=True)):
            newton.taken.append(count)
            return after
        a = work.slopes({**leaves, **moved}, reset)
        at_zero = _step({key: -entry for key, entry in a.items()}, list(moved.values()), after, guarded=False)
        found = _solve(a, at_zero, before, guarded=reset is not None)
    raise ConfigurationError(
        f"the iterations of {work.derivation.equations.name} do not end",
        expected=f"states that stay within {newton.most} iterations",
        got=f"a change of {max(distances):.3g} in the last",
        fix="allow more, or use 'staged'",
    )
