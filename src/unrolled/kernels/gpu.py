"""Running a cell over time on a GPU, with Triton kernels generated from its equations.

Products that need no state are done before the loop, as large products; weight gradients after it. Between the two
stands the loop, in one of the forms of `gpu_source`. Triton is optional: it is imported when a cell first runs here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch

from unrolled.cells import Equations
from unrolled.errors import ConfigurationError
from unrolled.kernels import gpu_graphs
from unrolled.kernels.compiling import compiled
from unrolled.kernels.gpu_graphs import Arrays
from unrolled.kernels.gpu_layout import Layout
from unrolled.kernels.gpu_source import steps_source, walk_source
from unrolled.kernels.operations import State, run

__all__ = ["Tiling", "serves", "tiling", "unroll"]

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Shared memory that a program takes, in multiples of the recurrent matrices it holds: 1.2 to 1.5 forward and 1.3 to 2
# backward, as built-in cells of 64 units and more are compiled for sm_90. Smaller ones fit in any case.
_TAKEN = 1.75
# What every GPU of the last generations gives to a program, and what is assumed where there is none: bytes.
_SHARED = 99 * 1024


@dataclass(frozen=True)
class Tiling:
    """How the loop of a cell is cut into programs.

    Attributes:
        walks: whether one launch walks over all time steps, else there are launches for every step.
        rows: how many sequences of the batch a program has, a power of 2.
        units: how many units, a power of 2.
        warps: how many warps a program has.
    """

    walks: bool
    rows: int
    units: int
    warps: int


def serves(equations: Equations, hidden: int, dtype: torch.dtype) -> bool:
    """Whether `unroll` can run a cell of this many units in products of this dtype, on a machine with a GPU.

    Every cell of every size is served where Triton is installed, in float32, bfloat16 and float16.
    """
    return importlib.util.find_spec("triton") is not None and dtype in _DTYPES


def tiling(equations: Equations, hidden: int, dtype: torch.dtype, shared: int) -> Tiling:
    """The tiling for a cell of H = `hidden` with products in `dtype`; the size of the batch plays no part in it.

    Args:
        equations: the cell.
        hidden: H.
        dtype: of products.
        shared: how many bytes of shared memory a program can have.
    """
    layout, units = _layout(equations), 1 << (hidden - 1).bit_length()
    if not layout.products:
        # Every program is a chain of steps that wait for each other: the more of them, the better. But four bytes a
        # thread are the least that the processor loads ahead.
        return Tiling(True, 1, min(units, 128 // dtype.itemsize), 1)
    # 16 is the least that a product in Triton takes.
    square, maps = max(units, 16), sum(len(product.maps) for product in layout.products.values())
    if _TAKEN * maps * square**2 * dtype.itemsize <= shared:
        return Tiling(True, 16, square, 8)
    return _steps(hidden)


def _steps(hidden: int) -> Tiling:
    return Tiling(False, 1, min(1 << (hidden - 1).bit_length(), 128), 4)


def unroll(
    equations: Equations,
    parameters: Mapping[str, torch.Tensor],
    x: torch.Tensor,
    state: State,
    resets: torch.Tensor | None = None,
) -> tuple[torch.Tensor, State]:
    """The cell over a sequence, on a GPU.

    Products are in the dtype of autocast, or without it in that of the state; the state and all arithmetic are float32
    inside. Float32 products are not rounded to TF32 in the loop; before and after it PyTorch's own setting holds.

    Args:
        equations: the cell.
        parameters: by name, shapes as `Equations.shape` says.
        x: (B, T, D), T at least 1.
        state: one (B, H) for every state.
        resets: (B, T), true where the state is set to zero before the step; no gradient passes there.

    Returns:
        y (B, T, H) and the state after the last step, in the dtype of the state.

    Raises:
        ConfigurationError: Triton is missing, or the tensors are of a device or dtype it does not serve.
    """
    kind, given = x.device.type, state[0].dtype
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else given
    interpreted = _check(kind, dtype)
    layout = _layout(equations)
    with torch.autocast(kind, enabled=False):
        arrays = _hoist(layout, parameters, x.to(given), dtype)
        if layout.reads_input:
            arrays["x"] = x.to(given)
        if layout.vectors:
            arrays["p"] = torch.stack([parameters[name].float() for name in layout.vectors])
        if resets is not None:
            arrays["r"] = resets.to(torch.uint8)
        for number, product in layout.products.items():
            arrays[f"u{number}"] = torch.cat([parameters[name] for name in product.weights]).to(dtype)
        arrays |= {f"s{i}": value.float() for i, value in enumerate(state)}
        keep = torch.is_grad_enabled() and any(array.requires_grad for array in arrays.values())
        shared = _SHARED if interpreted else _shared(x.device)
        loop = _Loop(layout, tiling(equations, state[0].shape[1], dtype, shared), dtype, interpreted)
        inputs = (array.contiguous() for array in arrays.values())
        y, *after = _Unrolled.apply(loop, tuple(arrays), x.shape[1], keep, *inputs)  # type: ignore[no-untyped-call]
    return y.to(given), tuple(value.to(given) for value in after)


def _check(kind: str, dtype: torch.dtype) -> bool:
    """Raise an error if this cannot run; else whether Triton interprets, so that it runs on a CPU."""
    if importlib.util.find_spec("triton") is None:
        raise ConfigurationError(
            "the kernels for GPUs need Triton, which is not installed", fix="pip install 'unrolled[gpu]'"
        )
    import triton

    interpreted = bool(triton.knobs.runtime.interpret)
    if kind != "cuda" and not interpreted:
        raise ConfigurationError(
            "the kernels for GPUs were given tensors that are on none",
            got=f"tensors on {kind}",
            fix="move model and data to 'cuda', or use another kernel",
        )
    if dtype not in _DTYPES:
        expected = ", ".join(str(served).removeprefix("torch.") for served in _DTYPES)
        raise ConfigurationError(f"the kernels for GPUs do not compute in {dtype}", expected=expected)
    return interpreted


@cache
def _shared(device: torch.device) -> int:
    """How many bytes of shared memory a program can have."""
    properties = torch.cuda.get_device_properties(device)
    found: int = getattr(properties, "shared_memory_per_block_optin", _SHARED)
    return found


@cache
def _layout(equations: Equations) -> Layout:
    return Layout(equations)


@cache
def _module(equations: Equations, walks: bool, interpreted: bool) -> ModuleType:
    source = walk_source(equations, interpreted) if walks else steps_source(equations)
    return compiled(f"{equations.name}, GPU{', interpreted' * interpreted}", source)


def _hoist(
    layout: Layout, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The results of the hoisted products that the loop reads, each (B, T, G·H). Autograd differentiates them."""
    derivation = layout.derivation
    leaves, found = {**parameters, layout.equations.input: x}, {}
    for number, product in enumerate(derivation.products):
        if product.level > 0:
            continue
        if derivation.is_leaf(product.argument):
            value = leaves[layout.leaf(product)]
        else:
            program = derivation.argument_programs[product]
            value = run(program, {name: leaves[name].float() for name in program.inputs})["argument"]
        weights = torch.cat([parameters[name] for name in product.weights])
        results = torch.nn.functional.linear(value.to(dtype), weights.to(dtype))
        leaves |= {
            f"@{index}": part for index, part in zip(product.maps, results.chunk(len(product.maps), -1), strict=True)
        }
        if number in layout.hoisted:
            # A value of parameters alone is the same at all times.
            found[f"a{number}"] = results.expand(*x.shape[:2], -1)
    return found


@dataclass(frozen=True)
class _Loop:
    """The loop over time, and back: from arrays, by their names in the layout, to arrays."""

    layout: Layout
    tiling: Tiling
    dtype: torch.dtype
    interpreted: bool

    def _launcher(self, names: tuple[str, ...], arrays: Arrays, steps: int, keep: bool) -> Callable[..., None]:
        """A function that launches a kernel by its name."""
        module = _module(self.layout.equations, self.tiling.walks, self.interpreted)
        rows, hidden = arrays["s0"].shape
        tiles = self.tiling
        grid = (-(-rows // tiles.rows), -(-hidden // tiles.units))
        given: dict[str, Any] = {name: arrays.get(name, arrays["s0"]) for name in names}
        given |= {"B": rows, "T": steps, "H": hidden, "ROWS": tiles.rows, "UNITS": tiles.units}
        given |= {"KEEP": keep, "RESETS": "r" in arrays, "num_warps": tiles.warps}

        def launch(kernel: str, **more: int) -> None:
            getattr(module, kernel)[grid](**given, **more)

        return launch

    def forward(self, arrays: Arrays, steps: int, keep: bool) -> Arrays:
        """Output and states after every step; and what the backward pass needs besides, if it is to be kept."""
        layout, first = self.layout, arrays["s0"]
        rows, hidden = first.shape

        def empty(maps: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty(rows, steps, maps * hidden, dtype=dtype, device=first.device)

        made = {f"n{i}": empty(1, torch.float32) for i in range(len(layout.equations.states))}
        if layout.derivation.output_state is None:
            made["y"] = empty(1, torch.float32)
        if keep or not self.tiling.walks:
            made |= {f"a{number}": empty(len(product.maps), self.dtype) for number, product in layout.products.items()}
            made |= {f"o{number}": empty(1, self.dtype) for number in layout.products}
        launch = self._launcher(layout.forward_arrays, arrays | made, steps, keep)
        if self.tiling.walks:
            launch("forward")
            return made
        launch("forward_0", t=0)
        for t in range(steps):
            for level, products in enumerate(layout.levels, 1):
                for number in products:
                    torch.mm(made[f"o{number}"][:, t], arrays[f"u{number}"].t(), out=made[f"a{number}"][:, t])
                launch(f"forward_{level}", t=t)
        return made

    def backward(self, arrays: Arrays, steps: int) -> Arrays:
        """The gradients by maps, input, vectors (row by row) and the state before the first step."""
        layout, first = self.layout, arrays["s0"]
        rows, hidden = first.shape

        def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty(shape, dtype=dtype, device=first.device)

        products = {**layout.products, **layout.hoisted}
        made = {
            f"da{number}": empty(rows, steps, len(products[number].maps) * hidden, dtype=self.dtype)
            for number in layout.gradient.values()
        }
        # Kernels write these in place.
        made |= {f"ds{i}": arrays[f"ds{i}"].clone() for i in range(len(layout.equations.states))}
        made["dp"] = torch.zeros(rows, len(layout.summed), hidden, device=first.device)
        if layout.reads_input:
            made["dx"] = empty(*arrays["x"].shape, dtype=arrays["x"].dtype)
        passed = {} if self.tiling.walks else {f"e{k}": empty(rows, hidden, dtype=self.dtype) for k in layout.products}
        launch = self._launcher(layout.backward_arrays, arrays | made | passed, steps, keep=True)
        if self.tiling.walks:
            launch("backward")
            return made
        launch("backward_top", t=steps - 1)
        for t in reversed(range(steps)):
            for level in range(len(layout.levels), 0, -1):
                for k in layout.levels[level - 1]:
                    slope = made[f"da{layout.gradient[k]}"][:, t]
                    torch.mm(slope, arrays[f"u{k}"], out=passed[f"e{k}"])
                launch(f"backward_{level}", t=t)
        return made

    def weights(self, arrays: Arrays, made: Arrays, number: int) -> torch.Tensor:
        """The gradient of the matrices of a product (G·H, H), as one product over all rows and time steps."""
        slopes = made[f"da{self.layout.gradient[number]}"].flatten(0, 1)
        return slopes.t() @ arrays[f"o{number}"].flatten(0, 1)

    def vectors(self, made: Arrays) -> torch.Tensor:
        """The gradient of the vectors of parameters (P, H)."""
        layout, hidden = self.layout, made["dp"].shape[-1]
        summed, found = made["dp"].sum(0), []
        for name in layout.vectors:
            if name in layout.added:
                number, place, _ = layout.place[layout.added[name]]
                slopes = made[f"da{layout.gradient[number]}"][..., place * hidden : (place + 1) * hidden]
                found.append(slopes.sum((0, 1), dtype=torch.float32))
            else:
                found.append(summed[layout.summed.index(name)])
        return torch.stack(found)


def _between(arrays: Arrays, begin: int, end: int) -> Arrays:
    """All arrays, those over time from time step `begin` to before `end`."""
    over_time = ("x", "r", "y", "a", "o", "n", "dx", "dy", "da")
    return {
        name: array[:, begin:end].contiguous() if name.rstrip("0123456789") in over_time else array
        for name, array in arrays.items()
    }


def _run_forward(loop: _Loop, arrays: Arrays, steps: int, keep: bool) -> Arrays:
    """`loop.forward`, where it takes launches for every step as recordings of them, chunk after chunk."""
    if loop.tiling.walks or not gpu_graphs.recordable(arrays["s0"]):
        return loop.forward(arrays, steps, keep)
    chunks = []
    for begin in range(0, steps, gpu_graphs.CHUNK):
        length = min(gpu_graphs.CHUNK, steps - begin)
        call = partial(loop.forward, steps=length, keep=keep)
        made = gpu_graphs.replay((loop, "forward", length, keep), call, _between(arrays, begin, begin + length))
        chunks.append(made if keep else {name: array for name, array in made.items() if name[0] in "ny"})
        arrays = arrays | {f"s{name[1:]}": array[:, -1] for name, array in made.items() if name[0] == "n"}
    return {name: torch.cat([made[name] for made in chunks], 1) for name in chunks[0]}


def _run_backward(loop: _Loop, arrays: Arrays, steps: int) -> Arrays:
    """`loop.backward`, in the same way."""
    if loop.tiling.walks or not gpu_graphs.recordable(arrays["s0"]):
        return loop.backward(arrays, steps)
    chunks: list[Arrays] = []
    for begin in reversed(range(0, steps, gpu_graphs.CHUNK)):
        length = min(gpu_graphs.CHUNK, steps - begin)
        read = {name: arrays[name] for name in loop.layout.backward_arrays if name in arrays}
        part = _between(read, begin, begin + length)
        if begin:
            part |= {f"s{name[1:]}": array[:, begin - 1] for name, array in arrays.items() if name[0] == "n"}
        call = partial(loop.backward, steps=length)
        chunks.insert(0, gpu_graphs.replay((loop, "backward", length), call, part))
        arrays = arrays | {name: array for name, array in chunks[0].items() if name[:2] == "ds"}
    made = dict(chunks[0])
    made |= {name: torch.cat([chunk[name] for chunk in chunks], 1) for name in made if name[:2] in ("da", "dx")}
    made["dp"] = torch.stack([chunk["dp"] for chunk in chunks]).sum(0)
    return made


def _fitting(loop: _Loop, call: Callable[[_Loop], Arrays]) -> Arrays:
    """`call(loop)`; step by step where a program over time needs more than this GPU has, which its estimate may miss.

    Both forms keep the same arrays, so that the way back need not take the form of the way there.
    """
    from triton.runtime import OutOfResources

    try:
        return call(loop)
    except OutOfResources:
        if not loop.tiling.walks or not loop.layout.products:
            raise
        return call(replace(loop, tiling=_steps(loop.tiling.units)))


class _Unrolled(torch.autograd.Function):
    """The loop for autograd: from the arrays before it to the output and the state after it."""

    @staticmethod
    def forward(ctx: Any, loop: _Loop, names: tuple[str, ...], steps: int, keep: bool, *tensors: torch.Tensor) -> Any:
        arrays = dict(zip(names, tensors, strict=True))
        with torch.cuda.device_of(tensors[0]):  # type: ignore[no-untyped-call]
            made = _fitting(loop, lambda loop: _run_forward(loop, arrays, steps, keep))
        if keep:
            ctx.save_for_backward(*tensors, *made.values())
            ctx.loop, ctx.names, ctx.made, ctx.steps = loop, names, tuple(made), steps
        which = loop.layout.derivation.output_state
        after = (made[f"n{i}"][:, -1].clone() for i in range(len(loop.layout.equations.states)))
        return (made["y"] if which is None else made[f"n{which}"], *after)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: torch.Tensor, *d_after: torch.Tensor) -> Any:
        loop: _Loop = ctx.loop
        arrays = dict(zip((*ctx.names, *ctx.made), ctx.saved_tensors, strict=True))
        arrays["dy"] = dy.contiguous()
        arrays |= {f"ds{i}": slope.contiguous() for i, slope in enumerate(d_after)}
        made = _fitting(loop, lambda loop: _run_backward(loop, arrays, ctx.steps))

        def gradient(name: str) -> torch.Tensor | None:
            kind, number = name[0], int(name[1:] or 0)
            if kind == "a":
                return made[f"da{loop.layout.gradient[number]}"]
            if kind == "u":
                return loop.weights(arrays, made, number)
            return loop.vectors(made) if kind == "p" else made.get(f"d{name}")

        wanted = zip(ctx.names, ctx.needs_input_grad[4:], strict=True)
        return (None, None, None, None, *(gradient(name) if needed else None for name, needed in wanted))
