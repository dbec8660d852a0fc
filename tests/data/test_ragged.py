"""Sequences of different lengths, against lists of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.ragged import Ragged

_SEQUENCES = st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=6)


@given(_SEQUENCES, st.data())
def test_a_sequence_comes_back_as_it_went_in_and_is_padded_with_zeros(
    sequences: list[list[int]], data: st.DataObject
) -> None:
    ragged = Ragged.of(np.array(sequence, np.int64) for sequence in sequences)
    assert [ragged[index].tolist() for index in range(len(ragged))] == sequences
    assert ragged[-1].tolist() == sequences[-1]
    rows = data.draw(st.lists(st.integers(0, len(sequences) - 1), min_size=1, max_size=4))
    assert [part.tolist() for part in map(ragged.select(rows).__getitem__, range(len(rows)))] == [
        sequences[row] for row in rows
    ]
    side, lengths = ragged.padded(rows)
    longest = max(len(sequences[row]) for row in rows)
    assert lengths.tolist() == [len(sequences[row]) for row in rows]
    assert side.tolist() == [sequences[row] + [0] * (longest - len(sequences[row])) for row in rows]


def test_time_steps_may_be_vectors() -> None:
    ragged = Ragged.of([np.ones((2, 3)), np.full((1, 3), 2.0)])
    side, lengths = ragged.padded([1, 0])
    assert side.shape == (2, 2, 3)
    assert lengths.tolist() == [1, 2]
    assert side[0].tolist() == [[2, 2, 2], [0, 0, 0]]
