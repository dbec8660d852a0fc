"""Tests of memory: what is asked for is right, by another way of finding it, and held-out distances are held out."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.memory import (
    DISTANCES,
    MEMORY_TESTS,
    Adding,
    Copying,
    MemoryTest,
    find_memory_test,
    plan_distances,
)
from unrolled.data.memory_sentences import Agreement, Recall, SentenceTest, Style, Year
from unrolled.errors import ConfigurationError, DataError


def source(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(distance=st.integers(2, 40), seed=st.integers(0, 1000))
def test_adding_has_two_marks_one_in_each_half(distance: int, seed: int) -> None:
    batch = Adding().batch(source(seed), 5, distance)
    for row in range(5):
        (marked,) = np.nonzero(batch.x[row, :, 1])
        assert len(marked) == 2
        assert marked[0] < distance // 2 <= marked[1]
        assert sum(batch.x[row, at, 0] for at in marked) == pytest.approx(batch.y[row, 0])
    assert batch.places.tolist() == [distance - 1]


def test_who_always_says_one_is_right_as_often_as_is_said() -> None:
    y = Adding().batch(source(), 200_000, 6).y
    assert (np.abs(y - 1) < Adding.tolerance).mean() == pytest.approx(Adding().chance, abs=0.003)
    assert ((y - 1) ** 2).mean() == pytest.approx(1 / 6, abs=0.002)


@given(distance=st.integers(1, 30), seed=st.integers(0, 1000))
def test_copying_asks_for_the_symbols_in_their_order(distance: int, seed: int) -> None:
    batch = Copying().batch(source(seed), 3, distance)
    assert batch.x.shape == (3, distance + 20)
    for row in range(3):
        text = "".join(map(str, batch.x[row]))
        found = re.fullmatch(rf"([0-7]{{10}})8{{{distance - 1}}}9(8{{10}})", text)
        assert found
        assert [int(symbol) for symbol in found[1]] == batch.y[row].tolist()
        # They are asked for while the last ten blanks are read.
        assert batch.places.tolist() == [*range(found.start(2), found.end(2))]


@given(distance=st.integers(0, 25), seed=st.integers(0, 1000))
def test_agreement_is_with_the_subject(distance: int, seed: int) -> None:
    test = Agreement()
    batch = test.batch(source(seed), 4, distance)
    for row, (answer,) in enumerate(batch.y):
        words = test.words(batch.x[row]).split()
        # The subject is the last noun of "the NOUN" before the words between.
        subject, between = words[-1 - distance], words[len(words) - distance :]
        assert words[-2 - distance] == "the"
        assert len(between) == distance
        assert answer == int(subject.endswith("s") or subject in ("men", "women", "children"))
        nouns = [word for word in words if word.rstrip("s") in SINGULAR or word in ("men", "women", "children")]
        assert batch.shortcut[row, 0] == int(nouns[-1] not in SINGULAR)


NOUNS = "king girl boy friend brother sister teacher doctor soldier lord dog cat horse bird ship river tree"
SINGULAR = {*NOUNS.split(), *["garden", "house", "door", "table", "road", "letter", "book", "man", "woman", "child"]}


@given(distance=st.integers(0, 25), seed=st.integers(0, 1000))
def test_recall_is_of_where_somebody_grew_up(distance: int, seed: int) -> None:
    test = Recall()
    batch = test.batch(source(seed), 4, distance)
    order = ["France", "Spain", "Germany", "Italy", "Russia", "Poland", "Greece", "China", "Japan", "Portugal"]
    for row, (answer,) in enumerate(batch.y):
        text = test.words(batch.x[row])
        found = re.search(r"I grew up in (\w+)(.*) I speak fluent$", text)
        assert found
        assert order[answer] == found[1]
        assert len(found[2].split()) == distance
        assert order[batch.shortcut[row, 0]] == [word for word in text.split() if word in order][-1]


@given(distance=st.integers(0, 40), seed=st.integers(0, 1000))
def test_the_year_stands_where_it_is_said_to(distance: int, seed: int) -> None:
    test = Year()
    test.plan(16, DISTANCES)
    batch = test.batch(source(seed), 4, distance)
    for row, (answer,) in enumerate(batch.y):
        words = test.words(batch.x[row]).split()
        years = [at for at, word in enumerate(words) if re.fullmatch(r"(19|20)\d\d", word)]
        assert [len(words) - 1 - at for at in years] == [distance]
        assert int(words[years[0]]) == 1996 + answer
        assert len(words) == max(distance, 16) + 6


def test_both_forms_of_the_sentence_with_the_year_occur() -> None:
    test = Year()
    test.plan(16, DISTANCES)
    texts = [test.words(test.batch(source(seed), 1, 8).x[0]) for seed in range(20)]
    assert any(re.search(r"I went to \w+ in \d{4}", text) for text in texts)
    assert any(re.search(r"in \d{4} I went to \w+", text) for text in texts)


@pytest.mark.parametrize("name", MEMORY_TESTS)
def test_held_out_distances_are_not_trained(name: str) -> None:
    test = find_memory_test(name)
    plan = test.plan(32, DISTANCES)
    assert plan.held_out
    assert not {*plan.trained} & {*plan.held_out, *plan.beyond}
    assert max(plan.trained) <= 32 < min(plan.beyond)
    assert {*plan.tested} == {*plan.trained} & {*plan.tested} | {*plan.held_out} | {*plan.beyond}


@pytest.mark.parametrize("name", MEMORY_TESTS)
def test_the_same_seed_gives_the_same_sequences(name: str) -> None:
    test = find_memory_test(name)
    test.plan(8, DISTANCES)
    for distance in (max(test.shortest, 1), 2, 7):
        one, same, other = (test.batch(source(seed), 6, distance) for seed in (1, 1, 2))
        assert one.x.tobytes() == same.x.tobytes()
        assert one.y.tobytes() == same.y.tobytes()
        assert one.x.shape != other.x.shape or one.x.tobytes() != other.x.tobytes()


@pytest.mark.parametrize("name", ["copying", "agreement", "recall", "year"])
def test_answers_are_as_frequent_as_chance_says(name: str) -> None:
    test = find_memory_test(name)
    test.plan(8, DISTANCES)
    y = np.concatenate([test.batch(source(seed), 500, 4).y.flatten() for seed in range(8)])
    shares = np.bincount(y, minlength=test.outcomes) / len(y)
    assert shares == pytest.approx(test.chance, abs=0.03)


@pytest.mark.parametrize("test", [Agreement(), Recall()], ids=["agreement", "recall"])
def test_questions_come_in_pairs_with_either_answer(test: SentenceTest) -> None:
    asked = test.questions(source(), 40, 6)
    assert len(asked) == 40
    for one, other in zip(asked[::2], asked[1::2], strict=True):
        assert one.options == other.options
        assert (one.answer, other.answer) == (0, 1)
        changed = [pair for pair in zip(one.text.split(), other.text.split(), strict=True) if pair[0] != pair[1]]
        assert len(changed) == 1
    assert {question.shortcut == question.answer for question in asked} == {True, False}
    assert all(question.text[0].isupper() for question in asked)


def test_questions_without_capitals_and_punctuation() -> None:
    for question in Recall().questions(source(), 20, 9, Style(capitals=False, marks=False)):
        assert re.fullmatch(r"[a-z ]+ i speak fluent", question.text)
        assert question.options == tuple(option.lower() for option in question.options)


def test_only_known_words_are_used() -> None:
    known = {"the", "dog", "dogs", "cat", "cats", "was", "were", "near", "often", "book"}
    for question in Agreement(known.__contains__).questions(source(), 20, 7):
        assert {word.strip(",").lower() for word in question.text.split()} <= known - {"book"}
    with pytest.raises(DataError, match="too few nouns"):
        Agreement({"the", "dog", "dogs", "was", "were"}.__contains__)
    with pytest.raises(DataError, match="too few countries"):
        Recall({"France", "French", "Spain"}.__contains__)
    with pytest.raises(DataError, match="too few words"):
        Agreement({"the", "dog", "dogs", "cat", "cats", "was", "were"}.__contains__).questions(source(), 2, 3)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'copying'"):
        find_memory_test("copy")
    for longest, tested in ((0, (1, 2)), (8, ()), (8, (-1, 2))):
        with pytest.raises(ConfigurationError, match="no distance"):
            plan_distances(longest, tested)
    with pytest.raises(ConfigurationError, match="for cells"):
        Year().questions(source(), 2, 1)


def test_a_test_of_one_distance() -> None:
    test: MemoryTest = Copying()
    assert test.plan(1, (1,)) == plan_distances(1, (1,), 1)
    assert test.plan(1, (1,)).trained == (1,)
