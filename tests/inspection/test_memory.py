"""A network that can remember learns a test, one that cannot does not; the same seed gives the same figures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from unrolled.cells import BUILTIN, find_cell
from unrolled.data.memory import Adding, MemoryBatch, MemoryTest, Plan, find_memory_test
from unrolled.errors import ConfigurationError
from unrolled.inspection.memory import MemorySetting, measure_memory, measure_shortcut
from unrolled.tasks.memory import MemoryNet, WindowNet, count_right, memory_loss

QUICK = MemorySetting(hidden_size=16, layers=1, batch=32, learning_rate=0.01, steps=60, test_sequences=120, window=3)


class First(MemoryTest):
    """The first of so many symbols."""

    name, about, counts, about_shortcut = "first", "the first symbol", "symbols after it", "the last symbol"
    symbols = outcomes = 3

    def batch(self, source: np.random.Generator, count: int, distance: int) -> MemoryBatch:
        x = source.integers(0, 3, (count, distance + 1))
        return MemoryBatch(x, x[:, :1], np.array([distance]), distance, x[:, -1:])


PLAN = Plan((1, 2, 4), (1, 3, 4))


def test_a_cell_with_memory_learns_and_a_window_learns_what_it_sees() -> None:
    lstm = measure_memory(First(), PLAN, find_cell("gru"), replace(QUICK, steps=150))
    window = measure_memory(First(), PLAN, None, replace(QUICK, steps=150, window=2))
    assert [point.distance for point in lstm.points] == [1, 3, 4]
    assert lstm.points[0].accuracy > 0.95
    assert lstm.points[-1].accuracy > 0.9
    assert window.contestant == "window 2"
    assert window.points[-1].accuracy < 0.5  # the first of five symbols is not among the last two
    assert lstm.points[0].loss < window.points[-1].loss


def test_the_same_seed_gives_the_same_figures() -> None:
    one, same, other = (measure_memory(First(), PLAN, find_cell("rnn"), QUICK, seed) for seed in (1, 1, 2))
    assert one.points == same.points
    assert (one.loss, one.steps) == (same.loss, 60)
    assert one.loss != other.loss


def test_the_shortcut_is_measured() -> None:
    points = measure_shortcut(First(), PLAN, replace(QUICK, test_sequences=3000))
    assert [point.accuracy for point in points] == pytest.approx([1 / 3] * 3, abs=0.03)
    (point,) = measure_shortcut(Adding(), Plan((4,), (4,)), replace(QUICK, test_sequences=3000))
    assert point.loss == pytest.approx(1 / 12, abs=0.01)


@pytest.mark.parametrize("name", ["rnn", "lstm", "mingru", "lru", "indrnn", "sru"])
@pytest.mark.parametrize("test", ["adding", "copying"])
def test_every_cell_answers_at_the_places_that_are_asked_for(name: str, test: str) -> None:
    assert name in BUILTIN
    given = find_memory_test(test)
    batch = given.batch(np.random.default_rng(0), 3, 5)
    x, places = torch.from_numpy(batch.x), torch.from_numpy(batch.places)
    net = MemoryNet(given, find_cell(name), 8, 2)
    answers = net(x, places)
    assert answers.shape == (3, len(batch.places), max(given.outcomes, 1))
    # What comes after a place does not change the answer there.
    last = int(places[0])
    assert torch.allclose(net(x[:, : last + 1], places[:1]), answers[:, :1], atol=1e-5)


@pytest.mark.parametrize(("width", "length"), [(1, 1), (4, 2), (3, 9)])
def test_a_window_sees_its_steps_and_no_others(width: int, length: int) -> None:
    net, x = WindowNet(First(), 8, width), torch.randint(0, 3, (1, length))
    places = torch.tensor([length - 1])
    x.requires_grad_(False)
    read = net.reading(x).detach().requires_grad_()
    net.reading.forward = lambda _: read  # type: ignore[method-assign]
    net(x, places).sum().backward()
    assert read.grad is not None
    touched = read.grad.abs().sum((0, 2)) > 0
    assert touched.tolist() == [at >= length - width for at in range(length)]


def test_losses_and_right_answers() -> None:
    test, adding = First(), Adding()
    batch = MemoryBatch(np.zeros((2, 1)), np.array([[0], [2]]), np.array([0]), 0, np.zeros((2, 1)))
    answers = torch.tensor([[[2.0, 0, 0]], [[2.0, 0, 0]]])
    assert count_right(test, answers, batch) == 1
    p = math.exp(2) / (math.exp(2) + 2)
    expected = -(math.log(p) + math.log((1 - p) / 2)) / 2
    assert float(memory_loss(test, answers, torch.from_numpy(batch.y))) == pytest.approx(expected)
    numbers = replace_y(batch, np.array([[1.0], [0.5]], np.float32))
    answers = torch.tensor([[[1.07]], [[0.59]]])
    assert count_right(adding, answers, numbers) == 1
    found = memory_loss(adding, answers, torch.from_numpy(numbers.y))
    assert float(found) == pytest.approx((0.07**2 + 0.09**2) / 2, rel=1e-4)


def replace_y(batch: MemoryBatch, y: np.ndarray) -> MemoryBatch:
    return MemoryBatch(batch.x, y, batch.places, batch.distance, batch.shortcut)


def test_training_that_diverges_is_said_and_ends_nothing_else() -> None:
    class Infinite(First):
        outcomes = 0

        def batch(self, source: np.random.Generator, count: int, distance: int) -> MemoryBatch:
            given = super().batch(source, count, distance)
            return replace_y(given, np.full((count, 1), np.inf, np.float32))

    curve = measure_memory(Infinite(), PLAN, find_cell("rnn"), QUICK)
    assert curve.diverged
    assert curve.steps == 0
    assert all(math.isnan(point.accuracy) for point in curve.points)


@pytest.mark.parametrize("wrong", [{"hidden_size": 0}, {"window": -1}, {"learning_rate": 0.0}, {"test_sequences": 0}])
def test_settings_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        MemorySetting(**wrong)  # type: ignore[arg-type]
