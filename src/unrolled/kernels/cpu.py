"""Any cell at full speed on a CPU: the loops that `cpu_source` generates, run over parts of the batch side by side.

Products of the input are done for all time steps at once, before the loop; gradients of matrices as one product after
it. Inside, a step is one product a stage and one pass over the units, in compiled code without Python. Each thread has
sequences of its own and runs the whole loop for them: there is nothing to wait for between steps.

Kept for the way back are the results of maps, from which gates are computed again, and the states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unrolled.cells import Equations
from unrolled.cells.derivation import Derivation, Product, derive, leaf_name
from unrolled.kernels import native
from unrolled.kernels.compiling import compiled
from unrolled.kernels.cpu_layout import Form, Layout
from unrolled.kernels.cpu_source import generate
from unrolled.kernels.operations import State, run
from unrolled.kernels.threads import side_by_side

__all__ = ["form_for", "unroll"]

# Below so many multiplications in a step of one thread, our own loops are faster than a call of oneDNN.
_SMALL = 400_000
# A thread is worth its start from so many multiplications in its part of the whole call.
_WORTH_A_THREAD = 2_000_000
_ROWS_APART = 8


def form_for(equations: Equations, batch: int, hidden: int, dtype: torch.dtype, product: torch.dtype) -> Form | None:
    """The code that serves a batch of this size; None where only PyTorch's own operators do it well.

    Args:
        batch: B.
        hidden: H.
        dtype: of the state.
        product: of products.
    """
    if dtype not in (torch.float32, torch.float64) or product not in (dtype, torch.bfloat16):
        return None
    name = "float32" if dtype == torch.float32 else "float64"
    widest = max((len(stage.maps) for stage in derive(equations).recurrent), default=0)
    small = batch * widest * hidden * hidden <= _SMALL
    if not widest:
        return Form(name, half=product == torch.bfloat16, packed=False)
    if dtype == torch.float64 or small:
        return Form(name, half=False, packed=False)
    return Form(name, half=product == torch.bfloat16, packed=True) if native.available(product) else None


def unroll(
    equations: Equations,
    parameters: Mapping[str, torch.Tensor],
    x: torch.Tensor,
    state: State,
    form: Form,
    resets: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
) -> tuple[torch.Tensor, State]:
    """The cell over a sequence.

    Args:
        equations: the cell.
        parameters: by name.
        x: (B, T, D).
        state: one (B, H) for every state, all of one dtype.
        form: from `form_for`.
        resets: (B, T), true where the state is set to zero before the step.
        lengths: (B,), from 1 to T: where each sequence ends. Nothing is computed beyond: the output is zero there, and
            the state after is that of the sequence's own last step.

    Returns:
        y (B, T, H) and the state after.
    """
    batch, steps = x.shape[:2]
    names = tuple(equations.parameters)
    work = _Work(derive(equations), form, names)
    parts = _threads(batch, steps * state[0].shape[1] ** 2)
    if lengths is None:
        plan = _even(batch, steps, parts)
        rows = x.transpose(0, 1).reshape(steps * batch, -1)
        given = None if resets is None else resets.t().reshape(-1)
    else:
        plan = _by_length(lengths.tolist(), steps, parts)
        order = torch.from_numpy(plan.order)
        index = torch.from_numpy(plan.index)
        rows = x.reshape(batch * steps, -1).index_select(0, index)
        given = None if resets is None else resets.reshape(-1)[index]
        state = tuple(part.index_select(0, order) for part in state)
    marks = np.zeros(0, np.uint8) if given is None else given.to(torch.uint8).contiguous().numpy()
    with torch.autocast("cpu", enabled=False):
        tensors = (rows.to(state[0].dtype), *state, *(parameters[name] for name in names))
        y, *after = _Unrolled.apply(work, plan, marks, torch.is_grad_enabled(), *tensors)  # type: ignore[no-untyped-call]
    if lengths is None:
        return y.view(steps, batch, -1).transpose(0, 1), tuple(after)
    back = torch.empty_like(order)
    back[order] = torch.arange(batch)
    whole = y.new_zeros(batch * steps, y.shape[-1]).index_copy(0, index, y)
    return whole.view(batch, steps, -1), tuple(part.index_select(0, back) for part in after)


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows of one thread: sequences `low` to `high`; see `cpu_source`."""

    first: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    tall: npt.NDArray[np.int64]
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class _Plan:
    """How a batch is laid out in N rows and divided.

    Attributes:
        rows: N.
        parts: one a thread.
        order: with lengths, the sequences as they are laid out.
        index: with lengths, for every row its place in (B·T).
    """

    rows: int
    parts: tuple[_Part, ...]
    order: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]


_NONE = np.zeros(0, np.int64)


@lru_cache(maxsize=64)
def _even(batch: int, steps: int, parts: int) -> _Plan:
    """Every sequence lasts to the end."""
    bounds = [batch * k // parts for k in range(parts + 1)]
    first = np.arange(steps, dtype=np.int64) * batch
    found = []
    for low, high in pairwise(bounds):
        count = np.full(steps, high - low, np.int64)
        found.append(_Part(first + low, count, count, low, high))
    return _Plan(batch * steps, tuple(found), _NONE, _NONE)


def _by_length(lengths: Sequence[int], steps: int, parts: int) -> _Plan:
    """The longest first, dealt out to the threads in turn, so that all have as much to do."""
    longest = sorted(range(len(lengths)), key=lambda b: -lengths[b])
    hands = [longest[k::parts] for k in range(parts)]
    ends = np.array(lengths)
    counts = np.array([[int((ends[hand] > t).sum()) for t in range(steps)] for hand in hands], np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts.sum(0))])
    index = [b * steps + t for t in range(steps) for k in range(parts) for b in hands[k][: counts[k, t]]]
    found, low = [], 0
    for k, hand in enumerate(hands):
        lasts = max(lengths[b] for b in hand)
        first, count = offsets[:lasts] + counts[:k, :lasts].sum(0), counts[k, :lasts]
        found.append(_Part(first, count, -(-count // _ROWS_APART) * _ROWS_APART, low, low + len(hand)))
        low += len(hand)
    order = np.array([b for hand in hands for b in hand], np.int64)
    return _Plan(int(offsets[-1]), tuple(found), order, np.array(index, np.int64))


def _threads(batch: int, work: int) -> int:
    """Into how many parts a batch is divided: not by the load of the moment, so that equal calls give equal bits."""
    return max(1, min(torch.get_num_threads(), batch, batch * work // _WORTH_A_THREAD))


@dataclass(frozen=True)
class _Work:
    """What one call does, besides numbers."""

    derivation: Derivation
    form: Form
    names: tuple[str, ...]

    @property
    def product(self) -> torch.dtype:
        """The dtype of products and of what they give."""
        return torch.bfloat16 if self.form.half else getattr(torch, self.form.dtype)

    def packed(self, stage: Product, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """All matrices of a product (G·H, n)."""
        return torch.cat([parameters[name] for name in stage.weights]).to(self.product)

    def argument(self, stage: Product, leaves: Mapping[str, Any], rows: int) -> torch.Tensor:
        """The value (N, n) that a hoisted product is of."""
        index = stage.argument
        if self.derivation.is_leaf(index):
            value = leaves[leaf_name(self.derivation.equations, index)]
        else:
            value = run(self.derivation.argument_programs[stage], leaves)["argument"]
        value = value.expand(rows, value.shape[-1])
        return value.to(self.product)  # type: ignore[no-any-return]

    def leaves(
        self, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, maps: Mapping[int, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """What arguments of hoisted products are computed from."""
        found = {**parameters, self.derivation.equations.input: x}
        for k, stage in enumerate(self.derivation.hoisted):
            if k in maps:
                parts = maps[k].chunk(len(stage.maps), -1)
                found |= {f"@{index}": part.to(x.dtype) for index, part in zip(stage.maps, parts, strict=True)}
        return found

    @property
    def nested(self) -> bool:
        """Whether a hoisted product is of something else than the input."""
        equations = self.derivation.equations
        return any(equations.nodes[stage.argument].op != "input" for stage in self.derivation.hoisted)


@cache
def _functions(equations: Equations, form: Form) -> tuple[Layout, Any, Any]:
    derivation = derive(equations)
    what = f"{equations.name}, {'bfloat16' if form.half else form.dtype}{'' if form.packed else ', small'}"
    module = compiled(what, generate(derivation, form))
    return Layout(derivation, form), module.forward, module.backward


def _array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _call(function: Any, names: Sequence[str], plan: _Plan, shared: Mapping[str, Any], ours: Sequence[str]) -> None:
    """Run a generated function for every part; `ours` are the arrays with a row for each sequence, of which a part has
    those from its own first on."""

    def one(part: _Part) -> None:
        own = {"first": part.first, "count": part.count, "tall": part.tall, "most": part.high - part.low}
        own |= {name: shared[name][part.low :] for name in ours}
        if "dvec" in names:
            own["dvec"] = shared["dvec"][plan.parts.index(part)]
        if not function(*(own[name] if name in own else shared[name] for name in names)):
            raise RuntimeError("a product of PyTorch failed inside a compiled loop")

    side_by_side([partial(one, part) for part in plan.parts if part.count.size])


class _Unrolled(torch.autograd.Function):
    """The loop over time, and back, on rows."""

    @staticmethod
    def forward(
        ctx: Any, work: _Work, plan: _Plan, resets: npt.NDArray[np.uint8], graph: bool, *tensors: torch.Tensor
    ) -> Any:
        derivation, form = work.derivation, work.form
        equations = derivation.equations
        layout, forward, _ = _functions(equations, form)
        count = len(equations.states)
        x, state, parameters = (
            tensors[0],
            tensors[1 : 1 + count],
            dict(zip(work.names, tensors[1 + count :], strict=True)),
        )
        batch, hidden = state[0].shape
        # Autograd asks for gradients of what requires them also where no graph is made.
        keep = graph and any(ctx.needs_input_grad)
        maps = _hoist(work, parameters, x)
        # Some rows more than there are, as packed products are made for whole groups of rows.
        rows = (plan.rows if keep else max(int(part.high) for part in plan.parts)) + _ROWS_APART
        product = work.product
        for k in layout.kept_maps:
            if k not in maps:
                maps[k] = x.new_empty(rows, hidden * len(layout.products[k].maps), dtype=product)
        arguments = {k: x.new_empty(rows, hidden, dtype=product) for k in layout.arguments}
        was = {name: x.new_empty(rows, hidden) for name in layout.kept_states}
        now = {name: x.new_zeros(batch + _ROWS_APART, hidden) for name in layout.states}
        for part, given in zip(now.values(), state, strict=True):
            part[:batch] = given
        y = x.new_empty(plan.rows, hidden)
        vectors = _vectors(layout, parameters, x, hidden)
        shared: dict[str, Any] = {"resets": resets, "keep": keep, "y": y.numpy(), "vec": vectors, "x": x.numpy()}
        shared |= {f"now_{name}": part.numpy() for name, part in now.items()}
        shared |= {f"was_{name}": part.numpy() for name, part in was.items()}
        shared |= {f"map{k}": _array(part) for k, part in maps.items()}
        shared |= {f"arg{k}": _array(part) for k, part in arguments.items()}
        for k in layout.recurrent:
            weight = work.packed(layout.products[k], parameters)
            held = shared[f"packed{k}"] = _weight(work, plan, weight)
            shared[f"weight{k}"] = held.arguments if form.packed else held.numpy()
        ours = [f"now_{name}" for name in layout.states]
        if not keep:
            ours += [f"arg{k}" for k in layout.arguments]  # of the step at hand alone
        _call(forward, layout.forward(), plan, shared, ours)
        ctx.work, ctx.plan, ctx.resets = work, plan, resets
        ctx.keys = (tuple(maps), tuple(arguments), tuple(was))
        ctx.save_for_backward(*maps.values(), *arguments.values(), *was.values(), *tensors)
        return (y, *(part[:batch] for part in now.values()))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: torch.Tensor, *d_after: torch.Tensor) -> Any:
        work, plan = ctx.work, ctx.plan
        layout, _, backward = _functions(work.derivation.equations, work.form)
        saved = iter(ctx.saved_tensors)
        maps, arguments, was = ({key: next(saved) for key in keys} for keys in ctx.keys)
        x, *rest = saved
        parameters = dict(zip(work.names, rest[len(layout.states) :], strict=True))
        hidden = dy.shape[1]
        dnow = {name: part.contiguous().clone() for name, part in zip(layout.states, d_after, strict=True)}
        rows = plan.rows + _ROWS_APART
        dmaps = {
            k: x.new_empty(rows, hidden * len(stage.maps), dtype=work.product)
            for k, stage in enumerate(layout.products)
            if k not in layout.shared
        }
        dvec = x.new_zeros(len(plan.parts), len(layout.vectors), hidden)
        dx = torch.empty_like(x) if layout.raw else None
        shared: dict[str, Any] = {"resets": ctx.resets, "dy": dy.contiguous().numpy(), "dvec": dvec.numpy()}
        shared |= {"vec": _vectors(layout, parameters, x, hidden), "x": x.numpy()}
        shared |= {"dx": None if dx is None else dx.numpy()}
        shared |= {f"dnow_{name}": part.numpy() for name, part in dnow.items()}
        shared |= {f"was_{name}": part.numpy() for name, part in was.items()}
        shared |= {f"map{k}": _array(part) for k, part in maps.items()}
        shared |= {f"dmap{k}": _array(part) for k, part in dmaps.items()}
        for k in layout.recurrent:
            weight = work.packed(layout.products[k], parameters)
            held = shared[f"packed{k}"] = _weight(work, plan, weight.t())
            shared[f"weight{k}"] = held.arguments if work.form.packed else held.numpy()
        _call(backward, layout.backward(), plan, shared, [f"dnow_{name}" for name in layout.states])
        for k, twin in layout.shared.items():
            dmaps[k] = dmaps[twin]
        gradients = dict(zip(layout.vectors, dvec.sum(0), strict=True))
        for k in layout.recurrent:
            state = layout.state_of(k)
            argument = was[state] if state else arguments[k]
            _matrices(layout.products[k], dmaps[k][: plan.rows], argument[: plan.rows], gradients)
        dx = _unhoist(work, layout, parameters, x, maps, dmaps, dx, gradients, ctx.needs_input_grad[4])
        return (None, None, None, None, dx, *dnow.values(), *(gradients.get(name) for name in work.names))


def _hoist(work: _Work, parameters: Mapping[str, torch.Tensor], x: torch.Tensor) -> dict[int, torch.Tensor]:
    """The results (N, G·H) of the products that need no state."""
    maps: dict[int, torch.Tensor] = {}
    for k, stage in enumerate(work.derivation.hoisted):
        leaves = work.leaves(parameters, x, maps if work.nested else {})
        value = work.argument(stage, leaves, len(x))
        maps[k] = native.linear(value, work.packed(stage, parameters))
    return maps


def _unhoist(
    work: _Work,
    layout: Layout,
    parameters: Mapping[str, torch.Tensor],
    x: torch.Tensor,
    maps: Mapping[int, torch.Tensor],
    dmaps: dict[int, torch.Tensor],
    dx: torch.Tensor | None,
    gradients: dict[str, torch.Tensor],
    wanted: bool,
) -> torch.Tensor | None:
    """Gradients of the hoisted products' matrices (into `gradients`) and of what they are of; that of x if wanted."""
    equations = work.derivation.equations
    leaves = work.leaves(parameters, x, {k: maps[k] for k in layout.hoisted} if work.nested else {})
    places = {f"@{index}": (k, g) for k in layout.hoisted for g, index in enumerate(layout.products[k].maps)}
    if work.nested:
        # What is shared with a product in the loop may be added to here.
        dmaps |= {k: dmaps[k].clone() for k in layout.shared}
    for k in reversed(layout.hoisted):
        stage, dmap = layout.products[k], dmaps[k][: len(x)]
        _matrices(stage, dmap, work.argument(stage, leaves, len(x)), gradients)
        if not wanted and equations.nodes[stage.argument].op == "input":
            continue
        back = native.linear(dmap, work.packed(stage, parameters).t()).to(x.dtype)
        passed: dict[str, Any] = {leaf_name(equations, stage.argument): back}
        if not work.derivation.is_leaf(stage.argument):
            results = run(work.derivation.argument_adjoint(stage), {**leaves, "d argument": back})
            passed = {name[2:]: value for name, value in results.items()}
        for leaf, value in passed.items():
            whole = value if isinstance(value, torch.Tensor) else torch.full_like(back, value)
            if leaf == equations.input:
                dx = whole if dx is None else dx + whole
            elif leaf in places:
                lower, g = places[leaf]
                dmaps[lower][: len(x)].chunk(len(layout.products[lower].maps), -1)[g].add_(whole)
            else:
                total = whole.expand_as(back).sum(0)
                gradients[leaf] = gradients[leaf] + total if leaf in gradients else total
    return torch.zeros_like(x) if dx is None and wanted else dx


def _matrices(stage: Product, dmap: torch.Tensor, value: torch.Tensor, gradients: dict[str, torch.Tensor]) -> None:
    """Add the gradients of a product's matrices, as one product over all rows."""
    total = dmap.t() @ value
    for name, part in zip(stage.weights, total.chunk(len(stage.maps)), strict=True):
        part = part.to(torch.float32) if part.dtype == torch.bfloat16 else part
        gradients[name] = gradients[name] + part if name in gradients else part


def _vectors(layout: Layout, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, hidden: int) -> npt.NDArray[Any]:
    """Parameters of one number a unit (P, H), in the dtype of the state."""
    if not layout.vectors:
        return np.zeros((0, hidden), x.numpy().dtype)
    return torch.stack([parameters[name].detach() for name in layout.vectors]).to(x.dtype).numpy()


def _weight(work: _Work, plan: _Plan, weight: torch.Tensor) -> Any:
    """A matrix (n, k) as the generated code takes it for products with rows (·, k)."""
    if work.form.packed:
        return native.Packed(weight, int(plan.parts[0].tall.max()))
    return weight.t().contiguous()
