from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.vocabulary import UNITS, UNKNOWN, Bytes, Characters, Unknown, Vocabulary
from unrolled.errors import DataError, PromptError

SYMBOLS = ["byte", "char"]  # the units whose every text has a vocabulary
# Text as it is read from UTF-8: every character but the surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
ANY_TEXT = st.text(st.characters())


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@given(TEXTS, st.integers(1, 5))
def test_characters_are_counted_sorted_and_round(text: str, size: int) -> None:
    vocabulary = Characters.count(pieces(text, size))
    assert vocabulary.symbols == tuple(sorted(set(text)))
    assert dict(zip(vocabulary.symbols, vocabulary.counts.tolist(), strict=True)) == Counter(text)
    assert vocabulary.encode(text).tolist() == [vocabulary.symbols.index(char) for char in text]
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.encode_known(text)[1] == []
    assert vocabulary.characters(vocabulary.encode(text)) == len(text)
    assert int(vocabulary.symbol_bytes[vocabulary.encode(text)].sum()) == len(text.encode())


@given(TEXTS, st.integers(1, 5))
def test_bytes_are_counted_and_round(text: str, size: int) -> None:
    vocabulary = Bytes.count(pieces(text, size))
    assert vocabulary.counts.tolist() == np.bincount(list(text.encode()), minlength=256).tolist()
    assert vocabulary.encode(text).tolist() == list(text.encode())
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.characters(vocabulary.encode(text)) == len(text)


@given(TEXTS, ANY_TEXT, st.integers(2, 4))
def test_rare_characters_are_folded(text: str, prompt: str, min_count: int) -> None:
    frequent = sorted(char for char, count in Counter(text).items() if count >= min_count)
    if not frequent:
        with pytest.raises(DataError, match=f"no character is seen {min_count} times; the most frequent is seen"):
            Characters.count([text], min_count)
        return
    vocabulary = Characters.count([text], min_count)
    assert vocabulary.symbols == (*frequent, UNKNOWN)
    assert int(vocabulary.counts.sum()) == len(text)
    assert vocabulary.decode(vocabulary.encode(prompt)) == "".join(c if c in frequent else "\ufffd" for c in prompt)
    ids, unknown = vocabulary.encode_known(prompt)
    assert ids.tolist() == vocabulary.encode(prompt).tolist()
    assert unknown == [Unknown(at, char) for at, char in enumerate(prompt) if char not in frequent]


@given(TEXTS, ANY_TEXT)
def test_without_an_unknown_symbol_unknown_characters_are_left_out_or_refused(text: str, prompt: str) -> None:
    vocabulary = Characters.count([text])
    known = "".join(char for char in prompt if char in text)
    ids, unknown = vocabulary.encode_known(prompt)
    assert vocabulary.decode(ids) == known
    assert unknown == [Unknown(at, char) for at, char in enumerate(prompt) if char not in text]
    if unknown:
        with pytest.raises(PromptError, match=f"at position {unknown[0].position}"):
            vocabulary.encode(prompt)


def test_a_character_of_the_text_that_looks_like_the_unknown_symbol_is_kept_apart() -> None:
    vocabulary = Characters.count(["<unk>\ufffd" * 3 + "x"], min_count=2)
    ids = vocabulary.encode("<\ufffdx")
    assert ids.tolist() == [vocabulary.symbols.index("<"), vocabulary.symbols.index("\ufffd"), vocabulary.unknown]


def test_the_message_for_unknown_characters() -> None:
    with pytest.raises(PromptError) as caught:
        Characters.count(["abc"]).encode("a日bé\n1234")
    assert str(caught.value).splitlines() == [
        "the text has characters that the model does not know",
        "  expected: only the 3 characters of its training text",
        "  got: '日' at position 1, 'é' at position 3, '\\n' at position 4, '1' at position 5, '2' at position 6, "
        "and 2 more",
        "  what to do: leave them out, or train with --min-count 2 or --unit byte, which read any text",
    ]


def test_lone_surrogates_are_reported_by_bytes_too() -> None:
    """A prompt from a command line that is not UTF-8 has them."""
    vocabulary = Bytes.count(["a"])
    ids, unknown = vocabulary.encode_known("a\udce9é")
    assert (ids.tolist(), unknown) == ([97, 195, 169], [Unknown(1, "\udce9")])
    with pytest.raises(PromptError, match=r"'\\udce9' at position 1"):
        vocabulary.encode("a\udce9é")


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_has_no_vocabulary(unit: str) -> None:
    with pytest.raises(DataError, match="got: an empty text"):
        UNITS[unit].count([])


@given(st.sampled_from(SYMBOLS), TEXTS, st.lists(st.integers(0, 255), max_size=30), st.integers(1, 4))
def test_decoding_in_pieces_is_decoding_at_once(unit: str, text: str, drawn: list[int], size: int) -> None:
    """Of ids that spell a text, and of ids as a model may draw them, which need not be UTF-8."""
    vocabulary = UNITS[unit].count([text])
    for ids in (vocabulary.encode(text).tolist(), [value % vocabulary.size for value in drawn]):
        decoder = vocabulary.decoder()
        fed = [decoder.feed(ids[at : at + size]) for at in range(0, len(ids), size)]
        assert "".join([*fed, decoder.finish()]) == vocabulary.decode(ids)


def test_a_character_of_many_bytes_is_held_back_until_it_is_whole() -> None:
    decoder = Bytes.count(["a"]).decoder()
    assert [decoder.feed([value]) for value in "a€b".encode()] == ["a", "", "", "€", "b"]
    assert (decoder.feed([0xE2]), decoder.finish(), decoder.finish()) == ("", "\ufffd", "")


@given(st.sampled_from(SYMBOLS), TEXTS)
def test_unigram_is_a_probability_with_one_added(unit: str, text: str) -> None:
    vocabulary = UNITS[unit].count([text])
    probabilities = vocabulary.unigram()
    assert probabilities.dtype == np.float64
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    total = int(vocabulary.counts.sum()) + vocabulary.size
    np.testing.assert_allclose(probabilities * total, vocabulary.counts + 1, rtol=1e-12)


@given(st.sampled_from(SYMBOLS), TEXTS, st.integers(1, 2))
def test_json_round(unit: str, text: str, min_count: int) -> None:
    vocabulary = UNITS[unit].count([text * 2], min_count)
    read = Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())), "vocabulary.json")
    assert type(read) is type(vocabulary)
    assert read.to_json() == vocabulary.to_json()
    assert read.fingerprint == vocabulary.fingerprint
    other_counts = vocabulary.with_counts(vocabulary.counts * 0)
    assert other_counts.fingerprint == vocabulary.fingerprint


def test_fingerprints_tell_vocabularies_apart() -> None:
    made = [Characters.count(["ab"]), Characters.count(["abc"]), Characters.count(["abab"], 2), Bytes.count(["ab"])]
    assert len({vocabulary.fingerprint for vocabulary in made}) == len(made)


GOOD = {"format": 1, "unit": "char", "symbols": ["a", "b"], "unknown": None, "counts": [1, 2]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "not a vocabulary: not an object"),
        ({}, "missing or further keys"),
        (GOOD | {"further": 1}, "missing or further keys"),
        (GOOD | {"format": 2}, "another format\n  where: here.json\n  expected: format 1\n  got: 2"),
        (GOOD | {"unit": "chars"}, "there is no unit 'chars'\n  where: here.json\n  what to do: did you mean 'char'"),
        (GOOD | {"unit": []}, "there is no unit"),
        (GOOD | {"symbols": "ab"}, "symbols are not a list of strings"),
        (GOOD | {"symbols": ["a", 1]}, "symbols are not a list of strings"),
        (GOOD | {"symbols": ["b", "a"]}, "order of their code points"),
        (GOOD | {"symbols": ["a", "a"]}, "order of their code points"),
        (GOOD | {"symbols": ["a", "bc"]}, "not one Unicode character"),
        (GOOD | {"symbols": ["a", "\ud800"]}, "not one Unicode character"),
        (GOOD | {"symbols": [], "counts": []}, "one count from 0 on for each"),
        (GOOD | {"counts": [1]}, "one count from 0 on for each"),
        (GOOD | {"counts": [1, -1]}, "counts are not a list of whole numbers"),
        (GOOD | {"counts": [1, True]}, "counts are not a list of whole numbers"),
        (GOOD | {"counts": [1, 2.0]}, "counts are not a list of whole numbers"),
        (GOOD | {"counts": [1, 2**63]}, "counts are not a list of whole numbers"),
        (GOOD | {"unknown": 0}, "the unknown symbol is not the last one"),
        (GOOD | {"unknown": 1}, "the unknown symbol is not the last one"),
        (GOOD | {"unknown": "b"}, "unknown is neither a number nor null"),
        (GOOD | {"unit": "byte"}, "the symbols are not the 256 bytes"),
    ],
)
def test_json_is_read_strictly(value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Vocabulary.from_json(value, "here.json")
    assert caught.value.where == "here.json"
