"""The minimal long short-term memory, in both published forms."""

from __future__ import annotations

from unrolled.cells.equations import W, b, cell, maximum, sigmoid, softplus


@cell(init={"b.f": 1.0})
def minlstm(x, h):
    """Minimal long short-term memory (Feng et al. 2024, "Were RNNs all we needed?", section 3.2).

    An LSTM whose gates no longer look at the state, and whose forget and input gates, f = sigmoid(u) and
    i = sigmoid(v), are divided by their sum. f / (f + i) is written as the sigmoid of log f - log i = softplus(-v) -
    softplus(-u), as in the paper's appendix B: where both gates close, the quotient would be 0 / 0.

    The bias of the forget gate starts at 1: the paper finds that a greater one trains sooner.
    """
    u = W.f @ x + b.f
    v = W.i @ x + b.i
    f = sigmoid(softplus(-v) - softplus(-u))
    n = W.n @ x + b.n
    h = f * h + (1 - f) * n
    return h


@cell(init={"b.f": 1.0})
def minlstm_positive(x, h):
    """Minimal long short-term memory with positive candidates (Feng et al. 2024, appendix B, the log-space version).

    Its candidate goes through g(w) = w + 0.5 where w >= 0, else sigmoid(w), which is the greater of the two.
    """
    u = W.f @ x + b.f
    v = W.i @ x + b.i
    f = sigmoid(softplus(-v) - softplus(-u))
    w = W.n @ x + b.n
    n = maximum(w + 0.5, sigmoid(w))
    h = f * h + (1 - f) * n
    return h
