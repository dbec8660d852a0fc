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
_SIZES = "steps, batch, units, wide, inputs, in_wide, looked_up"


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


class _Writer:
    """Writes the functions of one cell."""

    def __init__(self, equations: Equations, dtype: str) -> None:
        self.equations, self.dtype, self.derivation = equations, dtype, derive(equations)
        self.stages = list(enumerate(self.derivation.products))
        self.names = list(arrays(equations))
        self.parameter = {name: index for index, name in enumerate(equations.parameters)}
        self.zero = number(0.0, dtype)

    def _arguments(self) -> str:
        return f"{_SIZES}, resets, {', '.join(self.names)}"

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
                read[name] = f"w{self.parameter[name]}[j]"
                continue
            array, wide = self._array(index), self._wide(index)[1]
            lines.append(f"r_{array} = {array}[(row + b) * {wide} : (row + b + 1) * {wide}]")
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

    def _state_slice(self, name: str, array: str, at: str) -> str:
        return f"{name} = {array}[({at}) * wide : ({at} + 1) * wide]"

    def forward(self) -> list[str]:
        """The function that runs over time, from the rows of states before the first step."""
        lines = self._plain_products()
        step = ["row = t * batch", "if resets.size:", *_indented(self._resets("s", "row + b"))]
        for number_, stage in self.stages:
            if not is_plain(self.equations, stage):
                step += self._forward_stage(number_, stage)
        program, ends, slices = self.derivation.output_program, [], []
        for index, state in enumerate(self.equations.states):
            slices.append(self._state_slice(f"n_s{index}", f"s{index}", "row + batch + b"))
            ends.append((f"next {state}", f"n_s{index}[j]", False))
        slices.append(self._state_slice("r_y", "y", "row + b"))
        which = self.derivation.output_state
        output = "output" if which is None else f"next {self.equations.states[which]}"
        ends.append((output, "r_y[j]", False))
        step += self._loop(program, ("units", "wide"), slices, {}, ends)
        lines += ["for t in range(steps):", *_indented(step)]
        return [f"@njit({_NJIT})", f"def forward({self._arguments()}):", *_indented(lines)]

    def _resets(self, prefix: str, at: str) -> list[str]:
        inner = [f"{prefix}{index}[({at}) * wide : ({at} + 1) * wide] = {self.zero}"
                 for index in range(len(self.equations.states))]  # fmt: skip
        return ["for b in range(batch):", "    if resets[row + b]:", *_indented(inner, 2)]

    def _plain_products(self) -> list[str]:
        lines = []
        for _, stage in self.stages:
            if is_plain(self.equations, stage):
                for node, weight in zip(stage.maps, stage.weights, strict=True):
                    lines.append(
                        f"product(m{node}, 0, wide, x, 0, in_wide, 1, t{self.parameter[weight]}, 0, wide, "
                        "steps * batch, wide, inputs, False)"
                    )
        return ["if not looked_up:", *_indented(lines or ["pass"])]

    def _value(self, index: int, stage: Product) -> tuple[str, str, str]:
        """The array of a product's argument, the row of a step's first stream in it, and what a stream's row is long;
        that of a parameter is the same for all."""
        node, wide = self.equations.nodes[stage.argument], self._wide(stage.argument)[1]
        if node.op == "parameter":
            return f"w{self.parameter[node.name]}", "0", "0"
        array = self._array(stage.argument) if self.derivation.is_leaf(stage.argument) else f"v{index}"
        return array, f"row * {wide}", wide

    def _forward_stage(self, index: int, stage: Product) -> list[str]:
        lines, (depth, wide) = [], self._wide(stage.argument)
        if not self.derivation.is_leaf(stage.argument):
            slices = [f"r_v = v{index}[(row + b) * {wide} : (row + b + 1) * {wide}]"]
            program = self.derivation.argument_programs[stage]
            lines += self._loop(program, (depth, wide), slices, {}, [("argument", "r_v[j]", False)])
        array, begin, stride = self._value(index, stage)
        for node, weight in zip(stage.maps, stage.weights, strict=True):
            lines.append(
                f"product(m{node}, row * wide, wide, {array}, {begin}, {stride}, 1, t{self.parameter[weight]}, 0, "
                f"wide, batch, wide, {depth}, False)"
            )
        return lines

    def backward(self) -> list[str]:
        """The function that goes back, from dy and the adjoints of the states after the last step."""
        vectors = [index for index, kind in enumerate(self.equations.parameters.values()) if kind == "vector"]
        lines = [f"g{index}[:] = {self.zero}" for index in vectors] + [f"dx[:] = {self.zero}"]
        lines += [f"ds{index}[:] = {self.zero}" for index in range(len(self.equations.states))]
        step = ["row = t * batch", *self._backward_output()]
        for index, stage in reversed(self.stages):
            if not is_plain(self.equations, stage):
                step += self._backward_stage(index, stage)
        step += ["if resets.size:", *_indented(self._resets("ds", "b"))]
        lines += ["for t in range(steps - 1, -1, -1):", *_indented(step), *self._weights()]
        return [f"@njit({_NJIT})", f"def backward({self._arguments()}):", *_indented(lines)]

    def _adjoint_ends(self, program: Program, first: bool) -> tuple[list[str], list[tuple[str, str, bool]]]:
        """Where the adjoints of leaves go; the first program of a step writes what later ones add to."""
        given, slices, ends = {name for name, _ in program.outputs}, [], []
        for index, node in enumerate(self.equations.nodes):
            name = f"d {leaf_name(self.equations, index)}" if node.op in ("map", "input") else ""
            if name and (name in given or (first and node.op == "map")):
                array, wide = ("dx", "in_wide") if node.op == "input" else (f"d{index}", "wide")
                slices.append(f"r_{array} = {array}[(row + b) * {wide} : (row + b + 1) * {wide}]")
                ends.append((name, f"r_{array}[j]", not first or node.op == "input"))
        for index, state in enumerate(self.equations.states):
            if first or f"d {state}" in given:
                slices.append(f"r_ds{index} = ds{index}[b * wide : (b + 1) * wide]")
                ends.append((f"d {state}", f"r_ds{index}[j]", not first))
        ends += [(f"d {name}", f"g{index}[j]", True) for name, index in self.parameter.items() if f"d {name}" in given]
        # An input that is a node more than once is a leaf once.
        return list(dict.fromkeys(slices)), list(dict.fromkeys(ends))

    def _backward_output(self) -> list[str]:
        program, which = self.derivation.output_adjoint, self.derivation.output_state
        slices, ends = self._adjoint_ends(program, first=True)
        slices.append(self._state_slice("r_dy", "dy", "row + b"))
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
        into, begin, add = f"dv{index}", "0", False
        if node.op == "state":
            into, add = f"ds{self.equations.states.index(node.name)}", True
        elif node.op == "map":
            into, begin, add = f"d{stage.argument}", "row * wide", True
        streams, result_wide = "batch", wide
        for map_, weight in zip(stage.maps, stage.weights, strict=True):
            if node.op == "parameter":
                # The sum over streams: all their rows go to the one row of the gradient.
                target = f"g{self.parameter[node.name]}"
                lines += ["for b in range(batch):",
                          f"    product({target}, 0, wide, d{map_}, (row + b) * wide, wide, 1, "
                          f"w{self.parameter[weight]}, 0, wide, 1, wide, units, True)"]  # fmt: skip
                continue
            lines.append(
                f"product({into}, {begin}, {result_wide}, d{map_}, row * wide, wide, 1, w{self.parameter[weight]}, 0, "
                f"{wide}, {streams}, {wide}, units, {add})"
            )
            add = True
        if not self.derivation.is_leaf(stage.argument):
            program = self.derivation.argument_adjoint(stage)
            slices, ends = self._adjoint_ends(program, first=False)
            slices.append(f"r_dv = dv{index}[b * {wide} : (b + 1) * {wide}]")
            lines += self._loop(program, (size, wide), slices, {"d argument": "r_dv[j]"}, ends)
        return lines

    def _weights(self) -> list[str]:
        """The gradient of every matrix, and what the input gets from maps of it."""
        lines: list[str] = []
        plain: list[str] = []
        written: set[str] = set()
        for index, stage in self.stages:
            here = plain if is_plain(self.equations, stage) else lines
            array, _, stride = self._value(index, stage)
            wide = self._wide(stage.argument)[1]
            for node, weight in zip(stage.maps, stage.weights, strict=True):
                which = self.parameter[weight]
                here.append(
                    f"product(g{which}, 0, {wide}, d{node}, 0, 1, wide, {array}, 0, {stride}, units, {wide}, "
                    f"steps * batch, {weight in written})"
                )
                if here is plain:
                    here.append(
                        f"product(dx, 0, in_wide, d{node}, 0, wide, 1, w{which}, 0, in_wide, steps * batch, in_wide, "
                        "units, True)"
                    )
                written.add(weight)
        return ["if not looked_up:", *_indented(plain or ["pass"]), *lines]

    def train(self) -> str:
        """The function `train`, from its template."""
        slices, transposed, slots = [], [], []
        for column, (name, like) in enumerate(arrays(self.equations).items()):
            home = {"w": "w", "g": "g"}[like[0]] if like.startswith(("weight", "gradient")) else "scratch"
            slices.append(f"{name} = {home}[at[layer, {2 * column}] : at[layer, {2 * column + 1}]]")
            if like.startswith("transposed"):
                parameter = like.partition(" ")[2]
                of_input = parameter in input_matrices(self.equations)
                is_input = self.equations.parameters[parameter] == "input matrix"
                columns, wide = ("inputs", "in_wide") if is_input else ("units", "wide")
                call = f"transpose(w{name[1:]}, {wide}, units, {columns}, {name}, wide)"
                transposed.append(f"if not looked_up: {call}" if of_input else call)
        look, back = [], []
        for _, stage in self.stages:
            if is_plain(self.equations, stage):
                for node, weight in zip(stage.maps, stage.weights, strict=True):
                    slot = input_matrices(self.equations).index(weight)
                    slots.append(slot)
                    look.append(f"gather(table, width, {slot} * wide, wide, ids, m{node})")
                    back.append(f"scatter(g_table, width, {slot} * wide, wide, ids, d{node})")
        states = range(len(self.equations.states))
        place = [f"(layer * {len(states)} + {index}) * batch * wide" for index in states]
        given = [f"copy(s{i}, 0, carried, {place[i]}, batch * wide)" for i in states]
        kept = [f"copy(carried, {place[i]}, s{i}, rows * wide, batch * wide)" for i in states]
        blocks = {
            "SLICES": slices, "TRANSPOSED": transposed, "GIVEN": given, "KEPT": kept,
            "LOOK_UP": look or ["pass"], "SCATTER": back or ["pass"],
        }  # fmt: skip
        lines = []
        for line in _TRAIN.replace("ARGUMENTS", self._arguments()).replace("DTYPE", self.dtype).splitlines():
            block = blocks.get(line.strip())
            indent = line[: len(line) - len(line.lstrip())]
            lines += [line] if block is None else [indent + inner for inner in block]
        return "\n".join(lines) + "\n"


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
    w_out, g_out = w[ends[3] : ends[4]], g[ends[3] : ends[4]]
    w_bias, g_bias = w[ends[5] : ends[6]], g[ends[5] : ends[6]]
    table, g_table = w[ends[1] : ends[2]], g[ends[1] : ends[2]]
    t_out, logits = scratch[ends[7] : ends[8]], scratch[ends[8] : ends[9]]
    largest, longest = np.DTYPE(hyper[4]), hyper[5]
    touched = np.empty(rows, np.int64)
    for update in range(rates.size):
        ids, targets = all_ids[update * rows : (update + 1) * rows], all_targets[update * rows : (update + 1) * rows]
        resets = all_resets[update * rows : (update + 1) * rows]
        weights = all_weights[update * rows : (update + 1) * rows]
        if fresh[update]:
            carried[:] = np.DTYPE(0)
        transpose(w_out, wide, symbols, units, t_out, sy_wide)
        for layer in range(layers):
            looked_up = one_hot and layer == 0
            inputs, in_wide = (embedding, em_wide) if layer == 0 else (units, wide)
            SLICES
            TRANSPOSED
            GIVEN
            if looked_up:
                LOOK_UP
            elif layer == 0:
                gather(table, width, 0, em_wide, ids, x)
            forward(ARGUMENTS)
            KEPT
            if layer == layers - 1:
                product(logits, 0, sy_wide, y, 0, wide, 1, t_out, 0, sy_wide, rows, sy_wide, units, False)
        if counted[update] == 0:
            losses[0, update] = losses[1, update] = 0.0
            continue
        scale = np.DTYPE(1 / over[update])
        weighted = weights.size > 0
        total = softmax(logits, sy_wide, symbols, targets, weights, weighted, scale, w_bias, g_bias)
        for layer in range(layers - 1, -1, -1):
            looked_up = one_hot and layer == 0
            inputs, in_wide = (embedding, em_wide) if layer == 0 else (units, wide)
            SLICES
            if layer == layers - 1:
                product(dy, 0, wide, logits, 0, sy_wide, 1, w_out, 0, wide, rows, wide, symbols, False)
                product(g_out, 0, wide, logits, 0, 1, sy_wide, y, 0, wide, symbols, wide, rows, False)
            backward(ARGUMENTS)
            if looked_up:
                SCATTER
            elif layer == 0:
                scatter(g_table, width, 0, em_wide, ids, dx)
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
