"""The linear recurrent unit."""

from __future__ import annotations

from unrolled.cells.equations import W, a, cell, cos, exp, sin


@cell(
    init={
        "W": "complex",
        "a.nu": "ring(0.9, 0.999)",
        "a.theta": "log-between(0, 6.283185307179586)",
        "a.gamma": "ring-scale(0.9, 0.999)",
    }
)
def lru(x, re, im):
    """Linear recurrent unit (Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences").

    s = λ s + exp(γ) B x with a complex state s = re + i im, λ = exp(-exp(ν) + i exp(θ)) and B = W.re + i W.im
    (sections 3.3 and 3.4). The exponentials keep |λ| below 1 whatever is learnt. λ starts on a ring, |λ| between 0.9
    and 0.999, the far end of what the paper uses for long sequences, at any phase; exp(γ) starts at sqrt(1 - |λ|²), so
    that at first every unit is as large as B x.

    The output is Re s. The paper's mixing of outputs, Re(C s) + D x, is a layer around the cell.
    """
    size = exp(-exp(a.nu))
    phase = exp(a.theta)
    scale = exp(a.gamma)
    turned = size * cos(phase) * im + size * sin(phase) * re
    re = size * cos(phase) * re - size * sin(phase) * im + scale * (W.re @ x)
    im = turned + scale * (W.im @ x)
    return re, im
