"""Layers around a cell: windows of inputs, the mixing of complex states, blocks; explicit state throughout."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.errors import ConfigurationError
from unrolled.layers import RecurrentLayer, watch
from unrolled.layers.around import ComplexLayer, ResidualBlock, WindowLayer

Layer = WindowLayer | ComplexLayer | ResidualBlock
LAYERS: dict[str, Callable[[], Layer]] = {
    "window": lambda: WindowLayer(find_cell("qrnn"), 3, 4, 3),
    "window of one": lambda: WindowLayer(find_cell("qrnn-ifo"), 3, 4, 1),
    "window of an LSTM": lambda: WindowLayer(find_cell("lstm"), 3, 4, 2),
    "complex": lambda: ComplexLayer(3, 5),
    "block": lambda: ResidualBlock(ComplexLayer(3)),
    "block of a window": lambda: ResidualBlock(WindowLayer(find_cell("mingru"), 4, 4, 4)),
    "block of a cell": lambda: ResidualBlock(RecurrentLayer(find_cell("mingru"), 4, 4)),
}


def make(name: str) -> Layer:
    torch.manual_seed(3)
    return LAYERS[name]().double()


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def assert_close(found: object, wanted: object) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("steps", [1, 2, 63])
def test_a_window_is_the_convolution_of_the_paper(width: int, steps: int) -> None:
    """fo-pooling over PyTorch's convolution, padded on the left."""
    layer = WindowLayer(find_cell("qrnn"), 3, 4, width).double()
    x = draw(2, steps, 3)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (width - 1, 0))
    gates = {}
    for gate in "zfo":
        # (H, k·D) with time outside: (H, D, k) for PyTorch.
        filters = layer.cell.cell_parameters()[f"W.{gate}"].view(4, width, 3).transpose(1, 2)
        bias = layer.cell.cell_parameters()[f"b.{gate}"]
        gates[gate] = torch.nn.functional.conv1d(padded, filters, bias).transpose(1, 2).detach().numpy()
    c, outputs = np.zeros((2, 4)), []
    for t in range(steps):
        f = sigmoid(gates["f"][:, t])
        c = f * c + (1 - f) * np.tanh(gates["z"][:, t])
        outputs.append(sigmoid(gates["o"][:, t]) * c)
    y, state = layer(x)
    np.testing.assert_allclose(y.detach(), np.stack(outputs, 1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state[1].detach(), c, rtol=1e-10, atol=1e-12)
    assert state[0].shape == (2, width - 1, 3)


@pytest.mark.parametrize("steps", [1, 2, 63])
def test_complex_outputs_are_those_of_the_paper(steps: int) -> None:
    layer = ComplexLayer(3, 5).double()
    x, state = draw(2, steps, 3), (draw(2, 5), draw(2, 5))
    p = {name: value.detach().numpy() for name, value in layer.cell.cell_parameters().items()}
    eigenvalue = np.exp(-np.exp(p["a.nu"]) + 1j * np.exp(p["a.theta"]))
    into = np.exp(p["a.gamma"])[:, None] * (p["W.re"] + 1j * p["W.im"])
    weight = layer.mix.weight.detach().numpy()
    out = weight[:, :5] - 1j * weight[:, 5:]
    s, outputs = state[0].numpy() + 1j * state[1].numpy(), []
    for t in range(steps):
        s = eigenvalue * s + x[:, t].numpy() @ into.T
        outputs.append((s @ out.T).real + layer.skip.detach().numpy() * x[:, t].numpy())
    y, after = layer(x, state)
    np.testing.assert_allclose(y.detach(), np.stack(outputs, 1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(after[0].detach() + 1j * after[1].detach(), s, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["complex", "window", "block"])
def test_gradients_equal_finite_differences(name: str) -> None:
    layer = make(name)
    x, state = (
        draw(1, 4, layer.input_size).requires_grad_(),
        tuple(draw(*part.shape).requires_grad_() for part in layer.initial_state(1)),
    )
    names, values = zip(*layer.named_parameters(), strict=True)

    def outputs(x: torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = dict(zip(names, tensors[len(state) :], strict=True))
        y, after = torch.func.functional_call(layer, given, (x, tensors[: len(state)]))
        return (y, *after)

    assert torch.autograd.gradcheck(outputs, (x, *state, *values), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_steps_and_pieces_are_the_sequence(name: str) -> None:
    layer = make(name)
    x = draw(2, 9, layer.input_size)
    whole, end = layer(x)
    assert whole.shape == (2, 9, layer.hidden_size)
    for cut in (1, 2, 8):
        first, state = layer(x[:, :cut])
        second, state = layer(x[:, cut:], state)
        assert_close(torch.cat([first, second], 1), whole)
        assert_close(state, end)
    state, outputs = layer.initial_state(2), []
    for t in range(9):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), whole)
    assert_close(state, end)


@settings(max_examples=40)
@given(st.sampled_from(sorted(LAYERS)), st.integers(1, 8), st.floats(0, 1), st.integers(0, 99))
def test_after_a_reset_nothing_before_it_is_seen(name: str, steps: int, often: float, seed: int) -> None:
    layer = make(name)
    torch.manual_seed(seed)
    x, resets = draw(3, steps, layer.input_size), torch.rand(3, steps) < often
    state = tuple(draw(*part.shape) for part in layer.initial_state(3))
    y, after = layer(x, state, resets)
    for place in range(3):
        begins = [0, *[t for t in range(1, steps) if resets[place, t]], steps]
        own = tuple(part[place : place + 1] for part in state)
        for begin, end in itertools.pairwise(begins):
            if resets[place, begin]:
                own = layer.initial_state(1)
            expected, own = layer(x[place : place + 1, begin:end], own)
            assert_close(y[place : place + 1, begin:end], expected)
        assert_close(tuple(part[place : place + 1] for part in after), own)


def test_a_copy_and_another_dtype_have_weights_of_their_own() -> None:
    layer = ComplexLayer(3, 5)
    twin = copy.deepcopy(layer).double()
    assert set(layer.state_dict()) == {"cell.W.re", "cell.W.im", "cell.a.nu", "cell.a.theta", "cell.a.gamma"} | {
        "mix.weight",
        "skip",
    }
    x = draw(1, 6, 3)
    before, _ = twin(x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert_close(twin(x)[0], before)
    assert not layer(x.float())[0].any()


def test_both_parts_of_a_complex_state_can_be_watched() -> None:
    layer = make("complex")
    with watch() as seen:
        layer(draw(1, 4, 3))
    assert {"layer.re", "layer.im"} <= set(seen.names())


def test_resets_of_parameters_follow_a_generator() -> None:
    for name in LAYERS:
        layer = make(name)
        starts = []
        for _ in range(2):
            layer.reset_parameters(torch.Generator().manual_seed(4))
            starts.append([value.clone() for value in layer.state_dict().values()])
        assert all(torch.equal(one, other) for one, other in zip(*starts, strict=True)), name


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ConfigurationError, match="a window holds at least the input itself"):
        WindowLayer(find_cell("qrnn"), 3, 4, 0)
    layer = WindowLayer(find_cell("qrnn"), 3, 4, 3)
    for x, before in (((2, 5, 4), (2, 2, 3)), ((2, 5, 3), (2, 1, 3)), ((2, 5, 3), (1, 2, 3))):
        with pytest.raises(ConfigurationError, match="x or the inputs before it have a wrong shape"):
            layer(torch.zeros(x), (torch.zeros(before), torch.zeros(2, 4)))
    with pytest.raises(ConfigurationError, match="what a residual block adds"):
        ResidualBlock(layer)
