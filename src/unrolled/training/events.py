"""What training tells whoever listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Event", "SampleDue", "Saved", "Stepped", "Validated"]


@dataclass(frozen=True)
class Stepped:
    """An update was made.

    Attributes:
        step: updates so far.
        epoch: passes over the training data so far.
        progress: share of the budget that is spent.
        loss: of this step, nats a target.
        smoothed: an exponential mean of it.
        norm: length of the gradient before clipping.
        rate: the learning rate.
        targets_per_second: over the last steps.
        seconds_left: estimated, of training.
    """

    step: int
    epoch: float
    progress: float
    loss: float
    smoothed: float
    norm: float
    rate: float
    targets_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Validated:
    """The validation part was read.

    Attributes:
        step: updates so far.
        loss: nats a target.
        best: whether it is the best so far.
        score: what that is decided by, where it is not the loss.
        measure: what the score is called.
    """

    step: int
    loss: float
    best: bool
    score: float | None = None
    measure: str = ""


@dataclass(frozen=True)
class SampleDue:
    """It is time to show what the model has learnt; the clock stands still meanwhile, and where weights are averaged
    the model has the average."""

    step: int


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written."""

    step: int
    path: Path


Event = Stepped | Validated | SampleDue | Saved
