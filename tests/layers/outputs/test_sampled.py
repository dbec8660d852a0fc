"""The sampled softmax against its formula, its limit, and what its correction promises."""

from __future__ import annotations

import math

import pytest
import torch

from unrolled.errors import ConfigurationError
from unrolled.layers.outputs import FullSoftmax, SampledSoftmax


def layer_of(size: int, samples: int, hidden: int = 5, counts: list[int] | None = None) -> SampledSoftmax:
    torch.manual_seed(1)
    layer = SampledSoftmax(hidden, size, samples, counts).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def test_draws_are_log_uniform_and_expected_counts_are_those_of_the_draws() -> None:
    layer, rounds = layer_of(9, 4), 20_000
    torch.manual_seed(2)
    seen = torch.zeros(9)
    for _ in range(rounds):
        drawn = layer._draw()
        assert drawn.tolist() == sorted(set(drawn.tolist()))
        seen[drawn] += 1
    expected = layer._log_expected(torch.arange(9), torch.float64).exp()
    by_hand = [1 - (1 - math.log((r + 2) / (r + 1)) / math.log(10)) ** 4 for r in range(9)]
    torch.testing.assert_close(expected.tolist(), by_hand)
    # Six standard deviations.
    assert bool(((seen / rounds - expected).abs() < 6 * (expected * (1 - expected) / rounds).sqrt()).all())


def test_the_loss_is_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(11, 6, counts=[5, 0, 9, 1, 1, 7, 30, 2, 2, 2, 8])
    drawn = torch.tensor([0, 2, 7])
    monkeypatch.setattr(layer, "_draw", lambda: drawn)
    h = torch.randn(1, 3, 5, dtype=torch.float64)
    targets, weights = torch.tensor([[6, 3, 10]]), torch.tensor([[1.0, 2.0, 0.0]])
    found = layer.losses(h, targets, weights)[0].detach()
    ranks = layer.ranks.tolist()
    assert ranks[6] == 0  # the most frequent; among those drawn: an accidental hit
    q = [1 - (1 - math.log((r + 2) / (r + 1)) / math.log(12)) ** 6 for r in ranks]
    for n in range(3):
        scores = (layer.weight @ h[0, n] + layer.bias).tolist()
        corrected = [score - math.log(each) for score, each in zip(scores, q, strict=True)]
        y = int(targets[0, n])
        among = {y, *(symbol for symbol in range(11) if ranks[symbol] in (0, 2, 7))}
        nats = math.log(sum(math.exp(corrected[symbol]) for symbol in among)) - corrected[y]
        assert float(found[n]) == pytest.approx(float(weights[0, n]) * nats)


def test_of_all_symbols_it_is_the_full_softmax() -> None:
    layer = layer_of(7, 100_000)
    full = FullSoftmax(5, 7).double()
    full.load_state_dict({name: value for name, value in layer.state_dict().items() if name in ("weight", "bias")})
    h, targets = torch.randn(13, 5, dtype=torch.float64, requires_grad=True), torch.randint(7, (13,))
    (found,) = torch.autograd.grad(layer.losses(h, targets).sum(), h)
    (expected,) = torch.autograd.grad(full.losses(h, targets).sum(), h)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(layer.losses(h, targets), full.losses(h, targets))


def test_evaluation_is_the_full_softmax() -> None:
    layer = layer_of(300, 2).eval()
    h, targets = torch.randn(3, 5, dtype=torch.float64), torch.randint(300, (3,))
    expected = -torch.log_softmax(layer(h), -1).gather(1, targets.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(layer.losses(h, targets), expected)
    assert bool((layer.train().losses(h, targets) != expected).all())


def test_the_correction_leaves_the_true_distribution_alone() -> None:
    """At the true probabilities the expected gradient is nearly none; without the correction it is not."""
    size, samples = 20, 12
    true = torch.softmax(torch.linspace(0, -3, size, dtype=torch.float64), 0)
    slopes = {}
    for corrected in (True, False):
        layer = SampledSoftmax(1, size, samples).double()
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.copy_(true.log())
        if not corrected:
            layer._log_expected = lambda ranks, dtype: torch.zeros(ranks.shape, dtype=dtype)  # type: ignore[method-assign]
        torch.manual_seed(3)
        total = torch.zeros(size, dtype=torch.float64)
        h, targets = torch.zeros(size, 1, dtype=torch.float64), torch.arange(size)
        for _ in range(1500):
            (slope,) = torch.autograd.grad(layer.losses(h, targets, true).sum(), layer.bias)
            total += slope / 1500
        slopes[corrected] = float(total.abs().max())
    assert slopes[True] < 0.006
    assert slopes[False] > 0.05


def test_gradients_are_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(8, 3, hidden=2)
    monkeypatch.setattr(layer, "_draw", lambda: torch.tensor([1, 4]))
    h = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1, 0, 7, 4])
    leaves = (h, layer.weight, layer.bias)
    assert torch.autograd.gradcheck(lambda *_: layer.losses(h, targets), leaves)


def test_where_only_the_target_was_drawn_there_is_nothing_to_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(8, 1)
    monkeypatch.setattr(layer, "_draw", lambda: torch.tensor([2]))
    h = torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    nats = layer.losses(h, torch.tensor([2]))
    nats.sum().backward()
    assert float(nats.detach()) == 0
    assert bool((h.grad == 0).all())
    assert bool((layer.weight.grad == 0).all())


def test_draws_follow_the_generator() -> None:
    layer = layer_of(1000, 30)
    torch.manual_seed(4)
    first = layer._draw()
    torch.manual_seed(4)
    assert torch.equal(first, layer._draw())
    assert not torch.equal(first, layer._draw())


def test_bfloat16_under_autocast() -> None:
    layer, h, targets = layer_of(1000, 300).float(), torch.randn(50, 5), torch.randint(1000, (50,))
    torch.manual_seed(5)
    expected = layer.losses(h, targets)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer.losses(h, targets)
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 2e-2 * expected.norm()


@pytest.mark.parametrize("target", [-1, 8])
def test_a_target_outside_the_vocabulary(target: int) -> None:
    with pytest.raises(ConfigurationError, match="outside the vocabulary"):
        layer_of(8, 2).losses(torch.zeros(1, 5, dtype=torch.float64), torch.tensor([target]))
