"""Runs with every output layer: trained, resumed to the bit, scored, sampled, started from."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from unrolled import open_run, resume, train_lm
from unrolled.errors import ConfigurationError
from unrolled.runs.directory import Run, list_runs
from unrolled.verbs.describing import describe

KINDS: dict[str, dict[str, Any]] = {
    "adaptive": {"cutoffs": "4,9", "divisor": 2.0},
    "adaptive-tied": {"output": "adaptive", "cutoffs": "4,9", "divisor": 2.0, "tied": True},
    "full-tied": {"output": "full", "tied": True},
    "sampled": {"samples": 6},
    "mixture": {"experts": 2},
}
OPTIONS: dict[str, Any] = {
    **{"hidden_size": 12, "layers": 1, "batch": 3, "length": 8, "learning_rate": 0.02, "dropout": 0.1},
    **{"steps": 30, "checkpoint_every": 10, "keep": 9, "threads": 1, "sample_every": 0},
}


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs") / str(request.param)
    extra = {"output": request.param, **KINDS[request.param]}
    return train_lm([str(corpus)], run=path, precision="float32", **extra, **OPTIONS).run


def test_it_goes_on_to_the_same_bits(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    resume(other, checkpoint="10", threads=1)
    ends = [path / "checkpoints" / "000000030" for path in (run, other)]
    for name in ("model.safetensors", "training.safetensors"):
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes()


def test_scores_add_up_and_texts_are_written(run: Path) -> None:
    model = open_run(run, threads=1)
    each = list(model.each("the old sea", alternatives=3))
    assert model.score("the old sea").log_likelihood == pytest.approx(-math.fsum(symbol.nats for symbol in each))
    everything = next(iter(model.each("t", alternatives=model.vocabulary.size)))
    assert math.fsum(p for _, p in everything.alternatives) == pytest.approx(1)
    assert len(model.sample(length=40)) == 40
    assert 1 < model.evaluate("valid").perplexity < 30


def test_another_starts_from_it_with_its_ranks(run: Path, tmp_path: Path, corpus: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("".join(sorted(set(corpus.read_text()))) * 60)  # the same symbols, none of them frequent
    options = {**OPTIONS, "steps": 1, "learning_rate": 1e-12}
    for name in ("hidden_size", "layers", "dropout"):
        options.pop(name)
    begun = train_lm([str(other)], run=tmp_path / "begun", init_from=run, precision="float32", **options).run
    text = "and the moon rose"
    assert Run.open(begun).config["model"] == Run.open(run).config["model"]
    found, expected = ([symbol.nats for symbol in open_run(path, threads=1).each(text)][1:] for path in (begun, run))
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_list_of_runs_counts_every_parameter_once(run: Path) -> None:
    (found,) = (each for each in list_runs(run.parent) if each.path == run)
    assert found.parameters == open_run(run, threads=1).model.size == describe(str(run)).parameters


def test_what_the_engine_does_not_know_says_so(run: Path) -> None:
    model = open_run(run, threads=1, precision="int8")
    if run.name in ("full-tied", "sampled"):
        assert model.sample(length=5)
    else:
        with pytest.raises(ConfigurationError, match="engine has no such output layer"):
            model.sample(length=5)


def test_cutoffs_are_chosen_and_written(corpus: Path, tmp_path: Path) -> None:
    path = train_lm([str(corpus)], run=tmp_path / "run", output="adaptive", **{**OPTIONS, "steps": 1}).run
    assert Run.open(path).config["model"]["cutoffs"] == ""  # a head alone is cheapest for a few characters
    with pytest.raises(ConfigurationError, match="cutoffs are not those of the vocabulary"):
        train_lm([str(corpus)], run=tmp_path / "other", output="adaptive", cutoffs="500", **OPTIONS)
    assert not (tmp_path / "other").exists()
