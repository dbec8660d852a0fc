from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.layers import RecurrentLayer
from unrolled.runs.directory import Run
from unrolled.runs.logs import read_metrics
from unrolled.runs.models import load_language_model
from unrolled.verbs.listening import Listener
from unrolled.verbs.options import read_options
from unrolled.verbs.recipes import RECIPES

QUICK: dict[str, Any] = {"threads": 1, "sample_every": 0, "precision": "float32"}


class Ear(Listener):
    def __init__(self) -> None:
        self.facts: dict[str, str] = {}

    def started(self, run: str, facts: dict[str, str]) -> None:
        self.facts = facts


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_of_options_there_are(name: str) -> None:
    *sections, rest = read_options({}, name)
    assert len(sections) == 3
    assert rest.keys() <= {"sample_every"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_budget_that_is_given_takes_the_place_of_the_recipes(name: str) -> None:
    training = read_options({"minutes": 2.0}, name)[2]
    assert (training.minutes, training.epochs, training.steps) == (2, None, None)


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_says_what_each_setting_is(name: str) -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / ("min-char-rnn.md" if name == "min-char-rnn" else "recipes.md")).read_text()
    if name != "min-char-rnn":
        page = page.partition(f"## {name}")[2].partition("\n## ")[0]
    for option, value in RECIPES[name].items():
        shown = option.replace("_", "-")
        wanted = f"--{shown}" if value is True else f"--no-{shown}" if value is False else f"--{shown} "
        found = re.search(rf"`{re.escape(wanted)}([^`]*)`", page)
        assert found, f"{option} is not on the page"
        if not isinstance(value, bool):
            assert found[1] == value if isinstance(value, str) else float(found[1]) == value, option


def test_awd_lstm_small(corpus: Path, tmp_path: Path) -> None:
    """All of it at once, in a size for a test: it learns, validates after every pass, averages, is used and resumed."""
    ear = Ear()
    small = {"hidden_size": 14, "embedding_size": 10, "batch": 4, "length": 12, "nonmonotone": 0, "epochs": 8.0}
    trained = unrolled.train_lm([str(corpus)], run=tmp_path / "awd", recipe="awd-lstm", listener=ear, **small, **QUICK)
    assert "tied, variational, input dropout 0.4, layer dropout 0.25" in ear.facts["network"]
    assert "random lengths, average triggered, decayed all" in ear.facts["training"]
    run = Run.open(trained.run)
    valid = [line["valid"] for line in read_metrics(run) if "valid" in line]
    assert len(valid) in (8, 9)
    assert valid[-1] < valid[0]
    model, vocabulary, loaded = load_language_model(run, "last")
    layers = [layer for layer in model.recurrent.layers if isinstance(layer, RecurrentLayer)]
    assert [layer.hidden_size for layer in layers] == [14, 14, 10]
    assert model.output.weight is model.embedding.weight
    assert vocabulary.unit == "word"
    assert loaded.state["averaging"]["count"] > 0
    assert trained.valid is not None
    opened = unrolled.open_run(trained.run, "last")
    assert opened.sample(prompt="the old", length=5, seed=1)
    scored = opened.score("the old sea")
    with torch.no_grad():
        ids = torch.as_tensor(vocabulary.encode("the old sea").astype("int64"))
        nats = torch.log_softmax(model(ids.unsqueeze(0))[0].double(), -1)[0]
    after = -sum(float(nats[t, ids[t + 1]]) for t in range(len(ids) - 1))
    first = -float(torch.as_tensor(vocabulary.unigram()).log()[ids[0]])
    assert scored.log_likelihood == pytest.approx(-(first + after), rel=1e-5)
    more = unrolled.resume(trained.run, epochs=9.0)
    assert more.steps > trained.steps


def test_char_rnn_small(corpus: Path, tmp_path: Path) -> None:
    small = {"hidden_size": 16, "batch": 5, "length": 10, "epochs": 4.0, "fall_after": 2, "learning_rate": 0.01}
    trained = unrolled.train_lm([str(corpus)], run=tmp_path / "char", recipe="char-rnn", **small, **QUICK)
    assert trained.valid is not None
    assert trained.valid.nats_per_token < 2.5
    config = json.loads((trained.run / "config.json").read_text())
    assert config["recipe"] == "char-rnn"
    assert config["training"]["optimizer"] == "rmsprop"
    lines = [line for line in read_metrics(Run.open(trained.run)) if "rate" in line]
    assert {round(line["rate"], 6) for line in lines if line["epoch"] <= 2} == {0.01}
    assert lines[-1]["rate"] == pytest.approx(0.01 * 0.97**2)
