from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.lexicon import WORD, Lexicon, distances
from unrolled.errors import DataError

WORDS = st.text("abcd'", min_size=1, max_size=7)


def alignment(left: str, right: str) -> int:
    """The optimal string alignment by its definition."""

    @cache
    def far(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        best = min(far(i - 1, j) + 1, far(i, j - 1) + 1, far(i - 1, j - 1) + (left[i - 1] != right[j - 1]))
        if i > 1 and j > 1 and left[i - 1] == right[j - 2] and left[i - 2] == right[j - 1]:
            best = min(best, far(i - 2, j - 2) + 1)
        return best

    return far(len(left), len(right))


@given(WORDS, st.lists(WORDS, min_size=1, max_size=8))
def test_distances_are_those_of_the_definition(word: str, others: list[str]) -> None:
    longest = max(map(len, others))
    codes = np.array([[ord(c) for c in other.ljust(longest, "\0")] for other in others], np.uint32)
    found = distances(word, codes, np.array([len(other) for other in others]))
    assert found.tolist() == [alignment(word, other) for other in others]


@given(st.lists(WORDS, min_size=1, max_size=40), WORDS, st.integers(1, 2))
def test_near_words_are_all_those_that_are_near(words: list[str], word: str, most: int) -> None:
    lexicon = Lexicon.of(dict.fromkeys(words, 3))
    expected = {other: alignment(word, other) for other in set(words)}
    assert lexicon.near(word, most) == {other: far for other, far in expected.items() if 1 <= far <= most}


def test_words_of_a_text() -> None:
    text = "The sea. the SEA! London's fog; London isn't London. I saw 3rd-rate fog’s"
    lexicon = Lexicon.count([text], 2)
    assert dict(lexicon.counts) == {"the": 2, "sea": 2, "london": 2}
    assert dict(lexicon.shown) == {"london": "London", "sea": "sea"} or lexicon.shown == {"london": "London"}
    words = len(WORD.findall(text))
    assert (lexicon.total, lexicon.hidden) == (words, words - 6)
    assert "LONDON" in lexicon
    assert "fog" not in lexicon
    assert lexicon.p("sea") == pytest.approx(2 / (words + 1))
    assert lexicon.p("xyz") == pytest.approx((words - 6 + 1) / (words + 1))


def test_one_apostrophe_is_as_good_as_the_other() -> None:
    lexicon = Lexicon.of({"don’t": 4})
    assert "don't" in lexicon
    assert lexicon.near("dont") == {"don't": 1}


def test_nothing_to_correct_with() -> None:
    with pytest.raises(DataError, match="there are no words to correct with"):
        Lexicon.count(["one two"], 2)
