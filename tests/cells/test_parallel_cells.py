"""The cells without a recurrent product, against the recurrences of their papers written down in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.kernels import unroll
from unrolled.kernels.staged import Stepping

Arrays = dict[str, np.ndarray]
Sequence = tuple[np.ndarray, list[np.ndarray]]


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def g(value: np.ndarray) -> np.ndarray:
    return np.where(value >= 0, value + 0.5, sigmoid(value))


def over_time(
    x: np.ndarray, state: list[np.ndarray], step: Callable[..., tuple[np.ndarray, list[np.ndarray]]]
) -> Sequence:
    outputs = []
    for t in range(x.shape[1]):
        y, state = step(x[:, t], *state)
        outputs.append(y)
    return np.stack(outputs, 1), state


def mingru(
    p: Arrays, x: np.ndarray, state: list[np.ndarray], activation: Callable[..., np.ndarray] = lambda v: v
) -> Sequence:
    def step(x, h):
        z = sigmoid(x @ p["W.z"].T + p["b.z"])
        h = (1 - z) * h + z * activation(x @ p["W.n"].T + p["b.n"])
        return h, [h]

    return over_time(x, state, step)


def minlstm(
    p: Arrays, x: np.ndarray, state: list[np.ndarray], activation: Callable[..., np.ndarray] = lambda v: v
) -> Sequence:
    def step(x, h):
        f, i = (sigmoid(x @ p[f"W.{gate}"].T + p[f"b.{gate}"]) for gate in "fi")
        h = f / (f + i) * h + i / (f + i) * activation(x @ p["W.n"].T + p["b.n"])
        return h, [h]

    return over_time(x, state, step)


def lru(p: Arrays, x: np.ndarray, state: list[np.ndarray]) -> Sequence:
    eigenvalue = np.exp(-np.exp(p["a.nu"]) + 1j * np.exp(p["a.theta"]))
    into = np.exp(p["a.gamma"])[:, None] * (p["W.re"] + 1j * p["W.im"])

    def step(x, s):
        s = eigenvalue * s + x @ into.T
        return s.real, [s]

    y, (s,) = over_time(x, [state[0] + 1j * state[1]], step)
    return y, [s.real, s.imag]


def sru(p: Arrays, x: np.ndarray, state: list[np.ndarray]) -> Sequence:
    def step(x, c):
        f, r = (sigmoid(x @ p[f"W.{gate}"].T + p[f"p.{gate}"] * c + p[f"b.{gate}"]) for gate in "fr")
        c = f * c + (1 - f) * (x @ p["W.c"].T)
        return r * c + (1 - r) * math.sqrt(1 + 2 * math.exp(0)) * x, [c]

    return over_time(x, state, step)


def qrnn(p: Arrays, x: np.ndarray, state: list[np.ndarray]) -> Sequence:
    def step(x, c):
        z = np.tanh(x @ p["W.z"].T + p["b.z"])
        f, o = (sigmoid(x @ p[f"W.{gate}"].T + p[f"b.{gate}"]) for gate in "fo")
        i = sigmoid(x @ p["W.i"].T + p["b.i"]) if "W.i" in p else 1 - f
        c = f * c + i * z
        return o * c, [c]

    return over_time(x, state, step)


def indrnn(p: Arrays, x: np.ndarray, state: list[np.ndarray]) -> Sequence:
    def step(x, h):
        h = np.maximum(x @ p["W.h"].T + p["p.h"] * h + p["b.h"], 0)
        return h, [h]

    return over_time(x, state, step)


PAPERS: dict[str, Callable[..., Sequence]] = {
    "mingru": mingru,
    "mingru-positive": lambda p, x, state: mingru(p, x, state, g),
    "minlstm": minlstm,
    "minlstm-positive": lambda p, x, state: minlstm(p, x, state, g),
    "lru": lru,
    "sru": sru,
    "qrnn": qrnn,
    "qrnn-ifo": qrnn,
    "indrnn": indrnn,
}


@settings(max_examples=80)
@given(
    st.sampled_from(sorted(PAPERS)),
    st.integers(1, 3),
    st.sampled_from([1, 2, 63]),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_a_cell_is_the_recurrence_of_its_paper(name: str, batch: int, steps: int, inputs: int, units: int) -> None:
    equations = find_cell(name)
    random = np.random.default_rng(units)
    inputs = units if name == "sru" else inputs
    p = {key: random.normal(size=equations.shape(key, inputs, units)) for key in equations.parameters}
    if name == "indrnn":
        p["p.h"] = random.uniform(-1, 1, units)
    x = random.normal(size=(batch, steps, inputs))
    state = [random.normal(size=(batch, units)) for _ in equations.states]
    wanted, last = PAPERS[name](p, x, state)
    tensors = {key: torch.from_numpy(value) for key, value in p.items()}
    y, after = unroll(equations, tensors, torch.from_numpy(x), tuple(map(torch.from_numpy, state)), kernel="staged")
    np.testing.assert_allclose(y, wanted, rtol=1e-10, atol=1e-12)
    for part, expected in zip(after, last, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-10, atol=1e-12)
    stepping, stepped = Stepping(equations, tensors), tuple(map(torch.from_numpy, state))
    for t in range(steps):
        output, stepped = stepping.step(torch.from_numpy(x[:, t]), stepped)
        np.testing.assert_allclose(output, wanted[:, t], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["minlstm", "minlstm-positive"])
def test_gates_that_are_both_shut_share_one_state(name: str) -> None:
    """The quotient of two sigmoids of -200 is 0 / 0 in float32; here i is e times f."""
    equations = find_cell(name)
    p = {key: torch.zeros(equations.shape(key, 1, 1)) for key in equations.parameters}
    p |= {"b.f": torch.tensor([-200.0], requires_grad=True), "b.i": torch.tensor([-199.0], requires_grad=True)}
    y, _ = unroll(equations, p, torch.zeros(1, 1, 1), (torch.ones(1, 1),), kernel="staged")
    share = 1 / (1 + math.e)
    new = 0.5 if name == "minlstm-positive" else 0.0
    assert float(y.detach()) == pytest.approx(share + (1 - share) * new, rel=1e-6)
    y.sum().backward()
    slope = share * (1 - share) * (1 - new)
    assert float(p["b.f"].grad) == pytest.approx(slope, rel=1e-6)
    assert float(p["b.i"].grad) == pytest.approx(-slope, rel=1e-6)


def test_the_linear_recurrent_unit_starts_on_its_ring_and_as_large_as_its_input() -> None:
    from unrolled.layers import RecurrentLayer

    torch.manual_seed(0)
    layer = RecurrentLayer(find_cell("lru"), 64, 256).double()
    p = {name: value.detach() for name, value in layer.cell_parameters().items()}
    size, phase = torch.exp(-torch.exp(p["a.nu"])), torch.exp(p["a.theta"])
    assert 0.9 < float(size.min()) < 0.901
    assert 0.998 < float(size.max()) < 0.999
    assert 0 < float(phase.min()) < 0.2
    assert 6.1 < float(phase.max()) < 6.2832
    torch.testing.assert_close(torch.exp(p["a.gamma"]), (1 - size**2).sqrt(), rtol=1e-5, atol=0)
    # As much of the ring's area between any two radii as there are units.
    assert int((size**2 < (0.9**2 + 0.999**2) / 2).sum()) == 128
    with torch.no_grad():
        _, (re, im) = layer(torch.randn(8, 3000, 64, dtype=torch.float64))
    assert 0.8 < float((re**2 + im**2).mean()) < 1.2


def test_an_independently_recurrent_network_starts_between_forgetting_and_keeping() -> None:
    from unrolled.layers import RecurrentLayer

    torch.manual_seed(0)
    weights = RecurrentLayer(find_cell("indrnn"), 2, 500).cell_parameters()["p.h"].detach()
    assert 0 <= float(weights.min()) < 0.02
    assert 0.98 < float(weights.max()) <= 1
    assert 0.45 < float(weights.mean()) < 0.55
