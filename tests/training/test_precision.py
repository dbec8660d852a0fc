from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unrolled.training import precision
from unrolled.training.precision import Way, measure


class Timed:
    """A task whose batch takes as long as it is told, by precision, on a clock of its own."""

    def __init__(self, **seconds: float) -> None:
        self.model = torch.nn.Linear(2, 2)
        self.seconds, self.now, self.calls = seconds, 0.0, 0

    def start(self) -> dict[str, Any]:
        return {}

    def loss(self, position: dict[str, Any], state: dict[str, torch.Tensor]) -> Any:
        name = "bfloat16" if torch.is_autocast_enabled("cpu") else "float32"
        self.calls += 1
        # The first round is slow for other reasons.
        self.now += self.seconds[name] + (100.0 if self.calls == 1 else 0.0)
        total = self.model(torch.rand(3, 2)).float().sum()
        return SimpleNamespace(total=total)


@pytest.mark.parametrize(
    ("float32", "bfloat16", "expected"), [(1.0, 0.5, "bfloat16"), (1.0, 0.97, "float32"), (1.0, 3.0, "float32")]
)
def test_bfloat16_has_to_be_worth_it(
    float32: float, bfloat16: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Timed(float32=float32, bfloat16=bfloat16)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: task.now)
    used: list[str | None] = []
    ways = [Way("float32", "staged"), Way("bfloat16", "staged")]
    found, seconds = measure(task, ways, used.append)  # type: ignore[arg-type]
    assert found == Way(expected, "staged")  # type: ignore[arg-type]
    assert seconds == pytest.approx({"float32 staged": float32, "bfloat16 staged": bfloat16})
    assert used[-1] == "staged"


def test_one_way_needs_no_measurement() -> None:
    task = Timed(float32=1.0)
    assert measure(task, [Way("float32", "cpu")], lambda kernel: None) == (Way("float32", "cpu"), {})  # type: ignore[arg-type]
    assert task.calls == 0


def test_measuring_leaves_no_trace() -> None:
    task = Timed(float32=1.0, bfloat16=1.0)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    measure(task, [Way("float32", "cpu"), Way("bfloat16", "staged")], lambda kernel: None)  # type: ignore[arg-type]
    assert torch.equal(torch.rand(2), expected)
    assert all(parameter.grad is None for parameter in task.model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
