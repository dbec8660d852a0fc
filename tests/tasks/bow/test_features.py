"""Counting and weighting n-grams, beside scikit-learn and beside counting by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from unrolled.errors import ConfigurationError, DataError, RunError
from unrolled.tasks.bow.configuration import BowConfig, read_orders
from unrolled.tasks.bow.features import Features, Reader, Weights, read_stop_words
from unrolled.tasks.bow.grams import Grams, characters_of, count_grams

TEXTS = [
    "The sun is shining",
    "The weather is sweet",
    "The sun is shining, the weather is sweet, and one and one is two",
]


def build(
    texts: list[str], words: tuple[int, int] | None, characters: tuple[int, int] | None, **more: object
) -> Features:
    reader = Reader(**more)  # type: ignore[arg-type]
    found = {}
    if words is not None:
        names = sorted({word for text in texts for word in reader.words(text)})
        found["words"] = count_grams(reader.word_symbols(texts, names), names, words[1])[0].between(*words)
    if characters is not None:
        names = list(characters_of([reader.characters(text) for text in texts]))
        symbols = reader.character_symbols(texts, names)
        found["characters"] = count_grams(symbols, names, characters[1], joint="")[0].between(*characters)
    return Features(reader, found.get("words"), found.get("characters"))


def test_the_example_of_the_lectures() -> None:
    features = build(TEXTS, (1, 1), None)
    assert features.names() == ["and", "is", "one", "shining", "sun", "sweet", "the", "two", "weather"]
    assert features.counts(TEXTS).toarray().astype(int).tolist() == [
        [0, 1, 0, 1, 1, 0, 1, 0, 0],
        [0, 1, 0, 0, 0, 1, 1, 0, 1],
        [2, 3, 2, 1, 1, 1, 2, 1, 1],
    ]


@pytest.mark.parametrize("orders", [(1, 1), (1, 2), (2, 3), (3, 3)])
def test_words_as_scikit_learn_counts_them(orders: tuple[int, int]) -> None:
    features = build(TEXTS, orders, None)
    other = CountVectorizer(ngram_range=orders, token_pattern=r"\w+").fit(TEXTS)
    new = [*TEXTS, "the two suns is shining", "", "sweet sweet, and one"]
    columns = [other.vocabulary_[name] for name in features.names()]
    assert features.width == len(other.vocabulary_)
    np.testing.assert_array_equal(features.counts(new).toarray(), other.transform(new).toarray()[:, columns])


@given(st.lists(st.text("ab cß", max_size=8), min_size=1, max_size=5), st.integers(1, 3), st.integers(0, 2))
def test_characters_counted_by_hand(texts: list[str], low: int, more: int) -> None:
    features = build(texts, None, (low, low + more), edges=True, keep_case=True)
    shown = {name: column for column, name in enumerate(features.names())}
    table = features.counts(texts).toarray()
    for row, text in enumerate(texts):
        whole = f"^{text}$"
        pieces = Counter(
            whole[at : at + order] for order in range(low, low + more + 1) for at in range(len(whole) - order + 1)
        )
        assert {name: table[row, column] for name, column in shown.items() if table[row, column]} == dict(pieces)


@given(st.lists(st.text("ab c", max_size=6), min_size=1, max_size=5))
def test_what_few_texts_have_is_left_out(texts: list[str]) -> None:
    reader = Reader(edges=False)
    names = list(characters_of(texts))
    grams, tables = count_grams(reader.character_symbols(texts, names), names, 3, fewest=2, joint="")
    shown = grams.names()
    sets = [{text[at : at + n] for n in (1, 2, 3) for at in range(len(text) - n + 1)} for text in texts]
    counted = Counter(piece for each in sets for piece in each)
    assert sorted(shown) == sorted(piece for piece, texts_with in counted.items() if texts_with >= 2)
    # What is counted later has the same columns.
    later = grams.tables(reader.character_symbols(texts, grams.symbols))
    for one, two in zip(tables, later, strict=True):
        np.testing.assert_array_equal(one.toarray(), two.toarray())


def test_tfidf_as_scikit_learn_has_it() -> None:
    features = build(TEXTS, (1, 2), None)
    other = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True).fit(TEXTS)
    weights = Weights.of(features.counts(TEXTS), "tfidf")
    new = ["the sun and the moon", "nothing known", TEXTS[2]]
    columns = [other.vocabulary_[name] for name in features.names()]
    ours = weights.apply(features.counts(new)).toarray()
    np.testing.assert_allclose(ours, other.transform(new).toarray()[:, columns], atol=1e-12)


def test_binary_and_the_most_frequent() -> None:
    features = build(TEXTS, (1, 1), None)
    counts = features.counts(TEXTS)
    assert Weights.of(counts, "binary").apply(counts).toarray().max() == 1
    kept = Weights.of(counts, "counts", 2)
    names = features.names()
    assert kept.kept is not None
    assert [names[column] for column in kept.kept.tolist()] == ["is", "the"]  # in three texts each
    assert kept.apply(counts).toarray().tolist() == [[1, 1], [1, 1], [3, 2]]
    assert counts.toarray().max() == 3  # left as it was


def test_words_are_cut_in_three_ways(tmp_path: object) -> None:
    text = "Don't stop, it's 3.5-fold — naïve"
    assert Reader("words").words(text) == ["don't", "stop", "it's", "3", "5", "fold", "naïve"]
    assert Reader("marks", keep_case=True).words(text) == [
        "Don't", "stop", ",", "it's", "3", ".", "5", "-", "fold", "—", "naïve",
    ]  # fmt: skip
    assert Reader("space").words(text) == ["don't", "stop,", "it's", "3.5-fold", "—", "naïve"]
    assert Reader(stop_words=frozenset({"stop"})).words("Stop it") == ["it"]


def test_stop_words(tmp_path: object) -> None:
    assert read_stop_words("none") == frozenset()
    assert {"the", "and"} < read_stop_words("english")
    with pytest.raises(DataError):
        read_stop_words("nowhere.txt")


def test_orders_are_read() -> None:
    assert read_orders("word_ngrams", "2") == (2, 2)
    assert read_orders("word_ngrams", "1-3") == (1, 3)
    assert read_orders("word_ngrams", "0") is None
    for wrong in ("3-1", "1-99", "x", "", "0-2", "-1"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            BowConfig(word_ngrams=wrong)


def test_wrong_options() -> None:
    for options, message in (
        ({"word_ngrams": "0", "char_ngrams": "0"}, "nothing to count"),
        ({"classifier": "svm"}, "no such choice"),
        ({"fewest_texts": 0}, "too small"),
        ({"cost": -1.0}, "out of range"),
        ({"interpolation": 2.0}, "out of range"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            BowConfig(**options)  # type: ignore[arg-type]


def test_a_damaged_tree_is_noticed() -> None:
    with pytest.raises(RunError, match="do not fit together"):
        Grams(["a", "b"], 1, (np.array([3, 4]),)).check("here")
    with pytest.raises(RunError, match="do not fit together"):
        Grams(["a", "b"], 1, (np.array([2, 1]),)).check("here")
    Grams(["a", "b"], 1, (np.array([0, 3]), np.array([1, 3]))).check("here")
