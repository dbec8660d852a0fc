"""A run with others beside it: what is shown is what each gives alone, and the mixture is no worse than the best."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled import fit_lm, open_run, train_lm
from unrolled.errors import ConfigurationError, RunError
from unrolled.verbs.comparing import Comparison, compare, score_mixed


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    return fit_lm([str(corpus)], run=tmp_path_factory.mktemp("runs") / "fitted", order=3).run


def by_name(found: Comparison) -> dict[str, Any]:
    return {other.name: other for other in found.beside}


def test_a_run_and_an_ngram_model_and_their_mixture(trained: Path, fitted: Path) -> None:
    run, other = open_run(trained, threads=1), open_run(fitted)
    found = compare(run, "test", mixed_with=[fitted])
    assert found.own == run.evaluate("test")
    beside = by_name(found)
    assert beside[str(fitted)].nats_per_token == pytest.approx(other.evaluate("test").nats_per_token, rel=1e-12)
    mixture = beside["mixture"]
    assert sum(mixture.weights.values()) == pytest.approx(1)
    assert list(mixture.weights) == [str(trained), str(fitted)]
    assert mixture.tokens == found.own.tokens
    on_valid = by_name(compare(run, "valid", mixed_with=[fitted]))["mixture"]
    assert on_valid.weights == pytest.approx(mixture.weights)
    assert "which is this part" in on_valid.about
    singles = [run.evaluate("valid").nats_per_token, other.evaluate("valid").nats_per_token]
    assert on_valid.nats_per_token <= min(singles) + 1e-6
    backwards = by_name(compare(other, "test", mixed_with=[trained]))["mixture"]
    assert backwards.nats_per_token == pytest.approx(mixture.nats_per_token, rel=1e-5)


def test_the_opponent_is_fitted_to_the_same_text(trained: Path) -> None:
    run = open_run(trained, threads=1)
    found = compare(run, "test", baseline="ngram")
    (opponent,) = found.beside
    assert opponent.name == "ngram"
    assert "chosen on valid" in opponent.about
    assert opponent.tokens == found.own.tokens
    assert opponent.nats_per_token < found.own.nats_per_token  # 60 steps of 16 units
    mixed = compare(run, "test", baseline="ngram", mixed_with=["ngram"])
    assert [other.name for other in mixed.beside] == ["ngram", "mixture"]
    assert mixed.beside[0] == opponent


def test_a_run_is_mixed_with_what_was_done_to_it(trained: Path, fitted: Path) -> None:
    run = open_run(trained, threads=1)
    numbers = {"dynamic": "sgd", "rate": 0.05, "decay": 0.001, "segment": 10}
    found = compare(run, "test", mixed_with=[fitted], **numbers)
    assert found.own.method == "dynamic (sgd)"
    static = by_name(compare(run, "test", mixed_with=[fitted]))["mixture"]
    mixture = by_name(found)["mixture"]
    assert "dynamic (sgd)" in mixture.about
    assert mixture.nats_per_token != static.nats_per_token
    with pytest.raises(ConfigurationError, match="are for networks"):
        open_run(fitted).evaluate("test", **numbers)


def test_a_text_is_scored_by_a_mixture(trained: Path, fitted: Path) -> None:
    run, other = open_run(trained, threads=1), open_run(fitted)
    text = "the old sea rose, and fell under a pale moon.\n"
    found = score_mixed(run, text, mixed_with=[fitted])
    beside = by_name(found)
    assert beside[str(fitted)].log_likelihood == pytest.approx(other.score(text).log_likelihood, rel=1e-9)
    p = [np.exp([-symbol.nats for symbol in model.each(text)]) for model in (run, other)]
    weights = list(beside["mixture"].weights.values())
    expected = np.log(weights[0] * p[0] + weights[1] * p[1]).sum()
    assert beside["mixture"].log_likelihood == pytest.approx(expected, rel=1e-9)
    assert beside["mixture"].perplexity == pytest.approx(math.exp(-expected / len(text)))


def test_what_cannot_be_mixed_is_refused(trained: Path, corpus: Path, tmp_path: Path) -> None:
    run = open_run(trained, threads=1)
    fit_lm([str(corpus)], run=tmp_path / "bytes", order=2, unit="byte")
    with pytest.raises(RunError, match="another vocabulary"):
        compare(run, mixed_with=[tmp_path / "bytes"])
    with pytest.raises(RunError, match="no run"):
        compare(run, mixed_with=[tmp_path / "nothing"])
    with pytest.raises(ConfigurationError, match="nothing is to be shown"):
        compare(run)
    options: dict[str, Any] = {"hidden_size": 4, "layers": 1, "batch": 2, "length": 8, "precision": "float32"}
    path = train_lm([str(corpus)], run=tmp_path / "alone", split="90/0/10", steps=2, threads=1, **options).run
    with pytest.raises(ConfigurationError, match="found on the validation part"):
        compare(open_run(path, threads=1), "test", mixed_with=["ngram"])
    (opponent,) = compare(open_run(path, threads=1), "test", baseline="ngram").beside
    assert "5-grams" in opponent.about
