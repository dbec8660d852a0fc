"""Tests of memory: sequences in which something has to be kept for a known number of steps before it is asked for.

Each test makes its sequences itself, from a generator of random numbers: nothing is read, and the same seed gives the
same sequences. A batch has one distance and one length, so that nothing is padded. Those made of sentences are in
`data.memory_sentences`.

Axes: B sequences, T steps, D numbers a step, K places that are asked for.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from unrolled.errors import ConfigurationError, nearest

__all__ = [
    "DISTANCES",
    "LONGEST",
    "MEMORY_TESTS",
    "Adding",
    "Copying",
    "MemoryBatch",
    "MemoryTest",
    "Plan",
    "find_memory_test",
    "plan_distances",
]

DISTANCES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
"""Distances that are tested where none are given."""
LONGEST = 32
"""The longest distance that is trained, where none is given."""


@dataclass(frozen=True, eq=False)
class MemoryBatch:
    """Sequences of one length and one distance.

    Attributes:
        x: (B, T) symbols, or (B, T, D) numbers in float32.
        y: (B, K) what is asked for: classes, or numbers in float32.
        places: (K,) after which steps it is asked for, the same for all sequences.
        distance: steps between what decides and where it is asked for, as the test counts them.
        shortcut: (B, K) what one says who does not remember but takes what is nearest; see `MemoryTest.about_shortcut`.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    places: npt.NDArray[np.int64]
    distance: int
    shortcut: npt.NDArray[Any]


@dataclass(frozen=True)
class Plan:
    """Which distances are trained, and which are tested.

    Attributes:
        trained: each as often as the others.
        tested: in rising order.
    """

    trained: tuple[int, ...]
    tested: tuple[int, ...]

    @property
    def held_out(self) -> tuple[int, ...]:
        """Those tested that no sequence of training has, though it has shorter and longer ones."""
        seen = set(self.trained)
        return tuple(each for each in self.tested if each not in seen and each < self.trained[-1])

    @property
    def beyond(self) -> tuple[int, ...]:
        """Those tested that are longer than any in training."""
        return tuple(each for each in self.tested if each > self.trained[-1])


class MemoryTest(ABC):
    """A test of memory.

    Attributes:
        name: what it is called on the command line.
        about: what is asked, in a sentence.
        counts: what its distance counts.
        about_shortcut: what `MemoryBatch.shortcut` takes.
        shortest: the least distance there is.
        symbols: V, how many symbols x has; 0 where x are numbers.
        width: D, where x are numbers.
        outcomes: how many classes y has; 0 where y are numbers.
        tolerance: a number counts as right within so much of y.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    counts: ClassVar[str]
    about_shortcut: ClassVar[str]
    shortest: ClassVar[int] = 0
    symbols: int = 0
    width: int = 0
    outcomes: int = 0
    tolerance: float = 0.0

    @abstractmethod
    def batch(self, source: np.random.Generator, count: int, distance: int) -> MemoryBatch:
        """So many sequences of a distance."""

    @property
    def chance(self) -> float:
        """The share that is right by guessing without a look at the sequence."""
        return 1 / self.outcomes

    def plan(self, longest: int, tested: Sequence[int]) -> Plan:
        """See `plan_distances`."""
        return plan_distances(longest, tested, self.shortest)


def plan_distances(longest: int, tested: Sequence[int], shortest: int = 0) -> Plan:
    """Train all distances up to the longest but those held out; test the given ones.

    Of the tested distances up to the longest, the fourth, sixth, eighth ... are held out, but never the last.

    Args:
        longest: the longest that is trained.
        tested: distances to test; those below the shortest are left out.
        shortest: of the test.

    Raises:
        ConfigurationError: none is left to train or to test, or one is negative.

    >>> plan = plan_distances(16, (1, 2, 4, 6, 8, 12, 16, 32))
    >>> plan.held_out, plan.beyond, 12 in plan.trained, 11 in plan.trained
    ((6, 12), (32,), False, True)
    """
    ladder = tuple(sorted({each for each in tested if each >= shortest}))
    if longest < max(shortest, 1) or not ladder or min(tested) < 0:
        raise ConfigurationError(
            "there is no distance to train or to test",
            expected=f"a longest distance of at least {max(shortest, 1)}, and some to test from {shortest} on",
            got=f"longest {longest}, tested {', '.join(map(str, tested)) or 'none'}",
        )
    within = [each for each in ladder if each <= longest]
    held_out = {each for each in within[3:-1:2] if each < longest}
    return Plan(tuple(each for each in range(max(shortest, 1), longest + 1) if each not in held_out), ladder)


class Adding(MemoryTest):
    """The adding problem (Hochreiter & Schmidhuber 1997, section 5.4, in the numbers of Arjovsky, Shah & Bengio 2016,
    section 5.2).

    Each step has a number, uniform from 0 to 1, and a mark, which is 1 at two steps and 0 at the others: at one of the
    first half, drawn uniformly, and at one of the second. Asked for at the end: the sum of the two marked numbers. The
    distance is the length T. An answer within 0.08 of the sum is right: the 0.04 of 1997, where targets were half of
    these.

    Who always says 1 has a mean squared error of 1/6, and is right with 0.16 - 0.0064 of the sequences (the sum has a
    triangular density).

    >>> batch = Adding().batch(np.random.default_rng(0), 3, 10)
    >>> batch.x.shape, batch.y.shape
    ((3, 10, 2), (3, 1))
    >>> bool(np.allclose((batch.x[..., 0] * batch.x[..., 1]).sum(1), batch.y[:, 0]))
    True
    """

    name = "adding"
    about = "the sum of the two marked numbers of a sequence"
    counts = "steps of the sequence"
    about_shortcut = "the second marked number, and a half for the first"
    shortest = 2
    width = 2
    tolerance = 0.08

    def batch(self, source: np.random.Generator, count: int, distance: int) -> MemoryBatch:
        half = distance // 2
        rows = np.arange(count)
        first, second = source.integers(0, half, count), source.integers(half, distance, count)
        x = np.zeros((count, distance, 2), np.float32)
        x[..., 0] = source.random((count, distance), np.float32)
        x[rows, first, 1] = x[rows, second, 1] = 1
        last = x[rows, second, 0]
        places = np.array([distance - 1])
        return MemoryBatch(x, (x[rows, first, 0] + last)[:, None], places, distance, last[:, None] + np.float32(0.5))

    @property
    def chance(self) -> float:
        return 2 * self.tolerance - self.tolerance**2


class Copying(MemoryTest):
    """The copying problem (Arjovsky, Shah & Bengio 2016, section 5.1; Hochreiter & Schmidhuber 1997).

    Ten symbols of eight kinds, then T - 1 blanks, then a mark, then ten blanks, while which the ten symbols are asked
    for in their order. Between a symbol and where it is asked for are T + 9 others; the distance is T. The blanks that
    the paper also asks for, while nothing is to be said, are not trained and not counted.

    >>> batch = Copying().batch(np.random.default_rng(0), 1, 3)
    >>> batch.x[0].tolist()
    [6, 5, 4, 2, 2, 0, 0, 0, 1, 6, 8, 8, 9, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]
    >>> batch.y[0].tolist(), batch.places.tolist()
    ([6, 5, 4, 2, 2, 0, 0, 0, 1, 6], [13, 14, 15, 16, 17, 18, 19, 20, 21, 22])
    """

    name = "copying"
    about = "ten symbols, in their order, after a pause"
    counts = "steps of pause"
    about_shortcut = "the last of the ten symbols, ten times"
    shortest = 1
    outcomes = 8
    symbols = 10
    _ITEMS = 10

    def batch(self, source: np.random.Generator, count: int, distance: int) -> MemoryBatch:
        items, blank, mark = self._ITEMS, self.outcomes, self.outcomes + 1
        y = source.integers(0, self.outcomes, (count, items))
        x = np.full((count, distance + 2 * items), blank)
        x[:, :items] = y
        x[:, distance + items - 1] = mark
        shortcut = np.repeat(y[:, -1:], items, 1)
        return MemoryBatch(x, y, distance + items + np.arange(items), distance, shortcut)


# Name of the test -> its module and class.
MEMORY_TESTS: dict[str, tuple[str, str]] = {
    "adding": ("memory", "Adding"),
    "copying": ("memory", "Copying"),
    "agreement": ("memory_sentences", "Agreement"),
    "recall": ("memory_sentences", "Recall"),
    "year": ("memory_sentences", "Year"),
}


def find_memory_test(name: str) -> MemoryTest:
    """The test of a name.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in MEMORY_TESTS:
        raise ConfigurationError(f"there is no test of memory called {name!r}", fix=nearest(name, MEMORY_TESTS))
    module, attribute = MEMORY_TESTS[name]
    found: MemoryTest = getattr(importlib.import_module(f"unrolled.data.{module}"), attribute)()
    return found
