from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.vocabulary import Characters
from unrolled.errors import ConfigurationError, DataError, PromptError
from unrolled.evaluation.attribution import attribute, excerpts, likeliest, stretches
from unrolled.evaluation.naive_bayes import NaiveBayes


class Letters:
    """A model of single letters, whose nats anybody can add up."""

    def __init__(self, text: str) -> None:
        self._vocabulary = Characters.count([text])
        self._nats = -np.log(self._vocabulary.unigram())

    def cost(self, text: str) -> float:
        return float(self._nats[self._vocabulary.encode(text)].sum())

    def start(self) -> int:
        return 0

    def read(self, text: str, place: int) -> tuple[float, int]:
        return self.cost(text), place + len(text)

    def compare(self, texts: list[str], place: int) -> Any:
        return np.array([self.cost(text) for text in texts])


ONE, TWO = Letters("ab " * 9 + "a" * 50), Letters("ab " * 9 + "b" * 50)


@given(st.text("ab \n", max_size=80), st.integers(1, 20))
def test_stretches_are_the_text_in_whole_words(text: str, length: int) -> None:
    found = list(stretches([text[:7], text[7:]], length))
    assert "".join(found) == text
    assert all(len(part) >= length for part in found[:-1])
    assert [word for part in found for word in part.split()] == text.split()


def test_ratios_are_differences_of_log_likelihoods() -> None:
    text = "ab aab aaab bab " * 20
    found, number = attribute([("two", TWO), ("one", ONE)], [text[:33], text[33:]], stretch=16)  # type: ignore[list-item]
    assert [each.name for each in found] == ["one", "two"]
    assert number == 20
    for each, model in zip(found, (ONE, TWO), strict=True):
        assert each.nats_per_character == pytest.approx(model.cost(text) / len(text))
    assert found[1].ratio == pytest.approx((TWO.cost(text) - ONE.cost(text)) / len(text))
    assert found[1].low is not None
    assert found[1].high is not None
    assert found[1].low <= found[1].ratio <= found[1].high
    assert (found[0].ratio, found[0].low, found[0].decided) == (0, None, False)


def test_the_interval_is_as_wide_as_the_spread_of_the_stretches_says() -> None:
    source = np.random.default_rng(0)
    words = ["a" * n + "b" * (9 - n) for n in source.integers(3, 8, 400)]
    text = " ".join(words)
    found, number = attribute([("one", ONE), ("two", TWO)], [text], stretch=10)  # type: ignore[list-item]
    more = [(TWO.cost(part) - ONE.cost(part)) / len(part) for part in stretches([text], 10)]
    assert found[1].low is not None
    assert found[1].high is not None
    assert (found[1].high - found[1].low) / 2 == pytest.approx(1.96 * np.std(more) / math.sqrt(number), rel=0.15)
    assert found[1].decided


def test_what_is_in_doubt_is_not_decided() -> None:
    found, _ = attribute([("one", ONE), ("two", TWO)], ["aab abb " * 3 + "aab"], stretch=4)  # type: ignore[list-item]
    assert not found[1].decided
    found, number = attribute([("one", ONE), ("two", TWO)], ["aaa"])  # type: ignore[list-item]
    assert (number, found[1].low, found[1].decided) == (1, None, False)


def test_nothing_to_attribute() -> None:
    with pytest.raises(PromptError, match="there is no text to attribute"):
        attribute([("one", ONE), ("two", TWO)], [""])  # type: ignore[list-item]
    for models, stretch in (([("one", ONE)], 9), ([("one", ONE), ("two", TWO)], 0)):
        with pytest.raises(ConfigurationError, match="at least two runs"):
            attribute(models, ["a"], stretch)  # type: ignore[arg-type]


def test_excerpts_begin_with_a_word() -> None:
    text = "one two three\nfour  five"
    found = excerpts(text, 4, 200)
    assert set(found) == {"one ", "two ", "thre", "four", "five"}
    assert found == excerpts(text, 4, 200) != excerpts(text, 4, 200, seed=1)
    assert excerpts(text, len(text), 2) == [text, text]
    with pytest.raises(DataError, match="too short for an excerpt"):
        excerpts(text, len(text) + 1, 1)


def test_the_likeliest_of_each() -> None:
    assert likeliest([ONE, TWO], ["aab", "bba"] * 40).tolist() == [0, 1] * 40  # type: ignore[list-item]


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_naive_bayes_is_its_formula(order: int) -> None:
    texts, added = ["to be or not to be", "the quick brown ☃ fox"], 0.3
    model = NaiveBayes(texts, order, added)

    def grams(text: str) -> list[str]:
        return [text[at : at + order] for at in range(len(text) - order + 1)]

    different = len({gram for text in texts for gram in grams(text)}) + 1
    for text in ("to be the fox", "zzz not", "☃", ""):
        for at, score in enumerate(model.scores(text)):
            counts = Counter(grams(texts[at]))
            total = sum(counts.values()) + added * different
            expected = sum(math.log((counts[gram] + added) / total) for gram in grams(text))
            assert score == pytest.approx(expected)


def test_naive_bayes_is_tuned_on_held_out_texts() -> None:
    texts = ["abab" * 50, "aabb" * 50]  # the same letters, other pairs
    held_out, classes = ["bababa", "bbaabb", "abab", "aabb"], [0, 1, 0, 1]
    model = NaiveBayes.tuned(texts, held_out, classes)
    assert model.order >= 2
    assert model.choose(held_out).tolist() == classes
    with pytest.raises(DataError, match="too short"):
        NaiveBayes(["abc", "a"], 2)
