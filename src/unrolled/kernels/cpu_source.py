"""The loop over time of a cell, and the loop back, as source for Numba: generated from what `derive` finds.

Rows. A batch is laid out time step after time step, the rows of a step one under the other: (N, n) with N = T·B, or
fewer where sequences end early. A step's rows are `first[t]` to `first[t] + count[t]`; sequences that last longer come
first, so that row i of a step is sequence i. Row i of `now_h` is the state h that sequence i is in.

Products in the loop are either those of PyTorch on packed weights (`native`), or, for few rows and small matrices,
plain loops of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from unrolled.cells.derivation import Derivation, Instruction, Program, leaf_name
from unrolled.kernels.source import HEADER, translate

__all__ = ["Form", "Layout", "generate"]

_FUNCTION = '@njit(cache=True, nogil=True, fastmath=FLAGS, error_model="numpy")'


@dataclass(frozen=True)
class Form:
    """Which code is generated.

    Attributes:
        dtype: of states and arithmetic: "float32" or "float64".
        half: whether maps are held, and products made, in bfloat16.
        packed: whether products are PyTorch's on packed weights; else loops of our own.
    """

    dtype: str
    half: bool
    packed: bool


class Layout:
    """Which arrays the generated functions take, by name and in order, and how they are read.

    `now_h` (B, H) and `was_h` (N, H) for a state h: where a sequence stands, and the state before each step. `map3`
    (N, G·H): the results of product 3. `arg3` (N, H): what it was of, where that is no state in the products' dtype.
    `vec` (P, H): parameters of one number a unit. `tall[t]`: the rows that packed products are made for, at least
    `count[t]`: every other number of rows costs oneDNN a new kernel. A "d" before a
    name is the adjoint; `dvec` (P, H) is a sum.
    """

    def __init__(self, derivation: Derivation, form: Form) -> None:
        self.derivation, self.form = derivation, form
        equations = derivation.equations
        self.states = equations.states
        self.vectors = tuple(name for name, kind in equations.parameters.items() if kind == "vector")
        self.products = derivation.products
        self._maps = {
            f"@{index}": (k, g) for k, stage in enumerate(self.products) for g, index in enumerate(stage.maps)
        }
        programs = [derivation.output_program, derivation.output_adjoint]
        for stage in derivation.recurrent:
            if not derivation.is_leaf(stage.argument):
                programs += [derivation.argument_programs[stage], derivation.argument_adjoint(stage)]
        self.raw = any(equations.input in program.inputs for program in programs)

    @cached_property
    def recurrent(self) -> tuple[int, ...]:
        """The numbers of the products inside the loop, in order."""
        return tuple(k for k, stage in enumerate(self.products) if stage.level > 0)

    @cached_property
    def hoisted(self) -> tuple[int, ...]:
        """The numbers of the products outside."""
        return tuple(k for k, stage in enumerate(self.products) if stage.level == 0)

    def source(self, k: int) -> str | None:
        """The state that product k is of, where it is one."""
        index = self.products[k].argument
        return leaf_name(self.derivation.equations, index) if self.derivation.is_leaf(index) else None

    def state_of(self, k: int) -> str | None:
        """The state whose rows are product k's argument as they are; None where `arg` holds it."""
        name = self.source(k)
        return name if name in self.states and not self.form.half else None

    @cached_property
    def arguments(self) -> tuple[int, ...]:
        """The products in the loop that have an `arg` of their own."""
        return tuple(k for k in self.recurrent if self.state_of(k) is None)

    @cached_property
    def shared(self) -> dict[int, int]:
        """For a hoisted product the one in the loop whose adjoint is the same array: W.i @ x + U.i @ h."""
        if any(not self.derivation.is_leaf(self.products[k].argument) for k in self.recurrent):
            return {}
        held = {name: value for name, value in self.derivation.output_adjoint.outputs if isinstance(value, str)}

        def adjoints(k: int) -> list[str | None]:
            return [held.get(f"d @{index}") for index in self.products[k].maps]

        found = {}
        for k in self.hoisted:
            twins = [m for m in self.recurrent if adjoints(m) == adjoints(k) and None not in adjoints(k)]
            if twins:
                found[k] = twins[0]
        return found

    def forward(self) -> list[str]:
        """The arguments of `forward`."""
        names = ["first", "count", *self._tall(), "resets", "keep", "y", "vec", *(["x"] if self.raw else [])]
        names += [f"{when}_{state}" for state in self.states for when in ("now", "was")]
        names += [f"map{k}" for k in range(len(self.products))] + [f"arg{k}" for k in self.arguments]
        return names + [f"weight{k}" for k in self.recurrent]

    def _tall(self) -> list[str]:
        return ["tall"] if self.form.packed else []

    def backward(self) -> list[str]:
        """The arguments of `backward`."""
        names = ["first", "count", *self._tall(), "resets", "dy", "vec", "dvec", *(["x", "dx"] if self.raw else [])]
        names += [f"{what}_{state}" for state in self.states for what in ("dnow", "was")]
        names += [f"map{k}" for k in range(len(self.products))]
        names += [f"dmap{k}" for k in range(len(self.products)) if k not in self.shared]
        return names + [f"weight{k}" for k in self.recurrent]

    # How the leaves of a program are read in the loop over units, and the views that this needs.

    def read(self, leaf: str, views: dict[str, str]) -> str:
        """The source of a leaf at unit j; `views` collects the rows it needs."""
        if leaf in self._maps:
            k, g = self._maps[leaf]
            row = "r" if self.products[k].level else "at + i"
            views[f"m{k}_{g}"] = f"map{k}[{row}, {g} * H : {g + 1} * H]"
            return self.value(f"m{k}_{g}[j]")
        if leaf in self.states:
            views[f"s_{leaf}"] = f"was_{leaf}[r]"
            return f"s_{leaf}[j]"
        if leaf in self.vectors:
            number = self.vectors.index(leaf)
            views[f"p{number}"] = f"vec[{number}]"
            return f"p{number}[j]"
        views["x_row"] = "x[at + i]"
        return "x_row[j]"

    def place(self, leaf: str, views: dict[str, str]) -> str:
        """Where the adjoint of a leaf is put."""
        if leaf in self._maps:
            k, g = self._maps[leaf]
            k = self.shared.get(k, k)
            views[f"dm{k}_{g}"] = f"dmap{k}[r, {g} * H : {g + 1} * H]"
            return f"dm{k}_{g}[j]"
        if leaf in self.states:
            views[f"ds_{leaf}"] = f"dnow_{leaf}[i]"
            return f"ds_{leaf}[j]"
        if leaf in self.vectors:
            number = self.vectors.index(leaf)
            views[f"dp{number}"] = f"part[{number}]"
            return f"dp{number}[j]"
        views["dx_row"] = "dx[r]"
        return "dx_row[j]"

    def is_map(self, leaf: str) -> bool:
        """Whether a leaf is a map."""
        return leaf in self._maps

    def is_vector(self, leaf: str) -> bool:
        """Whether a leaf is a parameter of one number a unit."""
        return leaf in self.vectors

    def value(self, source: str) -> str:
        """What maps and arguments hold, as a number."""
        return f"from_bfloat16({source})" if self.form.half else source

    def stored(self, source: str) -> str:
        """A value as maps and arguments hold it."""
        return f"to_bfloat16({source})" if self.form.half else source


class _Writer:
    """Lines of one function."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.lines = layout, list[str]()
        self._constants: list[str] = []  # lines of the loop over units before the loop over time
        self._held = 0

    def add(self, text: str, depth: int = 1) -> None:
        self.lines += ["    " * depth + line if line else "" for line in text.split("\n")]

    def hoist(self, program: Program) -> tuple[Program, dict[str, str]]:
        """A program without what parameters alone decide, and the arrays (H,) that hold that."""
        vectors = set(self.layout.vectors)
        fixed: dict[str, Instruction] = {}
        for instruction in program.instructions:
            if all(not isinstance(name, str) or name in vectors or name in fixed for name in instruction.args):
                fixed[instruction.target] = instruction
        rest = tuple(instruction for instruction in program.instructions if instruction.target not in fixed)
        used = {name for instruction in rest for name in instruction.args}
        used |= {value for _, value in program.outputs}
        needed = [name for name in fixed if name in used]
        if not needed:
            return program, {}
        prologue = Program(tuple(vectors), tuple(fixed.values()), tuple((name, name) for name in needed))
        leaves = {name: f"vec[{number}, j]" for number, name in enumerate(self.layout.vectors)}
        lines, values = translate(prologue, leaves, self.layout.form.dtype, f"c{self._held}_")
        arrays = {}
        for name in needed:
            arrays[name] = f"fixed{self._held}"
            lines.append(f"fixed{self._held}[j] = {values[name]}")
            self._held += 1
        self._constants += lines
        inputs = tuple(name for name in program.inputs if name in {a for i in rest for a in i.args} | used)
        return Program((*inputs, *needed), rest, program.outputs), arrays

    def prologue(self) -> list[str]:
        """What runs before the loop over time."""
        if not self._held:
            return []
        lines = [f"fixed{k} = np.empty(H, np.{self.layout.form.dtype})" for k in range(self._held)]
        lines.append("for j in range(H):")
        return ["    " + line for line in [*lines, *("    " + line for line in self._constants)]]

    def units(
        self,
        program: Program,
        more: dict[str, str],
        views: dict[str, str],
        write: Callable[[dict[str, str]], Iterable[str]],
    ) -> None:
        """Every row of the step, every unit: run a program and write its results."""
        program, arrays = self.hoist(program)
        leaves = {
            name: f"{arrays[name]}[j]" if name in arrays else more.get(name) or self.layout.read(name, views)
            for name in program.inputs
        }
        lines, values = translate(program, leaves, self.layout.form.dtype)
        stores = list(write(values))
        self.add("for i in range(rows):\n    r = start + i", 2)
        self.add("\n".join(f"{name} = {source}" for name, source in views.items()), 3)
        self.add("for j in range(H):", 3)
        self.add("\n".join([*lines, *stores]), 4)


def generate(derivation: Derivation, form: Form) -> str:
    """A module with `forward` and `backward`; see `Layout` for their arguments. Both return whether all products
    succeeded."""
    layout = Layout(derivation, form)
    imports = "from unrolled.kernels.native import array_at, multiply, release\n" if form.packed else ""
    return "\n".join([HEADER + imports, *([] if form.packed else [_PRODUCT]), _forward(layout), "", _backward(layout)])


# out (m, n) = a (m, k) times b (k, n), each row by sums of four rows of b: the inner loop reads b in order.
_PRODUCT = f"""
{_FUNCTION}
def product(a, b, out):
    k, n = b.shape
    for i in range(a.shape[0]):
        row, total = a[i], out[i]
        for j in range(n):
            total[j] = 0.0
        whole = k - k % 4
        for p in range(0, whole, 4):
            a0, a1, a2, a3 = row[p], row[p + 1], row[p + 2], row[p + 3]
            b0, b1, b2, b3 = b[p], b[p + 1], b[p + 2], b[p + 3]
            for j in range(n):
                total[j] += (a0 * b0[j] + a1 * b1[j]) + (a2 * b2[j] + a3 * b3[j])
        for p in range(whole, k):
            a0, b0 = row[p], b[p]
            for j in range(n):
                total[j] += a0 * b0[j]
"""


def _forward(layout: Layout) -> str:
    derivation, writer = layout.derivation, _Writer(layout)
    body = writer.add
    body("for t in range(first.shape[0]):")
    body("rows, at = count[t], first[t]\nstart = at if keep else 0", 2)
    body("for i in range(rows):\n    r, fresh = start + i, resets.shape[0] > 0 and resets[at + i] != 0", 2)
    for state in layout.states:
        body(
            f"now, was = now_{state}[i], was_{state}[r]\nfor j in range(H):\n    was[j] = zero if fresh else now[j]", 3
        )
        for k in layout.arguments:
            if layout.source(k) == state:
                body(f"arg = arg{k}[r]\nfor j in range(H):\n    arg[j] = {layout.stored('was[j]')}", 3)
    for k in layout.recurrent:
        stage = layout.products[k]
        if not derivation.is_leaf(stage.argument):
            views = {"arg": f"arg{k}[r]"}
            program = derivation.argument_programs[stage]
            writer.units(program, {}, views, lambda values: [f"arg[j] = {layout.stored(values['argument'])}"])
        argument = f"was_{layout.state_of(k)}" if layout.state_of(k) else f"arg{k}"
        _emit_product(layout, writer, k, argument, f"map{k}", len(stage.maps))
    views = {f"n_{state}": f"now_{state}[i]" for state in layout.states} | {"out": "y[at + i]"}

    def write(values: dict[str, str]) -> list[str]:
        stores = [f"next_{state} = {values[f'next {state}']}" for state in layout.states]
        stores += [f"n_{state}[j] = next_{state}" for state in layout.states]
        which = derivation.output_state
        return [*stores, f"out[j] = {values['output'] if which is None else 'next_' + layout.states[which]}"]

    writer.units(derivation.output_program, {}, views, write)
    return _assemble("forward", layout.forward(), layout, writer)


def _emit_product(layout: Layout, writer: _Writer, k: int, argument: str, out: str, gates: int) -> None:
    """Rows of `argument` times the matrices of product k, into the rows of `out`."""
    if not layout.form.packed:
        writer.add(f"product({argument}[start : start + rows], weight{k}, {out}[start : start + rows])", 2)
        return
    writer.add(
        f"""address = multiply(weight{k}, {argument}[start:].ctypes.data, tall[t], held)
if address == 0:
    return False
found = array_at(address, rows, {out}.shape[1], {out})
for i in range(rows):
    a, b = found[i], {out}[start + i]
    for j in range(a.shape[0]):
        b[j] = a[j]
release(weight{k}, held)""",
        2,
    )


def _backward(layout: Layout) -> str:
    derivation, writer = layout.derivation, _Writer(layout)
    body = writer.add
    body("for t in range(first.shape[0] - 1, -1, -1):")
    body("rows, at = count[t], first[t]\nstart = at", 2)
    if layout.vectors:
        # Sums in two levels: a long one would lose digits.
        body("if t % 16 == 15:\n    dvec += part\n    part[:] = 0.0", 2)
    which, states = derivation.output_state, layout.states
    views = {"dy_row": "dy[r]"} | {f"ds_{state}": f"dnow_{state}[i]" for state in states}
    seeds = {f"d next {state}": f"ds_{state}[j]" for state in states}
    if which is None:
        seeds["d output"] = "dy_row[j]"
    else:
        seeds[f"d next {states[which]}"] = f"(ds_{states[which]}[j] + dy_row[j])"
    writer.units(derivation.output_adjoint, seeds, views, lambda values: _adjoints(layout, views, values, False))
    for k in reversed(layout.recurrent):
        stage = layout.products[k]
        writer.add("", 0)
        target = _emit_product_back(layout, writer, k)
        name = layout.source(k)
        if name is not None:
            views = {"back_row": target, f"ds_{name}": f"dnow_{name}[i]"}
            writer.add("for i in range(rows):\n    r = start + i", 2)
            writer.add("\n".join(f"{view} = {source}" for view, source in views.items()), 3)
            value = layout.value("back_row[j]")
            writer.add(f"for j in range(H):\n    ds_{name}[j] += {value}", 3)
        else:
            views = {"back_row": target}
            more = {"d argument": layout.value("back_row[j]")}
            program = derivation.argument_adjoint(stage)
            writer.units(program, more, views, _adder(layout, views))
        if layout.form.packed:
            writer.add(f"release(weight{k}, held)", 2)
    if states:
        body("for i in range(rows):\n    if resets.shape[0] > 0 and resets[start + i] != 0:", 2)
        body("\n".join(f"dnow_{state}[i, :] = zero" for state in states), 4)
    return _assemble("backward", layout.backward(), layout, writer)


def _adder(layout: Layout, views: dict[str, str]) -> Callable[[dict[str, str]], Iterable[str]]:
    return lambda values: _adjoints(layout, views, values, True)


def _emit_product_back(layout: Layout, writer: _Writer, k: int) -> str:
    """The adjoint of product k's argument; the source of its row i."""
    if not layout.form.packed:
        writer.add(f"product(dmap{k}[start : start + rows], weight{k}, back[:rows])", 2)
        return "back[i]"
    writer.add(
        f"""address = multiply(weight{k}, dmap{k}[start:].ctypes.data, tall[t], held)
if address == 0:
    return False
back = array_at(address, rows, H, dmap{k})""",
        2,
    )
    return "back[i]"


def _adjoints(layout: Layout, views: dict[str, str], values: dict[str, str], add: bool) -> Iterable[str]:
    """Write the adjoints of leaves: those of states anew, those of vectors as sums, of maps and the input once.

    With `add`, all of them are added to what is there.
    """
    given = {name[2:]: value for name, value in values.items()}
    lines, stores = [], []
    if not add:
        # Of what the step does not depend on, the adjoint is zero.
        maps = [f"@{index}" for stage in layout.products for index in stage.maps]
        leaves = [*layout.states, *maps, *([layout.derivation.equations.input] if layout.raw else [])]
        given = {leaf: given.get(leaf, "zero") for leaf in leaves} | given
    written = set()
    for number, (leaf, value) in enumerate(given.items()):
        place = layout.place(leaf, views)
        if place in written and layout.is_map(leaf):
            continue
        written.add(place)
        lines.append(f"a{number} = {value}")
        if layout.is_map(leaf):
            before = layout.value(place)
            stores.append(f"{place} = {layout.stored(f'{before} + a{number}' if add else f'a{number}')}")
        else:
            stores.append(f"{place} {'+=' if add or layout.is_vector(leaf) else '='} a{number}")
    return [*lines, *stores]


def _assemble(name: str, arguments: list[str], layout: Layout, writer: _Writer) -> str:
    lines = [_FUNCTION, f"def {name}({', '.join(arguments)}):"]
    head = [f"H, zero = {'y' if name == 'forward' else 'dy'}.shape[1], np.{layout.form.dtype}(0.0)"]
    if layout.form.packed:
        head.append("held = np.zeros(1, np.int64)")
    elif name == "backward" and layout.recurrent:
        # As many rows as a step can have.
        head.append(f"back = np.empty((count.max() if count.shape[0] else 0, H), np.{layout.form.dtype})")
    if name == "backward" and layout.vectors:
        head.append("part = np.zeros_like(dvec)")
    lines += ["    " + line for line in head] + writer.prologue() + writer.lines
    if name == "backward" and layout.vectors:
        lines.append("    dvec += part")
    return "\n".join([*lines, "    return True"])
