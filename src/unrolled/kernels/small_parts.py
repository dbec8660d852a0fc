"""The parts of a small net's training step that are the same for every cell, as functions for compiled code.

All arrays are flat, their rows `wide` numbers long, a multiple of `tiles.PADDED`; what lies beyond the units of a row
is zero and stays so. N is the number of rows: time steps by streams, time first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from unrolled.kernels.arithmetic import FLAGS, exp, log

__all__ = [
    "ADAGRAD",
    "ADAGRAD_INSIDE",
    "ADAMW",
    "SGD",
    "adapt",
    "clip",
    "copy",
    "gather",
    "scatter",
    "softmax",
    "transpose",
]

ADAMW, SGD, ADAGRAD, ADAGRAD_INSIDE = 0, 1, 2, 3

_compiled: Callable[[Callable[..., Any]], Any] = njit(fastmath=FLAGS, error_model="numpy")


@_compiled
def transpose(
    a: Any, begin: int, wide: int, rows: int, columns: int, into: Any, into_begin: int, into_wide: int
) -> None:
    """into[j, i] = a[i, j], for (rows, columns) of a; each begins somewhere in an array."""
    for i in range(rows):
        row = a[begin + i * wide : begin + i * wide + columns]
        column = into[into_begin + i :]
        for j in range(columns):
            column[j * into_wide] = row[j]


@_compiled
def copy(into: Any, begin: int, of: Any, at: int, length: int) -> None:
    """into[begin:][:length] = of[at:][:length]; written out, it compiles in a fraction of the time."""
    to, row = into[begin : begin + length], of[at : at + length]
    for j in range(length):
        to[j] = row[j]


@_compiled
def gather(table: Any, width: int, slot: int, wide: int, symbols: Any, into: Any, begin: int) -> None:
    """Row i from `begin` on is the part from `slot` on of the table's row of symbol i."""
    for i in range(symbols.size):
        copy(into, begin + i * wide, table, symbols[i] * width + slot, wide)


@_compiled
def scatter(table: Any, width: int, slot: int, wide: int, symbols: Any, of: Any, begin: int) -> None:
    """Add row i from `begin` on to the part from `slot` on of the table's row of symbol i."""
    for i in range(symbols.size):
        at = symbols[i] * width + slot
        to, row = table[at : at + wide], of[begin + i * wide : begin + (i + 1) * wide]
        for j in range(wide):
            to[j] += row[j]


@_compiled
def softmax(
    logits: Any, wide: int, symbols: int, targets: Any, weights: Any, weighted: bool, scale: Any, bias: Any, d_bias: Any
) -> float:
    """The loss, -log softmax(logits + bias)[target], and its gradient in place of the logits.

    Args:
        logits: (N, wide).
        symbols: V.
        targets: (N,).
        weights: (N,), 1 where a target counts and 0 where not; looked at if `weighted`.
        scale: what the gradient is multiplied by.
        d_bias: (wide,) that of the bias, written.

    Returns:
        the sum of the losses, in nats.
    """
    zero, total = logits.dtype.type(0), 0.0
    d_bias[:] = zero
    for i in range(targets.size):
        row, target = logits[i * wide : (i + 1) * wide], targets[i]
        first = row[0] + bias[0]
        for j in range(wide):
            row[j] = row[j] + bias[j] if j < symbols else first
        # The largest; four at a time, as each comparison waits for the one before.
        m0, m1, m2, m3 = row[0], row[1], row[2], row[3]
        for j in range(4, wide, 4):
            m0 = row[j] if row[j] > m0 else m0
            m1 = row[j + 1] if row[j + 1] > m1 else m1
            m2 = row[j + 2] if row[j + 2] > m2 else m2
            m3 = row[j + 3] if row[j + 3] > m3 else m3
        m0, m2 = m1 if m1 > m0 else m0, m3 if m3 > m2 else m2
        most = m2 if m2 > m0 else m0
        of_target = row[target] - most
        together = zero
        for j in range(wide):
            odds = exp(row[j] - most) if j < symbols else zero
            row[j] = odds
            together += odds
        weight = weights[i] if weighted else logits.dtype.type(1)
        if weight != zero:
            total += weight * (log(together) - of_target)
        share = scale * weight / together
        for j in range(wide):
            row[j] *= share
        row[target] -= scale * weight
        for j in range(wide):
            d_bias[j] += row[j]
    return total


@_compiled
def clip(g: Any, begin: int, end: int, largest: Any) -> float:
    """Set entries of a gradient beyond ±`largest` to it, where that is above zero; the sum of their squares."""
    part, together = g[begin:end], g.dtype.type(0)
    if largest > 0:
        for j in range(part.size):
            value = part[j]
            value = largest if value > largest else value
            value = -largest if value < -largest else value
            part[j] = value
            together += value * value
    else:
        for j in range(part.size):
            together += part[j] * part[j]
    return float(together)


@_compiled
def adapt(
    kind: int, w: Any, g: Any, m: Any, n: Any, begin: int, end: int, step: int, scale: float, rate: float,
    decay: float, hyper: Any,
) -> None:  # fmt: skip
    """Update weights from `begin` to `end`, as `training.optimizers` defines it.

    Args:
        kind: ADAMW, SGD, ADAGRAD or ADAGRAD_INSIDE.
        w: weights.
        g: their gradient.
        m: memories: of gradients (ADAMW, SGD), or of their squares.
        n: ADAMW's of squares; otherwise not used.
        step: updates with this one, from 1 on.
        scale: what the gradient is shortened by.
        rate: the learning rate.
        decay: of weights.
        hyper: momentum, beta1, beta2, epsilon.
    """
    number, one = w.dtype.type, w.dtype.type(1)
    w, g, m = w[begin:end], g[begin:end], m[begin:end]
    by, shrink, speed, epsilon = number(scale), number(decay), number(rate), number(hyper[3])
    if kind == ADAMW:
        squares = n[begin:end]
        beta1, beta2 = hyper[1], hyper[2]
        of_mean, of_squares = number(1 - beta1), number(1 - beta2)
        kept, kept_squares = number(beta1), number(beta2)
        speed = number(rate / (1 - beta1**step))
        root, shrink = number(np.sqrt(1 - beta2**step)), number(1 - rate * decay)
        for j in range(w.size):
            slope = g[j] * by
            m[j] = kept * m[j] + of_mean * slope
            squares[j] = kept_squares * squares[j] + of_squares * slope * slope
            w[j] = w[j] * shrink - speed * m[j] / (np.sqrt(squares[j]) / root + epsilon)
    elif kind == SGD:
        momentum = number(hyper[0])
        for j in range(w.size):
            m[j] = momentum * m[j] + (g[j] * by + shrink * w[j])
            w[j] -= speed * m[j]
    elif kind == ADAGRAD:
        for j in range(w.size):
            slope = g[j] * by + shrink * w[j]
            m[j] += slope * slope
            w[j] -= speed * slope / (np.sqrt(m[j]) + epsilon)
    else:
        for j in range(w.size):
            slope = g[j] * by
            m[j] += slope * slope
            w[j] -= speed * slope * (one / np.sqrt(m[j] + epsilon))
