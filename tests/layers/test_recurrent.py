"""Recurrent layers and stacks: explicit state, resets, steps, dropout, and what is said of wrong shapes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import BUILTIN, Parameters, W, cell, find_cell, tanh
from unrolled.errors import CellError, ConfigurationError
from unrolled.layers import Dropout, Recurrent, RecurrentLayer, StackState, detach

FILE = Path(__file__).parents[1] / "example_cells.py"
NAMES = [*BUILTIN, *(f"{FILE}:{name}" for name in ("four_stages", "sru", "lru", "own_input", "delay", "average"))]


def make_stack(name: str, layers: int = 2, units: int = 4, **options: object) -> Recurrent:
    equations = find_cell(name)
    torch.manual_seed(5)
    inputs = units if equations.uses_raw_input else 3
    return Recurrent(equations, inputs, units, layers, **options).double()


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def assert_close(found: object, wanted: object) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_state_carried_over_two_calls_is_one_call(name: str) -> None:
    stack = make_stack(name)
    x = draw(3, 7, stack.input_size)
    whole, last = stack(x)
    first, state = stack(x[:, :4])
    second, state = stack(x[:, 4:], state)
    assert_close(torch.cat([first, second], 1), whole)
    assert_close(state, last)
    assert whole.shape == (3, 7, 4)
    assert [len(layer) for layer in last] == [len(stack.equations.states)] * 2


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_steps_are_the_sequence(name: str, residual: bool) -> None:
    stack = make_stack(name, residual=residual)
    x = draw(3, 5, stack.input_size)
    whole, last = stack(x)
    stepping = stack.stepping()
    for step in (stack.step, stepping.step):
        state, outputs = stack.initial_state(3), []
        for t in range(5):
            y, state = step(x[:, t], state)
            outputs.append(y)
        assert_close(torch.stack(outputs, 1), whole)
        assert_close(state, last)
    layer = stack.layers[0]
    assert isinstance(layer, RecurrentLayer)
    by_step, by_stepping = layer.step(x[:, 0], layer.initial_state(3)), layer.stepping().step(x[:, 0], last[0])
    assert_close(by_step[0], layer(x[:, :1])[0][:, 0])
    assert_close(by_stepping, layer.step(x[:, 0], last[0]))
    assert not by_stepping[0].requires_grad


def test_stepping_sees_no_later_change() -> None:
    layer = RecurrentLayer(find_cell("lstm-1997"), 3, 4)
    stepping, x, state = layer.stepping(), torch.randn(2, 3), layer.initial_state(2)
    before, _ = stepping.step(x, state)
    with torch.no_grad():
        layer.W["i"].mul_(3)
    assert torch.equal(stepping.step(x, state)[0], before)
    assert not torch.equal(layer.step(x, state)[0], before)


def reset(state: StackState, rows: Sequence[bool]) -> StackState:
    keep = ~torch.tensor(rows).unsqueeze(1)
    return tuple(tuple(part * keep for part in layer) for layer in state)


@settings(max_examples=25)
@given(st.sampled_from(NAMES), st.integers(1, 6), st.integers(1, 3), st.data())
def test_resets_are_separate_runs(name: str, steps: int, batch: int, data: st.DataObject) -> None:
    rows = st.lists(st.booleans(), min_size=steps, max_size=steps)
    resets = data.draw(st.lists(rows, min_size=batch, max_size=batch))
    stack = make_stack(name)
    x = draw(batch, steps, stack.input_size)
    begin: StackState = tuple(tuple(draw(batch, 4) for _ in stack.equations.states) for _ in range(2))
    y, last = stack(x, begin, torch.tensor(resets))
    for row in range(batch):
        starts = sorted({0, *(t for t in range(steps) if resets[row][t])})
        own: StackState = tuple(tuple(part[row : row + 1] for part in layer) for layer in begin)
        for start, end in zip(starts, [*starts[1:], steps], strict=True):
            state = stack.initial_state(1) if resets[row][start] else own
            expected, own = stack(x[row : row + 1, start:end], state)
            assert_close(y[row : row + 1, start:end], expected)
        assert_close(tuple(tuple(part[row : row + 1] for part in layer) for layer in last), own)


def test_no_gradient_goes_back_over_a_reset() -> None:
    stack = make_stack("lstm")
    x = draw(1, 6, 3).requires_grad_()
    begin: StackState = tuple(tuple(draw(1, 4).requires_grad_() for _ in range(2)) for _ in range(2))
    y, _ = stack(x, begin, torch.tensor([[False, False, False, True, False, False]]))
    slopes = torch.autograd.grad(y[:, 3:].sum(), [x, *begin[0], *begin[1]], materialize_grads=True)
    assert not slopes[0][:, :3].any()
    assert slopes[0][:, 3:].all()
    assert not any(slope.any() for slope in slopes[1:])


def test_a_state_that_is_no_longer_finite_is_reset_too() -> None:
    layer = RecurrentLayer(find_cell("rnn"), 3, 4)
    state = (torch.full((2, 4), torch.nan),)
    y, _ = layer(torch.zeros(2, 2, 3), state, torch.tensor([[1, 0], [1, 0]]))
    assert torch.equal(y, torch.zeros(2, 2, 4))


def test_the_state_of_one_call_stays_as_it_is() -> None:
    """Nothing is kept in a module: a call in between changes nothing."""
    stack = make_stack("gru")
    x = draw(2, 5, 3)
    first, state = stack(x)
    copied = copy.deepcopy(detach(state))
    stack(draw(2, 9, 3), state)
    assert torch.equal(stack(x)[0], first)
    assert all(torch.equal(a, b) for one, two in zip(state, copied, strict=True) for a, b in zip(one, two, strict=True))


def test_detach_cuts_the_graph() -> None:
    stack = make_stack("lstm")
    _, state = stack(draw(2, 5, 3))
    assert all(part.requires_grad for layer in state for part in layer)
    assert not any(part.requires_grad for layer in detach(state) for part in layer)


def test_parameters_are_named_as_in_the_equations() -> None:
    stack = make_stack("lstm-peephole")
    names = {name for name, _ in stack.named_parameters()}
    assert names == {f"layers.{layer}.{name}" for layer in (0, 1) for name in stack.equations.parameters}
    layer = stack.layers[0]
    assert isinstance(layer, RecurrentLayer)
    assert layer.W.f is layer.W["f"] is layer.cell_parameters()["W.f"]
    assert (layer.W["f"].shape, layer.U["f"].shape, layer.p["f"].shape) == ((4, 3), (4, 4), (4,))
    assert stack.state_dict().keys() == names


def test_names_that_collections_have_too() -> None:
    layer = RecurrentLayer(find_cell(f"{FILE}:clashing"), 4, 4)
    assert {name for name, _ in layer.named_parameters()} == {"W.keys", "U.update", "b.values"}
    again = RecurrentLayer(find_cell(f"{FILE}:clashing"), 4, 4)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.W["keys"], layer.W["keys"])


@pytest.mark.parametrize(("family", "gate"), [("W", "forward"), ("W", "to"), ("step", "h"), ("path", "h")])
def test_names_that_modules_need_are_an_error(family: str, gate: str) -> None:
    @cell
    def taken(x, h):
        return tanh(W.h @ x + getattr(Parameters(family), gate) @ h)

    with pytest.raises(CellError, match=f"no parameter can be called {family}.{gate}(.|\n)*choose another name"):
        RecurrentLayer(taken, 3, 4)


def test_parameters_start_as_the_cell_says() -> None:
    layer = RecurrentLayer(find_cell("lstm"), 5, 8)
    values = {name: value.detach() for name, value in layer.cell_parameters().items()}
    assert torch.equal(values["b.f"], torch.ones(8))
    assert not any(values[f"b.{gate}"].any() for gate in "iog")
    assert all(float(values[f"W.{gate}"].abs().max()) <= (6 / 13) ** 0.5 for gate in "ifog")
    for gate in "ifog":
        torch.testing.assert_close(values[f"U.{gate}"] @ values[f"U.{gate}"].T, torch.eye(8), atol=1e-5, rtol=0)


def test_a_generator_makes_the_same_start() -> None:
    stack = make_stack("gru")
    starts = []
    for _ in range(2):
        stack.reset_parameters(torch.Generator().manual_seed(3))
        starts.append([parameter.detach().clone() for parameter in stack.parameters()])
        torch.rand(7)
    assert all(torch.equal(one, other) for one, other in zip(*starts, strict=True))


def test_a_layer_follows_its_dtype() -> None:
    for name in ("lstm", f"{FILE}:average"):
        layer = RecurrentLayer(find_cell(name), 4, 4).double()
        assert {part.dtype for part in layer.initial_state(2)} == {torch.float64}
        y, state = layer(torch.randn(2, 3, 4))
        assert {y.dtype, *(part.dtype for part in state)} == {torch.float64}
        y, _ = layer.stepping().step(torch.randn(2, 4), layer.initial_state(2))
        assert y.dtype == torch.float64
    assert dict(RecurrentLayer(find_cell(f"{FILE}:average"), 4, 4).state_dict()) == {}


def test_residual_adds_what_went_in_from_the_second_layer_on() -> None:
    stack = make_stack("rnn", layers=3, residual=True)
    x = draw(2, 4, 3)
    first, second, third = stack.layers
    one = first(x)[0]
    two = one + second(one)[0]
    three = two + third(two)[0]
    assert_close(stack(x)[0], three)


def test_dropout_drops_in_training_only() -> None:
    dropout = Dropout(0.4)
    x = torch.ones(3, 50, 40)
    y = dropout(x)
    assert 0.35 < float((y == 0).float().mean()) < 0.45
    assert torch.allclose(y[y != 0], torch.tensor(1 / 0.6))
    assert not torch.equal(y[:, 0], y[:, 1])
    assert dropout.eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_variational_dropout_has_one_mask_for_all_times() -> None:
    dropout = Dropout(0.5, variational=True)
    x = torch.randn(4, 30, 64)
    y = dropout(x)
    mask = y / x
    assert {round(value, 5) for value in mask.unique().tolist()} <= {0.0, 2.0}
    assert torch.equal(mask == 0, (mask[:, :1] == 0).expand_as(mask))
    assert not torch.equal(mask[0, 0] == 0, mask[1, 0] == 0)
    assert not torch.equal(dropout(x) == 0, y == 0)


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_stands_between_layers(variational: bool) -> None:
    """Not before the first, not after the last; with resets the mask of a call stays one."""
    stack = make_stack("rnn", dropout=0.5, variational=variational)
    x = draw(2, 6, 3)
    seen: list[torch.Tensor] = []
    stack.layers[0].register_forward_hook(lambda module, given, result: seen.append(result[0]))
    stack.layers[1].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    torch.manual_seed(0)
    y, _ = stack(x, resets=torch.tensor([[False, False, True, False, False, False]] * 2))
    ratio = seen[1] / seen[0]
    assert {round(value, 9) for value in ratio.flatten().tolist()} == {0.0, 2.0}
    assert torch.equal(ratio, ratio[:, :1].expand_as(ratio)) is variational
    assert not (y == 0).any()
    stack.eval()
    assert_close(stack(x)[0], stack.layers[1](stack.layers[0](x)[0])[0])


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_probability(probability: float) -> None:
    with pytest.raises(ConfigurationError, match="dropout is a probability"):
        Dropout(probability)


def test_sizes_that_cannot_be() -> None:
    lstm = find_cell("lstm")
    with pytest.raises(ConfigurationError, match=r"at least one unit(.|\n)*D = 0, H = 4"):
        RecurrentLayer(lstm, 0, 4)
    with pytest.raises(ConfigurationError, match="at least one unit"):
        RecurrentLayer(lstm, 4, 0)
    with pytest.raises(ConfigurationError, match=r"at least one layer(.|\n)*got: 0"):
        Recurrent(lstm, 3, 4, 0)
    with pytest.raises(CellError, match="3 inputs and 4 hidden units"):
        RecurrentLayer(find_cell(f"{FILE}:sru"), 3, 4)


@pytest.mark.parametrize(
    ("x", "state", "resets", "message"),
    [
        ((2, 5, 4), None, None, r"x has a wrong shape\n  expected: \(B, T, 3\)\n  got: \(2, 5, 4\)"),
        ((5, 3), None, None, r"x has a wrong shape\n  expected: \(B, T, 3\)\n  got: \(5, 3\)"),
        (
            (2, 5, 3),
            [(2, 4)],
            None,
            r"the state is of another cell\n  expected: \(h, c\), each \(2, 4\)\n  got: 1 parts",
        ),
        ((2, 5, 3), [(2, 4), (2, 5)], None, r"state c has a wrong shape\n  expected: \(2, 4\)\n  got: \(2, 5\)"),
        ((2, 5, 3), [(1, 4), (1, 4)], None, r"state h has a wrong shape\n  expected: \(2, 4\)\n  got: \(1, 4\)"),
        ((2, 5, 3), None, (2, 4), r"resets has a wrong shape\n  expected: \(2, 5\)\n  got: \(2, 4\)"),
    ],
)
def test_shapes_that_do_not_fit(
    x: tuple[int, ...], state: list[tuple[int, ...]] | None, resets: tuple[int, ...] | None, message: str
) -> None:
    layer = RecurrentLayer(find_cell("lstm"), 3, 4)
    given = None if state is None else tuple(torch.zeros(shape) for shape in state)
    with pytest.raises(ConfigurationError, match=message):
        layer(torch.zeros(x), given, None if resets is None else torch.zeros(resets, dtype=torch.bool))


def test_shapes_that_do_not_fit_a_step_or_a_stack() -> None:
    stack = Recurrent(find_cell("lstm"), 3, 4, 2)
    with pytest.raises(ConfigurationError, match=r"x has a wrong shape\n  expected: \(B, 3\)"):
        stack.step(torch.zeros(2, 1, 3), stack.initial_state(2))
    with pytest.raises(ConfigurationError, match=r"the state is of another stack\n  expected: 2 layers\n  got: 1"):
        stack(torch.zeros(2, 1, 3), stack.initial_state(2)[:1])


def test_training_goes_down_with_every_cell() -> None:
    """A few steps of plain gradient descent through the module, each cell by the kernel that is chosen for it."""
    for name in BUILTIN:
        stack = make_stack(name, layers=1)
        x = draw(4, 8, stack.input_size)
        target = tanh_of_shifted(x[..., :3])
        optimizer = torch.optim.SGD(stack.parameters(), 0.1)
        losses = []
        for _ in range(8):
            loss = (stack(x)[0][..., :3] - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0]


def tanh_of_shifted(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(torch.roll(x, 1, 1))


def test_a_kernel_can_be_chosen() -> None:
    equations = find_cell("gru")
    layers = [RecurrentLayer(equations, 3, 4, kernel=kernel).double() for kernel in ("library", "staged", "reference")]
    for layer in layers[1:]:
        layer.load_state_dict(layers[0].state_dict())
    x = draw(2, 5, 3)
    for layer in layers[1:]:
        assert_close(layer(x), layers[0](x))
