"""The stepping engine: a recurrent language model one symbol at a time, entirely inside compiled code.

Axes: B = S streams, T time, D input, H hidden, L layers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from unrolled.cells import Equations
from unrolled.cells.derivation import Product, derive, leaf_name
from unrolled.data.vocabulary import IntArray
from unrolled.decoding.engine_source import LOGITS, READ, SAMPLE, SCORE, Precision, engine_source
from unrolled.decoding.sampling import Floats, Sampler, choose, diverged, uniforms
from unrolled.decoding.tiles import BLOCK, PANEL
from unrolled.errors import ConfigurationError, nearest
from unrolled.kernels.compiling import compiled
from unrolled.kernels.operations import run
from unrolled.kernels.threads import side_by_side
from unrolled.layers import Recurrent, RecurrentLayer

__all__ = ["PRECISIONS", "Engine", "EngineState"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
EngineState = npt.NDArray[np.float32]
# A table of what all symbols bring to the first layer is made where it takes no more than this.
_TABLE_BYTES = 64 * 2**20
_CHUNK = 256


class Engine:
    """Embedding, recurrent layers and output layer, packed once. Later changes to the weights are not seen.

    Weights are kept in the chosen precision, states and sums in float32. In int8 every row of a matrix has a scale of
    its own, and what it is multiplied with is rounded to 8 bits at every step.

    Args:
        recurrent: the layers.
        embedding: (V, D), the vector of every symbol; `None` for symbols as they are, zeros with a one.
        weight: of the output layer, (V, H).
        bias: of the output layer, (V,).
        precision: of the weights.

    Raises:
        ConfigurationError: there is no such precision, or the layers are no plain stack of cells.
    """

    def __init__(
        self,
        recurrent: Recurrent,
        embedding: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor,
        precision: Precision = "float32",
    ) -> None:
        if precision not in PRECISIONS:
            raise ConfigurationError(f"unknown precision {precision!r}", fix=nearest(precision, PRECISIONS))
        plain = not recurrent.backward_layers and all(isinstance(layer, RecurrentLayer) for layer in recurrent.layers)
        if not plain or weight.shape[1] != recurrent.output_size:
            raise ConfigurationError(
                "the network cannot be stepped by the engine",
                expected="a stack of cells in one direction, and an output layer over its last",
            )
        self._hidden: int = max(layer.hidden_size for layer in recurrent.layers)  # type: ignore[type-var, assignment]
        self.precision, self.vocabulary_size = precision, len(weight)
        self._equations = equations = recurrent.equations
        derivation = derive(equations)
        layers = [
            {name: value.detach().float().cpu() for name, value in layer.cell_parameters().items()}  # type: ignore[operator]
            for layer in recurrent.layers
        ]
        layers = [_widened(equations, values, self._hidden, first=not index) for index, values in enumerate(layers)]
        vectors = [name for name, kind in equations.parameters.items() if kind == "vector"]
        self._shape = (len(layers), len(equations.states))
        inputs = recurrent.input_size
        rows = None if embedding is None else embedding.detach().float().cpu()
        hoisted = sum(len(stage.maps) for stage in derivation.hoisted) * self._hidden
        table = np.empty(0, np.float32)
        if embedding is None or 4 * self.vocabulary_size * hoisted <= _TABLE_BYTES:
            table = _flat(_table(recurrent, layers[0], torch.eye(inputs) if rows is None else rows))
        # What reads the input unit by unit inside the loop needs it as well.
        read = {name for program in (derivation.output_program, *_inside(recurrent)) for name in program.inputs}
        if not len(table) or equations.input in read:
            table_rows = torch.eye(inputs) if rows is None else rows
        else:
            table_rows = torch.empty(0)
        packed = _Packed(precision)
        for parameters in layers:
            for stage in derivation.products:
                packed.add(torch.cat([parameters[name] for name in stage.weights]))
        packed.add(_columns(weight.detach().float().cpu(), self._hidden))
        empty = torch.empty(0)
        self._network = (
            np.array([inputs, self._hidden, self.vocabulary_size, len(layers), recurrent.residual], np.int64),
            *packed.arrays(),
            _flat(torch.cat([parameters[name] for parameters in layers for name in vectors] or [empty])),
            _flat(bias.detach().float().cpu()),
            _flat(table_rows),
            table,
        )

    @cached_property
    def _function(self) -> Any:
        # Compiled when it is first needed: what else is wrong is said before.
        what = f"the stepping engine for {self._equations.name}"
        what += "" if self.precision == "float32" else f" in {self.precision}"
        return compiled(what, engine_source(derive(self._equations), self.precision)).run

    def initial_state(self, batch: int) -> EngineState:
        """The empty state of some streams: zeros (L, states, B, H)."""
        return np.zeros((*self._shape, batch, self._hidden), np.float32)

    def select(self, state: EngineState, rows: npt.ArrayLike) -> EngineState:
        """The state of some of the streams, in a new order, each as often as it is named."""
        found: EngineState = np.ascontiguousarray(state[:, :, np.asarray(rows, np.int64)])
        return found

    def step(self, ids: torch.Tensor, state: EngineState) -> tuple[torch.Tensor, EngineState]:
        """The symbols (B,) and the state before to the logits (B, V) of the next and the state after."""
        logits, state = self.read(ids.cpu().numpy()[:, None], state)
        return logits[:, 0], state

    def read(self, ids: npt.ArrayLike, state: EngineState | None = None) -> tuple[torch.Tensor, EngineState]:
        """The logits after each of the symbols (B, T), as (B, T, V), and the state after the last."""
        symbols = self._symbols(ids)
        state, steps = self._copy(state, symbols), len(symbols)
        logits = np.empty((steps, symbols.shape[1], self.vocabulary_size), np.float32)
        self._run(LOGITS, symbols, state, logits=logits)
        return torch.from_numpy(logits).transpose(0, 1), state

    def score(self, ids: npt.ArrayLike) -> Floats:
        """The nats of every symbol but the first, given those before it, from an empty state: (T,) to (T - 1,), or, for
        several texts of one length, (B, T) to (B, T - 1).

        Raises:
            DivergenceError: the model gives something that is not a number.
        """
        given = np.asarray(ids, np.int64)
        symbols = self._symbols(np.atleast_2d(given))
        nats = np.zeros((max(len(symbols) - 1, 0), symbols.shape[1]))
        if len(nats):
            self._run(SCORE, symbols, self._copy(None, symbols), nats=nats)
        return nats[:, 0] if given.ndim == 1 else nats.T.copy()

    def sample(
        self,
        length: int,
        prompt: Sequence[int] = (),
        sampler: Sampler | None = None,
        streams: int = 1,
        *,
        first: Floats | None = None,
    ) -> IntArray:
        """Symbols (B, length) after a prompt, of several streams side by side.

        Stream s is what the seed `sampler.seed + s` gives alone (but where sums rounded otherwise change a choice).

        Args:
            length: symbols of each stream.
            prompt: what all go on from; not repeated.
            sampler: how symbols are chosen.
            streams: B.
            first: where there is no prompt, the probabilities (V,) of a first symbol; all alike if not given.

        Raises:
            DivergenceError: the model gives something that is not a number.
        """
        sampler = sampler or Sampler()
        sources = [uniforms(sampler.seed + s) for s in range(streams)]
        found = np.empty((length, streams), np.int64)
        state, made = self.initial_state(streams), 0
        if len(prompt):
            last = np.full(streams, prompt[-1], np.int64)
            state = self.follow(np.tile(np.asarray(prompt[:-1], np.int64), (streams, 1)), state)
        elif length:
            p = np.ones(self.vocabulary_size) if first is None else first
            last = np.array([choose(p, source.random()) for source in sources], np.int64)
            found[0], made = last, 1
        while made < length:
            count = min(_CHUNK, length - made)
            numbers = np.stack([source.random(count) for source in sources], 1)
            found[made : made + count], state = self.extend(last, state, numbers, sampler)
            made += count
            last = found[made - 1]
        return found.T.copy()

    def follow(self, ids: npt.ArrayLike, state: EngineState) -> EngineState:
        """The state after the symbols (B, T), where nobody asks for the next."""
        symbols = self._symbols(ids)
        state = self._copy(state, symbols)
        self._run(READ, symbols, state)
        return state

    def extend(
        self, last: IntArray, state: EngineState, numbers: Floats, sampler: Sampler
    ) -> tuple[IntArray, EngineState]:
        """Symbols that follow.

        Args:
            last: the symbol (B,) that comes next, not yet read.
            state: the state before it.
            numbers: uniform numbers (T, B) that choose.
            sampler: how.

        Returns:
            the symbols (T, B), and the state before the last of them is read.

        Raises:
            DivergenceError: the model gives something that is not a number.
        """
        symbols = np.zeros((len(numbers) + 1, numbers.shape[1]), np.int64)
        symbols[0] = self._symbols(last[:, None])[0]
        state = self._copy(state, symbols)
        self._run(SAMPLE, symbols, state, uniforms=numbers, sampler=sampler)
        return symbols[1:], state

    def _symbols(self, ids: npt.ArrayLike) -> IntArray:
        """Symbols (B, T) as (T, B), none of them outside the vocabulary: compiled code looks nothing up twice."""
        found = np.asarray(ids, np.int64)
        if found.ndim != 2:
            raise ConfigurationError("symbols have a wrong shape", expected="(B, T)", got=str(found.shape))
        if found.size and not 0 <= found.min() <= found.max() < self.vocabulary_size:
            raise ConfigurationError(
                "a symbol is not in the vocabulary",
                expected=f"ids from 0 to {self.vocabulary_size - 1}",
                got=f"{found.min()} to {found.max()}",
            )
        return np.ascontiguousarray(found.T)

    def _copy(self, state: EngineState | None, symbols: IntArray) -> EngineState:
        streams = symbols.shape[1]
        if state is None:
            return self.initial_state(streams)
        expected = (*self._shape, streams, self._hidden)
        if state.shape != expected:
            raise ConfigurationError("the state has a wrong shape", expected=str(expected), got=str(state.shape))
        return np.array(state, np.float32)

    def _run(self, mode: int, symbols: IntArray, state: EngineState, **arrays: Any) -> None:
        """Run the compiled function; the arrays are changed in place. Streams are shared out over threads."""
        steps = len(symbols) - (mode in (SCORE, SAMPLE))
        sampler = arrays.pop("sampler", None) or Sampler()
        options = (sampler.temperature, sampler.top_k, sampler.top_p)
        function, streams = self._function, symbols.shape[1]
        # Whole blocks, so that a stream's sums do not depend on the number of threads.
        share = -(-streams // (BLOCK * torch.get_num_threads())) * BLOCK
        work = []
        for begin in range(0, streams, max(share, 1)):
            part = slice(begin, begin + share)
            work.append(partial(self._part, function, mode, steps, options, part, symbols, state, arrays))
        for bad in side_by_side(work):
            if bad >= 0:
                raise diverged()

    def _part(
        self,
        function: Callable[..., int],
        mode: int,
        steps: int,
        options: tuple[float, int, float],
        part: slice,
        symbols: IntArray,
        state: EngineState,
        arrays: dict[str, Any],
    ) -> int:
        empty = {"uniforms": np.empty((0, 0)), "logits": np.empty((0, 0, 0), np.float32), "nats": np.empty((0, 0))}
        whole = {"symbols": symbols, **{name: arrays.get(name, none) for name, none in empty.items()}}
        mine = {name: np.ascontiguousarray(array[:, part]) for name, array in whole.items()}
        mine["state"] = np.ascontiguousarray(state[:, :, part])
        flat = {name: array.reshape(-1) for name, array in mine.items()}
        streams = mine["symbols"].shape[1]
        bad = function(
            mode,
            steps,
            streams,
            *self._network,
            flat["state"],
            flat["symbols"],
            flat["uniforms"],
            *options,
            flat["logits"],
            flat["nats"],
        )
        for name in ("symbols", "logits", "nats"):
            if not np.may_share_memory(mine[name], whole[name]):
                whole[name][:, part] = mine[name]
        state[:, :, part] = mine["state"]
        return bad


def _flat(values: torch.Tensor) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = values.reshape(-1).numpy().astype(np.float32)
    return found


def _columns(matrix: torch.Tensor, wanted: int) -> torch.Tensor:
    return torch.nn.functional.pad(matrix, (0, wanted - matrix.shape[1]))


def _widened(
    equations: Equations, parameters: dict[str, torch.Tensor], hidden: int, *, first: bool
) -> dict[str, torch.Tensor]:
    """A layer with more units, of which those that are added do what its first does, and nobody reads them: all layers
    are then of one size."""
    found = {}
    for name, kind in equations.parameters.items():
        value = parameters[name]
        value = torch.cat([value, value[:1].expand(hidden - len(value), *value.shape[1:])])
        if kind != "vector" and not (first and kind == "input matrix"):
            value = _columns(value, hidden)
        found[name] = value
    return found


def _inside(recurrent: Recurrent) -> list[Any]:
    """The programs of products' arguments inside the loop."""
    derivation = derive(recurrent.equations)
    return [program for stage, program in derivation.argument_programs.items() if stage.level > 0]


def _table(recurrent: Recurrent, parameters: dict[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """The results of all maps that need no state, for every symbol: (V, D) to (V, maps times H)."""
    derivation = derive(recurrent.equations)
    leaves: dict[str, torch.Tensor] = {**parameters, recurrent.equations.input: rows}
    found = [rows.new_empty(len(rows), 0)]
    for stage in derivation.hoisted:
        value = _value(recurrent, stage, leaves)
        results = value.expand(len(rows), -1) @ torch.cat([parameters[name] for name in stage.weights]).t()
        parts = results.chunk(len(stage.maps), -1)
        leaves |= {f"@{index}": part for index, part in zip(stage.maps, parts, strict=True)}
        found.append(results)
    return torch.cat(found, 1)


def _value(recurrent: Recurrent, stage: Product, leaves: dict[str, torch.Tensor]) -> torch.Tensor:
    derivation = derive(recurrent.equations)
    if derivation.is_leaf(stage.argument):
        return leaves[leaf_name(recurrent.equations, stage.argument)]
    value: torch.Tensor = run(derivation.argument_programs[stage], leaves)["argument"]
    return value


def _aligned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same, from the beginning of a cache line on: no vector of weights then lies across two."""
    room = np.empty(values.nbytes + 64, np.uint8)
    begin = -room.ctypes.data % 64
    found = room[begin : begin + values.nbytes].view(values.dtype)
    found[:] = values
    return found


class _Packed:
    """Matrices (rows, K) in panels, one after the other; see `decoding.tiles`."""

    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self._places: list[int] = []
        self._panels: list[npt.NDArray[Any]] = []
        self._scales: list[npt.NDArray[np.float32]] = []
        self._offsets: list[npt.NDArray[np.int32]] = []

    def add(self, matrix: torch.Tensor) -> None:
        """Pack one more."""
        rows, depth = matrix.shape
        panels = -(-rows // PANEL)
        deep = -(-depth // 4) * 4 if self._precision == "int8" else depth
        padded = np.zeros((panels * PANEL, deep), np.float32)
        padded[:rows, :depth] = matrix.numpy()
        self._places += [sum(panel.size for panel in self._panels), sum(scale.size for scale in self._scales)]
        if self._precision == "int8":
            scale = np.abs(padded).max(1) / 127
            levels = np.rint(padded / np.where(scale > 0, scale, 1)[:, None])
            bytes_ = np.nan_to_num(levels).astype(np.int8)
            self._scales.append(scale.astype(np.float32))
            # Activations are stored with 128 added to them.
            self._offsets.append((-128 * bytes_.sum(1, dtype=np.int32)).astype(np.int32))
            self._panels.append(bytes_.reshape(panels, PANEL, deep // 4, 4).transpose(0, 2, 1, 3).reshape(-1))
            return
        columns = padded.reshape(panels, PANEL, deep).transpose(0, 2, 1).reshape(-1)
        if self._precision == "bfloat16":
            bits = torch.from_numpy(columns).bfloat16().view(torch.int16).numpy()
            self._panels.append(bits.view(np.uint16))
        else:
            self._panels.append(columns)

    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Where each begins, the weights, and in int8 the scales and offsets of their rows."""
        found = (np.array(self._places, np.int64), _aligned(np.concatenate(self._panels)))
        if self._precision == "int8":
            return (*found, np.concatenate(self._scales), np.concatenate(self._offsets))
        return found
