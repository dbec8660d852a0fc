"""Pooling over time: against plain loops, and the same in a batch as alone, whatever the padding, for every cell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import BUILTIN, find_cell
from unrolled.errors import ConfigurationError
from unrolled.kernels import Kernel
from unrolled.layers import AttentionPooling, Pooling, Recurrent

FILE = Path(__file__).parents[1] / "example_cells.py"
CELLS = [*BUILTIN, *(f"{FILE}:{name}" for name in ("four_stages", "own_input", "delay", "average"))]
EVERY = "last+mean+max+attention"


def pooled_by_hand(y: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One sequence (T, H), without padding, step by step."""
    half, attention = y.shape[1] // 2, pooling.attention
    assert attention is not None
    last = torch.cat([y[-1, :half], y[0, half:]]) if pooling.bidirectional else y[-1]
    scores = [attention.score(torch.tanh(attention.map(step))) for step in y]
    shares = torch.softmax(torch.cat(scores), 0)
    learned = sum((share * step for share, step in zip(shares, y, strict=True)), torch.zeros_like(y[0]))
    return torch.cat([last, sum(y) / len(y), torch.stack([*y]).amax(0), learned])


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5), padding=st.integers(0, 3), bidirectional=st.booleans()
)
def test_pooling_is_what_a_loop_over_a_sequence_gives(lengths: list[int], padding: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    pooling = Pooling(EVERY, 4, bidirectional=bidirectional).double()
    y = torch.randn(len(lengths), max(lengths) + padding, 4, dtype=torch.float64)
    for row, length in enumerate(lengths):
        y[row, length:] = torch.nan  # whatever stands there
    found = pooling(y, torch.tensor(lengths))
    assert found.shape == (len(lengths), pooling.output_size)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row], pooled_by_hand(y[row, :length], pooling))
        torch.testing.assert_close(found[row], pooling(y[row : row + 1, :length])[0])


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize(
    ("name", "kernel"),
    [*((name, "reference") for name in CELLS), *((name, "staged") for name in CELLS), ("gru", "cpu"), ("lstm", "cpu")],
    ids=lambda value: Path(value).name,
)
def test_a_batch_gives_what_each_sequence_gives_alone(name: str, kernel: Kernel, bidirectional: bool) -> None:
    torch.manual_seed(1)
    equations, lengths = find_cell(name), [5, 1, 12, 2, 7]
    layers = 1 if equations.uses_raw_input and bidirectional else 2  # which has as many inputs as units
    stack = Recurrent(equations, 6, 6, layers, bidirectional=bidirectional, kernel=kernel)
    pooling = Pooling(EVERY, stack.output_size, bidirectional=bidirectional)
    x = torch.randn(5, 12, 6)
    with torch.no_grad():
        alone = [pooling(stack(x[row : row + 1, :length])[0]) for row, length in enumerate(lengths)]
        wanted = torch.cat(alone)
        for padding, filling in ((0, 0.0), (3, 1e4)):
            padded = torch.cat([x, x.new_zeros(5, padding, 6)], 1)
            for row, length in enumerate(lengths):
                padded[row, length:] = filling
            y, _ = stack(padded, lengths=torch.tensor(lengths))
            found = pooling(y, torch.tensor(lengths))
            assert torch.linalg.vector_norm(found - wanted) <= 1e-6 * torch.linalg.vector_norm(wanted)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
def test_the_last_output_is_the_state_of_each_direction(bidirectional: bool) -> None:
    torch.manual_seed(2)
    stack = Recurrent(find_cell("gru"), 3, 4, bidirectional=bidirectional, kernel="reference").double()
    lengths = torch.tensor([6, 1, 3])
    y, state = stack(torch.randn(3, 6, 3, dtype=torch.float64), lengths=lengths)
    wanted = torch.cat([layer[0] for layer in state], -1)
    torch.testing.assert_close(Pooling("last", stack.output_size, bidirectional=bidirectional)(y, lengths), wanted)


def test_gradients_stop_at_the_ends() -> None:
    torch.manual_seed(3)
    pooling = Pooling(EVERY, 4, bidirectional=True).double()
    y = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([5, 1, 3])
    assert torch.autograd.gradcheck(lambda y: pooling(y, lengths), y)
    pooling(y, lengths).sum().backward()
    assert y.grad is not None
    for row, length in enumerate(lengths.tolist()):
        assert not y.grad[row, length:].any()
        assert y.grad[row, :length].any(1).all()


def test_attention_shows_its_weights() -> None:
    torch.manual_seed(4)
    attention, lengths = AttentionPooling(4, attention_size=3), torch.tensor([2, 5])
    y = torch.randn(2, 5, 4)
    weights = attention.weights(y, lengths)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    assert not weights[0, 2:].any()
    assert weights[0, :2].all()
    torch.testing.assert_close(attention(y, lengths)[1], weights[1] @ y[1])
    attention.score.weight.data.zero_()
    torch.testing.assert_close(attention(y, lengths)[1], y[1].mean(0))


@pytest.mark.parametrize(("how", "problem"), [("maxx", "no such choice"), ("", "no such choice"), ("max+max", "twice")])
def test_a_pooling_that_there_is_not(how: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Pooling(how, 4)


def test_starting_again() -> None:
    pooling = Pooling("mean+attention", 4)
    before = {name: value.clone() for name, value in pooling.state_dict().items()}
    pooling.reset_parameters()
    assert all(not torch.equal(before[name], value) for name, value in pooling.state_dict().items())
    Pooling("mean", 4).reset_parameters()
