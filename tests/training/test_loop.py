from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.data.store import Tokens
from unrolled.data.vocabulary import Characters
from unrolled.errors import DivergenceError, Interrupted, RunError
from unrolled.runs.checkpoints import load
from unrolled.runs.directory import Run
from unrolled.runs.logs import Logs, read_metrics
from unrolled.tasks import Validation
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.configuration import TrainingConfig
from unrolled.training.events import Event, SampleDue, Saved, Stepped, Validated
from unrolled.training.loop import Trainer, seeded

Make = Callable[..., Trainer]
CPU = torch.device("cpu")


@pytest.fixture
def make(tmp_path: Path, make_text: Callable[[int, int], str]) -> Make:
    """Makes a trainer of a small model, always from the same weights; a name of a run that is there goes on with it."""
    vocabulary = Characters.count([make_text(1200, 0)])
    ids = vocabulary.encode(make_text(1200, 0))
    starts = np.array([0, 333, 700])

    def build(name: str = "run", *, cell: str = "lstm", dropout: float = 0.2, **options: Any) -> Trainer:
        valid, text = options.pop("valid", 200), options.pop("text", 1000)
        documents, sample_every = options.pop("documents", "carry"), options.pop("sample_every", 0)
        given = {"steps": 20, "batch": 3, "length": 8, "learning_rate": 0.02, "precision": "float32", "seed": 5}
        config = TrainingConfig(**{**given, **options})
        with seeded(CPU, 0):
            network = LanguageModelConfig(hidden_size=5, layers=2, dropout=dropout)
            model = LanguageModel(vocabulary.size, find_cell(cell), network)
        if config.precision == "float64":
            model.double()
        assert config.batch is not None
        task = LanguageModelTask(
            model,
            Tokens(ids[:text], starts[starts < text]),
            Tokens(ids[1000 : 1000 + valid]),
            batch=config.batch,
            length=config.length,
            seed=config.seed,
            documents=documents,
            shift=config.shift,
        )
        path = tmp_path / name
        run = Run.open(path) if path.exists() else Run.create(path, {"task": "lm"}, vocabulary.to_json())
        return Trainer(task, config, run, sample_every=sample_every)

    return build


def train(trainer: Trainer, hear: Callable[[Event], None] = lambda event: None) -> list[Event]:
    """Train to the end; what is heard of an event is done before training goes on."""
    events = []
    with Logs(trainer.run) as logs:
        for event in trainer.train(logs):
            events.append(event)
            hear(event)
    return events


def of(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_same(trainer: Trainer, other: Trainer) -> None:
    assert trainer.step == other.step
    for name, value in weights(trainer).items():
        assert torch.equal(value, weights(other)[name]), name


# ---- what training tells and keeps


def test_events_come_in_their_order(make: Make) -> None:
    events = train(make(steps=2, validations=1, sample_every=2))
    kinds = [type(event).__name__ for event in events]
    assert kinds == ["Saved", "SampleDue", "Stepped", "Stepped", "SampleDue", "Validated", "Saved"]
    assert [event.step for event in events] == [0, 0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(("steps", "validations"), [(20, 10), (20, 3), (4, 10), (1, 1)])
def test_it_validates_as_often_as_said_and_at_the_end(make: Make, steps: int, validations: int) -> None:
    trainer = make(steps=steps, validations=validations)
    events = train(trainer)
    found = of(Validated, events)
    assert len(found) == min(steps, validations)
    assert found[-1].step == steps
    assert [record["valid"] for record in read_metrics(trainer.run) if "valid" in record] == [v.loss for v in found]
    assert trainer.best == Validation(min(event.loss for event in found))


def test_best_is_the_best_so_far(make: Make) -> None:
    trainer = make(steps=40, learning_rate=0.3, clip_norm=0.0, schedule="constant", validations=20)
    found = of(Validated, train(trainer))
    losses = [event.loss for event in found]
    assert [event.best for event in found] == [loss == min(losses[: k + 1]) for k, loss in enumerate(losses)]
    best = min(found, key=lambda event: event.loss)
    assert load(trainer.run, "best").step == best.step
    assert load(trainer.run, "last").step == 40


def test_without_a_validation_part_there_is_no_best(make: Make) -> None:
    trainer = make(steps=5, valid=0)
    assert of(Validated, train(trainer)) == []
    assert trainer.best is None
    assert trainer.run.pointer("best") is None
    assert load(trainer.run).step == 5


def test_patience_ends_training_early(make: Make) -> None:
    trainer = make(steps=60, validations=60, learning_rate=1e-12, patience=3, schedule="constant", dropout=0.0)
    found = of(Validated, train(trainer))
    since = max(k for k, event in enumerate(found) if event.best)
    assert len(found) - since - 1 == 3
    assert trainer.step < 60
    assert load(trainer.run).step == trainer.step


def test_what_was_stopped_early_stays_so_unless_patience_is_renewed(make: Make) -> None:
    options = {"steps": 60, "validations": 60, "learning_rate": 1e-12, "patience": 3, "schedule": "constant"}
    stopped = make(**options)
    train(stopped)
    again = make(**options)
    again.restore(load(again.run))
    assert train(again) == []
    again.renew_patience()
    assert len(of(Validated, train(again))) >= 3


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_checkpoints_are_kept_as_said(make: Make, keep: int) -> None:
    trainer = make(steps=12, checkpoint_every=1, validations=1, keep=keep)
    train(trainer)
    names = [int(name) for name in trainer.run.checkpoint_names()]
    assert names == list(range(12 - keep + 1, 13))


def test_checkpoints_come_as_often_as_said(make: Make) -> None:
    steps = [event.step for event in of(Saved, train(make(steps=12, checkpoint_every=5, validations=2)))]
    assert steps == [0, 5, 6, 10, 12]


def test_a_long_time_without_a_checkpoint_ends_with_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unrolled.training.loop._SAVE_MINUTES", 0.0)
    steps = [event.step for event in of(Saved, train(make(steps=4, validations=1)))]
    assert steps == [0, 1, 2, 3, 4]


def test_samples_come_at_growing_intervals_or_as_often_as_said(make: Make) -> None:
    growing = [event.step for event in of(SampleDue, train(make("a", steps=256, sample_every=None, validations=1)))]
    assert growing == [0, 2, 4, 8, 16, 32, 64, 128, 256]
    assert [event.step for event in of(SampleDue, train(make("b", steps=7, sample_every=3)))] == [0, 3, 6]
    assert of(SampleDue, train(make("c", steps=7, sample_every=0))) == []


def test_metrics_say_what_the_events_say(make: Make) -> None:
    trainer = make(steps=6, validations=2)
    stepped = of(Stepped, train(trainer))
    found = [record for record in read_metrics(trainer.run) if "loss" in record]
    assert [{k: v for k, v in record.items() if k != "minutes"} for record in found] == [
        dataclasses.asdict(event) for event in stepped
    ]
    assert [event.step for event in stepped] == [1, 2, 3, 4, 5, 6]
    assert stepped[-1].progress == 1
    assert stepped[-1].seconds_left == 0
    smoothed = math.log(trainer.model.vocabulary_size)  # type: ignore[arg-type]
    for event in stepped:
        smoothed = 0.95 * smoothed + 0.05 * event.loss
        assert event.smoothed == pytest.approx(smoothed)


def test_metrics_of_a_long_run_are_few(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unrolled.training.loop._LINES", 20)
    trainer = make(steps=50, validations=1, length=1, batch=1)
    train(trainer)
    assert len([record for record in read_metrics(trainer.run) if "loss" in record]) == 21  # step 1 besides


def test_a_budget_of_minutes_ends(make: Make) -> None:
    trainer = make(steps=None, minutes=0.002)
    events = of(Stepped, train(trainer))
    assert trainer.minutes >= 0.002
    assert events[-1].progress == 1
    assert all(event.progress < 1 for event in events[:-1])


# ---- the arithmetic of an update


def gradient_of(trainer: Trainer, batches: int) -> list[torch.Tensor]:
    """The mean of the gradients of some first batches, each a mean over its targets, state carried over."""
    task, position, state = trainer.task, trainer.task.start(), {}
    total = [torch.zeros_like(p) for p in trainer.model.parameters()]
    for _ in range(batches):
        found = task.loss(position, state)
        gradients = torch.autograd.grad(found.total / found.targets, list(trainer.model.parameters()))
        total = [a + g / batches for a, g in zip(total, gradients, strict=True)]
        position, state = found.next, found.state
    return total


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_accumulated_gradients_are_their_mean(make: Make, batches: int) -> None:
    options = {"dropout": 0.0, "optimizer": "sgd", "momentum": 0.0, "clip_norm": 0.0, "weight_decay": 0.0}
    trainer = make(**options, accumulate=batches, precision="float64", schedule="constant", learning_rate=0.7)
    before, gradients = weights(trainer), gradient_of(trainer, batches)
    update = trainer.update()
    names = [name for name, _ in trainer.model.named_parameters()]
    for name, gradient in zip(names, gradients, strict=True):
        torch.testing.assert_close(weights(trainer)[name], before[name] - 0.7 * gradient)
    assert update.targets == batches * 3 * 8
    assert update.norm == pytest.approx(math.sqrt(sum(float((g * g).sum()) for g in gradients)))


def test_two_accumulated_batches_are_one_of_twice_the_streams(make: Make) -> None:
    """Where the streams have nothing to do with each other: two documents, one a stream or one after the other."""
    options = {"dropout": 0.0, "precision": "float64", "shift": False, "documents": "reset", "reduction": "sum"}
    together = make("together", **options, batch=2, length=333, text=667)
    apart = make("apart", **options, batch=1, accumulate=2, length=333, text=667)
    one, other = together.update(), apart.update()
    assert one.targets == other.targets == 2 * 333 - 1
    assert one.norm == pytest.approx(other.norm, rel=1e-12)
    for name, value in weights(together).items():
        torch.testing.assert_close(value, weights(apart)[name], rtol=1e-10, atol=1e-12)


def test_the_sum_over_time_is_the_mean_times_the_length(make: Make) -> None:
    """`reduction`: sum over the steps, mean over the streams."""
    options = {"dropout": 0.0, "optimizer": "sgd", "momentum": 0.0, "clip_norm": 0.0, "precision": "float64"}
    summed, mean = make("sum", **options, reduction="sum"), make("mean", **options)
    one, other = summed.update(), mean.update()
    assert one.norm == pytest.approx(8 * other.norm)
    assert one.loss == pytest.approx(other.loss)  # shown as nats a target all the same


def test_targets_that_do_not_count_leave_the_mean_alone(make: Make) -> None:
    trainer = make(documents="reset", dropout=0.0, precision="float64", shift=False, length=120, batch=3, steps=1)
    found = trainer.task.loss(trainer.task.start(), {})
    assert found.targets == 3 * 120 - 1  # one document begins inside a stream, another with one
    assert trainer.update().targets == found.targets


def test_clipping_is_by_value_first_and_then_by_norm(make: Make) -> None:
    options = {"dropout": 0.0, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "precision": "float64"}
    trainer = make(**options, schedule="constant", learning_rate=1.0, clip_value=0.01, clip_norm=0.02)
    gradients = [gradient.clamp(-0.01, 0.01) for gradient in gradient_of(trainer, 1)]
    length = math.sqrt(sum(float((g * g).sum()) for g in gradients))
    assert length > 0.02
    before = weights(trainer)
    assert trainer.update().norm == pytest.approx(length)
    for (name, _), gradient in zip(trainer.model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(weights(trainer)[name], before[name] - gradient * 0.02 / length)


def test_looking_at_a_model_does_not_change_its_training(make: Make) -> None:
    """Validating, sampling and saving often, or hardly ever: the same bits."""
    seldom = make("seldom", validations=1)
    train(seldom)
    often = make("often", validations=20, sample_every=1, checkpoint_every=1)

    def look(event: Event) -> None:
        if isinstance(event, SampleDue):
            torch.rand(7)  # whatever a listener draws
            often.task.validate()

    train(often, look)
    assert_same(seldom, often)


def test_another_seed_is_another_training(make: Make) -> None:
    one, other, third = make("one", seed=1), make("two", seed=2), make("three", seed=1)
    for trainer in (one, other, third):
        train(trainer)
    assert_same(one, third)
    assert any(not torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


def test_the_generators_of_others_are_left_alone(make: Make) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    train(make(steps=3))
    assert torch.equal(torch.rand(3), expected)


# ---- going on


def interrupted(trainer: Trainer, at: int) -> None:
    """Train, ask to stop at a step, and be stopped."""

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == at:
            trainer.interrupt()

    with pytest.raises(Interrupted) as stopped:
        train(trainer, stop)
    assert stopped.value.exit_status == 130
    assert f"stopped after step {at}" in stopped.value.problem
    assert load(trainer.run).step == at


def untimed(trainer: Trainer) -> list[dict[str, Any]]:
    timing = {"minutes", "targets_per_second", "seconds_left"}
    return [{k: v for k, v in record.items() if k not in timing} for record in read_metrics(trainer.run)]


NUMBERS = itertools.count()  # each example has runs of its own
VARIANTS = st.fixed_dictionaries(
    {
        "cell": st.sampled_from(["lstm", "gru", "rnn", "lstm-peephole"]),
        "optimizer": st.sampled_from(["adamw", "sgd", "adagrad", "adagrad-inside"]),
        "documents": st.sampled_from(["carry", "reset"]),
        "accumulate": st.sampled_from([1, 2]),
        "patience": st.sampled_from([0, 6]),
        "precision": st.sampled_from(["float32", "bfloat16", "float64"]),
        "length": st.sampled_from([1, 7, 40]),
    }
)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(variant=VARIANTS, stops=st.sets(st.integers(1, 19), min_size=1, max_size=3))
def test_interrupted_anywhere_and_resumed_it_ends_with_the_same_bits(
    make: Make, variant: dict[str, Any], stops: set[int]
) -> None:
    run = next(NUMBERS)
    whole = make(f"{run}-whole", **variant)
    train(whole)
    for stop in sorted(stops):
        trainer = make(f"{run}", **variant)
        if trainer.run.pointer("last") is not None:
            assert trainer.restore(load(trainer.run)) == []
        if trainer.step < stop < whole.step:
            interrupted(trainer, stop)
    trainer = make(f"{run}", **variant)
    if trainer.run.pointer("last") is not None:
        trainer.restore(load(trainer.run))
    train(trainer)
    assert_same(whole, trainer)
    assert untimed(trainer) == untimed(whole)
    assert trainer.smoothed == whole.smoothed
    for name in ("model.safetensors", "training.safetensors"):
        contents = [(t.run.checkpoint(f"{t.step:09d}") / name).read_bytes() for t in (whole, trainer)]
        assert contents[0] == contents[1], name


def test_asked_to_stop_at_the_last_step_it_just_ends(make: Make) -> None:
    trainer = make(steps=3)
    train(trainer, lambda event: trainer.interrupt() if event.step == 3 else None)
    assert load(trainer.run).step == 3


def test_a_finished_run_has_nothing_left_to_do(make: Make) -> None:
    trainer = make(steps=3)
    train(trainer)
    again = make(steps=3)
    again.restore(load(again.run))
    assert train(again) == []


def test_a_checkpoint_of_another_network_is_refused(make: Make) -> None:
    train(make(steps=1))
    other = make(steps=1, cell="gru")
    with pytest.raises(RunError, match="the weights are of another network"):
        other.restore(load(other.run))


def test_a_log_that_lost_its_tail_is_noted(make: Make) -> None:
    trainer = make(steps=4)
    train(trainer)
    (trainer.run.path / "metrics.jsonl").write_text("")
    again = make(steps=6)
    (note,) = again.restore(load(again.run))
    assert "its tail is lost, the run goes on" in note


# ---- divergence


def diverges(trainer: Trainer) -> tuple[DivergenceError, list[Event]]:
    events: list[Event] = []
    with pytest.raises(DivergenceError) as caught:
        train(trainer, events.append)
    return caught.value, events


def test_a_rate_that_is_far_too_high_ends_with_an_error(make: Make) -> None:
    trainer = make(optimizer="sgd", learning_rate=1e30, clip_norm=0.0, schedule="constant", checkpoint_every=1)
    error, events = diverges(trainer)
    assert f"training diverged at step {trainer.step}" in error.problem or str(trainer.step + 1) in error.problem
    assert "--learning-rate" in (error.fix or "")
    checkpoint = load(trainer.run)
    assert checkpoint.step == of(Saved, events)[-1].step
    assert all(bool(value.isfinite().all()) for value in checkpoint.model.values())


class Spoilt:
    """A task whose loss is no number from some batch on."""

    def __init__(self, task: LanguageModelTask, good: int, validation: float | None = None) -> None:
        self._task, self._good, self._validation = task, good, validation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def loss(self, position: dict[str, Any], state: dict[str, torch.Tensor]) -> Any:
        found = self._task.loss(position, state)
        if position["chunk"] < self._good:
            return found
        return dataclasses.replace(found, total=found.total * math.nan)

    def validate(self) -> Validation | None:
        return self._task.validate() if self._validation is None else Validation(self._validation)


def test_the_step_that_diverged_is_named_and_the_weights_stay_as_they_were(make: Make) -> None:
    trainer = make(batch=1, validations=1)
    trainer.task = Spoilt(trainer.task, good=4)  # type: ignore[arg-type]
    for _ in range(4):
        trainer.update()
    before = weights(trainer)
    with pytest.raises(DivergenceError, match="training diverged at step 5: the loss is not a finite number") as caught:
        trainer.update()
    assert caught.value.exit_status == 1
    assert "learning rate" in (caught.value.got or "")
    assert all(torch.equal(value, weights(trainer)[name]) for name, value in before.items())


def test_what_cannot_be_gone_on_from_takes_the_place_of_no_checkpoint(make: Make) -> None:
    trainer = make(batch=1, checkpoint_every=1)
    trainer.task = Spoilt(trainer.task, good=4)  # type: ignore[arg-type]
    error, events = diverges(trainer)
    assert "training diverged at step 4" in error.problem
    assert [event.step for event in of(Saved, events)] == [0, 1, 2, 3]
    assert load(trainer.run).step == 3


def test_a_validation_loss_that_is_not_finite_is_divergence(make: Make) -> None:
    trainer = make(validations=20)
    trainer.task = Spoilt(trainer.task, good=10**9, validation=math.inf)  # type: ignore[arg-type]
    error, _ = diverges(trainer)
    assert error.problem == "training diverged at step 1: the validation loss is not a finite number"
    assert load(trainer.run).step == 0


def test_choices_are_made_before_training(make: Make) -> None:
    for options in ({"learning_rate": None}, {"precision": "auto"}):
        with pytest.raises(ValueError, match="chosen before training"):
            make(**options)


def test_the_training_state_in_a_checkpoint_is_plain(make: Make) -> None:
    trainer = make(steps=3)
    train(trainer)
    state = json.loads((trainer.run.checkpoint(f"{3:09d}") / "training.json").read_text())
    assert {"step", "epoch", "minutes", "position", "smoothed", "best", "best_score", "without_better"} == state.keys()
    names = load(trainer.run).training.keys()
    assert {name for name in names if name.startswith("carried/")} == {
        f"carried/layers.{layer}.{state}" for layer in range(2) for state in "hc"
    }
    assert "0/exp_avg" in names
