"""Which examples make up a batch: shuffled in each pass, those of like length together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unrolled.data.vocabulary import IntArray

__all__ = ["ExampleBatches", "ExamplePosition", "in_order"]

_POOL = 50  # batches whose examples are sorted by length together: little is padded, and much is left to chance


@dataclass(frozen=True)
class ExamplePosition:
    """Where training stands in its examples.

    Attributes:
        epoch: passes before this one.
        batch: batches of this pass before the next.
    """

    epoch: int = 0
    batch: int = 0


class ExampleBatches:
    """The batches of all passes over some examples. Each follows from the seed, the pass and its place alone.

    In a pass every example comes once. All are shuffled and cut into pools; those of a pool are sorted by length and
    cut into batches; these are shuffled again.

    Args:
        lengths: (n,) of the examples, at least one.
        batch: B examples a batch; the last of a pass has what is left.
        seed: of the order.
    """

    def __init__(self, lengths: IntArray, batch: int, *, seed: int) -> None:
        self._lengths, self._batch, self._seed = lengths, batch, seed
        self.count = -(-len(lengths) // batch)
        self._epoch = -1
        self._order: list[IntArray] = []

    def rows(self, position: ExamplePosition) -> IntArray:
        """(B,) the numbers of the examples of a batch."""
        if position.epoch != self._epoch:
            self._order, self._epoch = self._shuffled(position.epoch), position.epoch
        return self._order[position.batch]

    def following(self, position: ExamplePosition) -> ExamplePosition:
        """The position after a batch."""
        if position.batch + 1 < self.count:
            return ExamplePosition(position.epoch, position.batch + 1)
        return ExamplePosition(position.epoch + 1, 0)

    def _shuffled(self, epoch: int) -> list[IntArray]:
        generator = np.random.default_rng([self._seed, epoch])
        order = generator.permutation(len(self._lengths))
        batches: list[IntArray] = []
        for begin in range(0, len(order), _POOL * self._batch):
            pool = order[begin : begin + _POOL * self._batch]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches += [pool[first : first + self._batch] for first in range(0, len(pool), self._batch)]
        return [batches[index] for index in generator.permutation(len(batches))]


def in_order(lengths: IntArray, batch: int) -> Iterator[IntArray]:
    """The numbers of all examples, those of like length together, for reading without training."""
    order = np.argsort(lengths, kind="stable")
    for begin in range(0, len(order), batch):
        yield order[begin : begin + batch]
