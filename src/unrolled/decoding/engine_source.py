"""The source of a stepping engine: one compiled function that reads, scores and chooses symbols with any cell.

Everything a step does is in it: the embedding, every layer's products and gates, the output layer, the softmax, the
choice of the next symbol. Sizes come at run time, so that one module serves all networks of a cell. Arrays are flat:
`x[s * wide + j]` is unit j of stream s.

Axes: T steps, S streams, L layers, D inputs, H hidden, V vocabulary.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unrolled.cells.derivation import Derivation, Product, Program, leaf_name
from unrolled.decoding import tiles
from unrolled.kernels.source import HEADER, translate

__all__ = ["LOGITS", "READ", "SAMPLE", "SCORE", "Precision", "engine_source"]

Precision = Literal["float32", "bfloat16", "int8"]
# What comes of the logits after each step: nothing, themselves, the nats of the next symbol, a next symbol.
READ, LOGITS, SCORE, SAMPLE = range(4)

_OPTIONS = "fastmath=FLAGS, error_model='numpy'"

_IMPORTS = """from unrolled.decoding.tiles import double_of, single_of, {tiles}

BLOCK, PANEL = {block}, {panel}
"""

_PRODUCT = """
@njit({options})
def product(weights, at, depth, rows, x, x_at, x_stride, streams, y, y_stride):
    blocks = streams // BLOCK
    # Each block asks for its share of the next panel's weights.
    pace = max(PANEL // max(blocks, 1), 1)
    for panel in range((rows + PANEL - 1) // PANEL):
        place = at + panel * depth * PANEL
        for block in range(blocks):
            s = block * BLOCK
            ahead = place + depth * (PANEL + block * pace)
            tile_block(
                weights, place, depth, x, x_at + s * x_stride, x_stride,
                y, s * y_stride + panel * PANEL, y_stride, ahead, pace,
            )
        for s in range(blocks * BLOCK, streams):
            tile_one(weights, place, depth, x, x_at + s * x_stride, 0, y, s * y_stride + panel * PANEL, 0, 0, 0)
"""

# Activations are quantised as they come: 127 levels on either side of 128, the largest of a stream at the end.
_PRODUCT_INT8 = """
@njit({options})
def quantise(x, bits, x_at, x_stride, depth, streams, q, q_stride, level):
    for s in range(streams):
        begin, to = x_at + s * x_stride, s * q_stride
        top = np.int32(0)
        for j in range(depth):
            # Magnitudes of floats are ordered as their bits are; what is not a number lies above all.
            magnitude = bits[begin + j] & np.int32(0x7FFFFFFF)
            top = magnitude if magnitude > top else top
        level[s] = single_of(top) * np.float32(1.0 / 127.0)
        factor = np.float32(1.0) / level[s] if level[s] > np.float32(1e-30) else np.float32(0.0)
        for j in range(depth):
            q[to + j] = np.uint8(np.int32(x[begin + j] * factor + np.float32(128.5)))


@njit({options})
def product(
    weights, at, depth, rows, x, bits, x_at, x_stride, streams, y, y_stride, scales, offsets, row, q, level
):
    quads = (depth + 3) // 4
    quantise(x, bits, x_at, x_stride, depth, streams, q, 4 * quads, level)
    blocks = streams // BLOCK
    pace = max(4 * PANEL // max(blocks, 1), 1)
    for panel in range((rows + PANEL - 1) // PANEL):
        place, first = at + panel * quads * 4 * PANEL, row + panel * PANEL
        for block in range(blocks):
            s = block * BLOCK
            ahead = place + quads * (4 * PANEL + block * pace)
            tile_block_int8(
                weights, place, quads, q, s * 4 * quads, 4 * quads, y, s * y_stride + panel * PANEL, y_stride,
                ahead, pace, scales, offsets, first, level, s,
            )
        for s in range(blocks * BLOCK, streams):
            tile_one_int8(
                weights, place, quads, q, s * 4 * quads, 0, y, s * y_stride + panel * PANEL, 0,
                0, 0, scales, offsets, first, level, s,
            )
"""

# e^x for x at most 0 within 1e-15: what the C library has does not vectorise.
_CHOICE = """
@njit({options})
def exponential(x):
    n = np.floor(x * 1.4426950408889634 + 0.5)
    r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10
    p = 1.0 / 6227020800.0
{horner}    return 0.0 if x < -708.0 else double_of((np.int64(np.int32(n)) + np.int64(1023)) << np.int64(52)) * p


@njit({options})
def weigh(logits, at, size, temperature, p):
    top = logits[at]
    for j in range(size):
        top = logits[at + j] if logits[at + j] > top else top
    high = np.float64(top)
    for j in range(size):
        x = (np.float64(logits[at + j]) - high) / temperature
        p[j] = exponential(-1000.0 if x < -1000.0 else x)
    return high


@njit({options})
def sink(order, p, parent, size):
    # The likeliest is at the root, the first of equals.
    while 2 * parent + 1 < size:
        child = 2 * parent + 1
        if child + 1 < size:
            a, b = order[child], order[child + 1]
            child += p[b] > p[a] or (p[b] == p[a] and b < a)
        a, b = order[parent], order[child]
        if p[a] > p[b] or (p[a] == p[b] and a < b):
            return
        order[parent], order[child] = b, a
        parent = child


@njit({options})
def take(order, p, last):
    order[0], order[last] = order[last], order[0]
    sink(order, p, 0, last)
    return p[order[last]]


@njit({options})
def restrict(p, size, top_k, top_p, order):
    # The likeliest are taken off a heap one by one and moved behind it, until there are enough.
    for j in range(size):
        order[j] = j
    for j in range(size // 2 - 1, -1, -1):
        sink(order, p, j, size)
    keep = top_k if 0 < top_k < size else size
    total, taken = 0.0, 0
    if keep == size:
        for j in range(size):
            total += p[j]
    else:
        while taken < keep:
            total += take(order, p, size - 1 - taken)
            taken += 1
    reached, kept = 0.0, 0
    while kept < keep and (top_p >= 1.0 or reached < top_p):
        if kept == taken:
            take(order, p, size - 1 - taken)
            taken += 1
        reached += p[order[size - 1 - kept]] / total
        kept += 1
    for j in range(size - kept):
        p[order[j]] = 0.0


@njit({options})
def choose(logits, at, size, uniform, temperature, top_k, top_p, p, order):
    if temperature == 0.0:
        best = 0
        for j in range(size):
            best = j if logits[at + j] > logits[at + best] else best
        return best
    weigh(logits, at, size, temperature, p)
    if 0 < top_k < size or top_p < 1.0:
        restrict(p, size, top_k, top_p, order)
    for j in range(1, size):
        p[j] += p[j - 1]
    target = uniform * p[size - 1]
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) // 2
        if p[middle] > target:
            high = middle
        else:
            low = middle + 1
    return low
"""


def engine_source(derivation: Derivation, precision: Precision) -> str:
    """The source of the module, whose function `run` is what an engine calls.

    Args:
        derivation: of the cell.
        precision: of the weights.
    """
    return _Source(derivation, precision).text()


@dataclass(frozen=True)
class _Leaf:
    """Where a value of all streams lies: from `array[at + s * stride]` on for stream s."""

    array: str
    at: str
    stride: str

    def row(self, size: str) -> str:
        begin = f"{self.at} + s * {self.stride}"
        return f"{self.array}[{begin} : {begin} + {size}]"


class _Source:
    def __init__(self, derivation: Derivation, precision: Precision) -> None:
        self.derivation, self.equations, self.precision = derivation, derivation.equations, precision
        vectors = [name for name, kind in self.equations.parameters.items() if kind == "vector"]
        states = self.equations.states
        self.leaves = {self.equations.input: _Leaf("x", "0", "wide")}
        for index, name in enumerate(states):
            self.leaves[name] = _Leaf("state", f"(layer * {len(states)} + {index}) * streams * hidden", "hidden")
        for index, name in enumerate(vectors):
            self.leaves[name] = _Leaf("vectors", f"(layer * {len(vectors)} + {index}) * hidden", "0")
        for p, stage in enumerate(derivation.products):
            for index, node in enumerate(stage.maps):
                self.leaves[f"@{node}"] = _Leaf(f"maps{p}", f"{index} * hidden", f"stride{p}")

    def text(self) -> str:
        """All of it."""
        int8 = self.precision == "int8"
        names = "tile_block_int8, tile_one_int8" if int8 else "tile_block, tile_one"
        called = hashlib.sha256(Path(tiles.__file__).read_bytes()).hexdigest()
        factorials, total = [], 1
        for k in range(1, 13):
            total *= k
            factorials.append(total)
        horner = (
            "".join(f"    p = p * r + 1.0 / {value}.0\n" for value in reversed(factorials)) + "    p = p * r + 1.0\n"
        )
        parts = [
            f"# tiles: {called}\n" + HEADER + _IMPORTS.format(tiles=names, block=tiles.BLOCK, panel=tiles.PANEL),
            (_PRODUCT_INT8 if int8 else _PRODUCT).format(options=_OPTIONS),
            _CHOICE.format(options=_OPTIONS, horner=horner),
            *(
                self._arithmetic(f"argument{p}", self.derivation.argument_programs[stage], {"argument": ["value"]})
                for p, stage in enumerate(self.derivation.products)
                if stage in self.derivation.argument_programs
            ),
            self._arithmetic("gates", self.derivation.output_program, self._results()),
            self._run(),
        ]
        return "\n".join(parts)

    def _results(self) -> dict[str, list[str]]:
        """The arrays that each result of a step goes to."""
        which = self.derivation.output_state
        results = {f"next {name}": [self._name(name)] for name in self.equations.states}
        results.setdefault("output" if which is None else f"next {self.equations.states[which]}", []).append("y")
        return results

    def _name(self, leaf: str) -> str:
        """A leaf as a local variable: nothing of a cell's own names is in the source."""
        return f"leaf{list(self.leaves).index(leaf)}"

    def _arithmetic(self, name: str, program: Program, targets: dict[str, list[str]]) -> str:
        """A function that runs a program over the units of one stream."""
        lines, results = translate(program, {leaf: f"{self._name(leaf)}[j]" for leaf in program.inputs}, "float32")
        # All results before the first is stored: a state may be the other state of the step before.
        for index, value in enumerate(results.values()):
            lines.append(f"result{index} = {value}")
        for index, result in enumerate(results):
            lines += [f"{target}[j] = result{index}" for target in targets[result]]
        body = "".join(f"        {line}\n" for line in lines)
        head = f"def {name}(size, {', '.join(self._arguments(program, targets))}):"
        return f"\n@njit({_OPTIONS})\n{head}\n    for j in range(size):\n{body}"

    def _arguments(self, program: Program, targets: dict[str, list[str]]) -> list[str]:
        written = [target for group in targets.values() for target in group]
        return list(dict.fromkeys([*map(self._name, program.inputs), *written]))

    def _call(self, name: str, program: Program, targets: dict[str, list[str]], size: str) -> str:
        rows = {self._name(leaf): place.row("hidden") for leaf, place in self.leaves.items()}
        if size != "hidden":
            rows[self._name(self.equations.input)] = self.leaves[self.equations.input].row(size)
        rows |= {"value": f"value[s * wide : s * wide + {size}]", "y": "y[s * hidden : s * hidden + hidden]"}
        return f"{name}({', '.join([size, *(rows[a] for a in self._arguments(program, targets))])})"

    def _stage(self, p: int, stage: Product) -> list[str]:
        """One product, and before it what it is of."""
        size = "inputs" if self.equations.kind(stage.argument) == "input" else "hidden"
        lines = []
        if stage in self.derivation.argument_programs:
            program = self.derivation.argument_programs[stage]
            lines += [
                "for s in range(streams):",
                f"    {self._call(f'argument{p}', program, {'argument': ['value']}, size)}",
            ]
            of = _Leaf("value", "0", "wide")
        else:
            of = self.leaves[leaf_name(self.equations, stage.argument)]
        place = f"layer * {len(self.derivation.products)} + {p}"
        return [*lines, self._product(place, f"{len(stage.maps)} * hidden", size, of, f"maps{p}", f"stride{p}")]

    def _product(self, place: str, rows: str, depth: str, of: _Leaf, y: str, stride: str) -> str:
        at = f"places[2 * ({place})]"
        x = f"{of.array}, {of.at}, {of.stride}"
        more = ""
        if self.precision == "int8":
            x = f"{of.array}, {of.array}.view(np.int32), {of.at}, {of.stride}"
            more = f", scales, offsets, places[2 * ({place}) + 1], quantised, level"
        return f"product(weights, {at}, {depth}, {rows}, {x}, streams, {y}, {stride}{more})"

    def _layer(self) -> list[str]:
        """The step of one layer."""
        products, hoisted = self.derivation.products, self.derivation.hoisted
        width = " + ".join([f"{len(stage.maps)} * hidden" for stage in hoisted]) or "0"
        copies, lines = (
            [f"width = {width}", "for s in range(streams):", "    row = symbols[t * streams + s] * width"],
            [],
        )
        for p, stage in enumerate(hoisted):
            rows = f"{len(stage.maps)} * hidden"
            copies += [
                f"    maps{p}[s * stride{p} : s * stride{p} + {rows}] = table[row : row + {rows}]",
                f"    row += {rows}",
            ]
            lines += self._stage(p, stage)
        if hoisted:
            lines = ["if layer == 0 and len(table):", *_indented(copies), "else:", *_indented(lines)]
        for p, stage in enumerate(products[len(hoisted) :], len(hoisted)):
            lines += self._stage(p, stage)
        call = self._call("gates", self.derivation.output_program, self._results(), "hidden")
        return [*lines, "for s in range(streams):", f"    {call}"]

    def _run(self) -> str:
        int8 = self.precision == "int8"
        kind = {"float32": "float32", "bfloat16": "uint16", "int8": "int8"}[self.precision]
        arguments = {
            "mode": "int64",
            "steps": "int64",
            "streams": "int64",
            "sizes": "int64[::1]",  # D, H, V, L, whether residual
            "places": "int64[::1]",  # of every product: where its weights begin, and its scales
            "weights": f"{kind}[::1]",
            **({"scales": "float32[::1]", "offsets": "int32[::1]"} if int8 else {}),
            "vectors": "float32[::1]",  # (L, vectors, H)
            "bias": "float32[::1]",  # (V,)
            "embedding": "float32[::1]",  # (V, D), or empty where the table is enough
            "table": "float32[::1]",  # (V, hoisted maps, H), or empty
            "state": "float32[::1]",  # (L, states, S, H), changed
            "symbols": "int64[::1]",  # (T + 1, S), the last row, or all but the first, to be chosen
            "uniforms": "float64[::1]",  # (T, S)
            "temperature": "float64",
            "top_k": "int64",
            "top_p": "float64",
            "logits": "float32[::1]",  # (T, S, V)
            "nats": "float64[::1]",  # (T, S)
        }
        buffers = [
            f"stride{p} = -(-{len(stage.maps)} * hidden // PANEL) * PANEL\n    "
            f"maps{p} = np.empty(streams * stride{p}, np.float32)"
            for p, stage in enumerate(self.derivation.products)
        ]
        if int8:
            # Padding is multiplied by weights that are zero.
            buffers += ["quantised = np.zeros(streams * (wide + 3), np.uint8)", "level = np.empty(streams, np.float32)"]
        output = _Leaf("x", "0", "wide")
        last = f"sizes[3] * {len(self.derivation.products)}"
        return _RUN.format(
            signature=f"int64({', '.join(arguments.values())})",
            options=_OPTIONS,
            arguments=", ".join(arguments),
            buffers="\n    ".join(buffers),
            layer="\n            ".join(self._layer()),
            output=self._product(last, "size", "hidden", output, "scores", "stride"),
            modes=f"READ, LOGITS, SCORE = {READ}, {LOGITS}, {SCORE}",
        )


_RUN = """
{modes}


@njit("{signature}", cache=True, nogil=True, {options})
def run({arguments}):
    inputs, hidden, size, layers, residual = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    wide, stride = max(inputs, hidden), (size + PANEL - 1) // PANEL * PANEL
    x, y = np.zeros(streams * wide, np.float32), np.zeros(streams * hidden, np.float32)
    value = np.zeros(streams * wide, np.float32)
    scores = np.empty(streams * stride, np.float32)
    p, order = np.empty(size, np.float64), np.empty(size, np.int64)
    {buffers}
    for t in range(steps):
        if len(embedding):
            for s in range(streams):
                row = symbols[t * streams + s] * inputs
                x[s * wide : s * wide + inputs] = embedding[row : row + inputs]
        for layer in range(layers):
            inputs = sizes[0] if layer == 0 else hidden
            {layer}
            for s in range(streams):
                for j in range(hidden):
                    before = x[s * wide + j] if residual and layer else np.float32(0.0)
                    x[s * wide + j] = before + y[s * hidden + j]
        inputs = sizes[0]
        if mode == READ:
            continue
        {output}
        for s in range(streams):
            begin, bad = s * stride, 0
            for j in range(size):
                scores[begin + j] += bias[j]
                bad += not abs(scores[begin + j]) <= np.float32(3.4e38)
            here = t * streams + s
            if mode == LOGITS:
                logits[here * size : (here + 1) * size] = scores[begin : begin + size]
            elif bad:
                return here
            elif mode == SCORE:
                high, total = weigh(scores, begin, size, 1.0, p), 0.0
                for j in range(size):
                    total += p[j]
                nats[here] = np.log(total) + high - np.float64(scores[begin + symbols[here + streams]])
            else:
                symbols[here + streams] = choose(
                    scores, begin, size, uniforms[here], temperature, top_k, top_p, p, order
                )
    return -1
"""


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
