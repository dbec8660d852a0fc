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


@pytest.mark.parametrize("kernel", [None, "cpu", "library", "staged", "reference"])
@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU])
def test_both_directions_and_sequences_of_several_lengths(kind: Any, kernel: Any) -> None:
    """Against PyTorch's packed sequences: outputs, states and all gradients."""
    torch.manual_seed(3)
    module = kind(3, 4, num_layers=2, batch_first=True, bidirectional=True, dtype=torch.float64)
    stack = from_torch(module)
    stack.use(kernel)
    x, lengths = torch.randn(5, 7, 3, dtype=torch.float64), torch.tensor([7, 1, 4, 4, 2])
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, state = stack(ours, lengths=lengths)
    packed = torch.nn.utils.rnn.pack_padded_sequence(theirs, lengths, batch_first=True, enforce_sorted=False)
    out, last = module(packed)
    wanted, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    last = last if isinstance(last, tuple) else (last,)
    torch.testing.assert_close(y, wanted, rtol=1e-10, atol=1e-12)
    for place, part in enumerate(last):
        torch.testing.assert_close(torch.stack([layer[place] for layer in state]), part, rtol=1e-10, atol=1e-12)
    weights = torch.randn_like(wanted)
    ((y * weights).sum() + sum(part.sum() for layer in state for part in layer)).backward()
    ((wanted * weights).sum() + sum(part.sum() for part in last)).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-11)
    again = to_torch(stack)
    for name, value in module.named_parameters():
        # PyTorch's second bias is added to the first, but for the one of the GRU's candidate that is inside a product.
        if "bias" not in name:
            torch.testing.assert_close(again.get_parameter(name), value, rtol=0, atol=0)
    torch.testing.assert_close(again(x)[0], module(x)[0], rtol=1e-10, atol=1e-12)


def test_a_document_that_ends_is_the_beginning_in_reverse() -> None:
    """Resets in mid-sequence, run from the end: every document alone, turned round."""
    layer = RecurrentLayer(find_cell("gru"), 3, 4, reverse=True).double()
    x = torch.randn(1, 9, 3, dtype=torch.float64)
    resets = torch.zeros(1, 9, dtype=torch.bool)
    resets[0, [3, 7]] = True
    y, state = layer(x, resets=resets)
    documents = [x[:, :3], x[:, 3:7], x[:, 7:]]
    forward = RecurrentLayer(find_cell("gru"), 3, 4).double()
    forward.load_state_dict(layer.state_dict())
    alone = [forward(document.flip(1)) for document in documents]
    torch.testing.assert_close(y, torch.cat([part.flip(1) for part, _ in alone], 1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(state, alone[0][1], rtol=1e-10, atol=1e-12)


def test_both_directions_are_not_run_step_by_step() -> None:
    stack = Recurrent(find_cell("rnn"), 3, 4, bidirectional=True)
    assert stack.output_size == 8
    for call in (lambda: stack.step(torch.zeros(1, 3), stack.initial_state(1)), stack.stepping):
        with pytest.raises(ConfigurationError, match="a stack of both directions cannot be run step by step"):
            call()


@pytest.mark.parametrize(("lengths", "got"), [([0, 2], "from 0 to 2"), ([1, 6], "from 1 to 6")])
def test_lengths_out_of_range(lengths: list[int], got: str) -> None:
    layer = RecurrentLayer(find_cell("rnn"), 3, 4)
    with pytest.raises(ConfigurationError, match=rf"a length is out of range(.|\n)*from 1 to T = 5(.|\n)*{got}"):
        layer(torch.zeros(2, 5, 3), lengths=torch.tensor(lengths))
