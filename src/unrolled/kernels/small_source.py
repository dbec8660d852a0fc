"""The source of a small net's training step: the recurrence of its cell over time and back, and updates one by one.

Maps of the plain input come ready (as a product over all time steps, or as a table's rows); all other products, and the
arithmetic between them, are done step by step, in the order of the derivation's stages. Going back, gates are computed
again from what the maps gave; gradients of matrices are one product over all time steps each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from unrolled.cells import Equations
from unrolled.cells.derivation import Product, Program, derive, leaf_name
from unrolled.kernels import small_parts, tiles
from unrolled.kernels.source import HEADER, number, translate

__all__ = ["arrays", "input_matrices", "is_plain", "source"]

_NJIT = 'fastmath=FLAGS, error_model="numpy", nogil=True'
_GIVEN = "ids, resets, w, g, scratch, carried, table, width"
_ARGUMENTS = f"steps, batch, units, wide, inputs, in_wide, looked_up, layer, at, {_GIVEN}"


def is_plain(equations: Equations, stage: Product) -> bool:
    """Whether a product is of the input as it comes."""
    return equations.nodes[stage.argument].op == "input"


def input_matrices(equations: Equations) -> tuple[str, ...]:
    """The matrices that are applied to the input as it comes."""
    stages = [stage for stage in derive(equations).products if is_plain(equations, stage)]
    return tuple(dict.fromkeys(name for stage in stages for name in stage.weights))


def arrays(equations: Equations) -> dict[str, str]:
    """Every array of a layer: its name in the source and what it is like.

    "weight NAME" and "gradient NAME" are of a parameter, "transposed NAME" is (columns, wide) of a matrix; "steps" has
    a row for every time step and stream, "before" one step more, "step" the rows of one step, each `wide` long, or
    `in_wide` where it begins with "input ".
    """
    derivation = derive(equations)
    found: dict[str, str] = {}
    for index, (name, kind) in enumerate(equations.parameters.items()):
        found |= {f"w{index}": f"weight {name}", f"g{index}": f"gradient {name}"}
        if kind != "vector":
            found[f"t{index}"] = f"transposed {name}"
    for index, node in enumerate(equations.nodes):
        if node.op == "map":
            found |= {f"m{index}": "steps", f"d{index}": "steps"}
    for index in range(len(equations.states)):
        found |= {f"s{index}": "before", f"ds{index}": "step"}
    for index, stage in enumerate(derivation.products):
        if not derivation.is_leaf(stage.argument):
            prefix = "input " if equations.kind(stage.argument) == "input" else ""
            found |= {f"v{index}": f"{prefix}steps", f"dv{index}": f"{prefix}step"}
    return found | {"x": "input steps", "dx": "input steps", "y": "steps", "dy": "steps"}


def source(equations: Equations, dtype: str) -> str:
    """A module with `train(...)`, see `_TRAIN`; `dtype` is "float32" or "float64"."""
    parts = "".join(Path(str(module.__file__)).read_text() for module in (small_parts, tiles))
    digest = hashlib.sha256(parts.encode()).hexdigest()
    writer = _Writer(equations, dtype)
    lines = [
        HEADER + "from unrolled.kernels.small_parts import adapt, clip, copy, gather, scatter, softmax, transpose",
        "from unrolled.kernels.tiles import product",
        f"# calls functions of {digest}",
        *writer.forward(),
        *writer.backward(),
    ]
    return "\n".join(lines) + "\n" + writer.train()


def _indented(lines: Iterable[str], levels: int = 1) -> list[str]:
    return ["    " * levels + line for line in lines]


def _row(array: str, row: str, wide: str, prefix: str = "r") -> str:
    """An assignment to the slice that is a row of an array."""
    return f"{prefix}_{array} = scratch[{array} + ({row}) * {wide} : {array} + ({row} + 1) * {wide}]"


class _Writer:
    """Writes the functions of one cell."""

    def __init__(self, equations: Equations, dtype: str) -> None:
        self.equations, self.dtype, self.derivation = equations, dtype, derive(equations)
        self.stages = list(enumerate(self.derivation.products))
        self.names = list(arrays(equations))
        self.parameter = {name: index for index, name in enumerate(equations.parameters)}
        self.vectors = [index for index, kind in enumerate(equations.parameters.values()) if kind == "vector"]
        self.zero = number(0.0, dtype)

    def _function(self, name: str, lines: list[str]) -> list[str]:
        """A function of one layer. The names of arrays are where they begin; `p0` is a parameter of H units, `q0` its
        gradient."""
        places = [f"{array} = at[{2 * column}]" for column, array in enumerate(self.names)]
        units = [
            line for k in self.vectors for line in (f"p{k} = w[w{k} : w{k} + wide]", f"q{k} = g[g{k} : g{k} + wide]")
        ]
        body = [*places, *units, "rows = steps * batch", *lines]
        return [f"@njit({_NJIT})", f"def {name}({_ARGUMENTS}):", *_indented(body)]

    def _wide(self, index: int) -> tuple[str, str]:
        """How many numbers a node has, and how long its rows are."""
        return ("inputs", "in_wide") if self.equations.kind(index) == "input" else ("units", "wide")

    def _array(self, index: int) -> str:
        """The array that holds a leaf that changes with time: its rows are those of time steps and streams."""
        node = self.equations.nodes[index]
        if node.op == "map":
            return f"m{index}"
        return "x" if node.op == "input" else f"s{self.equations.states.index(node.name)}"

    def _leaves(self, program: Program) -> tuple[list[str], dict[str, str]]:
        """Slices of what a program reads, for stream b of a step; and how its inputs are read from them."""
        lines, read = [], {}
        held = {leaf_name(self.equations, index): index for index in range(len(self.equations.nodes))
                if self.derivation.is_leaf(index)}  # fmt: skip
        for name in program.inputs:
            if name not in held:
                continue
            index = held[name]
            if name in self.parameter:
                read[name] = f"p{self.parameter[name]}[j]"
                continue
            array, wide = self._array(index), self._wide(index)[1]
            lines.append(_row(array, "row + b", wide))
            read[name] = f"r_{array}[j]"
        return lines, read

    def _loop(self, program: Program, size: tuple[str, str], slices: list[str], leaves: dict[str, str],
              ends: list[tuple[str, str, bool]]) -> list[str]:  # fmt: skip
        """A program for every stream and unit: `ends` says where each result goes, and whether it is added there."""
        read, known = self._leaves(program)
        body, results = translate(program, known | leaves, self.dtype, prefix="e")
        body.append(f"inside = j < {size[0]}")
        for name, to, add in ends:
            value = results.get(name, self.zero)
            body.append(f"{to} {'+=' if add else '='} {value} if inside else {self.zero}")
        each = [*read, *slices, f"for j in range({size[1]}):", *_indented(body)]
        return ["for b in range(batch):", *_indented(each)]

    def forward(self) -> list[str]:
        """The function that runs over time, from the rows of states before the first step."""
        lines = [*self._transposed(), *self._carry("copy(scratch, s{0}, carried, {1}, batch * wide)")]
        lines += self._plain_products()
        step = ["row = t * batch", "if resets.size:", *_indented(self._resets("s", "row + b"))]
        for number_, stage in self.stages:
            if not is_plain(self.equations, stage):
                step += self._forward_stage(number_, stage)
        program, ends, slices = self.derivation.output_program, [], []
        for index, state in enumerate(self.equations.states):
            slices.append(_row(f"s{index}", "row + batch + b", "wide", "n"))
            ends.append((f"next {state}", f"n_s{index}[j]", False))
        slices.append(_row("y", "row + b", "wide"))
        which = self.derivation.output_state
        output = "output" if which is None else f"next {self.equations.states[which]}"
        ends.append((output, "r_y[j]", False))
        step += self._loop(program, ("units", "wide"), slices, {}, ends)
        lines += ["for t in range(steps):", *_indented(step)]
        lines += self._carry("copy(carried, {1}, scratch, s{0} + rows * wide, batch * wide)")
        return self._function("forward", lines)

    def _carry(self, call: str) -> list[str]:
        """A copy of each state from or to where it is kept between updates."""
        count = len(self.equations.states)
        return [call.format(index, f"(layer * {count} + {index}) * batch * wide") for index in range(count)]

    def _transposed(self) -> list[str]:
        lines, of_input = [], input_matrices(self.equations)
        for index, (name, kind) in enumerate(self.equations.parameters.items()):
            if kind != "vector":
                columns, wide = ("inputs", "in_wide") if kind == "input matrix" else ("units", "wide")
                call = f"transpose(w, w{index}, {wide}, units, {columns}, scratch, t{index}, wide)"
                lines.append(f"if not looked_up: {call}" if name in of_input else call)
        return lines

    def _resets(self, prefix: str, at: str) -> list[str]:
        inner = [f"scratch[{prefix}{index} + ({at}) * wide : {prefix}{index} + ({at} + 1) * wide] = {self.zero}"
                 for index in range(len(self.equations.states))]  # fmt: skip
        return ["for b in range(batch):", "    if resets[row + b]:", *_indented(inner, 2)]

    def _plain_products(self) -> list[str]:
        lines = []
        for _, stage in self.stages:
            if is_plain(self.equations, stage):
                for node, weight in zip(stage.maps, stage.weights, strict=True):
                    matrix = f"scratch, t{self.parameter[weight]}, wide"
                    lines.append(
                        f"product(scratch, m{node}, wide, scratch, x, in_wide, 1, {matrix}, rows, wide, inputs, False)"
                    )
        look = [f"gather(table, width, {slot} * wide, wide, ids, scratch, m{node})" for slot, node in self._slots()]
        embed = ["if layer == 0:", "    gather(table, width, 0, in_wide, ids, scratch, x)"]
        return ["if looked_up:", *_indented(look or ["pass"]), "else:", *_indented([*embed, *lines])]

    def _slots(self) -> list[tuple[int, int]]:
        """Of every map of the plain input: which part of the table's rows holds its matrix, and its node."""
        names = input_matrices(self.equations)
        plain = [stage for _, stage in self.stages if is_plain(self.equations, stage)]
        pairs = [pair for stage in plain for pair in zip(stage.weights, stage.maps, strict=True)]
        return [(names.index(weight), node) for weight, node in pairs]

    def _value(self, index: int, stage: Product) -> tuple[str, str, str]:
        """A product's argument: the array and the place in it where its rows begin, and how long a row is; that of a
        parameter is the same row for all."""
        node, wide = self.equations.nodes[stage.argument], self._wide(stage.argument)[1]
        if node.op == "parameter":
            return "w", f"w{self.parameter[node.name]}", "0"
        return "scratch", self._array(stage.argument) if self.derivation.is_leaf(stage.argument) else f"v{index}", wide

    def _forward_stage(self, index: int, stage: Product) -> list[str]:
        lines, (depth, wide) = [], self._wide(stage.argument)
        if not self.derivation.is_leaf(stage.argument):
            slices, program = [_row(f"v{index}", "row + b", wide)], self.derivation.argument_programs[stage]
            lines += self._loop(program, (depth, wide), slices, {}, [("argument", f"r_v{index}[j]", False)])
        home, begin, stride = self._value(index, stage)
        for node, weight in zip(stage.maps, stage.weights, strict=True):
            lines.append(
                f"product(scratch, m{node} + row * wide, wide, {home}, {begin} + row * {stride}, {stride}, 1, scratch, "
                f"t{self.parameter[weight]}, wide, batch, wide, {depth}, False)"
            )
        return lines

    def backward(self) -> list[str]:
        """The function that goes back, from dy and the adjoints of the states after the last step."""
        lines = [f"q{index}[:] = {self.zero}" for index in self.vectors]
        lines.append(f"scratch[dx : dx + rows * in_wide] = {self.zero}")
        states = range(len(self.equations.states))
        lines += [f"scratch[ds{index} : ds{index} + batch * wide] = {self.zero}" for index in states]
        step = ["row = t * batch", *self._backward_output()]
        for index, stage in reversed(self.stages):
            if not is_plain(self.equations, stage):
                step += self._backward_stage(index, stage)
        step += ["if resets.size:", *_indented(self._resets("ds", "b"))]
        lines += ["for t in range(steps - 1, -1, -1):", *_indented(step), *self._weights()]
        return self._function("backward", lines)

    def _adjoint_ends(self, program: Program, first: bool) -> tuple[list[str], list[tuple[str, str, bool]]]:
        """Where the adjoints of leaves go; the first program of a step writes what later ones add to."""
        given, slices, ends = {name for name, _ in program.outputs}, [], []
        for index, node in enumerate(self.equations.nodes):
            name = f"d {leaf_name(self.equations, index)}" if node.op in ("map", "input") else ""
            if name and (name in given or (first and node.op == "map")):
                array, wide = ("dx", "in_wide") if node.op == "input" else (f"d{index}", "wide")
                slices.append(_row(array, "row + b", wide))
                ends.append((name, f"r_{array}[j]", not first or node.op == "input"))
        for index, state in enumerate(self.equations.states):
            if first or f"d {state}" in given:
                slices.append(_row(f"ds{index}", "b", "wide"))
                ends.append((f"d {state}", f"r_ds{index}[j]", not first))
        ends += [(f"d {name}", f"q{index}[j]", True) for name, index in self.parameter.items() if f"d {name}" in given]
        # An input that is a node more than once is a leaf once.
        return list(dict.fromkeys(slices)), list(dict.fromkeys(ends))

    def _backward_output(self) -> list[str]:
        program, which = self.derivation.output_adjoint, self.derivation.output_state
        slices, ends = self._adjoint_ends(program, first=True)
        slices.append(_row("dy", "row + b", "wide"))
        leaves = {f"d next {state}": f"r_ds{index}[j]" for index, state in enumerate(self.equations.states)}
        if which is None:
            leaves["d output"] = "r_dy[j]"
        else:
            state = self.equations.states[which]
            leaves[f"d next {state}"] = f"(r_ds{which}[j] + r_dy[j])"
        return self._loop(program, ("units", "wide"), slices, leaves, ends)

    def _backward_stage(self, index: int, stage: Product) -> list[str]:
        """Pass on the adjoints of a product's results to what it is of."""
        node, lines = self.equations.nodes[stage.argument], []
        size, wide = self._wide(stage.argument)
        into, add = f"dv{index}", False
        if node.op == "state":
            into, add = f"ds{self.equations.states.index(node.name)}", True
        elif node.op == "map":
            into, add = f"d{stage.argument} + row * wide", True
        for map_, weight in zip(stage.maps, stage.weights, strict=True):
            matrix = f"w, w{self.parameter[weight]}, {wide}"
            if node.op == "parameter":
                # All streams have the one row: their sum is formed there.
                result = f"g, g{self.parameter[node.name]}, 0"
                call = (
                    f"product({result}, scratch, d{map_} + (row + b) * wide, wide, 1, {matrix}, 1, wide, units, True)"
                )
                lines += ["for b in range(batch):", f"    {call}"]
                continue
            call = f"product(scratch, {into}, {wide}, scratch, d{map_} + row * wide, wide, 1, {matrix}"
            lines.append(f"{call}, batch, {wide}, units, {add})")
            add = True
        if not self.derivation.is_leaf(stage.argument):
            program = self.derivation.argument_adjoint(stage)
            slices, ends = self._adjoint_ends(program, first=False)
            slices.append(_row(f"dv{index}", "b", wide))
            lines += self._loop(program, (size, wide), slices, {"d argument": f"r_dv{index}[j]"}, ends)
        return lines

    def _weights(self) -> list[str]:
        """The gradient of every matrix, and what the input gets from maps of it."""
        lines: list[str] = []
        plain: list[str] = []
        written: set[str] = set()
        for index, stage in self.stages:
            here = plain if is_plain(self.equations, stage) else lines
            home, begin, stride = self._value(index, stage)
            wide = self._wide(stage.argument)[1]
            for node, weight in zip(stage.maps, stage.weights, strict=True):
                which = self.parameter[weight]
                here.append(
                    f"product(g, g{which}, {wide}, scratch, d{node}, 1, wide, {home}, {begin}, {stride}, units, "
                    f"{wide}, rows, {weight in written})"
                )
                if here is plain:
                    here.append(
                        f"product(scratch, dx, in_wide, scratch, d{node}, wide, 1, w, w{which}, in_wide, rows, "
                        "in_wide, units, True)"
                    )
                written.add(weight)
        back = [f"scatter(table, width, {slot} * wide, wide, ids, scratch, d{node})" for slot, node in self._slots()]
        embed = ["if layer == 0:", "    scatter(table, width, 0, in_wide, ids, scratch, dx)"]
        return ["if looked_up:", *_indented(back or ["pass"]), "else:", *_indented([*plain, *embed]), *lines]

    def train(self) -> str:
        """The function `train`, from its template."""
        text = _TRAIN.replace("DTYPE", self.dtype)
        return text.replace("COLUMN_DY", str(2 * self.names.index("dy"))).replace(
            "COLUMN_Y", str(2 * self.names.index("y"))
        )


# Updates one after the other, until they are done or a loss or gradient is not finite: then that update is not made.
# `sizes` is what its first line says, `ends` where matrices, vectors and the table end among the weights, `at` where
# each array of a layer begins and ends; per update there are `rates`, `over` (what the loss is divided by), `counted`
# (targets that count) and `fresh`; ids, targets, resets and weights have a number for each time step and stream.
_SIGNATURE = (
    "int64(int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[::1], boolean[::1], {0}[::1], boolean[::1], "
    "int64[::1], float64[::1], float64[::1], {0}[::1], {0}[::1], {0}[::1], {0}[::1], {0}[::1], {0}[::1], int64[::1], "
    "float64[::1], float64[::1], int64[::1], float64[:, ::1])"
).format("DTYPE")

_TRAIN = f'''
@njit("{_SIGNATURE}", cache=True, {_NJIT})
def train(
    sizes, ends, at, all_ids, all_targets, all_resets, all_weights, fresh, counted, over, rates, w, g, m, n, scratch,
    carried, marks, hyper, decays, updates, losses,
):
    steps, batch, units, wide, embedding, em_wide, symbols, sy_wide, layers, width, kind, sparse = sizes[:12]
    rows, one_hot = steps * batch, embedding == 0
    y, dy = at[layers - 1, COLUMN_Y], at[layers - 1, COLUMN_DY]
    w_bias, g_bias = w[ends[5] : ends[6]], g[ends[5] : ends[6]]
    table, g_table = w[ends[1] : ends[2]], g[ends[1] : ends[2]]
    logits = scratch[ends[8] : ends[9]]
    largest, longest = np.DTYPE(hyper[4]), hyper[5]
    touched = np.empty(rows, np.int64)
    for update in range(rates.size):
        ids, targets = all_ids[update * rows : (update + 1) * rows], all_targets[update * rows : (update + 1) * rows]
        resets = all_resets[update * rows : (update + 1) * rows]
        weights = all_weights[update * rows : (update + 1) * rows]
        if fresh[update]:
            carried[:] = np.DTYPE(0)
        transpose(w, ends[3], wide, symbols, units, scratch, ends[7], sy_wide)
        for level in range(layers):
            looked_up = one_hot and level == 0
            inputs, in_wide = (embedding, em_wide) if level == 0 else (units, wide)
            forward(
                steps, batch, units, wide, inputs, in_wide, looked_up, level, at[level], ids, resets, w, g, scratch,
                carried, table, width,
            )
        product(scratch, ends[8], sy_wide, scratch, y, wide, 1, scratch, ends[7], sy_wide, rows, sy_wide, units, False)
        if counted[update] == 0:
            losses[0, update] = losses[1, update] = 0.0
            continue
        scale = np.DTYPE(1 / over[update])
        weighted = weights.size > 0
        total = softmax(logits, sy_wide, symbols, targets, weights, weighted, scale, w_bias, g_bias)
        product(scratch, dy, wide, scratch, ends[8], sy_wide, 1, w, ends[3], wide, rows, wide, symbols, False)
        product(g, ends[3], wide, scratch, ends[8], 1, sy_wide, scratch, y, wide, symbols, wide, rows, False)
        for level in range(layers - 1, -1, -1):
            looked_up = one_hot and level == 0
            inputs, in_wide = (embedding, em_wide) if level == 0 else (units, wide)
            backward(
                steps, batch, units, wide, inputs, in_wide, looked_up, level, at[level], ids, resets, w, g, scratch,
                carried, g_table, width,
            )
        found = 0
        for i in range(rows):
            if not marks[ids[i]]:
                marks[ids[i]] = 1
                touched[found] = ids[i]
                found += 1
        for i in range(found):
            marks[touched[i]] = 0
        squares = clip(g, 0, ends[1], largest)
        for i in range(found):
            squares += clip(g_table, touched[i] * width, (touched[i] + 1) * width, largest)
        norm = np.sqrt(squares)
        losses[0, update], losses[1, update] = total, norm
        if not (np.isfinite(total) and np.isfinite(norm)):
            g_table[:] = np.DTYPE(0)
            return update
        scale_by, rate = longest / norm if 0 < longest < norm else 1.0, rates[update]
        updates[0] += 1
        adapt(kind, w, g, m, n, 0, ends[0], updates[0], scale_by, rate, decays[0], hyper)
        adapt(kind, w, g, m, n, ends[0], ends[1], updates[0], scale_by, rate, 0.0, hyper)
        if sparse:
            for i in range(found):
                begin = ends[1] + touched[i] * width
                adapt(kind, w, g, m, n, begin, begin + width, updates[0], scale_by, rate, 0.0, hyper)
        else:
            adapt(kind, w, g, m, n, ends[1], ends[2], updates[0], scale_by, rate, decays[1], hyper)
        for i in range(found):
            g_table[touched[i] * width : (touched[i] + 1) * width] = np.DTYPE(0)
    return rates.size
'''
