"""Batches of tokens: for training with the state carried over, and for reading a text to its end.

Nothing here has a state of its own: a batch follows from its position alone, which is what exact resume rests on.
B is the batch, T the time steps, N the tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unrolled.data.blocks import Blocks
from unrolled.data.configuration import Documents
from unrolled.data.store import Tokens
from unrolled.data.vocabulary import IntArray
from unrolled.errors import DataError

__all__ = ["Batch", "StreamPosition", "Streams", "Stretch", "choose_batch", "sequential", "windows"]

_CHUNKS_WANTED = 8


@dataclass(frozen=True)
class StreamPosition:
    """Where training stands in its text.

    Attributes:
        epoch: passes over the text that are complete.
        chunk: batches of this pass that are complete.
    """

    epoch: int = 0
    chunk: int = 0


@dataclass(frozen=True, eq=False)
class Batch:
    """B stretches of T tokens, and what follows each.

    Attributes:
        x: (B, T) int64, the tokens read.
        y: (B, T) int64, the token after each.
        resets: (B, T) bool, where the state is to be emptied before x is read; None for nowhere.
        weights: (B, T) float32, 1 where y counts and 0 where it does not; None for 1 everywhere.
        fresh: the state is to be empty before this batch; otherwise it is the one that the batch before left.
        next: the position after this batch.
    """

    x: Tensor
    y: Tensor
    resets: Tensor | None
    weights: Tensor | None
    fresh: bool
    next: StreamPosition

    @property
    def targets(self) -> int:
        """How many targets count."""
        return self.y.numel() if self.weights is None else int(self.weights.sum(dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class Stretch:
    """U batches in a row, time first, without a tensor for each.

    Attributes:
        x: (U, T, B) int64, the tokens read.
        y: (U, T, B) int64, the token after each.
        resets: (U, T, B) bool, as in `Batch`; or None.
        weights: (U, T, B) bool, as in `Batch`; or None.
        fresh: (U,) bool, as in `Batch`.
        epochs: (U,) passes over the text after each batch, with their fraction.
        next: the position after the last.
    """

    x: IntArray
    y: IntArray
    resets: npt.NDArray[np.bool_] | None
    weights: npt.NDArray[np.bool_] | None
    fresh: npt.NDArray[np.bool_]
    epochs: npt.NDArray[np.float64]
    next: StreamPosition


class Streams:
    """B parallel streams over a text, for truncated backpropagation through time.

    Stream b reads the tokens from b * n on, n = (N - 1) // B of them, so that each has a token after it to predict;
    the fewer than B tokens that are left at the end are not read. An epoch starts at an offset below T and goes on in
    whole chunks of T, with what is left of each stream, fewer than T tokens, not read.

    With `vary`, the lengths of chunks are drawn: from a normal distribution around T, one in twenty times around T/2,
    its standard deviation T/14, and none below T/14 (Merity et al. 2018, section 4.1, for T = 70: 5 and 5). Each stream
    is then read to its end, with a shorter chunk there.

    Args:
        tokens: the text.
        batch: B.
        length: T, the time steps of a chunk.
        seed: decides the offsets, and lengths that vary.
        shift: whether the offset of an epoch is drawn, so that chunks are cut elsewhere each time; else it is 0.
        vary: whether the lengths of chunks are drawn.
        documents: "reset" to mark the first token of each document, and not to count its prediction from another's.
        rows: the half-open range of streams that batches hold, where several processes share them; all if not given.
        block: where above 0, the text is read in blocks of so many tokens, in an order drawn for each epoch (see
            `blocks.Blocks`); the first token of each is marked as with documents.

    Raises:
        DataError: the text is too short for one chunk in each stream, or for one block.
    """

    def __init__(
        self,
        tokens: Tokens,
        batch: int,
        length: int,
        *,
        seed: int,
        shift: bool,
        documents: Documents = "carry",
        vary: bool = False,
        rows: tuple[int, int] | None = None,
        block: int = 0,
    ) -> None:
        if batch < 1 or length < 1:
            raise ValueError(f"batch and length are counts from 1 on, got {batch} and {length}")
        self._tokens, self._length, self._seed, self._shift, self._documents = tokens, length, seed, shift, documents
        self._blocks = Blocks(len(tokens), block, seed) if block else None
        self._n, self._vary = (len(self._blocks or tokens) - 1) // batch, vary
        self._begins = np.arange(*(rows or (0, batch))) * self._n
        self._cuts: tuple[int, IntArray] | None = None
        if self._n < length:
            raise DataError(
                "the text is too short for one sequence",
                expected=f"at least {batch * length + 1} tokens for {batch} streams of {length} steps",
                got=f"{len(self._blocks or tokens)} tokens" + (f" in whole blocks of {block}" if block else ""),
                fix="give more text, or choose a smaller --batch or --length",
            )

    def chunks_per_epoch(self, epoch: int) -> int:
        """How many batches an epoch has; one more or less as its offset falls."""
        if self._vary:
            return len(self._borders(epoch)) - 1
        return (self._n - self._offset(epoch)) // self._length

    def batch(self, position: StreamPosition) -> Batch:
        """The batch at a position, always the same.

        Raises:
            ValueError: the epoch has no such chunk.
        """
        epoch, chunk = position.epoch, position.chunk
        chunks = self.chunks_per_epoch(epoch)
        if not 0 <= chunk < chunks:
            raise ValueError(f"epoch {epoch} has chunks 0 to {chunks - 1}, got {chunk}")
        start, steps = self._offset(epoch) + chunk * self._length, self._length
        if self._vary:
            start, end = self._borders(epoch)[chunk : chunk + 2].tolist()
            steps = end - start
        follows = StreamPosition(epoch, chunk + 1) if chunk + 1 < chunks else StreamPosition(epoch + 1)
        starts = self._begins + start
        if self._blocks is None:
            return _cut(self._tokens, starts, steps, self._documents, fresh=chunk == 0, follows=follows)
        ids, first = self._read(starts[:, None] + np.arange(steps + 1), epoch)
        assert first is not None
        return _batch(ids, first, ~first[:, 1:], fresh=chunk == 0, follows=follows)

    def stretch(self, position: StreamPosition, count: int) -> Stretch:
        """The `count` batches from a position on: what `batch` gives one by one, many times faster.

        Raises:
            ValueError: batches are of different lengths.
        """
        if self._vary:
            raise ValueError("batches of different lengths are no stretch")
        steps, streams = np.arange(self._length + 1)[:, None], self._begins
        read, chunks, totals, epochs = [], [], [], []
        epoch, chunk = position.epoch, position.chunk
        while count:
            total = self.chunks_per_epoch(epoch)
            here = np.arange(chunk, min(chunk + count, total))
            starts = self._offset(epoch) + here * self._length
            read.append(self._read(starts[:, None, None] + steps + streams, epoch))
            chunks.append(here)
            totals.append(np.full(len(here), total))
            epochs.append(np.full(len(here), epoch))
            count -= len(here)
            epoch, chunk = (epoch, chunk + len(here)) if chunk + len(here) < total else (epoch + 1, 0)
        within = np.concatenate(chunks)
        ids = np.concatenate([part for part, _ in read])
        marks = [part for _, part in read if part is not None]
        first = np.concatenate(marks) if marks else None
        ended = within + 1 == np.concatenate(totals)
        done = np.where(ended, 0.0, (within + 1) / np.concatenate(totals))
        return Stretch(
            x=ids[:, :-1],
            y=ids[:, 1:],
            resets=None if first is None else first[:, :-1],
            weights=None if first is None else ~first[:, 1:],
            fresh=within == 0,
            epochs=np.concatenate(epochs) + ended + done,
            next=StreamPosition(epoch, chunk),
        )

    def _read(self, positions: IntArray, epoch: int) -> tuple[IntArray, npt.NDArray[np.bool_] | None]:
        """The tokens at some positions of an epoch, and which of them begin a document or a block; None for none."""
        places = positions if self._blocks is None else self._blocks.places(positions, epoch)
        ids = self._tokens.ids[places].astype(np.int64)
        first = _among(places, self._tokens.document_starts) if self._documents == "reset" else None
        if self._blocks is None:
            return ids, first
        begins = positions % self._blocks.size == 0
        return ids, begins if first is None else begins | first

    def _borders(self, epoch: int) -> IntArray:
        """Where in each stream the chunks of an epoch begin, and at last where the last ends; of lengths that vary."""
        if self._cuts is None or self._cuts[0] != epoch:
            # The old generator: what it draws is the same in every release of NumPy.
            digest = hashlib.sha256(f"{self._seed} {epoch} lengths".encode()).digest()
            source = np.random.RandomState(int.from_bytes(digest[:4], "little"))
            borders, deviation = [self._offset(epoch)], self._length / 14
            while borders[-1] < self._n:
                mean = self._length if source.random_sample() < 0.95 else self._length / 2
                drawn = max(1, int(deviation), int(source.normal(mean, deviation)))
                borders.append(min(borders[-1] + drawn, self._n))
            self._cuts = epoch, np.array(borders)
        return self._cuts[1]

    def _offset(self, epoch: int) -> int:
        """The token of each stream that an epoch starts at. At least one chunk is left after it."""
        if not self._shift:
            return 0
        # A hash, not a generator: what it gives for an epoch needs no history and is the same in every release.
        digest = hashlib.sha256(f"{self._seed} {epoch}".encode()).digest()
        return int.from_bytes(digest[:8], "little") % min(self._length, self._n - self._length + 1)


def choose_batch(tokens_count: int, length: int, wanted: int) -> int:
    """The largest batch, up to the one wanted, that leaves every stream 8 chunks of `length`; 1 if none does.

    >>> choose_batch(1_000_000, 128, 64), choose_batch(10_000, 128, 64), choose_batch(500, 128, 64)
    (64, 9, 1)
    """
    return max(1, min(wanted, (tokens_count - 1) // (length * _CHUNKS_WANTED)))


def sequential(
    tokens: Tokens,
    batch: int,
    length: int,
    documents: Documents = "carry",
    share: Callable[[int], tuple[int, int]] | None = None,
) -> Iterator[Batch]:
    """Read a text with the state carried over: each of its N - 1 transitions is a target once.

    The text is cut into B streams of equal length, the first (N - 1) % B of them one longer; where a stream has ended
    before the others, weights are 0. Only the first batch is fresh. One stream carries the state through all of it.
    Of these B streams only those are read whose half-open range `share(B)` gives; there may be none.

    Raises:
        DataError: fewer than two tokens.
    """
    total = _transitions(tokens)
    batch = min(batch, total)
    n, longer = divmod(total, batch)
    rows = np.arange(*((0, batch) if share is None else share(batch)))
    if not rows.size:
        return
    begins, ends = rows * n + np.minimum(rows, longer), (rows + 1) * n + np.minimum(rows + 1, longer)
    longest = n + (longer > 0)
    for chunk, at in enumerate(range(0, longest, length)):
        steps = min(length, longest - at)
        follows = StreamPosition(0, chunk + 1)
        yield _cut(tokens, begins + at, steps, documents, fresh=at == 0, follows=follows, ends=ends)


def windows(tokens: Tokens, window: int, batch: int, documents: Documents = "carry") -> Iterator[Batch]:
    """Read a text in windows that do not overlap, each from an empty state: each transition is a target once.

    The last window, if it is shorter, is a batch of its own. Every batch is fresh.

    Raises:
        DataError: fewer than two tokens.
    """
    total = _transitions(tokens)
    whole, rest = divmod(total, window)
    chunks = [(at, min(batch, whole - at), window) for at in range(0, whole, batch)]
    if rest:
        chunks.append((whole, 1, rest))
    for chunk, (at, rows, steps) in enumerate(chunks):
        starts = (at + np.arange(rows)) * window
        yield _cut(tokens, starts, steps, documents, fresh=True, follows=StreamPosition(0, chunk + 1))


def _transitions(tokens: Tokens) -> int:
    """N - 1, how many tokens have one before them."""
    if len(tokens) < 2:
        raise DataError(
            "the text is too short to be read",
            expected="at least 2 tokens, the second to be predicted from the first",
            got=f"{len(tokens)}",
            fix="give more text, or a --split that leaves some for this part",
        )
    return len(tokens) - 1


def _cut(
    tokens: Tokens,
    starts: IntArray,
    steps: int,
    documents: Documents,
    *,
    fresh: bool,
    follows: StreamPosition,
    ends: IntArray | None = None,
) -> Batch:
    """The batch whose row b reads `steps` tokens from `starts[b]` on, and counts no target from beyond `ends[b]`."""
    positions = starts[:, None] + np.arange(steps + 1)
    # A row that has ended before the others may reach one token beyond the text; that one has weight 0.
    ids = tokens.ids[np.minimum(positions, len(tokens) - 1)].astype(np.int64)
    weights: npt.NDArray[np.bool_] | None = None
    first: npt.NDArray[np.bool_] | None = None
    if ends is not None and int(starts.max() + steps) > int(ends.min()):
        weights = positions[:, 1:] <= ends[:, None]
    if documents == "reset":
        first = _among(positions, tokens.document_starts)
        weights = ~first[:, 1:] if weights is None else weights & ~first[:, 1:]
    return _batch(ids, first, weights, fresh=fresh, follows=follows)


def _batch(
    ids: IntArray,
    first: npt.NDArray[np.bool_] | None,
    weights: npt.NDArray[np.bool_] | None,
    *,
    fresh: bool,
    follows: StreamPosition,
) -> Batch:
    """The batch of tokens (B, T + 1), those marked that the state is emptied before, and the weights of targets."""
    return Batch(
        x=torch.from_numpy(ids[:, :-1].copy()),
        y=torch.from_numpy(ids[:, 1:].copy()),
        resets=None if first is None else torch.from_numpy(first[:, :-1].copy()),
        weights=None if weights is None or weights.all() else torch.from_numpy(weights.astype(np.float32)),
        fresh=fresh,
        next=follows,
    )


def _among(positions: IntArray, starts: IntArray) -> npt.NDArray[np.bool_]:
    """Where a position is one of the ascending `starts`."""
    if not starts.size:
        return np.zeros(positions.shape, np.bool_)
    found = np.searchsorted(starts, positions)
    return np.asarray(starts[np.minimum(found, starts.size - 1)] == positions)
