"""The loop of a cell over time as Triton source, forward and backward.

Two forms of it, made of the same pieces:

- *walk*: one kernel walks over all time steps, a program for each tile of rows (of the batch) and units. Without
  recurrent products every unit is alone, and tiles split both. With them a program owns all units of its rows, holds
  the recurrent matrices, and no program ever waits for another.
- *steps*: where the matrices are too large for that, one kernel for each level of products in a step, to be launched
  between the products of that step.
"""

from __future__ import annotations

from unrolled.cells import Equations
from unrolled.cells.derivation import Product
from unrolled.kernels.gpu_layout import Layout
from unrolled.kernels.gpu_writer import HEADER, Tile, Writer

__all__ = ["steps_source", "walk_source"]


def walk_source(equations: Equations, interpreted: bool) -> str:
    """A module with `forward` and `backward`, each one launch for all time steps.

    Both take the arrays of the `Layout` (any tensor for one that a cell or a call lacks), B and T, and as constants H,
    the tile (ROWS, UNITS), whether to KEEP what the backward pass needs, and whether there are RESETS. With products
    in the loop, UNITS is at least H.
    """
    layout = Layout(equations)
    return HEADER + "\n".join([*_walk_forward(layout, interpreted), *_walk_backward(layout, interpreted)]) + "\n"


def _ahead(layout: Layout) -> int:
    """How many steps are under way at once: what a step needs of others than the step before is loaded ahead of it.

    A step with a product takes longer than a load; one without is far shorter.
    """
    return 2 if layout.products else 4


def _walk_forward(layout: Layout, interpreted: bool) -> list[str]:
    write = Writer(layout, "forward", layout.forward_arrays, "BT", interpreted)
    states = layout.equations.states
    write.hold_vectors()
    if layout.products:
        write.matrices(forward=True)
    for i in range(len(states)):
        write.emit(f"h{i} = {write.load(f's{i}', 'row * H + unit').source}")

    def body() -> None:
        write.begin("t")
        for i, name in enumerate(states):
            write.reset(f"h{i}")
            write.held[name] = Tile(f"h{i}")
        for number, product in layout.products.items():
            operand = write.operand(number, product)
            parts = [write.let(write.dot(operand, f"u{number}_{place}")) for place in range(len(product.maps))]
            write.held |= {f"@{index}": part for index, part in zip(product.maps, parts, strict=True)}

            def keep(number: int = number, product: Product = product, operand: str = operand) -> None:
                write.store(f"o{number}", "at * H + unit", operand)
                for index in product.maps:
                    write.store(f"a{number}", write.of_map(f"@{index}"), write.held[f"@{index}"].source)

            write.block("if KEEP:", keep)
        for i, variable in enumerate(write.results()):
            write.emit(f"h{i} = {variable}")

    write.block(f"for t in tl.range(T, num_stages={_ahead(layout)}):", body)
    return write.lines


def _walk_backward(layout: Layout, interpreted: bool) -> list[str]:
    write = Writer(layout, "backward", layout.backward_arrays, "BT", interpreted)
    states = layout.equations.states
    write.hold_vectors()
    if layout.products:
        write.matrices(forward=False)
    for i, variable in enumerate(write.slopes()):
        write.emit(f"h{i} = {variable}")
    for place in range(len(layout.summed)):
        write.emit(f"q{place} = zero")

    def body() -> None:
        write.emit("t = T - 1 - back")
        write.begin("t")
        write.seed([f"h{i}" for i in range(len(states))])
        for number, product in reversed(layout.products.items()):
            total = "zero"
            for place, index in enumerate(product.maps):
                value = f"tl.where(mask, {write.adjoint(f'@{index}')}, 0.0).to(u{number}.dtype.element_ty)"
                total = write.let(f"{total} + {write.dot(write.let(value).source, f'u{number}_{place}')}").source
            write.through(product, Tile(total))
        write.flush(write.store, write.over_time)
        for place, name in enumerate(layout.summed):
            write.emit(f"q{place} = q{place} + {write.adjoint(name)}")
        for i, name in enumerate(states):
            write.emit(f"h{i} = {write.adjoint(name)}")
            write.reset(f"h{i}")

    write.block(f"for back in tl.range(T, num_stages={_ahead(layout)}):", body)
    for i in range(len(states)):
        write.store(f"ds{i}", "row * H + unit", f"h{i}")
    for place in range(len(layout.summed)):
        write.store("dp", f"(row * {len(layout.summed)} + {place}) * H + unit", f"q{place}")
    return write.lines


def steps_source(equations: Equations) -> str:
    """A module with one kernel for each level of products in a step, launched for one time step t each.

    `forward_0` goes before the loop: it stores in `o` what the products of level 1 are of at t = 0. `forward_L` follows
    the products of level L: it stores what those of the next level are of; the last one stores output and states, and
    what the products of level 1 are of in the next step. `backward_top` goes first, at t = T - 1: it stores the
    gradients that need no product. `backward_L` follows the products of level L, which put into `e` what their maps
    pass back, and adds what comes of that; the last one, `backward_1`, goes on with `backward_top` for the step before.
    """
    layout = Layout(equations)
    lines: list[str] = []
    for level in range(len(layout.levels) + 1):
        lines += _step_forward(layout, level)
    lines += _step_backward(layout, None)
    for level in range(len(layout.levels), 0, -1):
        lines += _step_backward(layout, level)
    return HEADER + "\n".join(lines) + "\n"


def _step_forward(layout: Layout, level: int) -> list[str]:
    write = Writer(layout, f"forward_{level}", layout.forward_arrays, "BTt", False)
    write.begin("t")
    if level < len(layout.levels):
        write.operands(level)
        return write.lines
    after = write.results()

    def following() -> None:
        write.begin("(t + 1)")
        for name, variable in zip(layout.equations.states, after, strict=True):
            write.reset(variable)
            write.held[name] = Tile(variable)
        write.operands(0)

    write.block("if t + 1 < T:", following)
    return write.lines


def _step_backward(layout: Layout, level: int | None) -> list[str]:
    name = "top" if level is None else f"{level}"
    write = Writer(layout, f"backward_{name}", layout.backward_arrays, "BTt", False)
    states = layout.equations.states

    def top(slopes: list[str]) -> None:
        write.seed(slopes)
        write.flush(write.store, [*write.over_time, *states])
        write.flush_vectors()

    write.begin("t")
    if level is None:
        top(write.slopes())
        return write.lines
    for number, product in layout.levels[level - 1].items():
        write.through(product, write.load(f"e{number}", "row * H + unit"))
    write.flush(write.add, [leaf for leaf in write.over_time if leaf in write.adjoints])
    write.flush_vectors()
    if level > 1:
        write.flush(write.add, [name for name in states if name in write.adjoints])
        return write.lines
    slopes = []
    for slope, name in zip(write.slopes(), states, strict=True):
        slopes.append(write.let(f"{slope} + {write.adjoint(name)}").source)
        write.reset(slopes[-1])

    def earlier() -> None:
        write.begin("(t - 1)")
        top(slopes)

    def first() -> None:
        for i, slope in enumerate(slopes):
            write.store(f"ds{i}", "row * H + unit", slope)

    write.block("if t > 0:", earlier)
    write.block("else:", first)
    return write.lines
