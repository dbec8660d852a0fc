"""Averages of weights against their definitions, and wherever the model is looked at while it trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.data.store import Tokens
from unrolled.data.streams import StreamPosition, Streams
from unrolled.errors import Interrupted
from unrolled.runs.checkpoints import load
from unrolled.runs.directory import Run
from unrolled.runs.logs import Logs
from unrolled.tasks import Validation
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.averaging import Averaging
from unrolled.training.budget import rate_at
from unrolled.training.configuration import TrainingConfig
from unrolled.training.events import SampleDue, Saved, Validated
from unrolled.training.loop import Trainer, seeded

IDS = np.random.default_rng(0).integers(0, 7, 700).astype(np.uint8)
Make = Callable[..., Trainer]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(name: str = "run", **options: Any) -> Trainer:
        given = {"steps": 24, "batch": 3, "length": 8, "learning_rate": 0.02, "precision": "float32", "seed": 5}
        config = TrainingConfig(**{**given, **options})
        with seeded(torch.device("cpu"), 0):
            model = LanguageModel(7, find_cell("gru"), LanguageModelConfig(hidden_size=5, tied=True, dropout=0.2))
        assert config.batch is not None
        task = LanguageModelTask(
            model,
            Tokens(IDS[:500], np.array([0])),
            Tokens(IDS[500:], np.array([0])),
            batch=config.batch,
            length=config.length,
            seed=config.seed,
            vary=config.random_lengths,
        )
        path = tmp_path / name
        run = Run.open(path) if path.exists() else Run.create(path, {"task": "lm"}, {})
        return Trainer(task, config, run, sample_every=5)

    return build


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


# ---- the averages


def test_the_moving_mean_is_one(make: Make) -> None:
    trainer = make(average="exponential", average_decay=0.7)
    wanted = {name: value.double() for name, value in weights(trainer).items()}
    for n in range(1, 10):
        trainer.update()
        d = min(0.7, n / (9 + n))
        for name, value in weights(trainer).items():
            wanted[name] = d * wanted[name] + (1 - d) * value.double()
    for name, value in trainer.snapshot().model.items():
        torch.testing.assert_close(value.double(), wanted[name], rtol=1e-5, atol=1e-6)


def test_once_triggered_it_is_the_mean_of_what_follows(make: Make) -> None:
    trainer = make(average="triggered", nonmonotone=0)
    for _ in range(3):
        trainer.update()
    assert_same(trainer.snapshot().model, weights(trainer))
    assert not trainer._averaging.heard(1.0)
    assert trainer._averaging.heard(2.0)
    assert_same(trainer.snapshot().model, weights(trainer))
    seen = []
    for _ in range(5):
        trainer.update()
        seen.append({name: value.double() for name, value in weights(trainer).items()})
        for name, value in trainer.snapshot().model.items():
            mean = torch.stack([each[name] for each in seen]).mean(0)
            torch.testing.assert_close(value.double(), mean, rtol=1e-5, atol=1e-6)
    assert not trainer._averaging.heard(9.0)  # once


@given(losses=st.lists(st.integers(0, 9), max_size=12), nonmonotone=st.integers(0, 5))
def test_the_trigger_is_that_of_the_paper(losses: list[int], nonmonotone: int) -> None:
    """Merity et al. 2018, algorithm 1: at the t-th validation v, if t > n and v > min(logs[0 : t - n])."""
    config = TrainingConfig(average="triggered", nonmonotone=nonmonotone)
    averaging = Averaging({"w": torch.nn.Parameter(torch.zeros(2))}, config)
    triggered, logs = None, []
    for t, v in enumerate(losses):
        if triggered is None and t > nonmonotone and v > min(logs[: t - nonmonotone]):
            triggered = t
        logs.append(v)
    found = [t for t, v in enumerate(losses) if averaging.heard(v)]
    assert found == ([] if triggered is None else [triggered])


# ---- where the model is looked at


@pytest.mark.parametrize("average", ["exponential", "triggered"])
def test_what_is_validated_sampled_and_saved_is_the_average(
    make: Make, average: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(average=average, nonmonotone=0, learning_rate=0.3, validations=12)
    # A loss that triggers at the third validation.
    losses, validated = iter([3.0, 2.0, 2.5, *[2.0] * 9]), []
    monkeypatch.setattr(
        trainer.task, "validate", lambda: validated.append(weights(trainer)) or Validation(next(losses))
    )
    told: list[tuple[int, str]] = []
    with Logs(trainer.run) as logs:
        for event in trainer.train(logs):
            if isinstance(event, SampleDue) and event.step:
                told.append((event.step, "sample"))
                shown, snapshot = weights(trainer), trainer.snapshot()
                assert trainer._averaging.active == (average == "exponential" or event.step > 6)
                assert ("own/embedding.weight" in snapshot.training) == trainer._averaging.active
            elif isinstance(event, Validated):
                own = weights(trainer)
                if trainer._averaging.active and event.step > 6:
                    assert not torch.equal(validated[-1]["embedding.weight"], own["embedding.weight"])
                assert_same(validated[-1], trainer.snapshot().model)
            elif isinstance(event, Saved):
                assert_same(load(trainer.run, "last").model, trainer.snapshot().model)
                assert event.step == 0 or not told or shown.keys()
    assert told
    assert not torch.equal(weights(trainer)["embedding.weight"], load(trainer.run, "last").model["embedding.weight"])


def test_a_sample_is_of_the_average(make: Make) -> None:
    trainer = make(average="exponential")
    with Logs(trainer.run) as logs:
        for event in trainer.train(logs):
            if isinstance(event, SampleDue) and event.step:
                shown = weights(trainer)
                assert all(torch.equal(shown[name], mean) for name, mean in trainer._averaging._means.items())
    own = trainer._averaging.own()
    assert all(torch.equal(weights(trainer)[name], value) for name, value in own.items())


# ---- going on


@pytest.mark.parametrize(
    "options",
    [
        {"average": "exponential"},
        {"average": "triggered", "nonmonotone": 0, "optimizer": "sgd", "learning_rate": 3.0, "validations": 12},
        {"random_lengths": True, "average": "exponential", "accumulate": 2},
        {"schedule": "falling", "fall_after": 1, "fall_factor": 0.5, "random_lengths": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("stop", [1, 11, 19])
def test_interrupted_anywhere_it_ends_with_the_same_bits(make: Make, options: dict[str, Any], stop: int) -> None:
    def train(trainer: Trainer, until: int = 10**9) -> None:
        with Logs(trainer.run) as logs:
            for event in trainer.train(logs):
                if getattr(event, "step", 0) >= until:
                    trainer.interrupt()

    whole, part = make("whole", **options), make("part", **options)
    train(whole)
    with pytest.raises(Interrupted):
        train(part, stop)
    again = make("part", **options)
    again.restore(load(again.run, "last"))
    train(again)
    first, second = whole.snapshot(), again.snapshot()
    assert_same(first.model, second.model)
    assert_same(first.training, second.training)
    assert {**first.state, "minutes": 0} == {**second.state, "minutes": 0}
    if options.get("average") == "triggered":
        assert whole._averaging.active


# ---- rates


def test_the_rate_follows_the_length_of_the_sequence(make: Make) -> None:
    trainer = make(random_lengths=True, schedule="constant", length=30, batch=1, steps=40)
    streams = Streams(Tokens(IDS[:500], np.array([0])), 1, 30, seed=5, shift=True, vary=True)
    position, lengths = StreamPosition(), set()
    for _ in range(20):
        batch = streams.batch(position)
        update = trainer.update()
        assert update.targets == batch.x.shape[1]
        assert update.rate == pytest.approx(0.02 * update.targets / 30)
        position = batch.next
        lengths.add(update.targets)
    assert len(lengths) > 3


def test_accumulated_the_rate_is_scaled_by_the_mean_length(make: Make) -> None:
    trainer = make(random_lengths=True, schedule="constant", length=30, batch=1, accumulate=2, steps=40)
    for _ in range(5):
        update = trainer.update()
        assert update.rate == pytest.approx(0.02 * update.targets / 60)


def test_a_rate_that_falls_is_char_rnns() -> None:
    """There the rate is multiplied with 0.97 whenever a pass is complete, from the tenth on."""
    config = TrainingConfig(schedule="falling", fall_after=10, fall_factor=0.97)
    rate, passes = 1.0, []
    for epoch in range(1, 15):
        passes.append(rate)
        if epoch >= 10:
            rate *= 0.97
    for epoch, wanted in enumerate(passes):
        for share in (0.0, 0.5, 0.999):
            assert rate_at(0.3, config, epoch + share) == pytest.approx(wanted)
    assert math.isclose(rate_at(0.3, config, 10), 0.97)
