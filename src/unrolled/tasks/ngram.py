"""The n-gram model: p(x_t | x_{t-n+1} ... x_{t-1}) with interpolated modified Kneser-Ney smoothing.

Chen and Goodman 1999 (An empirical study of smoothing techniques for language modeling, Computer Speech and Language
13), section 3: the highest order counts how often an n-gram stands in the text, every lower one by how many different
symbols it is preceded (equation 22), except where a sequence begins with it, which nothing precedes. Each order is
interpolated with the one below, the lowest with all symbols equally likely, so that no symbol has probability 0 and all
of them together have 1.

Axes: T time, V vocabulary, n order, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unrolled.data.scratch import Scratch
from unrolled.data.store import Tokens
from unrolled.errors import RunError
from unrolled.tasks import ngram_loops as loops
from unrolled.tasks.ngram_counts import Counts, sequence_starts
from unrolled.tasks.ngram_discounts import Floats, estimate, interpolate

__all__ = ["NGram", "State"]

_Array = npt.NDArray[Any]
State = npt.NDArray[np.int64]
_Reading = Callable[[int, int], None]

_PIECE = 1 << 14  # symbols that are read at once
_ARRAYS = ("words", "counts", "first", "totals", "ones", "twos")


@dataclass(frozen=True, eq=False)
class NGram:
    """A fitted n-gram model. What follows from what: `ngram_loops.look` and `ngram_discounts.interpolate`.

    A state is where contexts of 1, 2, ... n-1 symbols stand among the n-grams, (n-1,), -1 for one that was not seen.

    Attributes:
        size: V.
        order: n.
        boundary: the symbol after which contexts begin anew, if there is one.
        sizes: (n,) how many n-grams of each order there are.
        counts_of_counts: (n, 4) how many have a count of 1, 2, 3 and 4.
        discounts: (n, 3)
        words: their last symbols, one order after the other; in order 1 all symbols, then the start of a sequence.
        counts: what stands for them in their order: their count, or how many symbols precede them.
        first: of those below the highest order, the first n-gram that goes on from them; one more at the end.
        totals: the sum of the counts of those.
        ones, twos: how many of those have a count of 1, and of 2.
        root: (4,) the same for the empty context: total, ones, twos, and how many have more.
    """

    size: int
    order: int
    boundary: int | None
    sizes: tuple[int, ...]
    counts_of_counts: _Array
    discounts: Floats
    words: _Array
    counts: _Array
    first: _Array
    totals: _Array
    ones: _Array
    twos: _Array
    root: _Array

    @classmethod
    def of(cls, counted: Counts, order: int, *, boundary: int | None = None, scratch: Scratch | None = None) -> NGram:
        """The model of an order up to that which was counted, with estimated discounts."""
        scratch, kind, levels = scratch or Scratch(), counted.kind, counted.levels[:order]
        sizes = [len(level.words) for level in levels]
        offsets = np.cumsum([0, *sizes])
        nodes, contexts = int(offsets[-1]), int(offsets[-2])
        kind = np.int64 if nodes >= 2**31 - 1 else kind
        words, counts = scratch.empty(nodes, kind), scratch.empty(nodes, kind)
        first = scratch.empty(contexts + 1, kind)
        totals, ones, twos = (scratch.empty(contexts, kind) for _ in range(3))
        tops, root = np.zeros((order, 4), np.int64), np.zeros(4, np.int64)
        for k, level in enumerate(levels):
            at, own = int(offsets[k]), counts[offsets[k] : offsets[k + 1]]
            words[at : at + sizes[k]] = level.words
            own[:] = level.counts if k + 1 == order else level.continuations
            if k == 0:
                own[-1] = 0  # the start of a sequence is never predicted
                root[:] = own.sum(dtype=np.int64), (own == 1).sum(), (own == 2).sum(), (own > 2).sum()
                tops[0] = [(own == count).sum() for count in range(1, 5)]
                continue
            below = int(offsets[k - 1])
            first[below : below + len(level.first)] = level.first
            first[below : below + len(level.first)] += at
            stretch = slice(below, below + sizes[k - 1])
            loops.summarise(own, level.first, totals[stretch], ones[stretch], twos[stretch], tops[k])
        if order == 1:
            first[:] = nodes
        arrays = {"words": words, "counts": counts, "first": first, "totals": totals, "ones": ones, "twos": twos}
        discounts = estimate(tops)
        return cls(counted.size, order, boundary, tuple(sizes), tops, discounts, root=root, **arrays)

    @property
    def ngrams(self) -> int:
        """How many n-grams of all orders it knows."""
        return sum(self.sizes) - 1  # without the start of a sequence

    def with_discounts(self, discounts: Floats) -> NGram:
        """The same counts with other discounts (n, 3)."""
        return replace(self, discounts=np.asarray(discounts, np.float64))

    def initial_state(self, batch: int) -> State:
        """(B, n-1) before a text: at the start of a sequence, where contexts begin anew with each; else no context."""
        state = np.full((batch, self.order - 1), -1, np.int64)
        if self.boundary is not None and self.order > 1:
            state[:, 0] = self.size
        return state

    def probabilities(self, state: State) -> Floats:
        """The distribution (V,) of the symbol after a state (n-1,)."""
        p = np.empty(self.size)
        loops.spread(
            state, self.words, self.counts, self.first, self.totals, self.ones, self.twos, self.root, self.discounts, p
        )
        return p

    def look(self, ids: _Array, state: State, starts: _Array | None = None) -> _Array:
        """What the probabilities of symbols (T,) follow from, (T, n, 5), after a state (n-1,), which is moved on.

        `starts` (T,) says where sequences begin besides those that `boundary` makes. See `ngram_loops.look`.
        """
        ids = np.ascontiguousarray(ids, np.int64)
        if starts is None:
            starts = np.zeros(len(ids), np.bool_)
        table = np.empty((len(ids), self.order, 5), np.int64)
        end = -1 if self.boundary is None else self.boundary
        contexts = (self.first, self.totals, self.ones, self.twos, self.root)
        loops.look(ids, starts, end, state, self.words, self.counts, *contexts, self.size, table)
        return table

    def likelihoods(self, ids: _Array, state: State, starts: _Array | None = None) -> Floats:
        """The probability of each of the symbols (T,) after a state (n-1,), which is moved on; see `look`."""
        return interpolate(self.look(ids, state, starts), self.discounts, self.size)

    def text_likelihoods(self, tokens: Tokens, *, documents: bool = False, progress: _Reading | None = None) -> Floats:
        """The probability of each symbol of a text (N,), given all before it.

        `documents` says whether contexts begin anew with each document.
        """
        state, found = self.initial_state(1)[0], np.empty(len(tokens))
        for at in range(0, len(tokens), _PIECE):
            ids = np.asarray(tokens.ids[at : at + _PIECE], np.int64)
            starts = sequence_starts(tokens, at, at + len(ids), None, documents)
            starts[0] &= at > 0 or documents or self.boundary is not None
            found[at : at + len(ids)] = self.likelihoods(ids, state, starts)
            if progress is not None:
                progress(at + len(ids), len(tokens))
        return found

    def step(self, ids: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The symbols (B,) and the states before (B, n-1) to the logits (B, V) of the next and the states after."""
        after = state.copy()
        for row, symbol in zip(after, ids.tolist(), strict=True):
            self.look(np.array([symbol]), row)
        return torch.from_numpy(np.log(np.stack([self.probabilities(row) for row in after]))), after

    def select(self, state: State, rows: npt.ArrayLike) -> State:
        """The states of some of the texts, in a new order, each as often as it is named."""
        return state[np.asarray(rows, np.int64)]

    def arrays(self) -> dict[str, _Array]:
        """What a checkpoint holds; `from_arrays` reads it back."""
        named = {name: getattr(self, name) for name in _ARRAYS}
        return {**named, "root": self.root, "counts_of_counts": self.counts_of_counts, "discounts": self.discounts}

    def facts(self) -> dict[str, object]:
        """What a reader of a run wants to know."""
        return {
            "order": self.order,
            "boundary": self.boundary,
            "ngrams": self.ngrams,
            "sizes": list(self.sizes),
            "discounts": self.discounts.tolist(),
        }

    @classmethod
    def from_arrays(cls, size: int, boundary: int | None, arrays: Mapping[str, _Array], where: str) -> NGram:
        """The model of some arrays, which may be mapped from a file.

        Raises:
            RunError: they do not fit together.
        """
        wanted = {*_ARRAYS, "root", "counts_of_counts", "discounts"}
        if set(arrays) != wanted:
            expected, got = ", ".join(sorted(wanted)), ", ".join(sorted(arrays))
            raise RunError("the counts are not those of an n-gram model", expected=expected, got=got, where=where)
        order, contexts = len(arrays["discounts"]), len(arrays["totals"])
        first, nodes = arrays["first"], len(arrays["words"])
        sizes, begin, end = [], 0, size + 1
        for _ in range(order - 1):
            sizes.append(end - begin)
            if not begin < end <= contexts:
                break
            begin, end = end, int(first[end])
        sizes.append(end - begin)
        lengths = {name: len(arrays[name]) for name in _ARRAYS}
        fitting = {"words": nodes, "counts": nodes, "first": contexts + 1} | dict.fromkeys(_ARRAYS[3:], contexts)
        shaped = all(arrays[name].shape == (order, n) for name, n in (("discounts", 3), ("counts_of_counts", 4)))
        if lengths != fitting or not shaped or end != nodes or begin != contexts or arrays["root"].shape != (4,):
            raise RunError(
                "the counts of the n-gram model do not fit together",
                expected=f"an n-gram model of {size} symbols",
                where=where,
                fix="fit it again",
            )
        return cls(size, order, boundary, tuple(sizes), **arrays)
