from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.spelling import Spelling

WORDS = st.lists(st.text("abc", max_size=6), min_size=1, max_size=8)
UNICODE = 0x110000 - 0x800


def by_hand(words: list[str], text: str) -> float:
    """Witten-Bell as it is written: a dictionary of followers for every context, from the longest to none."""
    followers: dict[str, Counter[str]] = defaultdict(Counter)
    for word in words:
        padded = "^^^^" + word + "$"
        for at in range(4, len(padded)):
            for n in range(5):
                followers[padded[at - n : at]][padded[at]] += 1
    alphabet = set("".join(words))

    def p(character: str, context: str) -> float:
        seen = followers[context]
        lower = p(character, context[1:]) if context else 1 / (len(alphabet) + 2)
        if not seen:
            return lower
        return (seen[character] + len(seen) * lower) / (seen.total() + len(seen))

    padded = "^^^^" + text + "$"
    nats = 0.0
    for at in range(4, len(padded)):
        known = padded[at] in alphabet or at + 1 == len(padded)
        nats -= math.log(p(padded[at] if known else "other", padded[at - 4 : at]))
        nats += 0.0 if known else math.log(UNICODE - len(alphabet))
    return nats


@given(WORDS, st.lists(st.text("abcdé", max_size=7), min_size=1, max_size=5))
def test_it_is_witten_bell(words: list[str], texts: list[str]) -> None:
    expected = [by_hand(words, text) for text in texts]
    np.testing.assert_allclose(Spelling(words).nats(texts), expected, rtol=1e-9)


def test_all_strings_together_have_probability_one() -> None:
    """Of up to 7 of two letters, or any other character; what is longer can only be rare."""
    spelling = Spelling(["ab", "a", "b", "ba", "abba", "bb"])
    strings = ["".join(letters) for n in range(8) for letters in itertools.product("abx", repeat=n)]
    weights = np.array([float(UNICODE - 2) ** string.count("x") for string in strings])
    total = float((np.exp(-spelling.nats(strings)) * weights).sum())
    assert total == pytest.approx(1, abs=0.02)
    assert total < 1


def test_words_like_those_it_learnt_from_are_likelier() -> None:
    words = ["walking", "talking", "seeing", "walked", "talked", "reading"]
    like, unlike = Spelling(words).nats(["walkeding", "gniklaw"])
    assert like < unlike


@pytest.mark.parametrize("words", [[], [""], ["a" * 1_500_000]])
def test_extreme_words(words: list[str]) -> None:
    found = Spelling(words).nats(["", "a", "日本", "\ud800", "\U0010ffff", "a" * 500_000])
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert Spelling(words).nats([]).size == 0


def test_an_alphabet_beyond_the_codes() -> None:
    """More different characters than there are codes: the rare ones share one, and are charged for which it is."""
    words = [chr(0x4E00 + at) for at in range(6000)] + ["ab"] * 10
    found = Spelling(words).nats(["ab", chr(0x4E00), chr(0x4E00 + 5999)])
    assert np.isfinite(found).all()
    assert found[0] < found[2]
