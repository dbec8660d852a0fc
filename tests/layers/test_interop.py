"""PyTorch's own modules taken over and given back; their orders of gates."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unrolled.cells import U, W, b, cell, find_cell, sigmoid, tanh
from unrolled.errors import ConfigurationError
from unrolled.layers import Recurrent, RecurrentLayer, from_torch, to_torch

KINDS = {
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
    "rnn": (torch.nn.RNN, {}),
    "rnn-relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
}
H = 4


def make_module(kind: str, layers: int = 2, **options: Any) -> torch.nn.RNNBase:
    constructor, extra = KINDS[kind]
    torch.manual_seed(4)
    options = {"batch_first": True, "dtype": torch.float64} | options
    module: torch.nn.RNNBase = constructor(3, H, layers, **extra, **options)
    return module


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).detach().norm() / wanted.detach().norm())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_module_taken_over_computes_the_same(kind: str, layers: int, bias: bool) -> None:
    module = make_module(kind, layers, bias=bias)
    stack = from_torch(module)
    assert stack.equations is find_cell(kind)
    assert {parameter.dtype for parameter in stack.parameters()} == {torch.float64}
    x = draw(2, 7, 3).requires_grad_()
    begin = [draw(layers, 2, H) for _ in stack.equations.states]
    y, after = module(x, tuple(begin) if kind == "lstm" else begin[0])
    mine, state = stack(x, tuple(tuple(part[layer] for part in begin) for layer in range(layers)))
    assert distance(mine, y) < 1e-6
    for place, part in enumerate(after if kind == "lstm" else [after]):
        for layer in range(layers):
            assert distance(state[layer][place], part[layer]) < 1e-6
    slope, wanted = (torch.autograd.grad(each.square().sum(), x, retain_graph=True)[0] for each in (mine, y))
    assert distance(slope, wanted) < 1e-6
    y.square().sum().backward()
    mine.square().sum().backward()
    for layer in range(layers):
        own = {name: parameter.grad for name, parameter in stack.layers[layer].named_parameters()}
        gates = {"lstm": "ifgo", "gru": "rzn"}.get(kind, "h")
        for family, name in [("W", "weight_ih"), ("U", "weight_hh")] + [("b", "bias_ih")] * bias:
            found = torch.cat([own[f"{family}.{gate}"] for gate in gates])
            assert distance(found, getattr(module, f"{name}_l{layer}").grad) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str) -> None:
    module = make_module(kind, dropout=0.25).eval()
    stack = from_torch(module)
    assert (stack.dropout.probability, stack.training) == (0.25, False)
    back = to_torch(stack)
    assert (type(back), back.mode, back.dropout, back.training) == (type(module), module.mode, 0.25, False)
    x = draw(2, 5, 3)
    torch.testing.assert_close(back(x), module(x), rtol=1e-12, atol=1e-14)
    again = from_torch(back)
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), stack.parameters(), strict=True))


def test_a_layer_alone_and_other_dtypes() -> None:
    layer = RecurrentLayer(find_cell("gru"), 3, H)
    module = to_torch(layer)
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(module(x)[0], layer(x)[0])
    assert (module.num_layers, module.weight_ih_l0.dtype) == (1, torch.float32)
    assert to_torch(layer.double()).weight_ih_l0.dtype == torch.float64


def test_time_first_makes_no_difference_to_the_weights() -> None:
    module = make_module("lstm", batch_first=False)
    x = draw(2, 5, 3)
    torch.testing.assert_close(from_torch(module)(x)[0], module(x.transpose(0, 1))[0].transpose(0, 1))


def test_the_order_of_gates() -> None:
    """The lectures and the equations write i, f, o, g; PyTorch stacks i, f, g, o."""
    module = make_module("lstm", 1)
    layer = from_torch(module).layers[0]
    assert isinstance(layer, RecurrentLayer)
    assert [name for name in layer.equations.parameters if name[0] == "W"] == ["W.i", "W.f", "W.o", "W.g"]
    rows = {gate: slice(place * H, (place + 1) * H) for place, gate in enumerate("ifgo")}
    for gate, part in rows.items():
        assert torch.equal(layer.W[gate], module.weight_ih_l0[part])
        assert torch.equal(layer.U[gate], module.weight_hh_l0[part])
        assert torch.equal(layer.b[gate], (module.bias_ih_l0 + module.bias_hh_l0)[part])
    ours = torch.cat([layer.W[gate] for gate in "ifog"])
    permutation = [*range(2 * H), *range(3 * H, 4 * H), *range(2 * H, 3 * H)]
    assert torch.equal(ours, module.weight_ih_l0[permutation])
    x = draw(2, 6, 3)
    wrong = RecurrentLayer(find_cell("lstm"), 3, H).double()
    wrong.load_state_dict(layer.state_dict())
    with torch.no_grad():
        for family in "WUb":
            wrong.cell_parameters()[f"{family}.o"].copy_(layer.cell_parameters()[f"{family}.g"])
    assert distance(layer(x)[0], module(x)[0]) < 1e-12
    assert distance(wrong(x)[0], module(x)[0]) > 1e-2


def test_the_bias_inside_the_reset_of_a_gru_stays_inside() -> None:
    module = make_module("gru", 1)
    layer = from_torch(module).layers[0]
    assert isinstance(layer, RecurrentLayer)
    assert torch.equal(layer.d["n"], module.bias_hh_l0[2 * H :])
    assert torch.equal(layer.b["n"], module.bias_ih_l0[2 * H :])
    assert torch.equal(layer.b["z"], (module.bias_ih_l0 + module.bias_hh_l0)[H : 2 * H])


def test_a_users_own_lstm_goes_to_pytorch() -> None:
    @cell
    def memory(x, m, out):
        keep = sigmoid(b.keep + U.keep @ out + W.keep @ x)
        new = tanh(W.new @ x + U.new @ out + b.new)
        write = sigmoid(W.write @ x + U.write @ out + b.write)
        show = sigmoid(W.show @ x + U.show @ out + b.show)
        m = new * write + m * keep
        out = tanh(m) * show
        return out, (m, out)

    stack = Recurrent(memory, 3, H, 2).double()
    module = to_torch(stack)
    x = draw(2, 5, 3)
    y, (h, c) = module(x)
    mine, state = stack(x)
    assert isinstance(module, torch.nn.LSTM)
    torch.testing.assert_close((mine, state[1][1], state[1][0]), (y, h[1], c[1]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "module",
    [
        torch.nn.LSTM(3, 4, proj_size=2),
        torch.nn.Linear(3, 4),
        torch.nn.LSTMCell(3, 4),
    ],
)
def test_modules_that_cannot_be_taken_over(module: Any) -> None:
    with pytest.raises(ConfigurationError, match="this module cannot be taken over") as caught:
        from_torch(module)
    assert caught.value.got == repr(module)


def test_stacks_that_pytorch_has_not() -> None:
    with pytest.raises(ConfigurationError, match="no module with the equations of lstm-peephole"):
        to_torch(RecurrentLayer(find_cell("lstm-peephole"), 3, 4))
    for options in ({"residual": True}, {"dropout": 0.5, "variational": True}):
        with pytest.raises(ConfigurationError, match="no residual stacks and no variational dropout"):
            to_torch(Recurrent(find_cell("lstm"), 3, 4, 2, **options))
