"""The output layer and its softmax loss as one operation, a block of targets at a time.

The logits of a model with a large vocabulary are most of its memory and much of its time. Here the logits of one block
are turned where they lie into their own gradient, which both products of the backward pass take at once. They are
computed once and never held for all targets (Hsu et al. 2024, "Liger Kernel", arXiv:2410.10989, section 3.2).

A block lies as (V, N): products are up to twice as fast so, and elementary functions work on N targets side by side.
The gradient is kept as e^(logit - largest), with the sum taken off at the target, and a factor for every target, which
goes into what it is multiplied with: one pass less.

Axes: N targets, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from unrolled.errors import ConfigurationError
from unrolled.kernels.compiling import compiled
from unrolled.kernels.threads import side_by_side

__all__ = ["check_targets", "linear_cross_entropy"]

# What has no more logits is left to PyTorch's own operations, which are as fast there and hold little. Measured with
# V from 65 to 256; an accelerator wants more to do at once.
_SMALL, _SMALL_ELSEWHERE = 2**20, 2**26
# A block has about so many logits, but never fewer targets than this: products lose speed to reading the weights.
_LOGITS, _TARGETS = 2**23, 512
# A gradient of weights is added up in float32 in pieces of so many numbers, which stay in cache.
_PIECE = 2**20
# So many logits are worth a thread.
_WORTH = 2**18


def linear_cross_entropy(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    ahead: bool = True,
) -> torch.Tensor:
    """-w ln softmax(W x + b)[target], for every target; what lies in between is flat in the number of targets.

    Under autocast, products are in the dtype of autocast, and logits rounded to it; all else is in float32, or in
    float64 if the weight is. The gradient of a sum or mean over all targets is computed together with the loss; any
    other needs the logits a second time.

    Args:
        x: (..., H).
        weight: W (V, H).
        bias: b (V,).
        targets: (...) of 0 to V - 1.
        weights: w (...), 1 if not given; no gradient goes to them.
        ahead: whether to compute the gradient together with the loss; not where targets are known to count differently.

    Returns:
        nats (...), in float32, or float64 if the weight is.

    Raises:
        ConfigurationError: shapes do not fit each other, or a target is outside the vocabulary.

    >>> x, weight = torch.zeros(2, 3, 4), torch.zeros(10, 4)
    >>> linear_cross_entropy(x, weight, None, torch.tensor([[1, 2, 3], [4, 5, 6]]))
    tensor([[2.3026, 2.3026, 2.3026],
            [2.3026, 2.3026, 2.3026]])
    """
    _check(x, weight, bias, targets, weights)
    if x.dim() == 3 and not x.is_contiguous() and x.transpose(0, 1).is_contiguous():
        # As recurrent layers leave it: time step after time step.
        other = None if weights is None else weights.t()
        return linear_cross_entropy(x.transpose(0, 1), weight, bias, targets.t(), other, ahead=ahead).t()
    kind = x.device.type
    product, exact = weight.dtype, torch.float64 if weight.dtype == torch.float64 else torch.float32
    if torch.is_autocast_enabled(kind) and exact != torch.float64:
        product = torch.get_autocast_dtype(kind)
    flat = targets.reshape(-1).to(torch.int64).contiguous()
    scale = torch.ones_like(flat, dtype=exact) if weights is None else weights.detach().reshape(-1).to(exact)
    with torch.autocast(kind, enabled=False):
        if len(flat) * len(weight) <= _small(kind):
            offsets = None if bias is None else bias.to(product)
            logits = F.linear(x.flatten(0, -2).to(product), weight.to(product), offsets)
            nats = scale * F.cross_entropy(logits.to(exact), flat, reduction="none")
        else:
            nats = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
                product, torch.is_grad_enabled(), ahead, flat, scale.contiguous(), x.flatten(0, -2), weight, bias
            )
    return nats.view(targets.shape)


def _small(kind: str) -> int:
    return _SMALL if kind == "cpu" else _SMALL_ELSEWHERE


def _check(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    weights: torch.Tensor | None,
) -> None:
    size = len(weight)
    fits = x.dim() > 1 and x.shape == (*targets.shape, weight.shape[1]) and (bias is None or bias.shape == (size,))
    if not fits or (weights is not None and weights.shape != targets.shape):
        given = {"x": x, "weight": weight, "bias": bias, "targets": targets, "weights": weights}
        raise ConfigurationError(
            "the tensors of a softmax loss do not fit each other",
            expected="x (..., H), weight (V, H), bias (V,), targets and weights (...)",
            got=", ".join(f"{name} {tuple(value.shape)}" for name, value in given.items() if value is not None),
        )
    check_targets(targets, size)


def check_targets(targets: torch.Tensor, size: int) -> None:
    """Refuse targets that are no symbols: what looks them up would take another, or end the process.

    Args:
        targets: of any shape.
        size: V.

    Raises:
        ConfigurationError: naming the first bound that is passed.
    """
    if targets.numel():
        low, high = (int(value) for value in targets.aminmax())
        if low < 0 or high >= size:
            raise ConfigurationError(
                "a target is outside the vocabulary",
                expected=f"0 to {size - 1}",
                got=str(low if low < 0 else high),
                fix="a model is trained and scored on symbols of its own vocabulary only",
            )


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are computed going forward, as if that of every target were 1, and multiplied on the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        product: torch.dtype,
        differentiate: bool,
        ahead: bool,
        targets: torch.Tensor,
        scale: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.product, ctx.wanted = product, tuple(differentiate and needed for needed in ctx.needs_input_grad[5:])
        ctx.save_for_backward(targets, scale, x, weight, bias)
        now = ctx.wanted if ahead else (False, False, False)
        nats, gradients = _evaluate(product, now, targets, scale, x, weight, bias)
        ctx.gradients = gradients if ahead else None
        return nats

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_nats: torch.Tensor) -> Any:
        targets, scale, x, weight, bias = ctx.saved_tensors
        gradients, ctx.gradients = ctx.gradients, None
        factor = d_nats[:1]
        if gradients is None or not bool((d_nats == factor).all()):
            # Targets count differently, or this is not the first time back: from the logits again.
            _, gradients = _evaluate(ctx.product, ctx.wanted, targets, scale * d_nats, x, weight, bias)
        else:
            for gradient in gradients:
                if gradient is not None:
                    gradient.mul_(factor)
        return (None, None, None, None, None, *gradients)


def _evaluate(
    product: torch.dtype,
    wanted: tuple[bool, ...],
    targets: torch.Tensor,
    scale: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """Nats (N,), and the gradients of their sum with respect to x, weight and bias as far as they are wanted."""
    count, size, exact = len(x), len(weight), scale.dtype
    packed = weight.to(product)
    offsets = torch.zeros(size, dtype=exact, device=x.device) if bias is None else bias.detach().to(exact).contiguous()
    step = max(_TARGETS, max(_LOGITS, _small(x.device.type)) // size // 64 * 64)
    room = torch.empty(min(step, count) * size, dtype=product, device=x.device)
    nats, factors = (torch.empty(count, dtype=exact, device=x.device) for _ in range(2))
    softmax = _softmax_compiled if x.device.type == "cpu" and product in _NUMBERS else _softmax
    dx = torch.empty_like(x) if wanted[0] else None
    d_weight = torch.zeros_like(weight, dtype=exact) if wanted[1] else None
    d_offsets = torch.zeros_like(offsets)
    for begin in range(0, count, step):
        block = slice(begin, begin + step)
        given, factor = x[block], factors[block].unsqueeze(1)
        logits = room[: size * len(given)].view(size, len(given))
        torch.mm(packed, given.to(product).t(), out=logits)
        softmax(logits, offsets, targets[block], scale[block], nats[block], factors[block], d_offsets, any(wanted))
        if dx is not None:
            dx[block].copy_(torch.mm(logits.t(), packed)).mul_(factor)
        if d_weight is not None:
            _add_product(d_weight, logits, (given * factor).to(product))
    d_bias = d_offsets.to(bias.dtype) if wanted[2] and bias is not None else None
    return nats, [dx, None if d_weight is None else d_weight.to(weight.dtype), d_bias]


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """total (V, H) += left (V, N) right (N, H), added up in the dtype of the total."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
        return
    step = max(1, _PIECE // total.shape[1])
    piece = torch.empty(min(step, len(total)), total.shape[1], dtype=left.dtype, device=left.device)
    for begin in range(0, len(total), step):
        into = total[begin : begin + step]
        into += torch.mm(left[begin : begin + step], right, out=piece[: len(into)]).to(total.dtype)


def _softmax(
    logits: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    scale: torch.Tensor,
    nats: torch.Tensor,
    factor: torch.Tensor,
    d_bias: torch.Tensor,
    gradient: bool,
) -> None:
    """Logits to nats and to their gradient, with PyTorch's operations: for any device and dtype.

    Args:
        logits: (V, N), without the bias. They become what, times the factor of its target, is the gradient.
        bias: (V,).
        targets: (N,).
        scale: (N,), the weight of each.
        nats: (N,), written.
        factor: (N,), written.
        d_bias: (V,), to which the gradient of the bias is added.
        gradient: whether it is wanted.
    """
    log_p = torch.log_softmax(logits.to(bias.dtype) + bias.unsqueeze(1), 0)
    rows = targets.unsqueeze(0)
    nats.copy_(-log_p.gather(0, rows).squeeze(0) * scale)
    # A factor is left out, as half precision has no room for it.
    factor.fill_(1)
    if gradient:
        p = log_p.exp_()
        p.scatter_add_(0, rows, torch.full_like(rows, -1, dtype=p.dtype))
        p *= scale
        d_bias += p.sum(1)
        logits.copy_(p)


def _softmax_compiled(
    logits: torch.Tensor,
    bias: torch.Tensor,
    targets: torch.Tensor,
    scale: torch.Tensor,
    nats: torch.Tensor,
    factor: torch.Tensor,
    d_bias: torch.Tensor,
    gradient: bool,
) -> None:
    """The same, compiled, every thread with its own part of the vocabulary."""
    bits, module = _module(logits.dtype)
    size, count = logits.shape
    threads = max(1, min(torch.get_num_threads(), size, count * size // _WORTH))
    parts = [slice(size * thread // threads, size * (thread + 1) // threads) for thread in range(threads)]
    held, offsets, sums = logits.view(bits).numpy(), bias.numpy(), d_bias.numpy()
    of_threads, part = torch.empty(threads, count), torch.empty(threads, count).numpy()
    results = of_threads.numpy()

    def on_threads(run: Callable[[int, slice], None]) -> None:
        side_by_side([partial(run, thread, rows) for thread, rows in enumerate(parts)])

    on_threads(lambda thread, rows: module.largest(held[rows], offsets[rows], results[thread]))
    highest = of_threads.amax(0)
    places = targets, torch.arange(count)
    at_target = logits[places].float() + bias[targets]
    high = highest.numpy()
    on_threads(lambda thread, rows: module.exponentials(held[rows], offsets[rows], high, results[thread], part[thread]))
    # In the order of threads, not of their arrival: the same bits every time.
    total = of_threads.sum(0)
    torch.mul(scale, total.log() + (highest - at_target), out=nats)
    torch.div(scale, total, out=factor)
    if gradient:
        logits[places] = ((at_target - highest).exp() - total).to(logits.dtype)
        factors = factor.numpy()
        on_threads(lambda thread, rows: module.add_rows(held[rows], factors, sums[rows]))


@cache
def _module(dtype: torch.dtype) -> tuple[torch.dtype, ModuleType]:
    """As what the bits of logits of a dtype are taken, and the compiled functions."""
    bits, conversions = _NUMBERS[dtype]
    name, of_bits = (str(each).removeprefix("torch.") for each in (dtype, bits))
    return bits, compiled(f"softmax loss, {name}", _SOURCE.format(conversions=conversions, bits=of_bits))


_SOURCE = '''"""Generated by unrolled: exponentials of logits (V, N) where they lie, N side by side."""
import numpy as np
from numba import njit
from unrolled.kernels.arithmetic import FLAGS, exp, from_bfloat16, to_bfloat16

{conversions}
ZERO, FLOOR, LOWEST, CHUNK = np.float32(0), np.float32(-60), np.float32(-np.inf), 128
OPTIONS = dict(cache=True, nogil=True, fastmath=FLAGS, error_model="numpy")


@njit("void({bits}[:, ::1], float32[::1], float32[::1])", **OPTIONS)
def largest(logits, bias, highest):
    size, count = logits.shape
    for n in range(count):
        highest[n] = LOWEST
    for v in range(size):
        row, offset = logits[v], bias[v]
        for n in range(count):
            value = read(row[n]) + offset
            highest[n] = value if value > highest[n] else highest[n]


@njit("void({bits}[:, ::1], float32[::1], float32[::1], float32[::1], float32[::1])", **OPTIONS)
def exponentials(logits, bias, highest, total, part):
    size, count = logits.shape
    for n in range(count):
        total[n] = ZERO
    # Sums of sums: a plain one over a large vocabulary loses digits.
    for first in range(0, size, CHUNK):
        for n in range(count):
            part[n] = ZERO
        for v in range(first, min(first + CHUNK, size)):
            row, offset = logits[v], bias[v]
            for n in range(count):
                d = read(row[n]) + offset - highest[n]
                # What is smaller nobody sees beside 1, and processors are slow with the numbers that come of it.
                d = FLOOR if d < FLOOR else d
                value = exp(d)
                part[n] += value
                row[n] = write(value)
        for n in range(count):
            total[n] += part[n]


@njit("void({bits}[:, ::1], float32[::1], float32[::1])", **OPTIONS)
def add_rows(rows, factor, total):
    for v in range(len(rows)):
        row, value = rows[v], ZERO
        for n in range(len(row)):
            value += read(row[n]) * factor[n]
        total[v] += value
'''

# The dtypes of products that are compiled for: as what NumPy holds their bits, and how a number is read and written.
_NUMBERS = {
    torch.float32: (torch.float32, "read = write = njit(lambda x: x)"),
    torch.bfloat16: (torch.uint16, "read, write = from_bfloat16, to_bfloat16"),
}
