from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.blocks import Blocks
from unrolled.data.configuration import Documents
from unrolled.data.store import Tokens
from unrolled.data.streams import Batch, StreamPosition, Streams, choose_batch, sequential, windows
from unrolled.errors import DataError


def numbered(count: int, starts: Iterable[int] = ()) -> Tokens:
    """Tokens that are their own positions, so that a batch says where it was read."""
    return Tokens(np.arange(count, dtype=np.uint16), np.array(sorted(starts), np.int64))


@st.composite
def texts(draw: st.DrawFn, least: int) -> Tokens:
    count = draw(st.integers(least, 120))
    return numbered(count, draw(st.sets(st.integers(0, count - 1), max_size=10)))


def check(batch: Batch, tokens: Tokens, documents: Documents) -> None:
    """Types and shapes; that targets follow their inputs; that documents are marked."""
    assert batch.x.shape == batch.y.shape
    assert batch.x.dtype == batch.y.dtype == torch.int64
    assert batch.x.is_contiguous()
    assert batch.y.is_contiguous()
    weights = torch.ones(batch.x.shape) if batch.weights is None else batch.weights
    assert weights.dtype == torch.float32
    assert batch.targets == int(weights.sum())
    assert torch.equal(batch.y[weights > 0], batch.x[weights > 0] + 1)
    if documents == "carry":
        assert batch.resets is None
        return
    assert batch.resets is not None
    assert batch.resets.dtype == torch.bool
    starts = torch.from_numpy(tokens.document_starts)
    assert torch.equal(batch.resets, torch.isin(batch.x, starts))
    assert not weights[torch.isin(batch.y, starts)].any()


def counted(batch: Batch) -> list[int]:
    """The targets of a batch that count."""
    kept = torch.ones(batch.y.shape, dtype=torch.bool) if batch.weights is None else batch.weights > 0
    return [int(target) for target in batch.y[kept]]


DOCUMENTS = st.sampled_from(["carry", "reset"])


@given(texts(2), st.integers(1, 7), st.integers(1, 9), st.integers(0, 3), st.booleans(), DOCUMENTS)
def test_streams_are_slices(
    tokens: Tokens, size: int, length: int, seed: int, shift: bool, documents: Documents
) -> None:
    n = (len(tokens) - 1) // size
    if n < length:
        with pytest.raises(DataError, match="too short for one sequence"):
            Streams(tokens, size, length, seed=seed, shift=shift)
        return
    streams = Streams(tokens, size, length, seed=seed, shift=shift, documents=documents)
    position = StreamPosition()
    for epoch in range(3):
        chunks = streams.chunks_per_epoch(epoch)
        assert chunks >= 1
        offset = int(streams.batch(StreamPosition(epoch, 0)).x[0, 0])
        assert 0 <= offset < (length if shift else 1)
        assert chunks == (n - offset) // length
        for chunk in range(chunks):
            assert position == StreamPosition(epoch, chunk)
            batch = streams.batch(position)
            check(batch, tokens, documents)
            assert batch.fresh == (chunk == 0)
            rows = [[b * n + offset + chunk * length + t for t in range(length)] for b in range(size)]
            assert batch.x.tolist() == rows
            assert batch.y.tolist() == [[token + 1 for token in row] for row in rows]
            position = batch.next
    assert position == StreamPosition(3, 0)


def test_a_batch_follows_from_its_position_alone() -> None:
    def make() -> Streams:
        return Streams(numbered(1000), 3, 17, seed=5, shift=True)

    position, straight = StreamPosition(), []
    streams = make()
    for _ in range(60):
        straight.append((position, streams.batch(position)))
        position = straight[-1][1].next
    for position, expected in reversed(straight):
        again = make().batch(position)
        assert torch.equal(again.x, expected.x)
        assert (again.fresh, again.next) == (expected.fresh, expected.next)


def test_offsets_depend_on_the_epoch_and_the_seed_and_stay_as_they_are() -> None:
    """Fixed figures: a change of them would change how a run of today is resumed tomorrow."""

    def offsets(seed: int) -> list[int]:
        streams = Streams(numbered(5000), 1, 100, seed=seed, shift=True)
        return [int(streams.batch(StreamPosition(epoch)).x[0, 0]) for epoch in range(5)]

    assert offsets(0) == [71, 80, 0, 76, 34]
    assert offsets(1) != offsets(0)


def test_offsets_leave_one_chunk() -> None:
    streams = Streams(numbered(12), 1, 10, seed=0, shift=True)
    assert {streams.chunks_per_epoch(epoch) for epoch in range(20)} == {1}
    assert {int(streams.batch(StreamPosition(epoch)).x[0, 0]) for epoch in range(20)} == {0, 1}


def test_writing_to_a_batch_leaves_the_text_alone() -> None:
    tokens = Tokens(np.arange(10, dtype=np.int64))
    streams = Streams(tokens, 1, 9, seed=0, shift=False)
    streams.batch(StreamPosition()).x.zero_()
    assert tokens.ids.tolist() == list(range(10))


def test_a_text_shorter_than_one_sequence() -> None:
    Streams(numbered(26), 1, 25, seed=0, shift=True)
    with pytest.raises(DataError) as caught:
        Streams(numbered(25), 1, 25, seed=0, shift=True)
    assert str(caught.value).splitlines() == [
        "the text is too short for one sequence",
        "  expected: at least 26 tokens for 1 streams of 25 steps",
        "  got: 25 tokens",
        "  what to do: give more text, or choose a smaller --batch or --length",
    ]


@pytest.mark.parametrize("position", [StreamPosition(0, 9), StreamPosition(0, -1)])
def test_a_chunk_that_an_epoch_does_not_have(position: StreamPosition) -> None:
    with pytest.raises(ValueError, match="epoch 0 has chunks 0 to 8"):
        Streams(numbered(100), 1, 11, seed=0, shift=False).batch(position)


@pytest.mark.parametrize(("size", "length"), [(0, 5), (5, 0), (-1, 5)])
def test_sizes_that_are_no_counts(size: int, length: int) -> None:
    with pytest.raises(ValueError, match="counts from 1 on"):
        Streams(numbered(100), size, length, seed=0, shift=False)


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 128))
def test_the_batch_leaves_enough_chunks(count: int, length: int, wanted: int) -> None:
    chosen = choose_batch(count, length, wanted)
    assert 1 <= chosen <= wanted
    assert chosen == 1 or (count - 1) // chosen >= 8 * length
    assert chosen == wanted or (count - 1) // (chosen + 1) < 8 * length


@given(texts(2), st.integers(1, 9), st.integers(1, 9), DOCUMENTS)
def test_sequential_reading_covers_every_transition_once(
    tokens: Tokens, size: int, length: int, documents: Documents
) -> None:
    seen: list[int] = []
    before: Batch | None = None
    for number, batch in enumerate(sequential(tokens, size, length, documents)):
        check(batch, tokens, documents)
        assert batch.fresh == (number == 0)
        assert batch.next == StreamPosition(0, number + 1)
        if before is not None:
            # The state goes on where it was; a row that has ended counts no more.
            ended = batch.x[:, 0] != before.y[:, -1]
            assert batch.weights is not None or not ended.any()
            assert batch.weights is None or not batch.weights[ended].any()
        seen += counted(batch)
        before = batch
    starts = set(tokens.document_starts.tolist()) if documents == "reset" else set()
    assert sorted(seen) == [target for target in range(1, len(tokens)) if target not in starts]


@given(texts(2), st.integers(1, 9), st.integers(1, 9), DOCUMENTS)
def test_windows_cover_every_transition_once(tokens: Tokens, window: int, size: int, documents: Documents) -> None:
    rows: list[list[int]] = []
    seen: list[int] = []
    for batch in windows(tokens, window, size, documents):
        check(batch, tokens, documents)
        assert batch.fresh
        assert len(batch.x) <= size
        rows += batch.x.tolist()
        seen += counted(batch)
    inputs = list(range(len(tokens) - 1))
    assert rows == [inputs[at : at + window] for at in range(0, len(inputs), window)]
    starts = set(tokens.document_starts.tolist()) if documents == "reset" else set()
    assert sorted(seen) == [target for target in range(1, len(tokens)) if target not in starts]


@pytest.mark.parametrize("read", [sequential, windows])
@pytest.mark.parametrize("count", [0, 1])
def test_a_part_too_short_to_be_read(read: type, count: int) -> None:
    with pytest.raises(DataError, match="the text is too short to be read"):
        list(read(numbered(count), 5, 5))


def test_one_stream_carries_the_state_through_all_of_it() -> None:
    batches = list(sequential(numbered(12), 1, 4))
    assert [batch.x.tolist() for batch in batches] == [[[0, 1, 2, 3]], [[4, 5, 6, 7]], [[8, 9, 10]]]
    assert [batch.weights for batch in batches] == [None, None, None]


def test_uneven_streams_of_sequential_reading() -> None:
    (batch,) = sequential(numbered(9), 3, 10)
    assert batch.x.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert batch.weights is not None
    assert batch.weights.tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 0]]


@given(data=st.data(), batch=st.integers(1, 3), length=st.integers(1, 5), count=st.integers(1, 60))
def test_a_stretch_is_the_batches_one_by_one(data: st.DataObject, batch: int, length: int, count: int) -> None:
    tokens = data.draw(texts(batch * length + 1))
    documents: Documents = data.draw(st.sampled_from(["carry", "reset"]))
    streams = Streams(tokens, batch, length, seed=1, shift=data.draw(st.booleans()), documents=documents)
    position = StreamPosition(data.draw(st.integers(0, 3)))
    stretch = streams.stretch(position, count)
    for index in range(count):
        one = streams.batch(position)
        position = one.next
        assert torch.equal(torch.from_numpy(stretch.x[index].T), one.x)
        assert torch.equal(torch.from_numpy(stretch.y[index].T), one.y)
        assert stretch.fresh[index] == one.fresh
        assert stretch.epochs[index] == position.epoch + position.chunk / streams.chunks_per_epoch(position.epoch)
        if one.resets is not None:
            assert stretch.resets is not None
            assert torch.equal(torch.from_numpy(stretch.resets[index].T.copy()), one.resets)
        if one.weights is not None:
            assert stretch.weights is not None
            assert torch.equal(torch.from_numpy(stretch.weights[index].T.astype(np.float32)), one.weights)
    assert stretch.next == position


@given(texts(least=20), st.integers(1, 4), st.integers(1, 9), st.sampled_from(["carry", "reset"]), st.integers(0, 2))
def test_chunks_of_lengths_that_vary_cover_every_stream(
    tokens: Tokens, size: int, length: int, documents: Documents, epoch: int
) -> None:
    if (len(tokens) - 1) // size < length:
        return
    streams = Streams(tokens, size, length, seed=3, shift=True, documents=documents, vary=True)
    position, read = StreamPosition(epoch, 0), [[] for _ in range(size)]
    while position.epoch == epoch:
        batch = streams.batch(position)
        check(batch, tokens, documents)
        assert batch.fresh == (position.chunk == 0)
        for row, ids in enumerate(batch.x.tolist()):
            read[row] += ids
        # It follows from its position alone.
        again = Streams(tokens, size, length, seed=3, shift=True, documents=documents, vary=True).batch(position)
        assert torch.equal(batch.x, again.x)
        position = batch.next
    assert position == StreamPosition(epoch + 1, 0)
    n = (len(tokens) - 1) // size
    for row, ids in enumerate(read):
        assert ids == list(range(ids[0], (row + 1) * n))
        assert ids[0] - row * n < length


def test_lengths_vary_as_the_paper_says() -> None:
    streams = Streams(Tokens(np.zeros(2_000_001, np.uint8), np.array([0])), 1, 70, seed=0,
                      shift=False, vary=True)  # fmt: skip
    borders = streams._borders(0)
    lengths = np.diff(borders)[:-1]
    assert borders[0] == 0
    assert borders[-1] == 2_000_000
    short = lengths < 52
    assert short.mean() == pytest.approx(0.05, abs=0.01)
    assert lengths[~short].mean() == pytest.approx(69.5, abs=0.3)  # whole steps: half of one is cut off
    assert lengths[~short].std() == pytest.approx(5, abs=0.2)
    assert lengths[short].mean() == pytest.approx(34.5, abs=1)
    assert not np.array_equal(lengths[:50], np.diff(streams._borders(1))[:50])
    # What is drawn stays as it is: a run that is resumed with a later release goes on with the same sequences.
    assert lengths[:8].tolist() == [75, 37, 74, 69, 71, 65, 64, 70]


def test_batches_of_different_lengths_are_no_stretch() -> None:
    with pytest.raises(ValueError, match="no stretch"):
        Streams(numbered(100), 2, 5, seed=0, shift=False, vary=True).stretch(StreamPosition(), 2)


@given(texts(2), st.integers(1, 7), st.integers(1, 9), st.integers(1, 5), DOCUMENTS)
def test_what_several_read_is_what_one_reads(
    tokens: Tokens, size: int, length: int, count: int, documents: Documents
) -> None:
    """Every target is counted once, in the same stretch of text."""

    def share(rank: int) -> Callable[[int], tuple[int, int]]:
        return lambda streams: (rank * streams // count, (rank + 1) * streams // count)

    whole = [target for batch in sequential(tokens, size, length, documents) for target in counted(batch)]
    parts = [[*sequential(tokens, size, length, documents, share(rank))] for rank in range(count)]
    assert sorted(target for part in parts for batch in part for target in counted(batch)) == sorted(whole)
    if (len(tokens) - 1) // size < length:
        return
    begin = StreamPosition()
    of_all = Streams(tokens, size, length, seed=3, shift=True, documents=documents).stretch(begin, 3)
    shares = [
        Streams(tokens, size, length, seed=3, shift=True, documents=documents, rows=share(rank)(size))
        for rank in range(count)
    ]
    assert np.array_equal(np.concatenate([own.stretch(begin, 3).x for own in shares], axis=2), of_all.x)
    assert np.array_equal(np.concatenate([own.batch(begin).y.numpy() for own in shares]), of_all.y[0].T)


@given(st.data())
def test_shuffled_blocks(data: st.DataObject) -> None:
    """Of a numbered text: every token that is read follows the one before it in the text, or begins a block."""
    total, block = data.draw(st.integers(24, 200)), data.draw(st.integers(2, 12))
    size, length = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 6))
    documents = data.draw(st.sampled_from(["carry", "reset"]))
    starts = np.array(sorted({0, *data.draw(st.lists(st.integers(1, total - 1), max_size=4))}), np.int64)
    tokens = Tokens(np.arange(total), starts)
    options: dict[str, Any] = {"seed": 3, "shift": data.draw(st.booleans()), "documents": documents, "block": block}
    streams = Streams(tokens, size, length, **options)
    orders = []
    for epoch in range(3):
        seen: list[int] = []
        for chunk in range(streams.chunks_per_epoch(epoch)):
            position = StreamPosition(epoch, chunk)
            batch, again = streams.batch(position), Streams(tokens, size, length, **options).batch(position)
            assert batch.x.equal(again.x)
            assert batch.y.equal(again.y)
            assert batch.resets is not None
            weights = torch.ones(batch.y.shape) if batch.weights is None else batch.weights
            assert (batch.y == batch.x + 1)[weights > 0].all()
            ends = batch.y[weights == 0].tolist()
            begins = batch.x[batch.resets].tolist()
            inside = [token for token in [*ends, *begins] if documents == "carry" or token not in starts.tolist()]
            assert len({token % block for token in inside}) <= 1  # all blocks of an epoch begin at one phase
            seen += batch.x.flatten().tolist()
        assert len(set(seen)) == len(seen)
        orders.append(seen)
    count = min(5, streams.chunks_per_epoch(0))
    together = streams.stretch(StreamPosition(), count)
    assert together.resets is not None
    assert together.weights is not None
    for chunk in range(count):
        batch = streams.batch(StreamPosition(0, chunk))
        assert batch.resets is not None
        np.testing.assert_array_equal(together.x[chunk].T, batch.x.numpy())
        np.testing.assert_array_equal(together.y[chunk].T, batch.y.numpy())
        np.testing.assert_array_equal(together.resets[chunk].T, batch.resets.numpy())
        expected = np.ones(batch.y.shape) if batch.weights is None else batch.weights.numpy()
        np.testing.assert_array_equal(together.weights[chunk].T, expected)


def test_blocks_cover_the_text_and_their_order_changes() -> None:
    blocks = Blocks(1003, 10, seed=1)
    assert len(blocks) == 1000
    orders = [blocks.places(np.arange(1000), epoch) for epoch in range(4)]
    for order in orders:
        assert len(set(order.tolist())) == 1000
        assert 0 <= order.min() <= order.max() < 1003
        assert (np.diff(order.reshape(100, 10)) == 1).all()
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert blocks.places(np.arange(1000), 0).tolist() == orders[0].tolist()
    assert Blocks(1003, 10, seed=2).places(np.arange(1000), 0).tolist() != orders[0].tolist()
    # The same in every release: a run that is resumed goes on in the order it began with.
    assert (Blocks(100, 10, seed=0).places(np.arange(100), 0)[::10] // 10).tolist() == [5, 6, 2, 1, 9, 3, 7, 8, 0, 4]


def test_a_text_too_short_for_a_block() -> None:
    with pytest.raises(DataError, match="too short for one block\n  expected: at least 50 tokens\n  got: 49"):
        Blocks(49, 50, seed=0)
