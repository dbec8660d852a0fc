"""The mixture of softmaxes against its sum written out."""

from __future__ import annotations

import pytest
import torch

from unrolled.layers.outputs import MixtureOfSoftmaxes


def layer_of(experts: int = 3, hidden: int = 4, size: int = 13, width: int | None = None) -> MixtureOfSoftmaxes:
    torch.manual_seed(1)
    layer = MixtureOfSoftmaxes(hidden, size, experts, width).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def probabilities(layer: MixtureOfSoftmaxes, h: torch.Tensor) -> torch.Tensor:
    """(H,) to (V,), expert by expert."""
    prior = torch.softmax(layer.prior.weight @ h, 0)
    found = torch.zeros(len(layer.weight), dtype=torch.float64)
    for k in range(layer.experts):
        rows = slice(k * layer.width, (k + 1) * layer.width)
        latent = torch.tanh(layer.latent.weight[rows] @ h + layer.latent.bias[rows])
        found = found + prior[k] * torch.softmax(layer.weight @ latent + layer.bias, 0)
    return found


@pytest.mark.parametrize(("experts", "width"), [(1, None), (3, None), (3, 2), (5, 7)])
def test_it_is_the_sum(experts: int, width: int | None) -> None:
    layer = layer_of(experts, width=width)
    h, targets = torch.randn(2, 3, 4, dtype=torch.float64), torch.randint(13, (2, 3))
    weights = torch.tensor([[1.0, 0, 2], [1, 1, 1]])
    log_p, nats = layer.log_probabilities(h).detach(), layer.losses(h, targets, weights).detach()
    for b in range(2):
        for t in range(3):
            p = probabilities(layer, h[b, t]).detach()
            torch.testing.assert_close(log_p[b, t].exp(), p)
            assert float(p.sum()) == pytest.approx(1)
            torch.testing.assert_close(nats[b, t], -weights[b, t] * p[targets[b, t]].log())


def test_gradients_are_slopes() -> None:
    layer = layer_of(2, 2, 7)
    h, targets = torch.randn(3, 2, dtype=torch.float64, requires_grad=True), torch.randint(7, (3,))
    leaves = [h, *layer.parameters()]
    assert torch.autograd.gradcheck(lambda *_: layer.losses(h, targets), leaves)
    assert torch.autograd.gradcheck(lambda *_: layer(h), leaves)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_large_vocabularies_have_the_same_gradients(precision: str) -> None:
    layer = MixtureOfSoftmaxes(16, 10_007, 3)
    torch.nn.init.normal_(layer.weight, std=0.5)  # experts that say the same leave the prior no gradient but rounding
    exact = MixtureOfSoftmaxes(16, 10_007, 3).double()
    exact.load_state_dict(layer.state_dict())
    h, targets = torch.randn(101, 16), torch.randint(10_007, (101,))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        layer.losses(h, targets).mean().backward()
    (-exact(h.double()).gather(1, targets.unsqueeze(1)).mean()).backward()
    tolerance = {"float32": 1e-5, "bfloat16": 3e-2}[precision]
    for (name, found), expected in zip(layer.named_parameters(), exact.parameters(), strict=True):
        difference = (found.grad - expected.grad).norm() / expected.grad.norm()  # type: ignore[union-attr, operator]
        assert difference < tolerance, name


def test_its_logarithms_have_a_rank_that_no_softmax_has() -> None:
    layer, contexts = layer_of(5, 2, 40), torch.randn(60, 2, dtype=torch.float64)
    with torch.no_grad():
        centred = layer(contexts)
        centred = centred - centred.mean(1, keepdim=True)
    assert int(torch.linalg.matrix_rank(centred, rtol=1e-6)) > 3
