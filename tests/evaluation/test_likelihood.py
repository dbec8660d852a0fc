from __future__ import annotations

import math

import pytest

from unrolled.evaluation import Likelihood


def test_the_units_of_the_field() -> None:
    found = Likelihood(tokens=10, characters=4, nats=8.0)
    assert found.log_likelihood == -8
    assert found.nats_per_token == pytest.approx(0.8)
    assert found.bits_per_character == pytest.approx(8 / math.log(2) / 4)
    assert found.perplexity == pytest.approx(math.exp(0.8))


def test_one_who_guesses_all_equally_likely_has_their_number_as_perplexity() -> None:
    assert Likelihood(7, 7, 7 * math.log(27)).perplexity == pytest.approx(27)


def test_a_hopeless_model_has_an_infinite_perplexity() -> None:
    assert Likelihood(1, 1, 1e5).perplexity == math.inf


def test_bytes_that_begin_no_character_have_no_bits_per_character() -> None:
    assert math.isnan(Likelihood(1, 0, 1.0).bits_per_character)
