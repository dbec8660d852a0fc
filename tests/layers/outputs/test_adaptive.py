"""The adaptive softmax against its tree written out, PyTorch's own, and slopes; its cut-offs against all there are."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigurationError
from unrolled.layers.outputs import AdaptiveSoftmax, choose_cutoffs, cutoffs, ranks_of


def layer_of(hidden: int, size: int, ends: list[int], divisor: float = 2.0, seed: int = 0) -> AdaptiveSoftmax:
    """In float64, symbols in no order of frequency, all parameters random."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(size // 2 + 1, (size,), generator=generator).numpy()
    layer = AdaptiveSoftmax(hidden, size, ends, divisor, counts).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def tree_probability(layer: AdaptiveSoftmax, h: np.ndarray, symbol: int) -> float:
    """p(symbol) as the paper has it, in plain arithmetic."""
    weights = {name: value.detach().numpy() for name, value in layer.named_parameters()}

    def softmax(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> list[float]:
        logits = [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        total = sum(math.exp(logit) for logit in logits)
        return [math.exp(logit) / total for logit in logits]

    ends = [0, *layer.cutoffs, layer.size]
    rank = int(layer.ranks[symbol])
    head = softmax(weights["head.weight"], weights["head.bias"], h)
    if rank < ends[1]:
        return head[rank]
    j = next(j for j in range(1, len(ends) - 1) if ends[j] <= rank < ends[j + 1])
    names = [f"clusters.{j - 1}.{name}" for name in ("down.weight", "rows.weight", "rows.bias")]
    down, rows, bias = (weights[name] for name in names)
    return head[ends[1] + j - 1] * softmax(rows, bias, down @ h)[rank - ends[j]]


@settings(max_examples=25, deadline=None)
@given(
    hidden=st.integers(1, 9),
    size=st.integers(1, 63),
    divisor=st.sampled_from([1.0, 2.0, 4.0]),
    data=st.data(),
)
def test_it_is_the_tree_and_sums_to_one(hidden: int, size: int, divisor: float, data: st.DataObject) -> None:
    ends = sorted(data.draw(st.sets(st.integers(1, size - 1), max_size=4))) if size > 1 else []
    layer = layer_of(hidden, size, ends, divisor)
    h = torch.randn(2, 3, hidden, dtype=torch.float64)
    with torch.no_grad():
        log_p = layer.log_probabilities(h)
        for b, t in itertools.product(range(2), range(3)):
            expected = [tree_probability(layer, h[b, t].numpy(), symbol) for symbol in range(size)]
            assert math.fsum(expected) == pytest.approx(1, abs=1e-12)
            np.testing.assert_allclose(log_p[b, t].exp().numpy(), expected, rtol=1e-9)
        targets = torch.randint(size, (2, 3))
        found = layer.losses(h, targets)
    torch.testing.assert_close(found, -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_is_that_of_pytorch(precision: str) -> None:
    hidden, size, ends = 24, 1009, [67, 203]
    ours = AdaptiveSoftmax(hidden, size, ends, 4.0)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(hidden, size, ends, 4.0, head_bias=True)
    theirs.head.load_state_dict(ours.head.state_dict())
    for cluster, tail in zip(ours.clusters, theirs.tail, strict=True):
        tail[0].weight.data.copy_(cluster.down.weight)  # type: ignore[index, union-attr]
        tail[1].weight.data.copy_(cluster.rows.weight)  # type: ignore[index, union-attr]
    h = torch.randn(131, hidden, requires_grad=True)
    targets = torch.randint(size, (131,))
    theirs(h, targets).loss.backward()
    expected = h.grad.clone()  # type: ignore[union-attr]
    h.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss = ours.losses(h, targets).mean()
    loss.backward()
    tolerance = {"float32": 1e-5, "bfloat16": 2e-2}[precision]
    for found, other in (
        (h.grad, expected),
        (ours.head.weight.grad, theirs.head.weight.grad),
        (ours.clusters[1].rows.weight.grad, theirs.tail[1][1].weight.grad),  # type: ignore[index, union-attr]
        (ours.clusters[0].down.weight.grad, theirs.tail[0][0].weight.grad),  # type: ignore[index, union-attr]
    ):
        assert (found - other).norm() < tolerance * other.norm()
    with torch.no_grad():
        torch.testing.assert_close(ours(h), theirs.log_prob(h))


def test_gradients_are_slopes() -> None:
    layer = layer_of(3, 11, [2, 5])
    targets, weights = torch.randint(11, (2, 4)), torch.rand(2, 4, dtype=torch.float64)
    h = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    leaves = [h, *layer.parameters()]
    assert torch.autograd.gradcheck(lambda *_: layer.losses(h, targets, weights), leaves)
    assert torch.autograd.gradcheck(lambda *_: layer(h), leaves)


def test_every_parameter_has_a_gradient_where_no_rare_symbol_comes() -> None:
    layer = AdaptiveSoftmax(4, 20, [5, 9])
    layer.losses(torch.randn(2, 4), torch.tensor([0, 3])).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    assert all(bool((parameter.grad == 0).all()) for parameter in layer.clusters.parameters())


def test_what_has_no_weight_costs_nothing() -> None:
    layer = layer_of(4, 20, [5, 9])
    nats = layer.losses(
        torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 6, 19]), torch.tensor([1.0, 0, 0.5])
    ).detach()
    assert nats[1] == 0
    assert nats[0] > 0


@pytest.mark.parametrize("ends", [[0], [3, 3], [5, 2], [20], [4, 25]])
def test_cutoffs_that_make_no_sense(ends: list[int]) -> None:
    with pytest.raises(ConfigurationError, match="cutoffs are not those of the vocabulary"):
        AdaptiveSoftmax(4, 20, ends)


@pytest.mark.parametrize("target", [-1, 20])
def test_a_target_outside_the_vocabulary(target: int) -> None:
    with pytest.raises(ConfigurationError, match="outside the vocabulary"):
        AdaptiveSoftmax(4, 20, [5]).losses(torch.zeros(1, 4), torch.tensor([target]))


def test_ranks() -> None:
    assert ranks_of(None, 3).tolist() == [0, 1, 2]
    with pytest.raises(ConfigurationError, match="counts do not fit"):
        ranks_of([1, 2], 3)


# ---- cut-offs


def cost(ends: tuple[int, ...], counts: list[int], hidden: int, divisor: float) -> float:
    total, costs = sum(counts), (ends[0] + len(ends) - 1.0) * (hidden + cutoffs._LOGIT)
    for level, (begin, end) in enumerate(itertools.pairwise(ends), 1):
        width = max(1, int(hidden / divisor**level))
        one = (end - begin) * (width + cutoffs._LOGIT) + width * hidden
        costs += sum(counts[begin:end]) / total * one + cutoffs._CLUSTER * (hidden + cutoffs._LOGIT)
    return costs


@pytest.mark.parametrize("divisor", [1.0, 4.0])
def test_cutoffs_are_the_cheapest_there_are(divisor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutoffs, "_MOST", 3)
    monkeypatch.setattr(cutoffs, "_CLUSTER", 1)
    counts = [1000 // (rank + 1) for rank in range(23)]
    every = [c for n in range(4) for c in itertools.combinations(range(1, 23), n)]
    least = sum(counts[: next(n for n in range(23) if sum(counts[:n]) >= 0.7 * sum(counts))])
    every = [ends for ends in every if not ends or sum(counts[: ends[0]]) >= least]
    every = [ends for ends in every if 64 / divisor ** len(ends) >= 16]
    best = min(every, key=lambda ends: cost((*ends, 23), counts, 64, divisor))
    found = choose_cutoffs(counts[::-1], 64, divisor)
    assert cost((*found, 23), counts, 64, divisor) == pytest.approx(cost((*best, 23), counts, 64, divisor))
    assert found


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 50_000])
def test_cutoffs_ascend_within_the_vocabulary(size: int) -> None:
    found = choose_cutoffs([1 + 10**6 // (rank + 1) for rank in range(size)], 256)
    assert all(first < second for first, second in itertools.pairwise((0, *found, size)))
    assert bool(found) is (size >= 1000)


def test_cutoffs_of_no_counts_at_all() -> None:
    assert choose_cutoffs([0, 0, 0], 8) == ()
