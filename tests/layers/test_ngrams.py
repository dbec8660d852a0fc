"""The linear map of n-grams: against sets of n-grams in plain Python, whatever the padding."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigurationError
from unrolled.layers import NGrams

MULTIPLIER = 0x9E3779B97F4A7C15


def row_of(gram: tuple[int, ...], size: int) -> int:
    """The row of an n-gram, with Python's whole numbers."""
    mixed = 0
    for symbol in gram:
        mixed = (mixed * MULTIPLIER + symbol) % (1 << 64)
    product = (mixed * MULTIPLIER) % (1 << 64)
    signed = product - (1 << 64) if product >= 1 << 63 else product
    return (signed >> 32) % (size - 1) + 1


def by_hand(ids: list[int], order: int, symbols: int, weight: torch.Tensor, placed: bool) -> torch.Tensor:
    around = [symbols + 1, *(token + 1 for token in ids), symbols + 2]
    grams = {
        ((at + 1,) if placed else ()) + tuple(around[at : at + n])
        for n in range(1, order + 1)
        for at in range(len(around) - n + 1)
    }
    rows = {row_of(gram, len(weight)) for gram in grams}
    return sum((weight[row] for row in rows), torch.zeros_like(weight[0])) / math.sqrt(len(rows))


@settings(max_examples=30)
@given(
    sequences=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=7), min_size=1, max_size=4),
    order=st.integers(1, 4),
    size=st.sampled_from([2, 50, 1 << 16]),
    padding=st.integers(0, 2),
    placed=st.booleans(),
)
def test_ngrams_are_those_of_sets(
    sequences: list[list[int]], order: int, size: int, padding: int, placed: bool
) -> None:
    torch.manual_seed(0)
    layer = NGrams(order, 5, 3, size, placed=placed).double().eval()
    layer.weight.data.normal_()
    longest = max(map(len, sequences)) + padding
    ids = torch.tensor([[*sequence, *[3] * (longest - len(sequence))] for sequence in sequences])
    found = layer(ids, torch.tensor([len(sequence) for sequence in sequences]))
    for row, sequence in enumerate(sequences):
        torch.testing.assert_close(found[row], by_hand(sequence, order, 5, layer.weight.detach(), placed))


def test_few_share_a_row() -> None:
    layer = NGrams(2, 300, 1, 1 << 16)
    rows = layer.rows(torch.arange(300).unsqueeze(0), torch.tensor([300]))
    assert 595 <= int((rows > 0).sum()) <= 603  # 302 of one symbol, 301 of two


def test_with_places_the_same_letters_elsewhere_are_others() -> None:
    ids, lengths = torch.tensor([[1, 2, 1, 2], [2, 1, 2, 1]]), torch.tensor([4, 4])
    for placed in (False, True):
        rows = NGrams(1, 5, 1, placed=placed).rows(ids, lengths)
        assert torch.equal(rows[0], rows[1]) is not placed


def test_they_start_at_zero_and_learn() -> None:
    layer = NGrams(2, 5, 2, dropout=0.5)
    ids, lengths = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    assert not layer(ids, lengths).any()
    layer.eval()(ids, lengths)[0, 0].backward()
    assert layer.weight.grad is not None
    assert int((layer.weight.grad[:, 0] != 0).sum()) == 9
    assert not layer.weight.grad[:, 1].any()
    layer.weight.data.fill_(1)
    layer.reset_parameters()
    assert not layer.weight.any()


def test_dropout_is_of_training_alone() -> None:
    torch.manual_seed(0)
    layer = NGrams(3, 5, 2, dropout=0.5)
    layer.weight.data.normal_()
    ids, lengths = torch.tensor([[1, 2, 3, 0]]), torch.tensor([4])
    assert not torch.equal(layer(ids, lengths), layer(ids, lengths))
    layer.eval()
    assert torch.equal(layer(ids, lengths), layer(ids, lengths))


@pytest.mark.parametrize("options", [{"order": 0}, {"size": 1}, {"dropout": 1.0}], ids=str)
def test_numbers_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        NGrams(**{"order": 2, "symbols": 5, "outputs": 2, **options})  # type: ignore[arg-type]
