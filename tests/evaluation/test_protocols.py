from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.data.store import Tokens
from unrolled.data.vocabulary import Bytes, Characters
from unrolled.errors import ConfigurationError, DataError, DivergenceError
from unrolled.evaluation import evaluate, surprisals
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel
from unrolled.training.loop import seeded

LETTERS = Characters.count(["aaabbc d\n"])


def model_of(size: int = LETTERS.size, cell: str = "lstm", **options: Any) -> LanguageModel:
    with seeded(torch.device("cpu"), 2):
        config = LanguageModelConfig(**{"hidden_size": 6, "layers": 2, **options})
        return LanguageModel(size, find_cell(cell), config).double().eval().requires_grad_(False)


MODEL = model_of()


def tokens_of(length: int, starts: list[int] | None = None, seed: int = 0) -> Tokens:
    ids = np.random.default_rng(seed).integers(LETTERS.size, size=length)
    return Tokens(ids, np.array(starts or [], np.int64))


def by_hand(model: LanguageModel, stretches: list[np.ndarray[Any, Any]]) -> tuple[float, int]:
    """The loss over stretches of text that are each read from an empty state."""
    nats, targets = 0.0, 0
    for ids in stretches:
        if len(ids) > 1:
            p = torch.log_softmax(model(torch.from_numpy(ids[None, :-1]))[0][0], -1)
            nats -= float(p[torch.arange(len(ids) - 1), torch.from_numpy(ids[1:])].sum())
            targets += len(ids) - 1
    return nats, targets


@pytest.mark.parametrize("length", [2, 3, 255, 256, 257, 700])
def test_carried_over_one_stream_it_is_the_score_without_the_first_symbol(length: int) -> None:
    tokens = tokens_of(length)
    found = evaluate(MODEL, LETTERS, tokens)
    scored = [each.nats for each in surprisals(MODEL, LETTERS, tokens.ids)]
    assert found.nats == pytest.approx(sum(scored[1:]))
    assert (found.protocol, found.detail, found.tokens, found.characters) == ("carried", 1, length - 1, length - 1)


@pytest.mark.parametrize("length", [4096, 5003])
def test_streams_are_stretches_that_each_begin_empty(length: int) -> None:
    tokens = tokens_of(length)
    found = evaluate(MODEL, LETTERS, tokens)
    assert found.detail == 2
    middle = math.ceil((length - 1) / 2)  # the first stream is the longer one
    expected = by_hand(MODEL, [tokens.ids[: middle + 1], tokens.ids[middle:]])
    assert (found.nats, found.tokens) == (pytest.approx(expected[0]), length - 1)


@given(st.integers(2, 60), st.integers(1, 70), st.lists(st.integers(0, 59), max_size=4, unique=True), st.booleans())
@settings(max_examples=40)
def test_windows_begin_empty_and_meet_every_symbol_once(
    length: int, window: int, starts: list[int], reset: bool
) -> None:
    """A window reads `window` symbols and predicts the one after each; a document cuts it where documents reset."""
    starts = sorted(start for start in starts if start < length)
    tokens = tokens_of(length, starts)
    stretches = []
    for begin in range(0, length - 1, window):
        end = min(begin + window, length - 1)
        cuts = [begin, *[start for start in starts if reset and begin < start <= end], end + 1]
        stretches += [tokens.ids[a:b] for a, b in itertools.pairwise(cuts)]
    nats, targets = by_hand(MODEL, stretches)
    documents: Any = "reset" if reset else "carry"
    if targets == 0:
        with pytest.raises(DataError, match="there is nothing to predict"):
            evaluate(MODEL, LETTERS, tokens, "windows", window=window, documents=documents)
        return
    found = evaluate(MODEL, LETTERS, tokens, "windows", window=window, documents=documents)
    assert (found.nats, found.tokens) == (pytest.approx(nats), targets)
    assert (found.protocol, found.detail) == ("windows", window)


def test_a_window_as_long_as_the_text_is_the_carried_state() -> None:
    tokens = tokens_of(50)
    assert evaluate(MODEL, LETTERS, tokens, "windows", window=49).nats == pytest.approx(
        evaluate(MODEL, LETTERS, tokens).nats
    )


def test_documents_that_reset_are_read_as_if_alone() -> None:
    tokens = tokens_of(90, [0, 20, 21, 70])
    found = evaluate(MODEL, LETTERS, tokens, documents="reset")
    nats, targets = by_hand(MODEL, np.split(tokens.ids, [20, 21, 70]))
    assert (found.nats, found.tokens) == (pytest.approx(nats), targets)
    assert targets == 90 - 4


def test_bytes_are_counted_as_the_characters_they_begin() -> None:
    vocabulary = Bytes.count(["é"])
    ids = vocabulary.encode("aé€b")
    found = evaluate(model_of(256), vocabulary, Tokens(ids))
    assert (found.tokens, found.characters) == (6, 3)  # all but the first byte
    assert found.bits_per_character == pytest.approx(found.nats / math.log(2) / 3)


def test_progress_ends_at_the_end() -> None:
    told: list[tuple[int, int]] = []
    evaluate(MODEL, LETTERS, tokens_of(600), progress=lambda done, total: told.append((done, total)))
    assert told == [(256, 599), (512, 599), (599, 599)]


def test_errors() -> None:
    with pytest.raises(ConfigurationError, match="unknown protocol 'window'") as caught:
        evaluate(MODEL, LETTERS, tokens_of(9), "window")  # type: ignore[arg-type]
    assert caught.value.fix == "did you mean 'windows'?"
    with pytest.raises(ConfigurationError, match="a window is too short"):
        evaluate(MODEL, LETTERS, tokens_of(9), "windows", window=0)
    with pytest.raises(DataError, match="there is nothing to predict"):
        evaluate(MODEL, LETTERS, tokens_of(1))
    broken = model_of()
    with torch.no_grad():
        broken.output.bias[0] = math.inf
    with pytest.raises(DivergenceError, match="not finite"):
        evaluate(broken, LETTERS, tokens_of(9))
