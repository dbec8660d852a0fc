"""Updates made many in one call are those made one by one, operation by operation."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from unrolled.cells import U, W, b, cell, find_cell, sigmoid, tanh
from unrolled.data.store import Tokens
from unrolled.data.streams import StreamPosition
from unrolled.errors import DivergenceError
from unrolled.layers import watch
from unrolled.runs.checkpoints import load
from unrolled.runs.directory import Run
from unrolled.runs.logs import Logs, read_metrics
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.budget import Budget
from unrolled.training.chunks import Chunks
from unrolled.training.configuration import TrainingConfig
from unrolled.training.loop import Trainer, seeded


@cell
def made_up(x, h, c):  # type: ignore[no-untyped-def]
    """Two stages of products, one of them of a gate, and an output that is no state."""
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    c = c + r * (tanh(U.n @ (r * h) + W.n @ x) - c)
    h = tanh(c + U.c @ c)
    return r * h, (h, c)


class Make:
    """Makes trainers that start from the same weights."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.made = directory, 0

    def __call__(self, fused: bool, **given: Any) -> Trainer:
        sizes = {"symbols": 7, "units": 5, "layers": 1, "embedding": None, "documents": "carry", **given}
        symbols, units, layers, embedding, documents = (
            sizes.pop(name) for name in ("symbols", "units", "layers", "embedding", "documents")
        )
        kind, path, valid = sizes.pop("cell", "rnn"), sizes.pop("path", None), sizes.pop("valid", 0)
        defaults = {"steps": 100, "batch": 2, "length": 4, "precision": "float64", "learning_rate": 0.01, "seed": 3}
        config = TrainingConfig(**{**defaults, **sizes})
        with seeded(torch.device("cpu"), 0):
            network = LanguageModelConfig(hidden_size=units, layers=layers, embedding_size=embedding, dropout=0.0)
            equations = made_up if kind == "made_up" else find_cell(kind)
            model = LanguageModel(symbols, equations, network).to(
                {"float32": torch.float32, "float64": torch.float64}[config.precision]
            )
        if not fused:
            # The judge: it shares nothing with what is derived from the equations.
            model.recurrent.use("reference")
        assert config.batch is not None
        random = np.random.default_rng(1)
        ids = random.integers(0, symbols, config.batch * config.length * 7 + 11).astype(np.uint8)
        task = LanguageModelTask(
            model,
            Tokens(ids, np.array([0, 5, 6, 13])),
            Tokens(ids[:valid], np.array([0])),
            batch=config.batch,
            length=config.length,
            seed=config.seed,
            documents=documents,
            shift=config.shift,
        )
        self.made += 1
        path = path or self.directory / f"run-{self.made}"
        run = Run.open(path) if path.exists() else Run.create(path, {"task": "lm"}, {})
        trainer = Trainer(task, config, run, sample_every=0)
        assert (trainer._fused is not None) == fused
        return trainer


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return Make(tmp_path)


def train(trainer: Trainer) -> list[Any]:
    with Logs(trainer.run) as logs:
        return list(trainer.train(logs))


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], limit: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].shape == value.shape, name
        assert ours[name].dtype == value.dtype, name
        assert float((ours[name] - value).norm()) <= limit * max(float(value.norm()), 1e-3), name


def agree(make: Make, updates: int = 9, **given: Any) -> None:
    """Each update from where the judge stands: runs are chaotic."""
    judge, ours = make(False, **given), make(True, **given)
    single = given.get("precision") == "float32"
    limit = 3e-5 if single else 1e-10
    for _ in range(updates):
        ours.put(judge.snapshot())
        wanted, made = judge.update(), ours.update()
        assert (made.targets, made.step, made.epoch, made.rate) == (
            wanted.targets,
            wanted.step,
            wanted.epoch,
            wanted.rate,
        )
        assert made.loss == pytest.approx(wanted.loss, rel=1e-6 if single else 1e-10)
        assert made.norm == pytest.approx(wanted.norm, rel=2e-5 if single else 1e-9, abs=1e-9)
        assert made.smoothed == pytest.approx(wanted.smoothed, rel=1e-6 if single else 1e-10)
        theirs, mine = judge.snapshot(), ours.snapshot()
        assert_close(mine.model, theirs.model, limit)
        assert_close(mine.training, theirs.training, limit)
        assert mine.state["position"] == theirs.state["position"]


CLASSIC = {"optimizer": "adagrad-inside", "reduction": "sum", "clip_value": 0.5, "clip_norm": 0.0, "embedding": 0}
FIGURES = pytest.mark.figures  # a cell takes seconds to compile
KINDS = ["rnn", "made_up", *(pytest.param(k, marks=FIGURES) for k in ("lstm", "gru", "gru-reset-before"))]


@pytest.mark.parametrize("kind", [*KINDS, pytest.param("lstm-peephole", marks=FIGURES)])
@given(
    batch=st.integers(1, 3),
    length=st.sampled_from([1, 2, 25]),
    units=st.sampled_from([1, 5, 17]),
    symbols=st.sampled_from([1, 2, 65]),
    layers=st.integers(1, 2),
    embedding=st.sampled_from([None, 0, 3]),
    documents=st.sampled_from(["carry", "reset"]),
    optimizer=st.sampled_from(["adamw", "sgd", "adagrad"]),
    reduction=st.sampled_from(["mean", "sum"]),
    clip=st.sampled_from([(0.0, 0.0), (0.05, 0.0), (0.0, 0.02), (0.05, 0.03)]),
)
@example(
    batch=1,
    length=25,
    units=100,
    symbols=65,
    layers=1,
    embedding=0,
    documents="carry",
    optimizer="adagrad",
    reduction="sum",
    clip=(0.5, 0.0),
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_update_is_the_judges(make: Make, kind: str, clip: tuple[float, float], **given: Any) -> None:
    agree(make, cell=kind, clip_value=clip[0], clip_norm=clip[1], updates=4, **given)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adagrad", "weight_decay": 0.0},
        {"optimizer": "adagrad", "weight_decay": 0.1, "embedding": 0},
        {"optimizer": "sgd", "momentum": 0.0, "embedding": 0},
        {"optimizer": "adamw", "weight_decay": 0.3, "embedding": 0, "layers": 2},
        {**CLASSIC, "units": 100, "symbols": 65, "length": 25, "batch": 1, "precision": "float32"},
    ],
    ids=str,
)
def test_every_optimiser(make: Make, options: dict[str, Any]) -> None:
    agree(make, documents="reset", **options)


@pytest.mark.parametrize("options", [{**CLASSIC, "documents": "reset"}, {"optimizer": "adamw", "layers": 2}], ids=str)
def test_how_many_are_made_in_one_call_decides_nothing(make: Make, options: dict[str, Any]) -> None:
    trainers = [make(True, **options) for _ in range(3)]
    together = trainers[0].updates(30)
    parts = trainers[1].updates(1) + trainers[1].updates(22) + trainers[1].updates(7)
    alone = [trainers[2].update() for _ in range(30)]
    assert together == parts == alone
    first = trainers[0].snapshot()
    for other in (trainer.snapshot() for trainer in trainers[1:]):
        assert other.state == first.state
        for name, value in {**first.model, **first.training}.items():
            assert torch.equal({**other.model, **other.training}[name], value), name


def test_a_run_has_the_lines_and_events_of_one_that_goes_update_by_update(make: Make) -> None:
    options = {"steps": 1200, "validations": 7, "checkpoint_every": 250, "valid": 30, "keep": 9, **CLASSIC}
    ours, other = make(True, **options), make(False, **options)
    kinds = []
    for trainer in (ours, other):
        events = train(trainer)
        kinds.append([(type(event).__name__, event.step) for event in events if type(event).__name__ != "Stepped"])
        steps = [record["step"] for record in read_metrics(trainer.run)]
        kinds[-1] += [("line", step) for step in steps]
    assert kinds[0] == kinds[1]
    assert len(kinds[0]) > 500


@pytest.mark.parametrize("step", [250, 500, 1000])
def test_resumed_anywhere_a_run_ends_with_the_same_bits(make: Make, step: int) -> None:
    options = {"steps": 1200, "validations": 3, "checkpoint_every": 250, "valid": 30, "keep": 9, **CLASSIC}
    whole = make(True, **options)
    train(whole)
    lines = [{**record, "minutes": 0} for record in read_metrics(whole.run) if "valid" in record]
    again = make(True, path=whole.run.path, **options)
    again.restore(load(whole.run, step))
    train(again)
    for name, value in {**whole.snapshot().model, **whole.snapshot().training}.items():
        assert torch.equal({**again.snapshot().model, **again.snapshot().training}[name], value), name
    assert again.smoothed == whole.smoothed
    assert [{**record, "minutes": 0} for record in read_metrics(whole.run) if "valid" in record] == lines


def test_killed_it_goes_on_with_the_same_bits(start: Callable[..., Any], corpus: Path, tmp_path: Path) -> None:
    command = ("train", "lm", corpus, "--recipe", "min-char-rnn", "--hidden-size", "20", "--sample-every", "0")
    assert start(*command, "--steps", "30000", "--run", tmp_path / "whole").wait() == 0
    process = start(*command, "--steps", "30000", "--run", tmp_path / "killed", "--checkpoint-every", "1000")
    for wanted in (3000, 12000):
        begun = time.monotonic()
        while not (tmp_path / "killed" / "last").exists() or int((tmp_path / "killed" / "last").read_text()) < wanted:
            assert time.monotonic() - begun < 60
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process = start("resume", tmp_path / "killed")
    assert process.wait() == 0
    ends = [tmp_path / name / "checkpoints" / "000030000" for name in ("whole", "killed")]
    for name in ("model.safetensors", "training.safetensors"):
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes()
    states = [json.loads((end / "training.json").read_text()) for end in ends]
    assert {**states[0], "minutes": 0} == {**states[1], "minutes": 0}


def test_a_loss_that_is_not_finite_ends_it_before_that_update(make: Make) -> None:
    options = {"optimizer": "sgd", "momentum": 0.0, "symbols": 200, "shift": False}
    ours, other = make(True, **options), make(True, **options)
    ids = ours.task._streams.stretch(StreamPosition(), 4).x  # type: ignore[attr-defined]
    new = next(symbol for symbol in ids[3].flat if symbol not in ids[:3])
    for trainer in (ours, other):
        with torch.no_grad():
            trainer.model.embedding.weight[new] = math.nan  # type: ignore[index, union-attr]
    other.updates(3)
    with pytest.raises(DivergenceError, match="diverged at step 4: the loss is not a finite number"):
        ours.updates(50)
    assert ours.step == 3
    for name, value in other.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name].nan_to_num(), value.nan_to_num()), name


def test_who_watches_sees_every_gate(make: Make) -> None:
    ours = make(True)
    with watch() as seen:
        assert len(ours.updates(10)) == 1
    assert "layers.0.U.h" in seen.names()
    assert len(ours.updates(10)) == 10


@pytest.mark.parametrize("options", [{"accumulate": 2}, {"epsilon": 0.0}, {"units": 2000}], ids=str)
def test_what_is_not_served_goes_step_by_step(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        Make(tmp_path)(True, **options)


def test_a_chunk_ends_where_something_is_due() -> None:
    chunks, step, ends = Chunks(Budget(steps=1000), [0.25, 1 / 3, 1.0]), 0, []
    while step < 1000:
        step += chunks.length(step, 400, 0)
        chunks.lasted(1_000_000, 1e-9)
        ends.append(step)
    assert ends == [1, 250, 334, 400, 800, 1000]


def test_chunks_of_a_budget_in_minutes_are_a_small_part_of_it() -> None:
    chunks = Chunks(Budget(minutes=0.01), [0.5])
    for _ in range(20):
        chunks.lasted(chunks.length(1), chunks.length(1) * 1e-5 / 60)
    assert chunks.length(1) == pytest.approx(0.6 / 500 / 1e-5, rel=0.05)
