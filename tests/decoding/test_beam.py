from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.decoding.beam import Hypothesis, beam_search
from unrolled.errors import ConfigurationError, DivergenceError
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel

Flags = npt.NDArray[np.bool_]


def build(size: int, seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    model = LanguageModel(size, find_cell("gru"), LanguageModelConfig(hidden_size=6, layers=2, embedding_size=4)).eval()
    with torch.no_grad():
        model.output.weight.mul_(8)  # far from uniform
    return model


def log_p(model: LanguageModel, tokens: tuple[int, ...], first: Any) -> npt.NDArray[np.float64]:
    """ln p (T + 1, V) of every next symbol of a whole text, by the network itself."""
    if not tokens:
        return np.asarray(first)[None]
    with torch.no_grad():
        rows = torch.log_softmax(model(torch.tensor([tokens]))[0].double(), -1)[0].numpy()
    return np.concatenate([np.asarray(first)[None], rows])


def all_ways(
    model: LanguageModel, first: Any, length: int, ends: Flags | None, masks: Any, empty: bool
) -> list[Hypothesis]:
    """Every way to go on there is, likeliest first."""
    size, found = model.vocabulary_size, []
    going = [v for v in range(size) if ends is None or not ends[v]]
    for n in range(length + 1):
        for tokens in itertools.product(going, repeat=n):
            if masks and not all(masks(tokens[:k])[token] for k, token in enumerate(tokens)):
                continue
            rows = log_p(model, tokens, first)
            value = sum(rows[k][token] for k, token in enumerate(tokens))
            if n == length:
                found.append(Hypothesis(tokens, value, False))
            elif ends is not None and ends.any() and (n or empty) and (not masks or (masks(tokens) & ends).any()):
                found.append(Hypothesis(tokens, value + math.log(np.exp(rows[-1][ends]).sum()), True))
    return sorted(found, key=lambda way: -way.log_p)


def same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [(way.tokens, way.ended) for way in found] == [(way.tokens, way.ended) for way in expected]
    assert [way.log_p for way in found] == pytest.approx([way.log_p for way in expected], rel=1e-4, abs=1e-4)


@settings(max_examples=25)
@given(
    size=st.integers(2, 4),
    length=st.integers(1, 4),
    seed=st.integers(0, 99),
    count=st.integers(1, 12),
    ending=st.sampled_from(["none", "one", "two"]),
    empty=st.booleans(),
    masked=st.booleans(),
)
def test_wide_enough_it_finds_what_a_search_of_everything_finds(
    size: int, length: int, seed: int, count: int, ending: str, empty: bool, masked: bool
) -> None:
    model, rng = build(size, seed), np.random.default_rng(seed)
    first = np.log(rng.dirichlet(np.ones(size)))
    ends = None if ending == "none" else np.arange(size) < (1 if ending == "one" else min(2, size - 1))

    def masks(tokens: tuple[int, ...]) -> Flags:
        mask = np.random.default_rng([seed, *tokens]).random(size) < 0.7
        return mask

    expected = all_ways(model, first, length, ends, masks if masked else None, empty)[:count]
    for stepping in (model.stepping(), model.engine()):
        found = beam_search(
            stepping,
            first,
            stepping.initial_state(1),
            width=size**length,
            length=length,
            ends=ends,
            allowed=masks if masked else None,
            empty=empty,
            count=count,
        )
        same(found, expected)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_what_a_narrow_beam_finds_has_the_probability_it_says(width: int) -> None:
    model = build(11)
    first = np.full(11, -math.log(11))
    stepping = model.stepping()
    ends = np.arange(11) == 3
    found = beam_search(stepping, first, stepping.initial_state(1), width=width, length=6, ends=ends)
    assert len(found) == width
    for way in found:
        rows = log_p(model, way.tokens, first)
        value = sum(rows[k][token] for k, token in enumerate(way.tokens)) + (rows[-1][3] if way.ended else 0)
        assert way.log_p == pytest.approx(value, rel=1e-5)
    assert [way.log_p for way in found] == sorted((way.log_p for way in found), reverse=True)


def test_of_width_one_it_is_greedy() -> None:
    model = build(9)
    first = np.log(np.random.default_rng(0).dirichlet(np.ones(9)))
    stepping = model.engine()
    (way,) = beam_search(stepping, first, stepping.initial_state(1), width=1, length=8)
    tokens: tuple[int, ...] = ()
    for _ in range(8):
        tokens = (*tokens, int(log_p(model, tokens, first)[-1].argmax()))
    assert way.tokens == tokens


def test_one_symbol_is_exact_with_any_width() -> None:
    model = build(50)
    first = np.log(np.random.default_rng(1).dirichlet(np.ones(50)))
    stepping = model.stepping()
    found = beam_search(stepping, first, stepping.initial_state(1), width=1, length=1, count=7)
    assert [way.tokens[0] for way in found] == np.argsort(-first)[:7].tolist()


def test_nothing_allowed_is_nothing_found() -> None:
    model = build(4)
    stepping = model.stepping()
    nothing = np.zeros(4, np.bool_)
    first = np.full(4, -math.log(4))
    options: dict[str, Any] = {"width": 3, "length": 3, "allowed": lambda tokens: nothing}
    assert beam_search(stepping, first, stepping.initial_state(1), **options) == []
    assert beam_search(stepping, first, stepping.initial_state(1), ends=np.arange(4) < 2, **options) == []


@pytest.mark.parametrize("options", [{"width": 0}, {"length": 0}, {"count": 0}])
def test_numbers_that_make_no_sense(options: dict[str, int]) -> None:
    stepping = build(3).stepping()
    with pytest.raises(ConfigurationError, match="a beam needs a width"):
        beam_search(stepping, np.zeros(3), stepping.initial_state(1), **{"width": 1, "length": 1, **options})


def test_a_model_that_diverged() -> None:
    model = build(3)
    with torch.no_grad():
        model.output.bias[0] = math.nan
    stepping = model.stepping()
    with pytest.raises(DivergenceError):
        beam_search(stepping, np.full(3, -math.log(3)), stepping.initial_state(1), width=2, length=3)
