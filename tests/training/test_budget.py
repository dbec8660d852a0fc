from __future__ import annotations

import contextlib
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.training import budget
from unrolled.training.budget import Budget, Clock, Crossings, rate_at
from unrolled.training.configuration import TrainingConfig

SHARES = st.lists(st.floats(0, 1), max_size=8)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (TrainingConfig(steps=7), Budget(steps=7)),
        (TrainingConfig(steps=7, accumulate=3), Budget(steps=7)),
        (TrainingConfig(epochs=2), Budget(steps=20)),
        (TrainingConfig(epochs=0.25), Budget(steps=3)),
        (TrainingConfig(epochs=2, accumulate=3), Budget(steps=7)),
        (TrainingConfig(epochs=0.001), Budget(steps=1)),
        (TrainingConfig(minutes=2.5), Budget(minutes=2.5)),
        (TrainingConfig(), Budget(minutes=10.0)),
    ],
)
def test_a_budget_is_in_steps_or_minutes(config: TrainingConfig, expected: Budget) -> None:
    assert Budget.of(config, batches_per_epoch=10) == expected


def test_progress_is_the_share_that_is_spent() -> None:
    assert [Budget(steps=4).progress(steps, 99.0) for steps in (0, 1, 4, 5)] == [0, 0.25, 1, 1]
    assert [Budget(minutes=2.0).progress(99, minutes) for minutes in (0, 0.5, 2, 3)] == [0, 0.25, 1, 1]


@given(st.floats(0, 1), st.floats(0, 0.99), st.floats(0, 1), st.sampled_from(["cosine", "slanted", "constant"]))
def test_the_rate_rises_and_then_falls_along_a_cosine_or_a_line(
    progress: float, warmup: float, final: float, schedule: str
) -> None:
    config = TrainingConfig(warmup=warmup, final_rate=final, schedule=schedule)  # type: ignore[arg-type]
    rate = rate_at(progress, config)
    if schedule == "constant":
        assert rate == 1
    elif progress < warmup:
        assert rate == pytest.approx(max(progress / warmup, 0.01))
    elif schedule == "slanted":
        assert rate == pytest.approx(1 + (final - 1) * (progress - warmup) / (1 - warmup))
    else:
        angle = math.pi * (progress - warmup) / (1 - warmup)
        assert rate == pytest.approx(final + (1 - final) * (1 + math.cos(angle)) / 2)
    assert rate > 0 or final == 0


def test_the_rate_is_pytorchs_cosine() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40, eta_min=0.5 * 0.1)
    config = TrainingConfig(warmup=0.0, final_rate=0.1)
    for step in range(40):
        assert 0.5 * rate_at(step / 40, config) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


def test_the_ends_of_the_schedule() -> None:
    config = TrainingConfig(warmup=0.1, final_rate=0.02)
    assert rate_at(0.0, config) == pytest.approx(0.01)  # not zero: the first step would be lost
    assert rate_at(0.1, config) == 1
    assert rate_at(1.0, config) == pytest.approx(0.02)
    assert rate_at(0.0, TrainingConfig(warmup=0.0)) == 1


@given(SHARES, st.lists(st.floats(0, 1), max_size=8))
def test_each_share_is_crossed_once_however_progress_comes(shares: list[float], stops: list[float]) -> None:
    crossings, stops = Crossings(shares, 0.0), sorted(stops)
    for before, after in pairwise([0.0, *stops]):
        assert crossings.crossed(after) == any(before < share <= after for share in shares)


@given(SHARES, st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_resumed_anywhere_the_same_shares_are_crossed(
    shares: list[float], stops: list[float], data: st.DataObject
) -> None:
    stops = sorted(stops)
    at = data.draw(st.integers(0, len(stops) - 1))
    whole, later = Crossings(shares, 0.0), Crossings(shares, stops[at])
    crossed = [whole.crossed(stop) for stop in stops]
    assert [later.crossed(stop) for stop in stops[at + 1 :]] == crossed[at + 1 :]


@pytest.mark.parametrize("steps", [1, 7, 10, 60, 1001])
def test_validations_fall_on_tenths_and_on_the_end(steps: int) -> None:
    crossings = Crossings([(k + 1) / 10 for k in range(10)], 0.0)
    found = [step for step in range(1, steps + 1) if crossings.crossed(step / steps)]
    assert found == sorted({math.ceil(steps * k / 10) for k in range(1, 11)})


def test_a_clock_stands_still_while_it_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(budget.time, "perf_counter", lambda: now[0])
    clock = Clock(minutes=2.0)
    now[0] += 30
    assert clock.minutes == 2.5
    with clock.paused():
        now[0] += 600
    now[0] += 30
    assert clock.minutes == 3.0


def test_a_clock_goes_on_after_an_error_in_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(budget.time, "perf_counter", lambda: now[0])
    clock = Clock()
    with contextlib.suppress(ValueError), clock.paused():
        now[0] += 600
        raise ValueError
    now[0] += 60
    assert clock.minutes == 1.0
