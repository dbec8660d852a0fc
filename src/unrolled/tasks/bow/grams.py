"""n-grams of texts, numbered and counted.

They are a tree: an n-gram is one of the (n-1)-grams with one symbol more. Of every length, one sorted array holds
parent x V + symbol, so that they are found by bisection, and the strings of long ones are never made. Columns of a
table of counts are the n-grams from the shortest to the longest, single symbols in the order of their code points.

Axes: N symbols of all texts, V different symbols, F n-grams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.errors import RunError

__all__ = ["Grams", "Symbols", "characters_of", "count_grams", "with_edges"]

_Integers = npt.NDArray[np.int64]

_BEGIN, _END = "\x02", "\x03"  # of a text: start and end of text in ASCII
_SHOWN = str.maketrans({_BEGIN: "^", _END: "$"})


@dataclass(frozen=True, eq=False)
class Symbols:
    """The symbols of n texts, one after the other.

    Attributes:
        numbers: (N,) of each symbol; -1 where it is not known.
        texts: (N,) the text it stands in.
        count: n.
    """

    numbers: _Integers
    texts: _Integers
    count: int

    @classmethod
    def of_words(cls, texts: Sequence[Sequence[str]], numbers: Mapping[str, int]) -> Symbols:
        """Of texts that are cut into words, by the numbers of the words that are known."""
        lengths = [len(words) for words in texts]
        found = np.fromiter((numbers.get(word, -1) for words in texts for word in words), np.int64, sum(lengths))
        return cls(found, np.repeat(np.arange(len(texts)), lengths), len(texts))

    @classmethod
    def of_characters(cls, texts: Sequence[str], known: npt.NDArray[np.uint32]) -> Symbols:
        """Of texts, by the code points (V,) that are known, ascending."""
        points, lengths = _points(texts)
        places = np.searchsorted(known, points)
        places[places == len(known)] = 0
        found = np.where(known[places] == points, places, -1) if len(known) else np.full(len(points), -1)
        return cls(found.astype(np.int64), np.repeat(np.arange(len(texts)), lengths), len(texts))


def characters_of(texts: Sequence[str]) -> str:
    """The different characters of some texts, in the order of their code points."""
    return "".join(map(chr, np.unique(_points(texts)[0]).tolist()))


def with_edges(text: str) -> str:
    """A text with a character for its begin and one for its end."""
    return f"{_BEGIN}{text}{_END}"


def _points(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], list[int]]:
    joined = "".join(texts).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(joined, "<u4").astype(np.uint32), [len(text) for text in texts]


@dataclass(frozen=True, eq=False)
class Grams:
    """The n-grams of low to high symbols that are columns of a table.

    Attributes:
        symbols: V, as text.
        low: symbols of the shortest n-gram that is a column.
        keys: of 2, 3, ... symbols, each (F_n,), ascending: the number of the n-gram without its last symbol, times V,
            plus that symbol.
        joint: what stands between two symbols of an n-gram that is shown.
    """

    symbols: Sequence[str]
    low: int
    keys: tuple[_Integers, ...] = ()
    joint: str = " "

    @property
    def high(self) -> int:
        """Symbols of the longest n-gram."""
        return 1 + len(self.keys)

    @property
    def sizes(self) -> list[int]:
        """How many n-grams there are of 1, 2, ... symbols."""
        return [len(self.symbols), *map(len, self.keys)]

    @property
    def width(self) -> int:
        """F, how many are columns."""
        return sum(self.sizes[self.low - 1 :])

    def between(self, low: int, high: int) -> Grams:
        """Those of low to high symbols."""
        return Grams(self.symbols, low, self.keys[: high - 1], self.joint)

    def nodes(self, symbols: Symbols) -> list[_Integers]:
        """Of 1, 2, ... symbols, the number (N,) of the n-gram that begins at each symbol; -1 where none does."""
        levels = [symbols.numbers]
        for keys in self.keys:
            levels.append(_find(_next_keys(levels[-1], len(levels), symbols, len(self.symbols)), keys))
        return levels

    def tables(self, symbols: Symbols) -> list[Any]:
        """How often each n-gram stands in each text, a sparse table (n, F_n) of float64 for every length from `low`."""
        levels = list(zip(self.nodes(symbols), self.sizes, strict=True))
        return [_table(nodes, symbols, size) for nodes, size in levels[self.low - 1 :]]

    def names(self) -> list[str]:
        """(F,) the n-grams as they are shown."""
        found = list(self.symbols)
        names = [found]
        for keys in self.keys:
            parents, lasts = np.divmod(keys, max(len(self.symbols), 1))
            pairs = zip(parents.tolist(), lasts.tolist(), strict=True)
            found = [f"{found[parent]}{self.joint}{self.symbols[last]}" for parent, last in pairs]
            names.append(found)
        return [name.translate(_SHOWN) for level in names[self.low - 1 :] for name in level]

    def check(self, where: str) -> None:
        """Raise a `RunError` where keys that were read from a file do not make a tree."""
        size = len(self.symbols)
        for above, keys in zip(self.sizes, self.keys, strict=False):
            ascending = bool((np.diff(keys) > 0).all())
            if keys.ndim != 1 or not ascending or (len(keys) and not (keys[0] >= 0 and keys[-1] < above * size)):
                raise RunError("the n-grams do not fit together", where=where, fix="fit the model again")


def count_grams(
    symbols: Symbols, names: Sequence[str], high: int, *, fewest: int = 1, joint: str = " "
) -> tuple[Grams, list[Any]]:
    """The n-grams of 1 to high symbols of some texts, and how often each stands in each: of every length (n, F_n).

    Args:
        symbols: of the texts, all known.
        names: (V,) the symbols as text.
        high: symbols of the longest n-gram.
        fewest: n-grams that fewer texts have are left out (with one, all that it is a part of are).
        joint: see `Grams`.
    """
    tables, keys = [], []
    table = _table(symbols.numbers, symbols, len(names))
    table, keep = _prune(table, fewest)
    kept = [names[i] for i in np.flatnonzero(keep).tolist()]
    renumbered = Symbols(_renumber(symbols.numbers, keep), symbols.texts, symbols.count)
    tables.append(table)
    nodes = renumbered.numbers
    for order in range(2, high + 1):
        found = _next_keys(nodes, order - 1, renumbered, len(kept))
        level = np.unique(found[found >= 0])
        nodes = _find(found, level)
        table, keep = _prune(_table(nodes, renumbered, len(level)), fewest)
        nodes = _renumber(nodes, keep)
        tables.append(table)
        keys.append(level[keep])
    return Grams(kept, 1, tuple(keys), joint), tables


def _next_keys(nodes: _Integers, order: int, symbols: Symbols, size: int) -> _Integers:
    """(N,) the keys of n-grams with one symbol more than those (N,) of `order` symbols; -1 where there are none."""
    keys = np.full(len(nodes), -1, np.int64)
    if len(nodes) > order:
        last = symbols.numbers[order:]
        whole = (nodes[:-order] >= 0) & (last >= 0) & (symbols.texts[order:] == symbols.texts[:-order])
        keys[:-order] = np.where(whole, nodes[:-order] * size + last, -1)
    return keys


def _find(found: _Integers, keys: _Integers) -> _Integers:
    """(N,) where keys stand among those that are known; -1 where they do not."""
    if not len(keys):
        return np.full(len(found), -1, np.int64)
    places = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
    return np.where(keys[places] == found, places, -1)


def _table(nodes: _Integers, symbols: Symbols, size: int) -> Any:
    """How often each of `size` n-grams stands in each text."""
    from scipy import sparse

    there = nodes >= 0
    width = max(size, 1)
    pairs, counts = np.unique(symbols.texts[there] * width + nodes[there], return_counts=True)
    rows, columns = np.divmod(pairs, width)
    starts = np.searchsorted(rows, np.arange(symbols.count + 1))
    # Not in 64 bits: liblinear takes no others.
    places = columns.astype(np.int32), starts.astype(np.int32)
    return sparse.csr_array((counts.astype(np.float64), *places), shape=(symbols.count, size))


def _prune(table: Any, fewest: int) -> tuple[Any, npt.NDArray[np.bool_]]:
    """The columns that enough texts have, and which these are."""
    keep = np.bincount(table.indices, minlength=table.shape[1]) >= fewest
    return (table if keep.all() else table[:, np.flatnonzero(keep)]), keep


def _renumber(nodes: _Integers, keep: npt.NDArray[np.bool_]) -> _Integers:
    """The numbers of n-grams among those that are kept; -1 for one that is not."""
    numbers = np.where(keep, np.cumsum(keep) - 1, -1)
    return np.where(nodes >= 0, numbers[nodes], -1) if len(numbers) else nodes
