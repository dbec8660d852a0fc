"""The loop over time of a cell, and the loop back, as source for Numba: generated from what `derive` finds.

Products in the loop are either those of PyTorch on packed weights (`native`), or, for few rows and small matrices,
plain loops of our own. The arrays are those of `cpu_layout.Layout`.
"""

from __future__ import annotations

from collections.abc import Iterable

from unrolled.cells.derivation import Derivation, Instruction, Program
from unrolled.kernels.cpu_layout import Form, Layout
from unrolled.kernels.source import HEADER, translate

__all__ = ["generate"]

_FUNCTION = '@njit(cache=True, nogil=True, fastmath=FLAGS, error_model="numpy")'

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


def generate(derivation: Derivation, form: Form) -> str:
    """A module with `forward` and `backward`; see `Layout` for their arguments. Both return whether all products
    succeeded."""
    layout = Layout(derivation, form)
    head = HEADER
    if form.packed:
        head += "from unrolled.kernels.native import array_at, multiply, release\n"
    elif layout.recurrent:
        head += _PRODUCT
    return "\n".join([head, "", _Forward(layout).function(), "", _Backward(layout).function(), ""])


class _Writer:
    """The lines of one function."""

    name = ""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.half = layout.form.half
        self._lines: list[str] = []
        self._fixed: list[str] = []  # what parameters alone decide, once for every unit before the loop over time
        self._count = 0

    def add(self, text: str, depth: int) -> None:
        """Lines, indented."""
        self._lines += ["    " * depth + line for line in text.split("\n") if line]

    def value(self, source: str) -> str:
        """What maps and arguments hold, as a number."""
        return f"from_bfloat16({source})" if self.half else source

    def stored(self, source: str) -> str:
        """A number as maps and arguments hold it."""
        return f"to_bfloat16({source})" if self.half else source

    def gate(self, array: str, row: str, g: int) -> str:
        """The row of one map."""
        return f"{array}[{row}, {g} * H : {g + 1} * H]"

    def read(self, leaf: str, views: dict[str, str]) -> str:
        """The source of a leaf at unit j; `views` collects the rows it needs."""
        raise NotImplementedError

    def shared_read(self, leaf: str, views: dict[str, str]) -> str:
        """The same, for what both functions read alike."""
        if leaf in self.layout.vectors:
            number = self.layout.vectors.index(leaf)
            views[f"p{number}"] = f"vec[{number}]"
            return f"p{number}[j]"
        views["x_row"] = "x[at + i]"
        return "x_row[j]"

    def rows(self, views: dict[str, str], lines: Iterable[str]) -> None:
        """Every row of the step, every unit."""
        self.add("for i in range(rows):", 2)
        self.add("\n".join(f"{name} = {source}" for name, source in views.items()), 3)
        self.add("for j in range(H):", 3)
        self.add("\n".join(lines), 4)

    def program(
        self, program: Program, given: dict[str, str], views: dict[str, str]
    ) -> tuple[list[str], dict[str, str]]:
        """The lines of a program and the source of its results; what parameters alone decide is taken out."""
        program, arrays = self._take_out(program)
        leaves = {
            name: f"{arrays[name]}[j]" if name in arrays else given.get(name) or self.read(name, views)
            for name in program.inputs
        }
        return translate(program, leaves, self.layout.form.dtype)

    def _take_out(self, program: Program) -> tuple[Program, dict[str, str]]:
        vectors = set(self.layout.vectors)
        fixed: dict[str, Instruction] = {}
        for instruction in program.instructions:
            if all(not isinstance(name, str) or name in vectors or name in fixed for name in instruction.args):
                fixed[instruction.target] = instruction
        rest = tuple(instruction for instruction in program.instructions if instruction.target not in fixed)
        used = {name for instruction in rest for name in instruction.args} | {value for _, value in program.outputs}
        needed = [name for name in fixed if name in used]
        if not needed:
            return program, {}
        alone = Program(tuple(vectors), tuple(fixed.values()), tuple((name, name) for name in needed))
        leaves = {name: f"vec[{number}, j]" for number, name in enumerate(self.layout.vectors)}
        lines, values = translate(alone, leaves, self.layout.form.dtype, f"c{self._count}_")
        arrays = {}
        for name in needed:
            arrays[name] = f"fixed{self._count}"
            lines.append(f"fixed{self._count}[j] = {values[name]}")
            self._count += 1
        self._fixed += lines
        inputs = tuple(name for name in program.inputs if name in used)
        return Program((*inputs, *needed), rest, program.outputs), arrays

    def assemble(self, arguments: list[str], head: list[str], tail: list[str]) -> str:
        """The whole function."""
        dtype = self.layout.form.dtype
        lines = [_FUNCTION, f"def {self.name}({', '.join(arguments)}):", f"    zero = np.{dtype}(0.0)"]
        lines += ["    " + line for line in head]
        lines += [f"    fixed{k} = np.empty(H, np.{dtype})" for k in range(self._count)]
        if self._fixed:
            lines += ["    for j in range(H):", *("        " + line for line in self._fixed)]
        return "\n".join([*lines, *self._lines, *("    " + line for line in tail), "    return True"])


class _Forward(_Writer):
    name = "forward"

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._summed: set[str] = set()

    def function(self) -> str:
        """The source of `forward`."""
        layout, head = self.layout, ["H = y.shape[1]"]
        if layout.form.packed:
            head.append(f"held = np.zeros(({len(layout.products)}, 1), np.int64)")
        else:
            head += [
                f"found{k} = np.empty((most, {len(layout.products[k].maps)} * H), np.{layout.form.dtype})"
                for k in layout.recurrent
            ]
        self.add("for t in range(first.shape[0]):", 1)
        self.add("rows, at = count[t], first[t]\nstart = at if keep else 0", 2)
        self._begin()
        for k in layout.recurrent:
            if layout.source(k) is None:
                views = {"arg": f"arg{k}[start + i]"}
                lines, values = self.program(layout.argument(k), {}, views)
                self.rows(views, [*self._sums(views), *lines, f"arg[j] = {self.stored(values['argument'])}"])
            self._product(k)
        views = {f"now{number}": f"now_{state}[i]" for number, state in enumerate(layout.states)} | {"out": "y[at + i]"}
        lines, values = self.program(layout.output, {}, views)
        for number, state in enumerate(layout.states):
            lines.append(f"next{number} = {values[f'next {state}']}")
        keeps = self._keep(views)
        lines += [f"now{number}[j] = next{number}" for number in range(len(layout.states))]
        which = layout.derivation.output_state
        lines.append(f"out[j] = {values['output'] if which is None else f'next{which}'}")
        self.rows(views, [*self._sums(views), *lines])
        if keeps:
            self.add("if keep:", 2)
            self.add("for i in range(rows):", 3)
            self.add("\n".join(keeps), 4)
        if layout.form.packed:
            self.add("\n".join(f"release(weight{k}, held[{k}])" for k in layout.recurrent), 2)
        return self.assemble(layout.forward(), head, [])

    def _begin(self) -> None:
        """Empty what is reset, and put down where each sequence stands."""
        layout = self.layout
        if layout.states:
            self.add("if resets.shape[0] > 0:\n    for i in range(rows):\n        if resets[at + i] != 0:", 2)
            self.add("\n".join(f"now_{state}[i, :] = zero" for state in layout.states), 5)
        if layout.kept_states:
            self.add("if keep:\n    for i in range(rows):", 2)
            self.add("\n".join(f"was_{state}[at + i, :] = now_{state}[i]" for state in layout.kept_states), 4)
        for k in layout.arguments:
            state = layout.source(k)
            if state is not None:
                views = {"now": f"now_{state}[i]", "arg": f"arg{k}[start + i]"}
                self.rows(views, [f"arg[j] = {self.stored('now[j]')}"])

    def _product(self, k: int) -> None:
        state = self.layout.state_of(k)
        if not self.layout.form.packed:
            rows = f"now_{state}[:rows]" if state else f"arg{k}[start : start + rows]"
            self.add(f"product({rows}, weight{k}, found{k}[:rows])", 2)
            return
        argument = f"now_{state}" if state else f"arg{k}[start:]"
        self.add(
            f"""address{k} = multiply(weight{k}, {argument}.ctypes.data, tall[t], held[{k}])
if address{k} == 0:
    return False
found{k} = array_at(address{k}, rows, {len(self.layout.products[k].maps)} * H, {self._like(k)})""",
            2,
        )

    def _like(self, k: int) -> str:
        return f"arg{k}" if k in self.layout.arguments else "y"

    def _sums(self, views: dict[str, str]) -> list[str]:
        """Form the sums of merged maps that were met for the first time."""
        lines = []
        for inner, outer in self.layout.merged.items():
            k, g = self.layout.maps[outer]
            name = f"h{k}_{g}"
            if name in views and inner not in self._summed:
                self._summed.add(inner)
                m, n = self.layout.maps[inner]
                views[f"f{m}_{n}"] = self.gate(f"found{m}", "i", n)
                total = f"{self.value(f'{name}[j]')} + {self.value(f'f{m}_{n}[j]')}"
                lines += [f"sum_{name} = {total}", f"{name}[j] = {self.stored(f'sum_{name}')}"]
        return lines

    def _keep(self, views: dict[str, str]) -> list[str]:
        """Put down the results of maps inside the loop that the way back needs by themselves."""
        return [
            f"{self.gate(f'map{k}', 'at + i', g)} = {self.gate(f'found{k}', 'i', g)}"
            for leaf, (k, g) in self.layout.maps.items()
            if self.layout.products[k].level and self.layout.is_kept(leaf)
        ]

    def read(self, leaf: str, views: dict[str, str]) -> str:
        layout = self.layout
        if leaf in layout.maps:
            k, g = layout.maps[leaf]
            if layout.products[k].level:
                views[f"f{k}_{g}"] = self.gate(f"found{k}", "i", g)
                return self.value(f"f{k}_{g}[j]")
            views[f"h{k}_{g}"] = self.gate(f"map{k}", "at + i", g)
            waiting = leaf in {h for m, h in layout.merged.items() if m not in self._summed}
            return f"sum_h{k}_{g}" if waiting else self.value(f"h{k}_{g}[j]")
        if leaf in layout.states:
            number = layout.states.index(leaf)
            views[f"now{number}"] = f"now_{leaf}[i]"
            return f"now{number}[j]"
        return self.shared_read(leaf, views)


class _Backward(_Writer):
    name = "backward"

    def function(self) -> str:
        """The source of `backward`."""
        layout, head, tail = self.layout, ["H = dy.shape[1]"], []
        self.add("for t in range(first.shape[0] - 1, -1, -1):", 1)
        self.add("rows, at = count[t], first[t]", 2)
        if layout.form.packed:
            head.append("held = np.zeros(1, np.int64)")
        elif layout.recurrent:
            head.append(f"back = np.empty((most, H), np.{layout.form.dtype})")
        if layout.vectors:
            # Sums in two levels: a long one would lose digits.
            head.append("part = np.zeros_like(dvec)")
            self.add("if t % 16 == 15:\n    dvec += part\n    part[:] = zero", 2)
            tail.append("dvec += part")
        self._through_output()
        for k in reversed(layout.recurrent):
            self._through_product(k)
        if layout.states:
            self.add("if resets.shape[0] > 0:\n    for i in range(rows):\n        if resets[at + i] != 0:", 2)
            self.add("\n".join(f"dnow_{state}[i, :] = zero" for state in layout.states), 5)
        return self.assemble(layout.backward(), head, tail)

    def _through_output(self) -> None:
        layout = self.layout
        which, views = layout.derivation.output_state, {"dy_row": "dy[at + i]"}
        seeds = {"d output": "dy_row[j]"}
        for number, state in enumerate(layout.states):
            views[f"ds{number}"] = f"dnow_{state}[i]"
            seeds[f"d next {state}"] = f"ds{number}[j]" if number != which else f"(ds{number}[j] + dy_row[j])"
        lines, values = self.program(layout.output_adjoint, seeds, views)
        # Of what the step does not depend on, the adjoint is zero.
        leaves = [*layout.states, *layout.maps, *([layout.derivation.equations.input] if layout.raw else [])]
        given = dict.fromkeys(leaves, "zero") | {name[2:]: value for name, value in values.items()}
        self.rows(views, [*lines, *self._stores(given, views, add=False)])

    def _through_product(self, k: int) -> None:
        layout = self.layout
        if layout.form.packed:
            self.add(
                f"""address = multiply(weight{k}, dmap{k}[at:].ctypes.data, tall[t], held)
if address == 0:
    return False
back = array_at(address, rows, H, dmap{k})""",
                2,
            )
        else:
            self.add(f"product(dmap{k}[at : at + rows], weight{k}, back[:rows])", 2)
        views, value, state = {"back_row": "back[i]"}, self.value("back_row[j]"), layout.source(k)
        if state is None:
            lines, values = self.program(layout.argument_adjoint(k), {"d argument": value}, views)
            given = {name[2:]: result for name, result in values.items()}
            self.rows(views, [*lines, *self._stores(given, views, add=True)])
        else:
            self.rows(views, self._stores({state: value}, views, add=True))
        if layout.form.packed:
            self.add(f"release(weight{k}, held)", 2)

    def _stores(self, given: dict[str, str], views: dict[str, str], add: bool) -> list[str]:
        """Put down adjoints: of states, maps and the input anew, or with `add` added to what is there; of vectors
        always added."""
        layout = self.layout
        lines, stores, done = [], [], set()
        for number, (leaf, value) in enumerate(given.items()):
            place = self._place(leaf, views)
            if place in done:  # shared by a map outside and one inside
                continue
            done.add(place)
            lines.append(f"a{number} = {value}")
            if leaf in layout.maps:
                total = f"{self.value(place)} + a{number}" if add else f"a{number}"
                stores.append(f"{place} = {self.stored(total)}")
            else:
                stores.append(f"{place} {'+=' if add or leaf in layout.vectors else '='} a{number}")
        return [*lines, *stores]

    def _place(self, leaf: str, views: dict[str, str]) -> str:
        layout = self.layout
        if leaf in layout.maps:
            k, g = layout.maps[leaf]
            k = layout.shared.get(k, k)
            views[f"dm{k}_{g}"] = self.gate(f"dmap{k}", "at + i", g)
            return f"dm{k}_{g}[j]"
        if leaf in layout.states:
            number = layout.states.index(leaf)
            views[f"ds{number}"] = f"dnow_{leaf}[i]"
            return f"ds{number}[j]"
        if leaf in layout.vectors:
            number = layout.vectors.index(leaf)
            views[f"dp{number}"] = f"part[{number}]"
            return f"dp{number}[j]"
        views["dx_row"] = "dx[at + i]"
        return "dx_row[j]"

    def read(self, leaf: str, views: dict[str, str]) -> str:
        layout = self.layout
        if leaf in layout.maps:
            k, g = layout.maps[leaf]
            views[f"m{k}_{g}"] = self.gate(f"map{k}", "at + i", g)
            return self.value(f"m{k}_{g}[j]")
        if leaf in layout.states:
            number = layout.states.index(leaf)
            views[f"s{number}"] = f"was_{leaf}[at + i]"
            return f"s{number}[j]"
        return self.shared_read(leaf, views)
