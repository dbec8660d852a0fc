"""Shuffled sequences that keep how often which letters follow each other: what a signal is told apart from.

Axes: T letters, K different ones.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from unrolled.data.alphabets import Codes
from unrolled.errors import ConfigurationError

__all__ = ["shuffled"]


def shuffled(codes: Codes, generator: np.random.Generator, k: int = 2) -> Codes:
    """A sequence with the same stretches of k letters, each exactly as often, in a new order.

    The stretches are the edges of a graph whose vertices are the stretches of k - 1 letters; a sequence is a walk along
    every edge once (Altschul & Erickson 1985, for k = 2). Every such sequence is drawn with the same probability: the
    edge by which each vertex is left last makes up a tree towards the end, drawn by walks whose loops are erased
    (Wilson 1996; the paper tries until they do), and the other edges are left in any order. The first and the last
    k - 1 letters stay where they are, which follows from the counts if they differ.

    Args:
        codes: (T,) numbers from 0 to 255; a symbol that stands for several letters is one of its own.
        generator: what is random.
        k: 1 for a plain permutation.

    Returns:
        (T,); the same as was given where there is no other, as for a sequence of one letter.

    Raises:
        ConfigurationError: k is less than 1.

    >>> shuffled(np.frombuffer(b"ABABACA", np.uint8), np.random.default_rng(0)).tobytes()
    b'ABABACA'
    """
    if k < 1:
        raise ConfigurationError("a shuffle keeps stretches of at least one letter", got=str(k))
    if k == 1:
        return codes[generator.permutation(len(codes))]
    if len(codes) <= k:
        return codes.copy()
    walk = _vertices(codes, k - 1)
    following: list[list[int]] = [[] for _ in range(max(walk) + 1)]
    for here, after in itertools.pairwise(walk):
        following[here].append(after)
    chance = _Chance(generator, 2 * len(walk))
    final = walk[-1]
    last = _tree(following, final, chance)
    order: list[list[int]] = []
    for vertex, there in enumerate(following):
        edges = there.copy()
        if vertex != final:
            edges.remove(last[vertex])
        for place in range(len(edges) - 1, 0, -1):  # Fisher and Yates
            other = chance.below(place + 1)
            edges[place], edges[other] = edges[other], edges[place]
        order.append([*([] if vertex == final else [last[vertex]]), *edges])
    # Vertices are numbered as they first occur: which letter each ends with.
    ends = np.empty(len(order), codes.dtype)
    ends[walk] = codes[k - 2 :]
    at, new = walk[0], [walk[0]]
    while order[at]:
        at = order[at].pop()
        new.append(at)
    result: Codes = np.concatenate([codes[: k - 2], ends[new]])
    return result


class _Chance:
    """Whole numbers by chance, drawn many at a time."""

    def __init__(self, generator: np.random.Generator, count: int) -> None:
        self._generator, self._count = generator, count
        self._numbers: list[float] = []

    def below(self, bound: int) -> int:
        """From 0 to bound - 1."""
        if not self._numbers:
            self._numbers = self._generator.random(self._count).tolist()
        return int(self._numbers.pop() * bound)


def _vertices(codes: Codes, k: int) -> list[int]:
    """The number of every stretch of k letters, in the order in which they first occur."""
    if k == 1:
        stretches: npt.NDArray[np.generic] = codes
    else:
        stretches = np.lib.stride_tricks.sliding_window_view(np.ascontiguousarray(codes), k)
        stretches = np.ascontiguousarray(stretches).view(f"V{k * codes.itemsize}").ravel()
    numbers: dict[bytes | int, int] = {}
    walk: list[bytes | int] = stretches.tolist()
    return [numbers.setdefault(stretch, len(numbers)) for stretch in walk]


def _tree(following: list[list[int]], root: int, chance: _Chance) -> dict[int, int]:
    """From every vertex but the root the next on its way there, of all trees of edges any with the same probability."""
    towards: dict[int, int] = {}
    reached = {root}
    for start in range(len(following)):
        here = start
        while here not in reached:  # a later way out of a vertex takes the place of the earlier: loops are erased
            edges = following[here]
            towards[here] = edges[chance.below(len(edges))]
            here = towards[here]
        here = start
        while here not in reached:
            reached.add(here)
            here = towards[here]
    return towards
