"""Training a small language model inside one compiled call: many updates, none of which is made of many small steps.

For a net of a few hundred units and a few streams, the arithmetic of an update takes some ten microseconds and its
hundreds of operations, called one by one, a thousand. Here look-up, recurrence, softmax, the way back, clipping and
the optimiser are one function, made for the cell from its equations.

Axes: B streams, T time steps, D embedding, H units, V symbols, L layers, U updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.cells import Equations
from unrolled.kernels import small_source
from unrolled.kernels.compiling import compiled
from unrolled.kernels.small_parts import ADAGRAD, ADAGRAD_INSIDE, ADAMW, SGD
from unrolled.kernels.tiles import PADDED

__all__ = ["KINDS", "Made", "Rule", "Shape", "SmallNet", "Work", "is_small"]

_Array = npt.NDArray[Any]

KINDS = {"adamw": ADAMW, "sgd": SGD, "adagrad": ADAGRAD, "adagrad-inside": ADAGRAD_INSIDE}

# Weights times streams. Measured against the kernels that go step by step, on two cores (LSTM, characters a second):
# 2.5 times theirs at 131,000 (1x128, B 1), 2.1 at 260,000 (1x64, B 8), 1.1 at 2,100,000, 0.7 at 4,200,000 (1x256, B 8).
_MOST = 1 << 20


@dataclass(frozen=True)
class Shape:
    """The sizes of a net and of its batches.

    Attributes:
        symbols: V.
        embedding: D; 0 if symbols come one-hot.
        units: H.
        layers: L.
        batch: B.
        steps: T.
    """

    symbols: int
    embedding: int
    units: int
    layers: int
    batch: int
    steps: int


@dataclass(frozen=True)
class Rule:
    """How weights are updated; names as in `training.configuration`.

    Attributes:
        kind: one of `KINDS`.
        weight_decay: of matrices, that of a one-hot input among them; not of the embedding.
    """

    kind: str
    momentum: float = 0.0
    beta1: float = 0.0
    beta2: float = 0.0
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_value: float = 0.0
    clip_norm: float = 0.0


@dataclass(frozen=True, eq=False)
class Work:
    """The batches of U updates.

    Attributes:
        x: (U, T, B) int64, the symbols read.
        y: (U, T, B) int64, the symbol after each.
        resets: (U, T, B) bool, or None.
        weights: (U, T, B), 1 where a target counts and 0 where it does not; None for 1 everywhere.
        fresh: (U,) bool, where the carried state is emptied before.
        over: (U,) float64, what the loss of an update is divided by.
        counted: (U,) int64, how many targets count; where it is 0 nothing is updated.
        rates: (U,) float64, the learning rate.
    """

    x: _Array
    y: _Array
    resets: _Array | None
    weights: _Array | None
    fresh: _Array
    over: _Array
    counted: _Array
    rates: _Array


@dataclass(frozen=True, eq=False)
class Made:
    """What became of it.

    Attributes:
        done: updates made; fewer than asked for if the next one's loss or gradient is not finite.
        totals: (U,) the summed loss of each, in nats; that which is not finite too.
        norms: (U,) the length of its gradient before its length was clipped.
    """

    done: int
    totals: _Array
    norms: _Array


def is_small(equations: Equations, shape: Shape) -> bool:
    """Whether a net is served here: one whose weights times streams are at most a million, so that its arithmetic takes
    less time than calling it would, and of equations that this way knows.

    An input that comes one-hot may only be multiplied by matrices, of which it picks a column.
    """
    if not shape.embedding:
        direct = {index for index, node in enumerate(equations.nodes) if node.op == "input"}
        used = {arg for node in equations.nodes if node.op != "map" for arg in node.args}
        named = {equations.output, *equations.next_states}
        if direct & (used | named):
            return False
    matrices = sum(kind != "vector" for kind in equations.parameters.values())
    size = shape.layers * matrices * shape.units**2 + shape.symbols * shape.units
    return size * shape.batch <= _MOST


class SmallNet:
    """The compiled training step of one net, and the arrays it works in.

    Weights, their memories and the carried state are copied in, worked on, and copied out: `views` says where.

    Args:
        equations: the cell; `is_small` holds.
        shape: the sizes.
        rule: how weights are updated.
        dtype: "float32" or "float64".
    """

    def __init__(self, equations: Equations, shape: Shape, rule: Rule, dtype: str) -> None:
        self.equations, self.shape, self.rule, self.dtype = equations, shape, rule, np.dtype(dtype)
        source = small_source.source(equations, dtype)
        self._module = compiled(f"training step of {equations.name}, {dtype}", source)
        self._wide, self._em_wide = _padded(shape.units), _padded(shape.embedding)
        self._sy_wide = _padded(shape.symbols)
        inputs = small_source.input_matrices(equations)
        self._tables = inputs if not shape.embedding else ()
        self._width = self._em_wide or len(inputs) * self._wide
        self._lay_out()
        self._carried = self._empty(shape.layers * len(equations.states) * shape.batch * self._wide)
        self._marks = np.zeros(shape.symbols, np.int64)

    def _empty(self, length: int) -> _Array:
        """Zeros that begin where a vector of the processor does."""
        raw = np.zeros(length * self.dtype.itemsize + 64, np.uint8)
        begin = -raw.ctypes.data % 64
        return raw[begin : begin + length * self.dtype.itemsize].view(self.dtype)

    def _lay_out(self) -> None:
        """Where everything lies: matrices, then vectors, then the table; and what is worked in."""
        shape, wide, rows = self.shape, self._wide, self.shape.steps * self.shape.batch
        # Of every parameter: where it begins, its rows and columns, and how long a row is.
        self._places: dict[str, tuple[int, int, int, int]] = {}
        end = 0
        kinds = self.equations.parameters
        for vectors in (False, True):
            for layer in range(shape.layers):
                inputs, in_wide = self._inputs(layer)
                for name, kind in kinds.items():
                    if (kind == "vector") is vectors and not self._in_table(layer, name):
                        columns, long = (inputs, in_wide) if kind == "input matrix" else (shape.units, wide)
                        count = 1 if vectors else shape.units
                        self._places[f"layers.{layer}.{name}"] = (end, count, columns, long)
                        end += count * long
            last, count, columns, long = (
                ("output.bias", 1, shape.symbols, self._sy_wide) if vectors
                else ("output.weight", shape.symbols, shape.units, wide)
            )  # fmt: skip
            self._places[last] = (end, count, columns, long)
            end += count * long
            if not vectors:
                matrices = end
        total = end + shape.symbols * self._width
        out, bias = self._places["output.weight"][0], self._places["output.bias"][0]
        scratch, at = 0, np.zeros((shape.layers, 2 * len(small_source.arrays(self.equations))), np.int64)
        for layer in range(shape.layers):
            scratch = self._place_layer(at[layer], layer, scratch, at[layer - 1] if layer else None)
        t_out, logits = scratch, scratch + shape.units * self._sy_wide
        scratch = logits + rows * self._sy_wide
        self._at = at
        self._ends = np.array(
            [matrices, end, total, out, out + shape.symbols * wide, bias, bias + self._sy_wide, t_out, logits, scratch]
        )
        self._w, self._g, self._m = self._empty(total), self._empty(total), self._empty(total)
        self._n = self._empty(total if self.rule.kind == "adamw" else 0)
        self._scratch = self._empty(scratch)

    def _inputs(self, layer: int) -> tuple[int, int]:
        return (self.shape.embedding, self._em_wide) if layer == 0 else (self.shape.units, self._wide)

    def _in_table(self, layer: int, name: str) -> bool:
        return layer == 0 and name in self._tables

    def _place_layer(self, at: _Array, layer: int, begin: int, below: _Array | None) -> int:
        """Say where each array of a layer lies; its input is the output of the layer below."""
        wide, (inputs, in_wide), rows = self._wide, self._inputs(layer), self.shape.steps * self.shape.batch
        names = list(small_source.arrays(self.equations))
        for column, (name, like) in enumerate(small_source.arrays(self.equations).items()):
            what, _, parameter = like.partition(" ")
            if what in ("weight", "gradient"):
                start, count, _, long = self._places.get(f"layers.{layer}.{parameter}", (0, 0, 0, 0))
                at[2 * column : 2 * column + 2] = start, start + count * long
                continue
            if name in ("x", "dx") and below is not None:
                of = 2 * names.index({"x": "y", "dx": "dy"}[name])
                at[2 * column : 2 * column + 2] = below[of : of + 2]
                continue
            if what == "transposed":
                of_input = self.equations.parameters[parameter] == "input matrix"
                length = 0 if self._in_table(layer, parameter) else (inputs if of_input else self.shape.units) * wide
            else:
                kind = like.removeprefix("input ")
                long = in_wide if like.startswith("input ") else wide
                count = {"steps": rows, "before": rows + self.shape.batch, "step": self.shape.batch}[kind]
                length = count * long
            at[2 * column : 2 * column + 2] = begin, begin + length
            begin += length
        return begin

    def _views(self, of: _Array) -> dict[str, _Array]:
        """Every parameter's part of an array laid out as the weights are, in the parameter's own shape."""
        found = {}
        for name, (begin, rows, columns, long) in self._places.items():
            part = of[begin : begin + rows * long].reshape(rows, long)[:, :columns]
            found[name] = part[0] if name == "output.bias" or self._is_vector(name) else part
        table = of[self._ends[1] :].reshape(self.shape.symbols, self._width)
        if self.shape.embedding:
            found["embedding"] = table[:, : self.shape.embedding]
        for slot, name in enumerate(self._tables):
            found[f"layers.0.{name}"] = table[:, slot * self._wide : slot * self._wide + self.shape.units].T
        return found

    def _is_vector(self, name: str) -> bool:
        return self.equations.parameters.get(name.split(".", 2)[-1]) == "vector"

    @property
    def weights(self) -> dict[str, _Array]:
        """Views of the weights: "layers.0.U.h", "embedding" (V, D), "output.weight" (V, H), "output.bias" (V,)."""
        return self._views(self._w)

    @property
    def memories(self) -> tuple[dict[str, _Array], ...]:
        """Views of the optimiser's memories, each by the names of `weights`: adamw's of gradients and of squares, sgd's
        of gradients, adagrad's of squares."""
        return (self._views(self._m), *([self._views(self._n)] if self._n.size else []))

    @property
    def carried(self) -> _Array:
        """A view of the state between updates, (L, states, B, H)."""
        whole = self._carried.reshape(self.shape.layers, -1, self.shape.batch, self._wide)
        return whole[..., : self.shape.units]

    def train(self, work: Work, updates: int) -> Made:
        """Make updates, as many as there are batches, one after the other.

        Args:
            work: the batches.
            updates: how many were made before; adamw corrects its means by that.
        """
        shape, rule = self.shape, self.rule
        table_decay = 0.0 if shape.embedding else rule.weight_decay
        # Adagrad leaves alone what has no gradient: rows of the table whose symbol is not in the batch.
        sparse = rule.kind == "adagrad-inside" or (rule.kind == "adagrad" and table_decay == 0)
        sizes = [shape.steps, shape.batch, shape.units, self._wide, shape.embedding, self._em_wide, shape.symbols]
        sizes += [self._sy_wide, shape.layers, self._width, KINDS[rule.kind], sparse]
        hyper = [rule.momentum, rule.beta1, rule.beta2, rule.epsilon, rule.clip_value, rule.clip_norm]
        losses = np.full((2, len(work.rates)), np.nan)
        nothing: Mapping[str, _Array] = {"resets": np.zeros(0, np.bool_), "weights": np.zeros(0, self.dtype)}
        done = self._module.train(
            np.array(sizes, np.int64),
            self._ends,
            self._at,
            _flat(work.x, np.int64),
            _flat(work.y, np.int64),
            nothing["resets"] if work.resets is None else _flat(work.resets, np.bool_),
            nothing["weights"] if work.weights is None else _flat(work.weights, self.dtype),
            _flat(work.fresh, np.bool_),
            _flat(work.counted, np.int64),
            _flat(work.over, np.float64),
            _flat(work.rates, np.float64),
            self._w,
            self._g,
            self._m,
            self._n,
            self._scratch,
            self._carried,
            self._marks,
            np.array(hyper),
            np.array([rule.weight_decay, table_decay]),
            np.array([updates]),
            losses,
        )
        return Made(int(done), losses[0], losses[1])


def _padded(length: int) -> int:
    return -(-length // PADDED) * PADDED


def _flat(array: _Array, dtype: Any) -> _Array:
    return np.ascontiguousarray(array, dtype).reshape(-1)
