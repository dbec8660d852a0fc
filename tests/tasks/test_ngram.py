"""The n-gram model beside one computed from the definitions with dictionaries, and beside a published figure."""

from __future__ import annotations

import math
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.scratch import Scratch
from unrolled.data.store import Tokens
from unrolled.errors import DataError, RunError
from unrolled.tasks import ngram_counts
from unrolled.tasks.ngram import NGram
from unrolled.tasks.ngram_counts import Counts, sequence_starts
from unrolled.tasks.ngram_discounts import FALLBACK, estimate, interpolate, tune

START = "start"
Symbols = tuple[int | str, ...]


def text(ids: list[int], documents: list[int] | None = None) -> Tokens:
    return Tokens(np.array(ids, np.uint8), np.array(documents or [0], np.int64))


def sequences(ids: list[int], boundary: int | None, documents: list[int] | None) -> list[Symbols]:
    """A text as sequences that each begin with a start symbol."""
    found: list[list[int | str]] = []
    for at, symbol in enumerate(ids):
        if at == 0 or ids[at - 1] == boundary or at in (documents or []):
            found.append([START])
        found[-1].append(symbol)
    return [tuple(sequence) for sequence in found]


class BruteForce:
    """Equations 22, 24 and 26 of Chen and Goodman 1999, word for word."""

    def __init__(self, sequences: list[Symbols], size: int, order: int) -> None:
        self.size, self.order = size, order
        self.counts: list[Counter[Symbols]] = []
        for k in range(1, order + 1):
            raw = Counter(s[i : i + k] for s in sequences for i in range(len(s) - k + 1))
            longer = {s[i : i + k + 1] for s in sequences for i in range(len(s) - k)}
            before: dict[Symbols, set[int | str]] = defaultdict(set)
            for gram in longer:
                before[gram[1:]].add(gram[0])
            adjusted = {
                gram: count if k == order or gram[0] == START else len(before[gram])
                for gram, count in raw.items()
                if gram[-1] != START
            }
            self.counts.append(Counter(adjusted))
        self.discounts = [self.estimated(counter) for counter in self.counts]

    @staticmethod
    def estimated(counter: Counter[Symbols]) -> list[float]:
        n = Counter(counter.values())
        found = []
        for j in (1, 2, 3):
            value = math.nan
            if n[j] and n[1] + 2 * n[2]:
                value = j - (j + 1) * n[1] / (n[1] + 2 * n[2]) * n[j + 1] / n[j]
            found.append(value if 0 < value <= j else FALLBACK[j - 1])
        return found

    def probability(self, history: Symbols, word: int, k: int | None = None) -> float:
        """Of a word after a history, of which the last k-1 symbols are looked at."""
        k = self.order if k is None else k
        if k == 0:
            return 1 / self.size
        if len(history) < k - 1:
            return self.probability(history, word, k - 1)
        context = history[len(history) - (k - 1) :]
        after = {gram[-1]: count for gram, count in self.counts[k - 1].items() if gram[:-1] == context}
        total = sum(after.values())
        if not total:
            return self.probability(history, word, k - 1)
        taken = self.discounts[k - 1]
        left = sum(taken[min(count, 3) - 1] for count in after.values())
        count = after.get(word, 0)
        own = count - (taken[min(count, 3) - 1] if count else 0)
        return (own + left * self.probability(history, word, k - 1)) / total


def counted(tokens: Tokens, size: int, order: int, boundary: int | None = None, documents: bool = False) -> Counts:
    found = Counts(tokens, size, boundary=boundary, documents=documents)
    for _ in range(order - 1):
        found.grow()
    return found


ids = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@settings(max_examples=60)
@given(ids, ids, st.integers(1, 5), st.sampled_from([None, 2]), st.booleans(), st.data())
def test_probabilities_are_those_of_the_definitions(
    train: list[int], test: list[int], order: int, boundary: int | None, documents: bool, data: st.DataObject
) -> None:
    size = 6  # the last symbol is never seen
    starts = data.draw(st.lists(st.integers(0, len(train) - 1), max_size=3)) if documents else []
    model = NGram.of(
        counted(text(train, sorted({0, *starts})), size, order, boundary, documents), order, boundary=boundary
    )
    oracle = BruteForce(sequences(train, boundary, starts), size, order)
    assert model.discounts == pytest.approx(np.array(oracle.discounts), rel=1e-12)
    state = model.initial_state(1)[0]
    history: Symbols = () if boundary is None else (START,)
    for word in test:
        expected = [oracle.probability(history, other) for other in range(size)]
        p = model.probabilities(state)
        assert p == pytest.approx(expected, rel=1e-9)
        assert abs(p.sum() - 1) < 1e-9
        assert model.likelihoods(np.array([word]), state)[0] == pytest.approx(expected[word], rel=1e-9)
        history = (START,) if word == boundary else (*history, word)
    # In one call as symbol by symbol.
    first = model.likelihoods(np.array(test), model.initial_state(1)[0])
    state, found = model.initial_state(1)[0], []
    for word in test:
        found.append(model.probabilities(state)[word])
        model.look(np.array([word]), state)
    assert first == pytest.approx(found, rel=1e-12)


@pytest.fixture(scope="module")
def large() -> tuple[Tokens, Tokens]:
    """A text in which frequencies are far apart, and another of the same kind."""
    random = np.random.default_rng(0)
    weights = 1 / np.arange(1, 301)
    weights /= weights.sum()
    return tuple(Tokens(random.choice(300, length, p=weights).astype(np.uint16)) for length in (40_000, 3000))  # type: ignore[return-value]


@pytest.mark.parametrize("boundary", [None, 3])
def test_probabilities_of_random_contexts_add_up_to_one(large: tuple[Tokens, Tokens], boundary: int | None) -> None:
    train, other = large
    counts = counted(train, 301, 5, boundary)
    for order in (1, 2, 5):
        model = NGram.of(counts, order, boundary=boundary)
        state = model.initial_state(1)[0]
        for at, word in enumerate(other.ids[:500]):
            if at % 50 == 0:
                state[:] = model.initial_state(1)[0]
            assert abs(model.probabilities(state).sum() - 1) < 1e-9
            model.look(np.array([word]), state)


def test_counts_are_the_same_in_pieces_and_on_disk(
    large: tuple[Tokens, Tokens], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train, other = large
    expected = NGram.of(counted(train, 301, 4, 3), 4, boundary=3)
    monkeypatch.setattr(ngram_counts, "_PIECE", 777)
    monkeypatch.setattr(ngram_counts, "_DENSE", 0)
    scratch = Scratch(0, tmp_path / "scratch")
    counts = Counts(train, 301, boundary=3, scratch=scratch)
    for _ in range(3):
        counts.grow()
    found = NGram.of(counts, 4, boundary=3, scratch=scratch)
    for name, array in expected.arrays().items():
        assert np.array_equal(array, found.arrays()[name]), name
    assert [*(tmp_path / "scratch").iterdir()] == []  # nothing is left, whatever happens to the process
    assert np.array_equal(expected.text_likelihoods(other), found.text_likelihoods(other))


def test_a_document_begins_a_sequence_where_it_is_told_to() -> None:
    tokens = text([0, 1, 2, 0, 1, 2], [0, 3])
    assert sequence_starts(tokens, 0, 6, None, False).tolist() == [True, False, False, False, False, False]
    assert sequence_starts(tokens, 0, 6, None, True).tolist() == [True, False, False, True, False, False]
    assert sequence_starts(tokens, 2, 5, 2, False).tolist() == [False, True, False]
    assert sequence_starts(tokens, 3, 5, 2, False).tolist() == [True, False]
    assert sequence_starts(tokens, 3, 3, 2, False).tolist() == []


def test_stepping_is_reading(large: tuple[Tokens, Tokens]) -> None:
    train, other = large
    model = NGram.of(counted(train, 301, 3), 3)
    state = model.initial_state(2)
    for first, second in zip(other.ids[:30].tolist(), other.ids[30:60].tolist(), strict=True):
        logits, state = model.step(torch.tensor([first, second]), state)
    for row, begin in zip(logits, (0, 30), strict=True):
        own = model.initial_state(1)[0]
        model.look(other.ids[begin : begin + 30], own)
        assert row.exp().numpy() == pytest.approx(model.probabilities(own), rel=1e-12)


def test_discounts_follow_counts_of_counts() -> None:
    y = 100 / 180
    found = estimate([[100, 40, 20, 10], [0, 0, 0, 0], [10, 0, 0, 0]])
    assert found[0] == pytest.approx([1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.5])
    assert found[1].tolist() == list(FALLBACK)
    assert found[2].tolist() == [1.0, *FALLBACK[1:]]


def test_tuned_discounts_are_better_where_they_were_tuned_and_still_make_probabilities(
    large: tuple[Tokens, Tokens],
) -> None:
    train, other = large
    model = NGram.of(counted(train, 301, 3), 3)
    table = model.look(other.ids, model.initial_state(1)[0])
    discounts = tune(table, model.discounts, 301)
    before, after = (-np.log(interpolate(table, d, 301)).mean() for d in (model.discounts, discounts))
    assert after < before - 1e-3
    assert ((discounts > 0) & (discounts < [1, 2, 3])).all()
    tuned = model.with_discounts(discounts)
    assert abs(tuned.probabilities(tuned.initial_state(1)[0]).sum() - 1) < 1e-9


def test_arrays_are_the_whole_model(large: tuple[Tokens, Tokens]) -> None:
    train, other = large
    for order in (1, 2, 4):
        model = NGram.of(counted(train, 301, order), order)
        arrays = model.arrays()
        again = NGram.from_arrays(301, None, arrays, "here")
        assert again.sizes == model.sizes
        assert np.array_equal(again.text_likelihoods(other), model.text_likelihoods(other))
        with pytest.raises(RunError, match="do not fit together"):
            NGram.from_arrays(300, None, arrays, "here")
        with pytest.raises(RunError, match="do not fit together"):
            NGram.from_arrays(301, None, {**arrays, "counts": arrays["counts"][:-1]}, "here")
        with pytest.raises(RunError, match="not those of an n-gram model"):
            NGram.from_arrays(301, None, {"words": arrays["words"]}, "here")


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to count"):
        Counts(Tokens(np.empty(0, np.uint8)), 5)


def test_penn_treebank_is_as_hard_as_published(data_directory: Callable[[str], Path]) -> None:
    """141.2: Mikolov and Zweig 2012 (Context dependent recurrent neural network language model), table 1, KN5."""
    with zipfile.ZipFile(data_directory("ptb") / "ptb.zip") as archive:
        train, test = (
            archive.read(f"ptb.{part}.txt").decode().replace("\n", " <eos> ").split() for part in ("train", "test")
        )
    numbers = {word: number for number, word in enumerate(sorted(set(train)))}
    tokens, held_out = (Tokens(np.array([numbers[word] for word in words], np.uint16)) for words in (train, test))
    boundary = numbers["<eos>"]
    model = NGram.of(counted(tokens, len(numbers), 5, boundary), 5, boundary=boundary)
    p = model.text_likelihoods(held_out)
    assert len(p) == 82_430
    assert math.exp(-np.log(p).mean()) == pytest.approx(141.2, abs=0.5)
