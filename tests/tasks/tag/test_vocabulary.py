from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import DataError, RunError
from unrolled.tasks.tag.vocabulary import Tags, Words

SENTENCES = [["The", "cat", "saw", "THE", "1999", "cats"], ["<unk>", "the", "Cat"]]


def test_words_are_counted_as_they_are_looked_up() -> None:
    words = Words.count(SENTENCES)
    assert dict(zip(words.words, words.counts.tolist(), strict=True)) == {
        **{"<unk>": 0, "the": 3, "cat": 2},
        **{"saw": 1, "1999": 1, "cats": 1},
    }
    assert words.words[:3] == ("<unk>", "the", "cat")
    assert words.singletons.tolist() == [False, False, False, True, True, True]
    assert words.ids(["tHE", "<unk>", "bird"]).tolist() == [1, 0, 0]
    cased = Words.count(SENTENCES, lower=False, fold_digits=True, min_count=2)
    assert cased.words == ("<unk>",)
    assert cased.key("The 12") == "The 00"


def test_rare_characters_are_not_known_and_long_words_lose_their_middle() -> None:
    words = Words.count([["aab", "ab"]], longest=3)
    assert words.characters == ("<unk>", "a", "b")
    assert words.spell("abcdb") == [1, 2, 2]
    assert Words.count([["aab"]]).characters == ("<unk>", "a")


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), max_size=3), st.booleans(), st.booleans())
def test_words_come_back_from_json(sentences: list[list[str]], lower: bool, fold: bool) -> None:
    words = Words.count(sentences, lower=lower, fold_digits=fold)
    back = Words.from_json(json.loads(json.dumps(words.to_json())))
    forms = [token for tokens in sentences for token in tokens] + ["other", "İ9"]
    assert back.ids(forms).tolist() == words.ids(forms).tolist()
    assert [back.spell(form) for form in forms] == [words.spell(form) for form in forms]
    assert back.counts.tolist() == words.counts.tolist()


def test_tags() -> None:
    tags = Tags.count([["O", "B-A", None], ["O", "I-A"]])
    assert (tags.names, tags.counts.tolist(), tags.scheme) == (("B-A", "I-A", "O"), [1, 1, 2], "bio")
    assert tags.ids(["O", None, "B-B"]).tolist() == [2, -1, -1]
    back = Tags.from_json(json.loads(json.dumps(tags.to_json())))
    assert (back.names, back.counts.tolist(), back.scheme) == (tags.names, [1, 1, 2], "bio")


@pytest.mark.parametrize("sequences", [[], [[None]], [["X", "X"], ["X"]]])
def test_one_tag_alone_is_nothing_to_learn(sequences: list[list[str | None]]) -> None:
    with pytest.raises(DataError, match="nothing to learn"):
        Tags.count(sequences)


def test_a_vocabulary_of_something_else() -> None:
    with pytest.raises(RunError, match="not that of a tagger"):
        Words.from_json({"words": []})
    with pytest.raises(RunError, match="not that of a tagger"):
        Tags.from_json({})
