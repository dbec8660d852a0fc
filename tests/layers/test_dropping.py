from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import BUILTIN, find_cell
from unrolled.errors import ConfigurationError
from unrolled.layers import Dropout, Recurrent, RecurrentLayer, drop_weights, drop_words, to_torch
from unrolled.training.loop import seeded

CPU = torch.device("cpu")


@given(words=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_a_word_is_dropped_wherever_it_occurs(words: int, seed: int) -> None:
    ids = torch.randint(words, (3, 7), generator=torch.Generator().manual_seed(seed))
    with seeded(CPU, seed):
        dropped = drop_words(torch.ones(3, 7, 2), ids, words, 0.25)
    for word in ids.unique():
        assert len(dropped[ids == word].unique()) == 1
    assert all(value in (0.0, pytest.approx(4 / 3)) for value in dropped.unique().tolist())


def test_words_are_dropped_as_often_as_said() -> None:
    with seeded(CPU, 0):
        dropped = drop_words(torch.ones(1, 100_000, 1), torch.arange(100_000).unsqueeze(0), 100_000, 0.1)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.1, abs=0.005)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("cell", BUILTIN)
@pytest.mark.parametrize("kernel", [None, "reference"])
def test_recurrent_weights_are_dropped_for_all_steps_alike(cell: str, kernel: None) -> None:
    """The layer is the one whose matrices have lost the weights, and gradients go to those that are left."""
    equations = find_cell(cell)
    with seeded(CPU, 1):
        layer = RecurrentLayer(equations, 5, 5, kernel=kernel, weight_drop=0.4).double()
        x = torch.randn(3, 6, 5, dtype=torch.float64)
        resets = torch.rand(3, 6) < 0.2
    twin = RecurrentLayer(equations, 5, 5, kernel=kernel).double()
    with seeded(CPU, 2):
        y, state = layer(x, None, resets)
    with seeded(CPU, 2):
        left = drop_weights(layer.cell_parameters(), layer.dropped, 0.4)
    assert [name for name in left if left[name] is not layer.cell_parameters()[name]] == list(layer.dropped)
    assert all(bool((left[name] == 0).any()) for name in layer.dropped)
    left = {name: value.detach().requires_grad_() for name, value in left.items()}
    wanted, after = torch.func.functional_call(twin, left, (x, None, resets))
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(state, after)
    y.square().sum().backward()
    wanted.square().sum().backward()
    for name, parameter in layer.cell_parameters().items():
        expected = left[name].grad
        if name in layer.dropped:
            expected = expected / 0.6 * (left[name] != 0)
        torch.testing.assert_close(parameter.grad, expected)


def test_what_is_dropped_is_what_leads_from_step_to_step() -> None:
    assert RecurrentLayer(find_cell("lstm"), 3, 4).dropped == ("U.i", "U.f", "U.o", "U.g")
    assert RecurrentLayer(find_cell("mingru"), 3, 4).dropped == ()


def test_nothing_is_dropped_when_the_layer_is_used() -> None:
    layer, x = RecurrentLayer(find_cell("gru"), 3, 4, weight_drop=0.9), torch.randn(2, 5, 3)
    layer.eval()
    torch.testing.assert_close(layer(x)[0], layer(x)[0])
    layer.train()
    assert not torch.equal(layer(x)[0], layer(x)[0])
    stack = Recurrent(find_cell("gru"), 3, 4, 2, weight_drop=0.9)
    first, _ = stack.stepping().step(x[:, 0], stack.initial_state(2))
    torch.testing.assert_close(first, stack.eval()(x[:, :1])[0][:, 0])


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_a_probability_is_one(value: float) -> None:
    with pytest.raises(ConfigurationError, match="weight_drop is a probability"):
        RecurrentLayer(find_cell("rnn"), 1, 1, weight_drop=value)
    with pytest.raises(ConfigurationError, match="dropout is a probability"):
        Dropout(value)


# ---- a last layer of another size


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_last_layer_may_have_another_size(bidirectional: bool) -> None:
    stack = Recurrent(find_cell("lstm"), 3, 6, 3, last_size=4, bidirectional=bidirectional)
    ways = 2 if bidirectional else 1
    assert [(layer.input_size, layer.hidden_size) for layer in stack.layers] == [(3, 6), (6 * ways, 6), (6 * ways, 4)]
    y, state = stack(torch.randn(2, 5, 3))
    assert y.shape == (2, 5, 4 * ways) == (2, 5, stack.output_size)
    assert [part.shape[1] for layer in state for part in layer] == [6] * 4 * ways + [4] * 2 * ways
    if not bidirectional:
        steps, before = stack.stepping(), stack.initial_state(2)
        torch.testing.assert_close(steps.step(torch.ones(2, 3), before)[0], stack(torch.ones(2, 1, 3))[0][:, 0])


def test_what_is_added_to_its_input_has_its_size() -> None:
    with pytest.raises(ConfigurationError, match="layers of one size"):
        Recurrent(find_cell("lstm"), 3, 6, 2, last_size=4, residual=True)


@pytest.mark.parametrize("options", [{"last_size": 4}, {"weight_drop": 0.5}], ids=str)
def test_pytorch_has_no_such_modules(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="one size, and drop no weights"):
        to_torch(Recurrent(find_cell("lstm"), 3, 6, 2, **options))  # type: ignore[arg-type]
