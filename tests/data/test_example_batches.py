"""Which examples make up a batch."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.example_batches import ExampleBatches, ExamplePosition, in_order

_LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=40)


def _pass(batches: ExampleBatches, epoch: int) -> list[list[int]]:
    return [batches.rows(ExamplePosition(epoch, index)).tolist() for index in range(batches.count)]


@given(_LENGTHS, st.integers(1, 7), st.integers(0, 3))
def test_every_example_comes_once_a_pass(lengths: list[int], batch: int, epoch: int) -> None:
    found = _pass(ExampleBatches(np.array(lengths), batch, seed=1), epoch)
    assert sorted(itertools.chain.from_iterable(found)) == list(range(len(lengths)))
    assert all(0 < len(rows) <= batch for rows in found)
    assert sorted(int(row) for rows in in_order(np.array(lengths), batch) for row in rows) == sorted(
        itertools.chain.from_iterable(found)
    )


def test_a_batch_follows_from_its_place_alone() -> None:
    lengths = np.arange(1, 102)
    one, other = ExampleBatches(lengths, 8, seed=3), ExampleBatches(lengths, 8, seed=3)
    later = _pass(one, 2)
    _pass(one, 0)
    assert _pass(one, 2) == later == _pass(other, 2)
    assert _pass(other, 1) != later
    assert _pass(ExampleBatches(lengths, 8, seed=4), 2) != later


def test_positions_walk_through_all_passes() -> None:
    batches = ExampleBatches(np.ones(5, int), 2, seed=0)
    place, seen = ExamplePosition(), []
    for _ in range(4):
        seen.append((place.epoch, place.batch))
        place = batches.following(place)
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_examples_of_like_length_stand_together() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 3200)
    batches = ExampleBatches(lengths, 32, seed=0)
    padded = sum(lengths[rows].max() * len(rows) for rows in map(np.array, _pass(batches, 0)))
    assert padded / lengths.sum() == pytest.approx(1.0, abs=0.05)
