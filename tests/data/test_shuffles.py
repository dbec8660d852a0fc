from __future__ import annotations

import itertools
from collections import Counter

import hypothesis
import hypothesis.strategies as some
import numpy as np
import pytest

from unrolled.data.shuffles import shuffled
from unrolled.errors import ConfigurationError


def stretches(text: bytes, k: int) -> Counter[bytes]:
    return Counter(text[at : at + k] for at in range(len(text) - k + 1))


def shuffle(text: bytes, generator: np.random.Generator, k: int = 2) -> bytes:
    return shuffled(np.frombuffer(text, np.uint8), generator, k).tobytes()


@hypothesis.given(some.text("ACGTN", max_size=60), some.integers(1, 5), some.integers(0, 2**32 - 1))
def test_every_stretch_is_there_exactly_as_often(text, k, seed):
    given = text.encode()
    new = shuffle(given, np.random.default_rng(seed), k)
    assert len(new) == len(given)
    for size in range(1, k + 1):
        assert stretches(new, size) == stretches(given, size)
    assert new[: k - 1] == given[: k - 1]


@pytest.mark.parametrize("text", [b"AABACABC", b"ACCAGTAC", b"ABABABAB"])
def test_every_sequence_with_these_pairs_is_drawn_as_often_as_any_other(text):
    wanted = stretches(text, 2)
    possible = {bytes(order) for order in itertools.permutations(text) if stretches(bytes(order), 2) == wanted}
    generator, draws = np.random.default_rng(1), 200 * len(possible)
    drawn = Counter(shuffle(text, generator) for _ in range(draws))
    assert drawn.keys() == possible
    # Pearson's statistic: its mean is the number of free cells, its variance twice that; five deviations above.
    chi, free = sum((count - 200) ** 2 / 200 for count in drawn.values()), len(possible) - 1
    assert chi <= free + 5 * (2 * free) ** 0.5 + 1e-9


def test_of_three_letters_too():
    text, generator = b"AABAABABBABA", np.random.default_rng(2)
    wanted = stretches(text, 3)
    possible = {bytes(order) for order in itertools.product(b"AB", repeat=12) if stretches(bytes(order), 3) == wanted}
    drawn = Counter(shuffle(text, generator, 3) for _ in range(100 * len(possible)))
    assert drawn.keys() == possible
    assert min(drawn.values()) > 50


def test_where_there_is_no_other_it_stays_as_it_is():
    generator = np.random.default_rng(0)
    for text in (b"", b"A", b"AC", b"AAAA", b"ACGT"):
        assert shuffle(text, generator) == text


def test_the_same_seed_gives_the_same():
    text = bytes(np.random.default_rng(0).choice(list(b"ACGT"), 101).tolist())
    assert shuffle(text, np.random.default_rng(5)) == shuffle(text, np.random.default_rng(5)) != text


def test_k_is_at_least_one():
    with pytest.raises(ConfigurationError):
        shuffle(b"ACGT", np.random.default_rng(0), 0)
