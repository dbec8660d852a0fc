"""Shuffled blocks: a long text in an order that is new in every pass, and follows from the seed and the pass alone."""

from __future__ import annotations

import hashlib

import numpy as np

from unrolled.data.vocabulary import IntArray
from unrolled.errors import DataError

__all__ = ["Blocks"]


class Blocks:
    """N tokens cut into K = N // S blocks of S, read in a drawn order.

    Where the first block begins is drawn too, among the places that leave K whole blocks; what is left over before and
    after them, fewer than S tokens, is not read in that pass. Nothing of the order is kept: any pass can be asked for.

    Args:
        tokens: N.
        size: S.
        seed: decides the orders.

    Raises:
        DataError: there is not one whole block.
    """

    def __init__(self, tokens: int, size: int, seed: int) -> None:
        self.size, self._count, self._spare, self._seed = size, tokens // size, tokens % size, seed
        self._known: tuple[int, int, IntArray] | None = None
        if not self._count:
            raise DataError(
                "the text is too short for one block",
                expected=f"at least {size} tokens",
                got=f"{tokens}",
                fix="give more text, or choose a smaller --shuffle-block",
            )

    def __len__(self) -> int:
        """How many tokens a pass reads: K S."""
        return self._count * self.size

    def places(self, positions: IntArray, epoch: int) -> IntArray:
        """Where in the text the tokens at some positions of a pass (...) stand."""
        begin, order = self._order(epoch)
        return np.asarray(begin + order[positions // self.size] * self.size + positions % self.size)

    def _order(self, epoch: int) -> tuple[int, IntArray]:
        if self._known is None or self._known[0] != epoch:
            digest = hashlib.sha256(f"blocks {self._seed} {epoch}".encode()).digest()
            begin = int.from_bytes(digest[:8], "little") % (self._spare + 1)
            # The raw numbers of a generator are the same in every release of NumPy, those of its methods need not be.
            numbers = np.random.PCG64(int.from_bytes(digest[8:24], "little")).random_raw(self._count)
            self._known = (epoch, begin, np.argsort(numbers, kind="stable"))
        return self._known[1:]
