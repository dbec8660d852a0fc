"""The minimal gated recurrent unit, in both published forms."""

from __future__ import annotations

from unrolled.cells.equations import W, b, cell, maximum, sigmoid


@cell
def mingru(x, h):
    """Minimal gated recurrent unit (Feng et al. 2024, "Were RNNs all we needed?", section 3.1).

    A GRU whose gate and candidate no longer look at the state, without the reset gate and the tanh. Each unit is a
    weighted mean of what was there and what is new, so nothing overflows and logarithms are not needed. Weights start
    as those of any linear map.
    """
    z = sigmoid(W.z @ x + b.z)
    n = W.n @ x + b.n
    h = (1 - z) * h + z * n
    return h


@cell
def mingru_positive(x, h):
    """Minimal gated recurrent unit with positive candidates (Feng et al. 2024, appendix B, the log-space version).

    Its candidate goes through g(v) = v + 0.5 where v >= 0, else sigmoid(v), which is the greater of the two. The paper
    computes it in logarithms, which need a positive state; the equations are the same without them.
    """
    z = sigmoid(W.z @ x + b.z)
    v = W.n @ x + b.n
    n = maximum(v + 0.5, sigmoid(v))
    h = (1 - z) * h + z * n
    return h
