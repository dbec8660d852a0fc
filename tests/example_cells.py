"""Cells that no textbook has, in a file as a user would write it: between them all that equations can do."""

from __future__ import annotations

from unrolled.cells import (
    U,
    V,
    W,
    a,
    absolute,
    b,
    cell,
    cos,
    d,
    exp,
    log,
    maximum,
    minimum,
    p,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
)


@cell
def two_stages(x, h):
    """The candidate's product waits for a gate."""
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    n = tanh(W.n @ x + U.n @ (r * h) + b.n)
    h = h + r * (n - h)
    return h


@cell
def four_stages(x, h, c):
    """Maps of maps, of a gate, of a parameter; one matrix in two places."""
    u = tanh(W.u @ tanh(W.v @ x) + U.p @ b.u + U.p @ sigmoid(b.v))
    k = tanh(U.a @ (U.b @ h) + V.k @ c)
    m = tanh(U.c @ (k * h) + U.d @ (u * c) + U.b @ c)
    c = sigmoid(U.e @ m) * c + u * m
    h = m * tanh(c)
    return h, c


@cell
def sru(x, c):
    """The input unit by unit, and an output that is no state (after Lei et al. 2018)."""
    f = sigmoid(W.f @ x + p.f * c + b.f)
    r = sigmoid(W.r @ x + p.r * c + b.r)
    c = f * c + (1 - f) * (W.c @ x)
    y = r * tanh(c) + (1 - r) * x
    return y, (c,)


@cell
def min_gru(x, h):
    """Linear in its state, without recurrent maps (after Feng et al. 2024)."""
    z = sigmoid(W.z @ x + b.z)
    h = (1 - z) * h + z * (W.h @ x + b.h)
    return h


@cell(init={"a.n": -1.0, "a.t": 0.5})
def lru(x, re, im):
    """A complex state, linear (after Orvieto et al. 2023)."""
    size = exp(-exp(a.n))
    turned = size * (cos(a.t) * re - sin(a.t) * im)
    im = size * (sin(a.t) * re + cos(a.t) * im) + W.im @ x
    re = turned + W.re @ x
    return re - d.y * im, (re, im)


@cell
def every_function(x, h, c):
    """Each operation at least once, where it is smooth enough."""
    s = softplus(W.s @ x + U.s @ h + b.s)
    e = exp(minimum(U.e @ h, 1.0)) / (1 + s)
    q = sqrt(s + 0.1) - log(maximum(0.2, e) + 0.5) + (s + 0.2) ** 1.5 - (h**2 + 0.3) ** 0.5
    m = maximum(W.m @ x, 0.3 * q) + absolute(U.m @ c) - relu(-(W.r @ x))
    t = sin(m) * cos(q) / (2 + e) ** 2 + sqrt(2.0) * (s + 0.5) ** -1
    c = sigmoid(t) * c + 0.5 * tanh(-m) ** 3
    h = tanh(c + t) - c / 3
    return h, c


@cell
def inner_loop(x, h):
    """A differential equation, solved in small steps of its own: values that are used again and again."""
    drive = W.h @ x + b.h
    for _ in range(12):
        h = h + 0.1 * (tanh(a.h * h * h + drive) - h)
    return h


@cell
def inner_maps(x, h):
    """The same matrix three times in a step: four stages."""
    drive = W.h @ x + b.h
    for _ in range(3):
        h = h + 0.3 * (tanh(U.h @ h + drive) - h)
    return h


@cell
def own_input(x, h):
    """A value of D units, which is no value of H units."""
    u = tanh(x) * x
    h = tanh(W.h @ u + V.h @ x + U.h @ h)
    return h


@cell
def delay(x, h, before, last):
    """States that are passed on, and one that is the input."""
    y = tanh(U.h @ h + p.a * before + p.b * last)
    return y, (y, h, x)


@cell
def forgetful(x, h, c):
    """An output of no state before, a state that is only a parameter, and two states that are one."""
    y = W.y @ x * b.y
    return y, (b.c, b.c)


@cell
def average(x, h):
    """Without any parameter."""
    return 0.9 * h + 0.1 * x


@cell
def clashing(t0, argument, output, v1):
    """Names that a program, a collection or a kernel could have given to values of its own."""
    v3 = sigmoid(W.keys @ t0 + U.update @ (argument * v1) + b.values)
    v2 = tanh(v3 * v1 + output)
    return output * v3, (v3 * v2 * v2, v2, v3)
