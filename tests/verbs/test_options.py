from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from unrolled.errors import ConfigurationError
from unrolled.verbs.options import SECTIONS, read_options
from unrolled.verbs.recipes import RECIPES


def flat(*sections: Any) -> dict[str, Any]:
    return {name: value for section in sections for name, value in dataclasses.asdict(section).items()}


def test_options_are_sorted_into_their_sections() -> None:
    text, model, training, rest = read_options({"unit": "byte", "layers": 3, "steps": 7, "batch": None})
    assert (text.unit, model.layers, training.steps, training.batch, rest) == ("byte", 3, 7, None, {})


def test_no_two_sections_have_an_option_of_one_name() -> None:
    names = [field.name for section in SECTIONS.values() for field in dataclasses.fields(section)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "near"), [("hiden_size", "hidden_size"), ("learning-rate", "learning_rate")])
def test_the_nearest_option_is_named(name: str, near: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown option '{name}'") as caught:
        read_options({name: 1})
    assert caught.value.fix == f"did you mean {near!r}?"


def test_the_nearest_recipe_is_named() -> None:
    with pytest.raises(ConfigurationError, match="unknown recipe 'min-char'") as caught:
        read_options({}, "min-char")
    assert caught.value.fix == "did you mean 'min-char-rnn'?"


def test_a_value_of_another_type() -> None:
    with pytest.raises(ConfigurationError, match="'layers' has a wrong value") as caught:
        read_options({"layers": "2"})
    assert caught.value.where == "options of model: layers"


def test_the_recipe_of_min_char_rnn() -> None:
    text, model, training, rest = read_options({"steps": 100}, "min-char-rnn")
    assert (model.cell, model.hidden_size, model.layers, model.embedding_size) == ("rnn", 100, 1, 0)
    assert (training.batch, training.length, training.optimizer) == (1, 25, "adagrad-inside")
    assert (training.learning_rate, training.clip_value, training.clip_norm) == (0.1, 5.0, 0.0)
    assert (training.reduction, training.schedule, training.precision) == ("sum", "constant", "float64")
    assert (training.smoothing, training.shift, text.split) == (0.999, False, "100/0/0")
    assert rest == {"sample_every": 100}


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_given_wins_over_the_recipe_even_where_it_is_the_default(recipe: str) -> None:
    """A default that is asked for is asked for."""
    plain = flat(*read_options({})[:3])
    for name, value in RECIPES[recipe].items():
        if name in plain and plain[name] is not None:
            assert plain[name] != value or name == "epsilon", "a recipe need not say this"
            assert flat(*read_options({name: plain[name]}, recipe)[:3])[name] == plain[name]


def test_a_run_hands_down_its_network_below_recipe_and_options() -> None:
    inherited = {"cell": "gru", "hidden_size": 7, "layers": 3}
    _, model, _, _ = read_options({"layers": 1}, None, inherited)
    assert (model.cell, model.hidden_size, model.layers) == ("gru", 7, 1)
    _, model, _, _ = read_options({}, "min-char-rnn", inherited)
    assert (model.cell, model.hidden_size, model.layers) == ("rnn", 100, 1)
