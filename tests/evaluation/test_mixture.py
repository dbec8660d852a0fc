"""Mixtures beside a search over a grid, and nats of symbols beside `evaluate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unrolled import open_run
from unrolled.data.store import Tokens, TokenStore
from unrolled.evaluation import Cache, Dynamic, Methods, evaluate
from unrolled.evaluation.mixture import evaluate_nats, find_weights, mix, symbol_nats


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=st.floats(0, 30)))
def test_weights_are_those_that_make_symbols_likeliest(nats: np.ndarray) -> None:
    weights = find_weights(nats)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    best = mix(nats, weights).mean()
    assert best <= nats.mean(1).min() + 1e-4
    random = np.random.default_rng(0)
    for other in random.dirichlet(np.ones(len(nats)), 200):
        assert best <= mix(nats, other).mean() + 1e-4


def test_a_mixture_is_the_sum_of_probabilities() -> None:
    p = np.array([[0.5, 0.1, 1e-300], [0.2, 0.9, 1e-300]])
    assert np.exp(-mix(-np.log(p), np.array([0.25, 0.75]))) == pytest.approx(np.array([0.275, 0.7, 1e-300]))
    assert np.exp(-mix(-np.log(p), np.array([1.0, 0.0]))) == pytest.approx(p[0])


@pytest.mark.parametrize("documents", ["carry", "reset"])
@pytest.mark.parametrize(
    "methods", [Methods(), Methods(Dynamic("sgd", 0.1, 0.003, 7)), Methods(cache=Cache(50, 0.3, 0.1), temperature=1.1)]
)
def test_nats_of_symbols_are_what_evaluate_adds_up(trained: Path, documents: str, methods: Methods) -> None:
    run = open_run(trained, threads=1)
    ids = TokenStore.open(Path(run.run.config["data"]["store"])).split("train").ids[:4300]
    tokens = Tokens(np.asarray(ids), np.array([0, 100, 2500]))
    nats = symbol_nats(run.model, tokens, documents=documents, methods=methods)  # type: ignore[arg-type]
    expected = evaluate(run.model, run.vocabulary, tokens, documents=documents, methods=methods)  # type: ignore[arg-type]
    known = np.isfinite(nats)
    assert np.flatnonzero(~known).tolist() == ([0, 100, 2500] if documents == "reset" else [0])
    assert nats[known].sum() == pytest.approx(expected.nats, rel=1e-6)
    found = evaluate_nats(nats, run.vocabulary, tokens, documents=documents)  # type: ignore[arg-type]
    assert found.nats == pytest.approx(expected.nats, rel=1e-6)
    assert (found.tokens, found.characters, found.words) == (expected.tokens, expected.characters, expected.words)


def test_nats_stand_at_the_places_of_their_symbols(trained: Path) -> None:
    run = open_run(trained, threads=1)
    text = "the old sea rose and fell"
    ids = run.vocabulary.encode(text)
    nats = symbol_nats(run.model, Tokens(ids), streams=1)
    each = [symbol.nats for symbol in run.each(text)]
    assert nats[1:] == pytest.approx(each[1:], rel=1e-5)
