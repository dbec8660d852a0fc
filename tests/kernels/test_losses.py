"""The fused softmax loss against PyTorch's in float64; its memory; what it refuses."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigurationError
from unrolled.kernels import linear_cross_entropy, losses

Tensors = tuple[torch.Tensor | None, ...]


@pytest.fixture(params=["one block", "blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never PyTorch's own operations; all targets in one block, or 5 of them, on several threads."""
    small_blocks(monkeypatch, 2**23 if request.param == "one block" else 1)


def small_blocks(patch: pytest.MonkeyPatch, logits: int) -> None:
    patch.setattr(torch, "get_num_threads", lambda: 3)
    for name, value in (("_SMALL", 0), ("_LOGITS", logits), ("_TARGETS", 5), ("_PIECE", 100), ("_WORTH", 50)):
        patch.setattr(losses, name, value)


def tensors(count: int, size: int, hidden: int, dtype: torch.dtype, bias: bool = True) -> Tensors:
    """x, weight, bias, targets and weights, some of them zero."""
    generator = torch.Generator().manual_seed(count * size + hidden)
    x, weight, b = (torch.randn(n, generator=generator) for n in ((count, hidden), (size, hidden), (size,)))
    weight /= hidden**0.5
    leaves = [each.to(dtype).requires_grad_() for each in ((x, weight, b) if bias else (x, weight))]
    weights = torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < 0.7)
    return *leaves, *(() if bias else (None,)), torch.randint(size, (count,), generator=generator), weights


def found_and_expected(given: Tensors, upstream: torch.Tensor | None, precision: str) -> tuple[Tensors, Tensors]:
    """Nats and gradients, ours and in float64, with a gradient for every target or the same for all."""
    results = []
    for ours in (True, False):
        leaves = [None if each is None else each.detach().to(each.dtype if ours else torch.float64) for each in given]
        x, weight, bias, targets, weights = leaves
        wanted = [each.requires_grad_() for each in (x, weight, bias) if each is not None]
        if ours:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                nats = linear_cross_entropy(x, weight, bias, targets, weights)
        else:
            nats = weights * F.cross_entropy(F.linear(x, weight, bias), targets.long(), reduction="none")
        (nats.sum() / 3 if upstream is None else (nats * upstream.to(nats)).sum()).backward()
        results.append((nats.detach(), *(each.grad for each in wanted)))
    return results[0], results[1]


def agree(found: Tensors, expected: Tensors, tolerance: float) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.double() - theirs).norm() <= tolerance * (theirs.norm() + 0.1), (mine, theirs)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
@settings(max_examples=12)
@given(
    count=st.sampled_from([1, 2, 63, 131]),
    size=st.sampled_from([1, 2, 65]),
    hidden=st.integers(1, 40),
    bias=st.booleans(),
    uneven=st.booleans(),
)
def test_values_and_gradients(precision: str, count: int, size: int, hidden: int, bias: bool, uneven: bool) -> None:
    dtype = torch.float64 if precision == "float64" else torch.float32
    upstream = torch.linspace(-1, 2, count) if uneven else None
    found, expected = found_and_expected(tensors(count, size, hidden, dtype, bias), upstream, precision)
    if precision != "bfloat16":
        agree(found, expected, {"float32": 1e-5, "float64": 1e-12}[precision])
    elif size == 65 and count > 2:
        agree(found, expected, 2e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("uneven", [False, True])
def test_a_large_vocabulary(precision: str, uneven: bool) -> None:
    upstream = torch.linspace(0, 2, 301) if uneven else None
    found, expected = found_and_expected(tensors(301, 10_007, 16, torch.float32), upstream, precision)
    agree(found, expected, {"float32": 1e-5, "bfloat16": 2e-2}[precision])


@pytest.mark.usefixtures("blocks")
def test_gradients_are_slopes() -> None:
    x, weight, bias, targets, weights = tensors(67, 3, 2, torch.float64)
    assert torch.autograd.gradcheck(lambda *leaves: linear_cross_entropy(*leaves, targets, weights), (x, weight, bias))


@pytest.mark.usefixtures("blocks")
def test_the_way_back_can_be_gone_twice() -> None:
    x, weight, bias, targets, weights = tensors(70, 65, 8, torch.float32)
    total = linear_cross_entropy(x, weight, bias, targets, weights).sum()
    first = torch.autograd.grad(total, (x, weight, bias), retain_graph=True)
    second = torch.autograd.grad(total, (x, weight, bias))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.usefixtures("blocks")
def test_only_what_is_wanted() -> None:
    x, weight, bias, targets, _ = tensors(70, 65, 8, torch.float32)
    alone = linear_cross_entropy(x, weight.detach(), bias.detach(), targets)
    torch.testing.assert_close(
        torch.autograd.grad(alone.sum(), x),
        torch.autograd.grad(linear_cross_entropy(x, weight, bias, targets).sum(), x),
    )
    with torch.no_grad():
        assert torch.equal(linear_cross_entropy(x, weight, bias, targets), alone)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_extreme_logits_stay_finite(precision: str) -> None:
    x, weight = torch.full((70, 1), 100.0, requires_grad=True), torch.tensor([[100.0], [-100.0], [0.0]])
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        nats = linear_cross_entropy(x, weight.requires_grad_(), None, torch.arange(70) % 3)
    nats.sum().backward()
    agree((nats.detach()[:3],), (torch.tensor([0.0, 2e4, 1e4]),), 1e-2)
    assert bool(x.grad.isfinite().all())
    assert bool(weight.grad.isfinite().all())


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_not_a_number_comes_through(precision: str) -> None:
    x, weight, bias, targets, _ = tensors(70, 65, 8, torch.float32)
    with torch.no_grad():
        x[3, 2] = torch.nan
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        nats = linear_cross_entropy(x, weight, bias, targets)
    nats.sum().backward()
    assert nats.isnan().nonzero().flatten().tolist() == [3]
    assert bool(weight.grad.isnan().any())
    with torch.no_grad():
        bias[1] = torch.inf
    assert not bool(linear_cross_entropy(x, weight, bias, targets).isfinite().any())


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_bits_every_time(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    given = tensors(131, 65, 16, torch.float32)
    first, _ = found_and_expected(given, None, precision)
    for _ in range(5):
        again, _ = found_and_expected(given, None, precision)
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_any_shape_of_targets_and_none() -> None:
    x, weight = torch.randn(2, 3, 4), torch.randn(5, 4)
    targets = torch.arange(6).view(2, 3) % 5
    nats = linear_cross_entropy(x, weight, None, targets)
    torch.testing.assert_close(nats.flatten(), linear_cross_entropy(x.flatten(0, 1), weight, None, targets.flatten()))
    assert linear_cross_entropy(x[:, :0], weight, None, targets[:, :0]).shape == (2, 0)


@pytest.mark.parametrize("wrong", [-100, -1, 5])
def test_targets_are_in_the_vocabulary(wrong: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"0 to 4\n.*{wrong}"):
        linear_cross_entropy(torch.ones(2, 3), torch.ones(5, 3), None, torch.tensor([0, wrong]))


def test_shapes_fit() -> None:
    with pytest.raises(ConfigurationError, match=r"bias \(4,\)"):
        linear_cross_entropy(torch.ones(2, 3), torch.ones(5, 3), torch.ones(4), torch.tensor([0, 1]))


MEMORY = """
import sys
import torch, torch.nn.functional as F
from unrolled.kernels import linear_cross_entropy
torch.set_num_threads(1)
V, H = 20_000, 8

def step(count, fused):
    x, weight = torch.ones(count, H, requires_grad=True), torch.ones(V, H, requires_grad=True)
    targets = torch.arange(count)
    with torch.autocast("cpu", torch.bfloat16):
        if fused:
            loss = linear_cross_entropy(x, weight, None, targets).sum()
        else:
            loss = F.cross_entropy(F.linear(x, weight).float(), targets, reduction="sum")
    loss.backward()

def megabytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) / 1024

step(600, True)
step(2, False)
for count, fused in ((2000, True), (4000, True), (4000, False)):
    before = megabytes("VmRSS")
    with open("/proc/self/clear_refs", "w") as references:
        references.write("5")
    step(count, fused)
    print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says the most memory that a process had")
def test_memory_is_flat_and_a_tenth() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    short, long, plain = map(float, done.stdout.split())
    assert long - short < 5
    assert long < plain / 10


@pytest.mark.parametrize("size", [7, 3000])
def test_time_may_come_first_in_memory(size: int) -> None:
    x, weight, bias = torch.randn(500, 3, 4), torch.randn(size, 4), torch.randn(size)
    targets, weights = torch.randint(size, (3, 500)), torch.rand(3, 500)
    outcomes = []
    for hidden in (x.transpose(0, 1), x.transpose(0, 1).contiguous()):
        hidden = hidden.detach().requires_grad_()
        nats = linear_cross_entropy(hidden, weight, bias, targets, weights)
        (gradient,) = torch.autograd.grad(nats.sum(), hidden)
        outcomes.append((nats.detach(), gradient))
    for first, second in zip(*outcomes, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-5)
