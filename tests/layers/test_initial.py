"""How parameters start."""

from __future__ import annotations

import math

import pytest
import torch

from unrolled.cells import U, W, b, cell, find_cell, p, tanh
from unrolled.layers import initialise
from unrolled.layers.initial import starting_value


def test_what_a_cell_says_comes_before_its_family_and_its_kind() -> None:
    @cell(init={"U": "uniform", "U.b": "zeros", "b": 0.5})
    def one(x, h):
        return tanh(W.a @ x + U.a @ h + U.b @ h + b.a + p.a * h)

    assert {name: starting_value(one, name) for name in one.parameters} == {
        "W.a": "glorot",
        "U.a": "uniform",
        "U.b": "zeros",
        "b.a": 0.5,
        "p.a": 0.0,
    }
    assert starting_value(find_cell("rnn"), "U.h") == "orthogonal"


def start(how: float | str, *shape: int) -> torch.Tensor:
    tensor = torch.full(shape, torch.nan)
    initialise(tensor, how, torch.Generator().manual_seed(1))
    return tensor


def test_initialisers() -> None:
    assert torch.equal(start(0.25, 3), torch.full((3,), 0.25))
    assert torch.equal(start("zeros", 3, 2), torch.zeros(3, 2))
    glorot, uniform = start("glorot", 60, 40), start("uniform", 60, 40)
    assert 0.95 * math.sqrt(6 / 100) < float(glorot.abs().max()) <= math.sqrt(6 / 100)
    assert 0.95 / math.sqrt(60) < float(uniform.abs().max()) <= 1 / math.sqrt(60)
    torch.testing.assert_close(start("orthogonal", 5, 5) @ start("orthogonal", 5, 5).T, torch.eye(5), atol=1e-5, rtol=0)


def test_initialisers_with_bounds() -> None:
    between, angles = start("between(-1, 3)", 500), start("log-between(0, 2)", 500)
    assert -1 <= float(between.min()) < -0.95
    assert 2.95 < float(between.max()) <= 3
    assert 0.95 < float(angles.exp().mean()) < 1.05
    assert torch.isfinite(angles).all()
    assert angles.exp().max() <= 2
    part = start("complex", 60, 400)
    assert float(part.square().mean()) == pytest.approx(1 / 800, rel=0.05)
    ring, scale = start("ring(0.5, 1)", 4), start("ring-scale(0.5, 1)", 4)
    radii = torch.sqrt(torch.tensor([0.25 + 0.75 * share for share in (0.125, 0.375, 0.625, 0.875)]))
    torch.testing.assert_close(torch.exp(-torch.exp(ring)), radii)
    torch.testing.assert_close(torch.exp(scale), torch.sqrt(1 - radii**2))
    assert torch.equal(start("ring(0.5, 1)", 4, 3), ring.unsqueeze(1).expand(4, 3))


@pytest.mark.parametrize(
    "how",
    ["orthogonal", "glorot", "uniform", "zeros", "complex", "between(0, 1)", "ring(0, 1)", "ring-scale(0, 1)", 1.0],
)
def test_vectors_can_start_in_any_way(how: float | str) -> None:
    assert torch.isfinite(start(how, 7)).all()
    assert torch.equal(start(how, 7), start(how, 7))
