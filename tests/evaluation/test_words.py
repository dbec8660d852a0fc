from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.splitting import raw_words
from unrolled.data.vocabulary import UNITS, Characters, Vocabulary
from unrolled.data.words import Words
from unrolled.evaluation import Surprisal
from unrolled.evaluation.words import word_surprises

LEARNT = "the old sea, the pale moon — naïve.\n\n " * 3
VOCABULARIES = {
    "char": Characters.count([LEARNT]),
    "byte": UNITS["byte"].count([LEARNT]),
    "word": Words.count([LEARNT]),
    "rules": Words.count([LEARNT], splitter="rules"),
}


def costs(vocabulary: Vocabulary, text: str) -> list[Surprisal]:
    """Symbol number n costs 2^-n: every sum tells which symbols are in it."""
    return [Surprisal(token, 2.0 ** -(at % 40), ()) for at, token in enumerate(vocabulary.encode(text).tolist())]


@given(st.sampled_from(sorted(VOCABULARIES)), st.lists(st.sampled_from(LEARNT.split(" ")), max_size=9).map(" ".join))
def test_every_unit_has_the_words_of_the_text(unit: str, text: str) -> None:
    vocabulary = VOCABULARIES[unit]
    given_costs = costs(vocabulary, text)
    found = list(word_surprises(vocabulary, text, given_costs))
    expected = [word.decode().replace("<eos>", "\n") for word in raw_words(text)]
    assert [word.text for word in found if word.text] == expected
    assert math.fsum(word.nats for word in found) == pytest.approx(math.fsum(cost.nats for cost in given_costs))
    assert sum(word.symbols for word in found) == len(given_costs)


def test_a_character_that_is_hidden_is_shown_and_charged() -> None:
    vocabulary = Characters.count(["aab b"], 2)
    found = list(
        word_surprises(vocabulary, "ab\tab cb", costs(vocabulary, "ab\tab cb"), vocabulary.encode_known("ab\tab cb")[1])
    )
    one = float(vocabulary.spell(["c"])[0])
    assert [(word.text, word.hidden_nats) for word in found] == [("ab", 0.0), ("ab", one), ("cb", 2 * one)]


def test_the_space_before_a_word_is_part_of_it() -> None:
    vocabulary = VOCABULARIES["char"]
    found = list(word_surprises(vocabulary, "old  sea \n", costs(vocabulary, "old  sea \n")))
    assert [(word.text, word.symbols) for word in found] == [("old", 3), ("sea", 5), ("\n", 2)]
    assert found[1].nats == 2.0**-3 + 2.0**-4 + 2.0**-5 + 2.0**-6 + 2.0**-7


@pytest.mark.parametrize("unit", ["word", "rules"])
def test_what_is_hidden_is_shown_and_charged(unit: str) -> None:
    vocabulary = VOCABULARIES[unit]
    text = "the whale <unk>, sea (wave)\n"
    found = list(word_surprises(vocabulary, text, costs(vocabulary, text), vocabulary.encode_known(text)[1]))
    assert [word.text for word in found] == ["the", "whale", "<unk>,", "sea", "(wave)", "\n"]
    assert [word.hidden_nats > 0 for word in found] == [False, True, unit == "word", unit == "word", True, False]
    whole = sum(vocabulary.spell([piece.text for piece in vocabulary.encode_known(text)[1]]))
    assert sum(word.hidden_nats for word in found) == pytest.approx(float(whole))
