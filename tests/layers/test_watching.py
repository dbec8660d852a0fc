"""Watching: named arrays that equal what the equations give, in every way a model can run, and that change nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled.cells import BUILTIN, find_cell
from unrolled.errors import ConfigurationError
from unrolled.layers import Recurrent, RecurrentLayer, watch

FILE = Path(__file__).parents[1] / "example_cells.py"
Arrays = dict[str, np.ndarray]


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def lstm(w: Arrays, x: np.ndarray, state: Arrays) -> tuple[Arrays, Arrays]:
    """A step by hand: what is seen, and the state after it."""
    seen = {f"W.{gate}": x @ w[f"W.{gate}"].T for gate in "ifog"}
    seen |= {f"U.{gate}": state["h"] @ w[f"U.{gate}"].T for gate in "ifog"}
    sums = {gate: seen[f"W.{gate}"] + seen[f"U.{gate}"] + w[f"b.{gate}"] for gate in "ifog"}
    seen |= {"i": sigmoid(sums["i"]), "f": sigmoid(sums["f"]), "o": sigmoid(sums["o"]), "g": np.tanh(sums["g"])}
    seen["c"] = seen["f"] * state["c"] + seen["i"] * seen["g"]
    seen["h"] = seen["o"] * np.tanh(seen["c"])
    return seen, {"h": seen["h"], "c": seen["c"]}


def gru_reset_before(w: Arrays, x: np.ndarray, state: Arrays) -> tuple[Arrays, Arrays]:
    h = state["h"]
    seen = {f"W.{gate}": x @ w[f"W.{gate}"].T for gate in "rzn"} | {f"U.{gate}": h @ w[f"U.{gate}"].T for gate in "rz"}
    seen["r"] = sigmoid(seen["W.r"] + seen["U.r"] + w["b.r"])
    seen["z"] = sigmoid(seen["W.z"] + seen["U.z"] + w["b.z"])
    seen["U.n"] = (seen["r"] * h) @ w["U.n"].T
    seen["n"] = np.tanh(seen["W.n"] + seen["U.n"] + w["b.n"])
    seen["h"] = (1 - seen["z"]) * seen["n"] + seen["z"] * h
    return seen, {"h": seen["h"]}


BY_HAND = {"lstm": lstm, "gru-reset-before": gru_reset_before}


def make_stack(name: str, inputs: int = 3) -> Recurrent:
    torch.manual_seed(2)
    return Recurrent(find_cell(name), inputs, 4, 2).double()


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("how", ["forward", "step", "stepping"])
@pytest.mark.parametrize("name", BY_HAND)
def test_what_is_seen_is_what_the_equations_give(name: str, how: str) -> None:
    stack = make_stack(name)
    x = draw(2, 5, 3)
    state = stack.initial_state(2)
    with watch() as seen:
        if how == "forward":
            stack(x, state)
        else:
            step = stack.step if how == "step" else stack.stepping().step
            for t in range(5):
                _, state = step(x[:, t], state)
    found = {name: value.detach().numpy() for name, value in seen.values().items()}
    weights = {key: value.detach().numpy() for key, value in stack.named_parameters()}
    given = [x[:, t].numpy() for t in range(5)]
    for layer in range(2):
        own = {key.removeprefix(f"layers.{layer}."): value for key, value in weights.items()}
        before = {state: np.zeros((2, 4)) for state in stack.equations.states}
        for t in range(5):
            expected, before = BY_HAND[name](own, given[t], before)
            for key, value in expected.items():
                np.testing.assert_allclose(found[f"layers.{layer}.{key}"][:, t], value, rtol=1e-10, atol=1e-12)
            given[t] = before["h"]
    assert set(found) == {f"layers.{layer}.{key}" for layer in range(2) for key in expected}
    assert {value.shape for value in found.values()} == {(2, 5, 4)}
    assert set(seen.names()) == set(found)
    assert torch.equal(seen["layers.1.h"], seen.values()["layers.1.h"])


@pytest.mark.parametrize("name", [*BUILTIN, *(f"{FILE}:{cell}" for cell in ("four_stages", "sru", "lru", "delay"))])
def test_watching_changes_nothing(name: str) -> None:
    stack = make_stack(name, 4)
    x = draw(2, 6, 4).requires_grad_()
    resets = torch.zeros(2, 6, dtype=torch.bool)
    resets[1, 3] = True
    leaves = [x, *stack.parameters()]
    y, state = stack(x, resets=resets)
    slopes = torch.autograd.grad(y.square().sum(), leaves, materialize_grads=True, allow_unused=True)
    with watch() as seen:
        watched, after = stack(x, resets=resets)
        of_watched = torch.autograd.grad(watched.square().sum(), leaves, materialize_grads=True, allow_unused=True)
    torch.testing.assert_close((watched, after, of_watched), (y, state, slopes), rtol=1e-9, atol=1e-11)
    gates = {gate for gate, _ in stack.equations.names}
    maps = {parameter for parameter, kind in stack.equations.parameters.items() if kind != "vector"}
    assert {key.removeprefix("layers.0.") for key in seen.names() if key.startswith("layers.0.")} == {
        *gates,
        *maps,
        *stack.equations.states,
    }
    for state_name, part in zip(stack.equations.states, after[1], strict=True):
        assert torch.equal(seen[f"layers.1.{state_name}"][:, -1], part)


def test_the_output_that_is_no_state_is_seen() -> None:
    stack = make_stack(f"{FILE}:sru", 4)
    with watch() as seen:
        y, _ = stack(draw(2, 3, 4))
    assert torch.equal(seen["layers.1.y"], y)


def test_a_gate_of_the_input_alone_has_its_units() -> None:
    stack = make_stack(f"{FILE}:own_input")
    x = draw(2, 5, 3)
    with watch() as seen:
        stack(x)
    assert seen["layers.0.u"].shape == (2, 5, 3)
    torch.testing.assert_close(seen["layers.0.u"], torch.tanh(x) * x)


def test_a_loss_can_be_made_of_what_is_seen() -> None:
    stack = make_stack("lstm")
    x = draw(2, 5, 3).requires_grad_()
    with watch() as seen:
        stack(x)
    gate, memory = seen["layers.0.f"], seen["layers.1.c"]
    slope = torch.autograd.grad(gate[:, 3].sum(), x, retain_graph=True)[0]
    assert slope[:, :4].all()
    assert not slope[:, 4:].any()
    weight = stack.layers[0].W["f"]
    (found,) = torch.autograd.grad(memory[:, 2].sum(), weight)
    shifted = torch.zeros_like(weight)
    shifted[1, 2] = 1e-6
    sums = []
    for sign in (1, -1):
        with torch.no_grad(), watch() as seen:
            weight.add_(sign * shifted)
            stack(x)
            weight.sub_(sign * shifted)
        sums.append(float(seen["layers.1.c"][:, 2].sum()))
    assert float(found[1, 2]) == pytest.approx((sums[0] - sums[1]) / 2e-6, rel=1e-5)


def test_nobody_watches_after_the_block_even_if_it_raised() -> None:
    stack = make_stack("rnn")
    with watch() as seen, pytest.raises(ConfigurationError):
        stack(draw(1, 2, 3), stack.initial_state(7))
    with contextlib.suppress(ConfigurationError), watch():
        stack(draw(1, 2, 3), stack.initial_state(7))
    stack(draw(1, 2, 3))
    assert seen.names() == []
    with watch() as outer:
        with watch() as inner:
            stack(draw(1, 2, 3))
        stack(draw(1, 3, 3))
    assert (inner["layers.0.h"].shape[1], outer["layers.0.h"].shape[1]) == (2, 3)


def test_training_and_evaluation_alike() -> None:
    stack = make_stack("gru")
    x = draw(1, 2, 3)
    with watch() as seen:
        stack.train()(x)
        stack.eval()(x)
        with torch.no_grad():
            stack(x)
    assert seen["layers.0.z"].shape == (1, 6, 4)
    assert torch.equal(seen["layers.0.z"][:, :2], seen["layers.0.z"][:, 4:])


def test_a_name_that_was_not_seen() -> None:
    stack = make_stack("lstm")
    with watch() as seen:
        with pytest.raises(ConfigurationError, match=r"nothing named 'layers\.0\.f' was seen(.|\n)*run a model first"):
            seen["layers.0.f"]
        stack(draw(1, 2, 3))
    with pytest.raises(ConfigurationError, match=r"'layers\.0\.k' was seen\n  what to do: did you mean 'layers\.0\."):
        seen["layers.0.k"]
    with pytest.raises(ConfigurationError, match=r"choose one of: layers\.0\.U\.f, "):
        seen["?"]


def test_two_layers_of_one_path() -> None:
    one, other = (RecurrentLayer(find_cell("rnn"), 3, 4) for _ in range(2))
    named = RecurrentLayer(find_cell("rnn"), 3, 4, path="decoder")
    x = torch.randn(1, 2, 3)
    with watch() as seen:
        one(x)
        one(x)
        named(x)
        with pytest.raises(ConfigurationError, match="two layers of the path 'layer' are watched at once"):
            other(x)
    assert (seen["layer.h"].shape, seen["decoder.h"].shape) == ((1, 4, 4), (1, 2, 4))


def test_watching_under_autocast() -> None:
    stack = make_stack("lstm").float()
    x = torch.randn(2, 5, 3)
    with torch.autocast("cpu", torch.bfloat16), watch() as seen:
        y, state = stack(x)
    assert {value.dtype for value in seen.values().values()} == {torch.float32}
    assert {part.dtype for layer in state for part in layer} == {torch.float32}
    expected, _ = stack(x)
    assert float((y - expected).detach().norm() / expected.detach().norm()) < 2e-2
