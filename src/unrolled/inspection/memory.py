"""How far a cell remembers: it is trained on a test of memory, and tested at distances that it was not trained on.

Every contestant of a test gets the same sequences in the same order, the same optimiser and the same budget, and is
tested on the same sequences. Beside them stand guessing, what is nearest instead of what is asked for, and a
feed-forward network of the last steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from unrolled.cells import Equations
from unrolled.data.memory import MemoryBatch, MemoryTest, Plan
from unrolled.errors import ConfigurationError
from unrolled.tasks.memory import MemoryNet, WindowNet, count_right, memory_loss
from unrolled.training.budget import Budget, Clock, rate_at
from unrolled.training.configuration import TrainingConfig
from unrolled.training.events import Stepped
from unrolled.training.loop import seeded
from unrolled.training.optimizers import build_optimizer, clip_norm

__all__ = ["MemoryCurve", "MemoryReport", "MemorySetting", "TestedDistance", "measure_memory", "measure_shortcut"]

_Floats = npt.NDArray[np.float64]

_TEST_SEED = 1_000_003  # test sequences are of another stream than any of training
_CHUNK = 50


@dataclass(frozen=True)
class MemorySetting:
    """How contestants are trained and tested.

    Attributes:
        hidden_size: units of a layer.
        layers: of the cell.
        batch: sequences of an update.
        learning_rate: the highest; it rises over the first 5% of the budget and falls along a cosine.
        steps: updates, or None.
        minutes: of training, or None.
        test_sequences: at each distance.
        window: steps that the feed-forward opponent sees; 0: there is none.
        device: where.
    """

    hidden_size: int = 96
    layers: int = 2
    batch: int = 64
    learning_rate: float = 0.003
    steps: int | None = None
    minutes: float | None = None
    test_sequences: int = 500
    window: int = 32
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("hidden_size", "layers", "batch", "test_sequences"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is out of range", expected="at least 1", got=str(getattr(self, name)))
        if self.window < 0:
            raise ConfigurationError("a window is a number of steps", expected="at least 0", got=str(self.window))
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigurationError("learning_rate is out of range", expected="above 0", got=str(self.learning_rate))

    def training(self, seed: int) -> TrainingConfig:
        """The same as the training of a run would say it; checked."""
        return TrainingConfig(
            minutes=self.minutes,
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            clip_norm=1.0,
            seed=seed,
        )


@dataclass(frozen=True)
class TestedDistance:
    """A contestant at one distance.

    Attributes:
        distance: as the test counts it.
        accuracy: the share of answers that are right; not a number where training diverged.
        loss: nats an answer, or the mean squared error where answers are numbers.
    """

    distance: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class MemoryCurve:
    """A contestant in a test.

    Attributes:
        test: the name of the test.
        contestant: the name of the cell, or "window 32".
        seed: of weights and sequences of training.
        parameters: how many.
        steps: updates that the budget was enough for.
        minutes: of training, without compiling and testing.
        loss: of training, a mean over the last updates.
        points: one for each distance that was tested.
        diverged: training ended because the loss was no longer a finite number.
    """

    test: str
    contestant: str
    seed: int
    parameters: int
    steps: int
    minutes: float
    loss: float
    points: tuple[TestedDistance, ...]
    diverged: bool = False


@dataclass(frozen=True)
class MemoryReport:
    """All that took part in a test.

    Attributes:
        test: its name.
        about: what is asked.
        counts: what distance counts.
        chance: the share that is right by guessing.
        about_shortcut: who takes what.
        shortcut: that one, at each distance.
        trained: the distances of training; none where models were trained on a text of their own.
        held_out: distances tested between those of training.
        beyond: distances tested beyond those of training.
        curves: of all contestants and seeds.
    """

    test: str
    about: str
    counts: str
    chance: float
    about_shortcut: str
    shortcut: tuple[TestedDistance, ...]
    trained: tuple[int, ...]
    held_out: tuple[int, ...]
    beyond: tuple[int, ...]
    curves: tuple[MemoryCurve, ...]

    @property
    def contestants(self) -> list[str]:
        """Their names, each once, in order."""
        return list(dict.fromkeys(curve.contestant for curve in self.curves))

    @property
    def tested(self) -> list[int]:
        """The distances."""
        return [point.distance for point in self.shortcut]

    def accuracies(self, contestant: str) -> _Floats:
        """(seeds, distances) of a contestant."""
        return np.array([[p.accuracy for p in curve.points] for curve in self.curves if curve.contestant == contestant])


def measure_memory(
    test: MemoryTest,
    plan: Plan,
    contestant: Equations | None,
    setting: MemorySetting,
    seed: int = 0,
    told: Callable[[Stepped], None] | None = None,
) -> MemoryCurve:
    """Train a cell on a test, and test it at every distance.

    With a budget in steps the same seed gives the same figures on the same machine.

    Args:
        test: the test.
        plan: the distances.
        contestant: the cell; None for the feed-forward opponent.
        setting: sizes and budget.
        seed: of weights and training sequences; the test's are the same for every seed.
        told: hears of updates, a few times a second.
    """
    device = torch.device(setting.device)
    with seeded(torch.device("cpu"), seed):
        model: torch.nn.Module
        if contestant is None:
            model = WindowNet(test, setting.hidden_size, setting.window)
        else:
            model = MemoryNet(test, contestant, setting.hidden_size, setting.layers)
    model.to(device)
    steps, minutes, loss = _train(model, test, plan, setting, seed, told)
    diverged = not math.isfinite(loss)
    points = tuple(
        TestedDistance(distance, math.nan, math.nan)
        if diverged
        else _test(model, test, _tested(test, distance, setting), device)
        for distance in plan.tested
    )
    name = f"window {setting.window}" if contestant is None else contestant.name
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return MemoryCurve(test.name, name, seed, parameters, steps, minutes, loss, points, diverged)


def measure_shortcut(test: MemoryTest, plan: Plan, setting: MemorySetting) -> tuple[TestedDistance, ...]:
    """Who takes what is nearest (see `MemoryBatch.shortcut`), on the same sequences; its loss is not a number where
    answers are classes."""
    points = []
    for distance in plan.tested:
        right, squares, count = 0, 0.0, 0
        for batch in _tested(test, distance, setting):
            if test.outcomes:
                right += int((batch.shortcut == batch.y).sum())
            else:
                off = np.abs(batch.shortcut - batch.y)
                right, squares = right + int((off < test.tolerance).sum()), squares + float((off**2).sum())
            count += batch.y.size
        points.append(TestedDistance(distance, right / count, math.nan if test.outcomes else squares / count))
    return tuple(points)


def _train(
    model: torch.nn.Module,
    test: MemoryTest,
    plan: Plan,
    setting: MemorySetting,
    seed: int,
    told: Callable[[Stepped], None] | None,
) -> tuple[int, float, float]:
    """Updates, minutes and the last loss, which is not finite where training diverged."""
    config, device = setting.training(seed), next(model.parameters()).device
    budget, source = Budget.of(config, 1), np.random.default_rng(seed)
    optimizer = build_optimizer(model, config, setting.learning_rate)
    parameters = list(model.parameters())
    # What is compiled is compiled before the clock runs.
    first = test.batch(np.random.default_rng(seed), setting.batch, plan.trained[-1])
    _loss(model, test, first, device).backward()  # type: ignore[no-untyped-call]
    clock, step, shown, smoothed = Clock(), 0, time.monotonic(), math.nan
    while (progress := budget.progress(step, clock.minutes)) < 1:
        distance = plan.trained[int(source.integers(0, len(plan.trained)))]
        batch = test.batch(source, setting.batch, distance)
        optimizer.zero_grad()
        loss = _loss(model, test, batch, device)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_norm([each.grad for each in parameters if each.grad is not None], config.clip_norm)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(norm)):
            return step, clock.minutes, math.nan
        rate = setting.learning_rate * rate_at(progress, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        step += 1
        smoothed = value if step == 1 else config.smoothing * smoothed + (1 - config.smoothing) * value
        if told is not None and time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            spent = clock.minutes
            progress = budget.progress(step, spent)
            left = 60 * spent * (1 - progress) / max(progress, 1e-9)
            speed = step * setting.batch * len(batch.places) / max(60 * spent, 1e-9)
            told(Stepped(step, 0.0, progress, value, smoothed, norm, rate, speed, left))
    return step, clock.minutes, smoothed


def _loss(model: torch.nn.Module, test: MemoryTest, batch: MemoryBatch, device: torch.device) -> torch.Tensor:
    return memory_loss(test, _answers(model, batch, device), torch.from_numpy(batch.y).to(device))


def _answers(model: torch.nn.Module, batch: MemoryBatch, device: torch.device) -> torch.Tensor:
    found: torch.Tensor = model(torch.from_numpy(batch.x).to(device), torch.from_numpy(batch.places).to(device))
    return found


def _tested(test: MemoryTest, distance: int, setting: MemorySetting) -> Iterator[MemoryBatch]:
    """The test sequences of a distance, which are the same whoever is tested."""
    source = np.random.default_rng((_TEST_SEED, distance))
    left = setting.test_sequences
    while left > 0:
        yield test.batch(source, min(left, _CHUNK), distance)
        left -= _CHUNK


@torch.no_grad()
def _test(
    model: torch.nn.Module, test: MemoryTest, batches: Iterator[MemoryBatch], device: torch.device
) -> TestedDistance:
    model.eval()
    right, total, count, distance = 0, 0.0, 0, 0
    for batch in batches:
        answers = _answers(model, batch, device)
        right += count_right(test, answers, batch)
        total += float(memory_loss(test, answers, torch.from_numpy(batch.y).to(device))) * batch.y.size
        count, distance = count + batch.y.size, batch.distance
    return TestedDistance(distance, right / count, total / count)
