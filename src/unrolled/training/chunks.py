"""How many updates are made before training looks up: at the clock, at who listens, at what is due."""

from __future__ import annotations

import math

from unrolled.training.budget import Budget

__all__ = ["Chunks"]

_SECONDS = 0.05  # so that a bar moves, and Ctrl-C is answered at once
_PARTS = 500  # of a budget in minutes, which ends between two looks at the clock
_LONGEST = 4096  # updates, whose batches lie in memory together


class Chunks:
    """Lengths of chunks of updates: none goes beyond a step at which something is due.

    Args:
        budget: of the training.
        shares: of the budget at which something is due.
    """

    def __init__(self, budget: Budget, shares: list[float]) -> None:
        self._steps = [] if budget.steps is None else sorted({_first(share, budget.steps) for share in shares})
        self._seconds = _SECONDS if budget.minutes is None else min(_SECONDS, 60 * budget.minutes / _PARTS)
        self._wanted = 1.0

    def length(self, step: int, *every: int) -> int:
        """How many updates from a step on: no further than to the next due step, or the next multiple of `every`."""
        ends = [due for due in self._steps if due > step][:1] + [(step // k + 1) * k for k in every if k]
        # The first step is shown alone: what training starts from.
        return min([end - step for end in ends] + [max(1, int(self._wanted)), _LONGEST, *([1] if step == 0 else [])])

    def lasted(self, updates: int, minutes: float) -> None:
        """Learn from how long a chunk took; a single slow one does not say that all are."""
        wanted = self._seconds * updates / max(60 * minutes, 1e-9)
        self._wanted = max(1.0, min(wanted, 4 * updates))


def _first(share: float, steps: int) -> int:
    """The first step at which so much of a budget is spent."""
    step = max(0, math.floor(share * steps) - 1)
    while step / steps < share:
        step += 1
    return step
