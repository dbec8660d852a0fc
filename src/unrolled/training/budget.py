"""How much training there is, how far it has come, and what follows from that: the rate, and when to look."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from unrolled.training.configuration import TrainingConfig

__all__ = ["DEFAULT_MINUTES", "Budget", "Clock", "Crossings", "Speed", "rate_at"]

DEFAULT_MINUTES = 10.0


class Clock:
    """Minutes of training: it stands still while validating, sampling and saving.

    Args:
        minutes: what earlier parts of the run spent.
    """

    def __init__(self, minutes: float = 0.0) -> None:
        self._seconds = minutes * 60
        self._since = time.perf_counter()

    @property
    def minutes(self) -> float:
        """Minutes spent so far."""
        return (self._seconds + time.perf_counter() - self._since) / 60

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what happens inside."""
        self._seconds += time.perf_counter() - self._since
        try:
            yield
        finally:
            self._since = time.perf_counter()


@dataclass(frozen=True)
class Budget:
    """A number of steps, or of minutes.

    Attributes:
        steps: updates of the weights, or None.
        minutes: minutes of training, or None.
    """

    steps: int | None = None
    minutes: float | None = None

    @classmethod
    def of(cls, config: TrainingConfig, batches_per_epoch: int) -> Budget:
        """The budget of a configuration; epochs become steps."""
        if config.steps is not None:
            return cls(steps=config.steps)
        if config.epochs is not None:
            return cls(steps=max(1, math.ceil(config.epochs * batches_per_epoch / config.accumulate)))
        return cls(minutes=DEFAULT_MINUTES if config.minutes is None else config.minutes)

    def progress(self, steps: int, minutes: float) -> float:
        """The share of the budget that is spent, from 0 to 1."""
        spent = steps / self.steps if self.steps is not None else minutes / (self.minutes or math.inf)
        return min(1.0, spent)


def rate_at(progress: float, config: TrainingConfig, epoch: float = 0.0) -> float:
    """The learning rate as a share of the highest: a linear rise over `warmup`, then half a cosine down to
    `final_rate` at the end (Loshchilov & Hutter 2017, equation 5, without restarts), or a straight line (the slanted
    triangle of Howard & Ruder 2018, equation 3); or 1 throughout; or 1 until `fall_after` passes over the text are
    complete, and `fall_factor` times what it was from there on and with each pass more."""
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "falling":
        return config.fall_factor ** max(0, math.floor(epoch) - config.fall_after + 1)
    if progress < config.warmup:
        # Not from exactly zero: the first step would be lost.
        return max(progress, 0.01 * config.warmup) / config.warmup
    fallen = (progress - config.warmup) / (1 - config.warmup)
    left = 1 - fallen if config.schedule == "slanted" else 0.5 * (1 + math.cos(math.pi * fallen))
    return config.final_rate + (1 - config.final_rate) * left


class Crossings:
    """Tells when progress has crossed the next of some shares of the budget.

    What has been crossed follows from progress alone, so that a resumed run looks at the same moments.
    """

    def __init__(self, shares: list[float], progress: float) -> None:
        self._left = [share for share in sorted(shares) if share > progress]

    def crossed(self, progress: float) -> bool:
        """Whether a share was crossed since the last call."""
        before = len(self._left)
        self._left = [share for share in self._left if share > progress]
        return len(self._left) < before


class Speed:
    """Targets a second over the last steps, and how long the rest will take."""

    def __init__(self, budget: Budget, step: int, minutes: float) -> None:
        self._budget = budget
        self._past: deque[tuple[int, float, int]] = deque([(step, minutes, 0)], maxlen=50)

    def after(self, step: int, targets: int, minutes: float) -> tuple[float, float]:
        """Targets a second, and seconds left, after a step that ended at so many minutes of training."""
        self._past.append((step, minutes, self._past[-1][2] + targets))
        first = self._past[0]
        seconds = max(60 * (minutes - first[1]), 1e-9)
        if self._budget.minutes is not None:
            left = max(0.0, 60 * (self._budget.minutes - minutes))
        else:
            left = ((self._budget.steps or step) - step) * seconds / max(step - first[0], 1)
        return (self._past[-1][2] - first[2]) / seconds, left
