"""Texts as ids: what is chosen, what is unknown, what is cut."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from unrolled.data.inputs import cut_down, find_input, read_input
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.text_inputs import TextInput, choose_reading
from unrolled.errors import DataError

NAMES = ["Abakov", "Belov", "Chekhov", "Antonopoulos", "Müller", "Ó Briain"] * 3
SENTENCES = ["The film was good, really GOOD.", "It was a bad film: don't go!", "so so", "A good film it was."] * 3


def test_units_are_chosen_from_the_texts() -> None:
    assert choose_reading(NAMES, LabelledConfig()).unit == "char"
    words = choose_reading(SENTENCES, LabelledConfig())
    assert (words.unit, words.splitter, words.case, words.min_count) == ("word", "rules", "fold", 2)
    assert choose_reading(["我们今天去公园散步了然后回家吃饭"] * 4, LabelledConfig()).unit == "char"
    assert choose_reading(NAMES, LabelledConfig(vocabulary_size=100)).unit == "word"
    assert choose_reading(SENTENCES, LabelledConfig(unit="byte")).min_count == 1
    kept = choose_reading(SENTENCES, LabelledConfig(unit="word", splitter="spaces", case="keep", min_count=1))
    assert (kept.splitter, kept.case, kept.min_count) == ("spaces", "keep", 1)


@pytest.mark.parametrize("unit", ["char", "byte", "word", "subword"])
@given(text=st.text(max_size=30))
def test_every_text_can_be_read(unit: Any, text: str) -> None:
    found = fitted(unit)
    ids = found.encode([text, "", "film"])
    assert ids.lengths.min() >= 1
    assert ids.values.max() < found.symbols
    assert ids.values.dtype.kind == "u"
    again = read_input(found.to_json(), "here")
    assert isinstance(again, TextInput)
    assert (again.encode([text]).values == ids[0]).all()


_FITTED: dict[str, TextInput] = {}


def fitted(unit: Any) -> TextInput:
    if unit not in _FITTED:
        _FITTED[unit] = TextInput.fit(SENTENCES, LabelledConfig(unit=unit, max_length=12))
    return _FITTED[unit]


def test_what_was_not_in_training_is_unknown() -> None:
    names = TextInput.fit(["abc", "bca", "cab", "abd"], LabelledConfig(unit="char"))
    assert names.unknown is not None
    assert names.tokens("abdé") == ["a", "b", "<unk>", "<unk>"]  # d was seen once
    always = TextInput.fit(["abc", "bca", "abd"], LabelledConfig(unit="char", min_count=1))
    assert always.tokens("dé") == ["d", "<unk>"]
    words = TextInput.fit(SENTENCES, LabelledConfig())
    assert words.tokens("A GOOD movie") == ["a", "good", "<unk>"]
    assert words.unknown_share(words.encode(["a good movie", "movie"])) == pytest.approx(2 / 4)
    assert words.tokens("") == ["<unk>"]
    once = TextInput.fit(["one two three four five"], LabelledConfig())  # all seen once: they are kept
    assert once.tokens("two") == ["two"]
    with pytest.raises(DataError, match="no word is left"):
        TextInput.fit(["one two three four five"], LabelledConfig(min_count=3))


def test_words_of_two_texts_are_not_joined() -> None:
    found = TextInput.fit(["a b", "c d"] * 2, LabelledConfig(unit="word", splitter="spaces"))
    assert set(found.vocabulary.symbols) == {"a", "b", "c", "d", "<eos>", "<unk>"}


def test_long_texts_are_cut() -> None:
    for cut, tokens in (("end", "abcd"), ("start", "cdef"), ("middle", "abef")):
        found = TextInput.fit(["abcdef"] * 2, LabelledConfig(unit="char", max_length=4, cut=cut))  # type: ignore[arg-type]
        assert "".join(found.tokens("abcdef")) == tokens
        assert "".join(found.tokens("abc")) == "abc"
    assert cut_down(np.arange(5), 2, "middle").tolist() == [0, 4]
    assert cut_down(np.arange(5), 1, "middle").tolist() == [0]
    assert cut_down(np.zeros((5, 2)), 3, "middle").shape == (3, 2)
    assert cut_down(np.arange(5), None, "end").tolist() == [0, 1, 2, 3, 4]


def test_the_longest_of_a_hundred_are_cut_if_nothing_is_said() -> None:
    texts = ["x" * 110] * 99 + ["x" * 5000]
    assert TextInput.fit(texts, LabelledConfig(unit="char")).max_length == 110
    assert TextInput.fit([*texts, "x" * 5000], LabelledConfig(unit="char")).max_length is None  # 5,000 is the 99th
    assert TextInput.fit(["x"] * 99 + ["x" * 90], LabelledConfig(unit="char")).max_length is None
    assert TextInput.fit(["x"] * 200 + ["x" * 900], LabelledConfig(unit="char")).max_length == 100


def test_other_json_is_refused() -> None:
    whole = TextInput.fit(NAMES, LabelledConfig()).to_json()
    for wrong in (
        None,
        {},
        {**whole, "kind": "picture"},
        {**whole, "case": "upper"},
        {**whole, "max_length": 0},
        {**whole, "more": 1},
        {key: part for key, part in whole.items() if key != "vocabulary"},
        {**whole, "vocabulary": {}},
    ):
        with pytest.raises(DataError):
            read_input(wrong, "vocabulary.json")
    with pytest.raises(DataError, match="did you mean 'text'"):
        find_input("texts")
