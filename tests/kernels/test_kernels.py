"""What kernels promise beyond the numbers: who is chosen, one step at a time, dtypes, and what autograd is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unrolled.cells import BUILTIN, U, W, b, cell, d, find_cell, sigmoid, tanh
from unrolled.errors import ConfigurationError
from unrolled.kernels import candidates, choose, unroll
from unrolled.kernels.library import recognise
from unrolled.kernels.staged import Stepping

FILE = Path(__file__).parents[1] / "example_cells.py"


@cell
def my_memory(x, m, out):
    """The LSTM by other names: gates, sums, products and states in another order."""
    keep = sigmoid(b.keep + U.keep @ out + W.keep @ x)
    new = tanh(W.new @ x + (b.new + U.new @ out))
    write = sigmoid((U.write @ out + b.write) + W.write @ x)
    show = sigmoid(W.show @ x + U.show @ out + b.show)
    m = new * write + m * keep
    out = tanh(m) * show
    return out, (m, out)


@cell
def my_gate(z, s):
    """The GRU by other names."""
    reset = sigmoid(U.one @ s + W.one @ z + b.one)
    stay = sigmoid(b.two + W.two @ z + U.two @ s)
    fresh = tanh((d.three + U.three @ s) * reset + b.three + W.three @ z)
    return s * stay + fresh * (1 - stay)


@cell
def my_network(v, u):
    return tanh(b.q + W.q @ v + U.q @ u)


@pytest.mark.parametrize(
    ("equations", "operator", "order"),
    [(my_memory, "lstm", ("out", "m")), (my_gate, "gru", ("s",)), (my_network, "rnn", ("u",))],
)
def test_a_users_own_cell_is_recognised_by_its_equations(equations, operator, order) -> None:
    match = recognise(equations)
    assert match is not None
    assert match.operator == operator
    assert tuple(equations.states[place] for place in match.states) == order
    parameters = {name: torch.randn(equations.shape(name, 3, 4), dtype=torch.float64) for name in equations.parameters}
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    state = tuple(torch.randn(2, 4, dtype=torch.float64) for _ in equations.states)
    y, after = unroll(equations, parameters, x, state)
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[operator](
        3, 4, batch_first=True
    ).double()
    for (_, target), value in zip(module.named_parameters(), match.packed(parameters), strict=True):
        target.data.copy_(value)
    given = [state[place].unsqueeze(0) for place in match.states]
    expected, _ = module(x, tuple(given) if operator == "lstm" else given[0])
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    for kernel in ("staged", "reference"):
        other, after_other = unroll(equations, parameters, x, state, kernel=kernel)
        torch.testing.assert_close((y, after), (other, after_other), rtol=1e-10, atol=1e-12)
    unpacked = match.unpacked(match.packed(parameters))
    assert unpacked.keys() == parameters.keys()
    assert all(torch.equal(unpacked[name], parameters[name]) for name in parameters)


@cell(name="lstm")
def plus_where_minus(x, h, c):
    i = sigmoid(W.i @ x + U.i @ h + b.i)
    f = sigmoid(W.f @ x + U.f @ h + b.f)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c - i * g
    return o * tanh(c), c


@cell(name="lstm")
def tied_gates(x, h, c):
    i = sigmoid(W.i @ x + U.i @ h + b.i)
    f = sigmoid(W.f @ x + U.f @ h + b.i)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    return o * tanh(c), c


@cell(name="lstm")
def gate_of_the_memory(x, h, c):
    i = sigmoid(W.i @ x + U.i @ c + b.i)
    f = sigmoid(W.f @ x + U.f @ h + b.f)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    return o * tanh(c), c


@cell(name="lstm")
def memory_for_output(x, h, c):
    i = sigmoid(W.i @ x + U.i @ h + b.i)
    f = sigmoid(W.f @ x + U.f @ h + b.f)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    h = o * tanh(c)
    return c, (h, c)


@cell(name="gru")
def other_number(x, h):
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    z = sigmoid(W.z @ x + U.z @ h + b.z)
    n = tanh(W.n @ x + b.n + r * (U.n @ h + d.n))
    return (2 - z) * n + z * h


@cell(name="gru")
def swapped_gate(x, h):
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    z = sigmoid(W.z @ x + U.z @ h + b.z)
    n = tanh(W.n @ x + b.n + r * (U.n @ h + d.n))
    return (1 - z) * h + z * n


@cell(name="rnn")
def two_maps_of_the_input(x, h):
    return tanh(W.h @ x + U.h @ x + b.h)


@cell(name="rnn")
def written_out_large(x, h):
    for _ in range(60):
        h = h + h
    return tanh(W.h @ x + U.h @ h + b.h)


@pytest.mark.parametrize(
    "equations",
    [
        plus_where_minus,
        tied_gates,
        gate_of_the_memory,
        memory_for_output,
        other_number,
        swapped_gate,
        two_maps_of_the_input,
        written_out_large,
        find_cell("rnn-sigmoid"),
        find_cell("lstm-1997"),
        find_cell("lstm-peephole"),
        find_cell("lstm-coupled"),
        find_cell("gru-reset-before"),
    ],
)
def test_a_name_alone_makes_no_lstm(equations) -> None:
    assert recognise(equations) is None
    x, state = torch.zeros(1, 1, 2), tuple(torch.zeros(1, 2) for _ in equations.states)
    parameters = {name: torch.zeros(equations.shape(name, 2, 2)) for name in equations.parameters}
    with pytest.raises(ConfigurationError, match=f"no operator with the equations of {equations.name}"):
        unroll(equations, parameters, x, state, kernel="library")


def test_pytorch_serves_exactly_these() -> None:
    assert [name for name in BUILTIN if recognise(find_cell(name))] == ["rnn", "rnn-relu", "lstm", "gru"]


def test_what_is_chosen_follows_from_the_equations_the_dtype_and_the_device() -> None:
    def chosen(name: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[str]:
        state = tuple(torch.zeros(64, 512, dtype=dtype, device=device) for _ in find_cell(name).states)
        return list(candidates(find_cell(name), state, dtype))

    assert chosen("lstm") == ["library", "cpu"]
    assert chosen("gru") == ["cpu", "library"]
    assert chosen("lstm-peephole") == chosen("lstm-peephole", torch.float64) == ["cpu"]
    assert chosen("lstm-peephole", torch.float16) == ["staged"]
    assert chosen("gru", device="meta") == ["library"]
    assert chosen("mingru", device="meta") == ["scan"]
    assert chosen("lstm-peephole", device="meta") == ["staged"]
    assert choose(find_cell("rnn"), (torch.zeros(1, 4),), torch.float32) == "cpu"


def test_an_unknown_kernel_is_an_error() -> None:
    state = (torch.zeros(1, 2),)
    with pytest.raises(ConfigurationError, match=r"unknown kernel 'stagd'(.|\n)*did you mean 'staged'\?"):
        unroll(find_cell("rnn"), {}, torch.zeros(1, 1, 2), state, kernel="stagd")


@pytest.mark.parametrize("name", [*BUILTIN, *(f"{FILE}:{name}" for name in ("four_stages", "sru", "delay", "average"))])
def test_one_step_at_a_time_is_the_sequence(name: str) -> None:
    equations = find_cell(name)
    inputs = 4 if equations.uses_raw_input else 3
    shapes = {parameter: equations.shape(parameter, inputs, 4) for parameter in equations.parameters}
    parameters = {parameter: torch.randn(shape, dtype=torch.float64) for parameter, shape in shapes.items()}
    x = torch.randn(2, 5, inputs, dtype=torch.float64)
    state = tuple(torch.randn(2, 4, dtype=torch.float64) for _ in equations.states)
    y, after = unroll(equations, parameters, x, state, kernel="reference")
    stepping, outputs = Stepping(equations, parameters), []
    for t in range(5):
        output, state = stepping.step(x[:, t], state)
        outputs.append(output)
    torch.testing.assert_close((torch.stack(outputs, 1), state), (y, after), rtol=1e-10, atol=1e-10)


def test_an_input_of_another_dtype_comes_to_that_of_the_state() -> None:
    """A float32 input to a float64 cell must not bring its products down to float32."""
    equations = find_cell("lstm")
    shapes = {name: equations.shape(name, 3, 4) for name in equations.parameters}
    parameters = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    x, state = torch.randn(2, 5, 3), tuple(torch.zeros(2, 4, dtype=torch.float64) for _ in range(2))
    expected, _ = unroll(equations, parameters, x.double(), state, kernel="reference")
    for kernel in ("library", "staged", "reference"):
        y, _ = unroll(equations, parameters, x, state, kernel=kernel)
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-14)
    y, _ = Stepping(equations, parameters).step(x[:, 0], state)
    torch.testing.assert_close(y, expected[:, 0], rtol=1e-12, atol=1e-14)


def test_only_what_is_asked_for_has_a_gradient() -> None:
    equations = find_cell("lstm-1997")
    shapes = {name: equations.shape(name, 3, 4) for name in equations.parameters}
    parameters = {name: torch.randn(shape, requires_grad=name == "U.i") for name, shape in shapes.items()}
    y, _ = unroll(equations, parameters, torch.randn(2, 5, 3), (torch.zeros(2, 4), torch.zeros(2, 4)), kernel="staged")
    y.sum().backward()
    assert [name for name, parameter in parameters.items() if parameter.grad is not None] == ["U.i"]


def test_a_parameter_changed_before_the_way_back_is_an_error() -> None:
    equations = find_cell("lstm-1997")
    shapes = {name: equations.shape(name, 3, 4) for name in equations.parameters}
    parameters = {name: torch.randn(shape).requires_grad_() for name, shape in shapes.items()}
    state = (torch.zeros(2, 4), torch.zeros(2, 4))
    y, _ = unroll(equations, parameters, torch.randn(2, 5, 3), state, kernel="staged")
    with torch.no_grad():
        parameters["U.i"].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_way_back_can_be_gone_twice_if_the_graph_is_kept() -> None:
    equations = find_cell("gru-reset-before")
    shapes = {name: equations.shape(name, 3, 4) for name in equations.parameters}
    parameters = {name: torch.randn(shape).requires_grad_() for name, shape in shapes.items()}
    y, _ = unroll(equations, parameters, torch.randn(2, 5, 3), (torch.zeros(2, 4),), kernel="staged")
    first = torch.autograd.grad(y.sum(), list(parameters.values()), retain_graph=True)
    second = torch.autograd.grad(y.sum(), list(parameters.values()))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
