"""Gated recurrent units, in both published forms."""

from __future__ import annotations

from unrolled.cells.equations import U, W, b, cell, d, sigmoid, tanh


@cell
def gru(x, h):
    """Gated recurrent unit with the reset gate after the product (Cho et al. 2014, first version; cuDNN, PyTorch).

    One product of the state a step. The candidate has a bias inside the reset, d.n, and one outside, b.n.
    """
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    z = sigmoid(W.z @ x + U.z @ h + b.z)
    n = tanh(W.n @ x + b.n + r * (U.n @ h + d.n))
    h = (1 - z) * n + z * h
    return h


@cell
def gru_reset_before(x, h):
    """Gated recurrent unit with the reset gate before the product (Cho et al. 2014, equations 5-8; Chung et al. 2014).

    The candidate's product waits for the reset gate: two products in a row a step, which is why faster libraries moved
    the gate.
    """
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    z = sigmoid(W.z @ x + U.z @ h + b.z)
    n = tanh(W.n @ x + U.n @ (r * h) + b.n)
    h = (1 - z) * n + z * h
    return h
