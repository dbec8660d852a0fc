"""The simple recurrent unit."""

from __future__ import annotations

from unrolled.cells.equations import W, b, cell, p, sigmoid, sqrt


@cell
def sru(x, c):
    """Simple recurrent unit (Lei et al. 2018, "Simple recurrent units for highly parallelizable recurrence").

    Equations 1 to 4: every unit sees its own memory only, and a highway passes the input by, so that there must be as
    many inputs as units. The input there is scaled by α = sqrt(1 + 2 exp(b.r)) (section 3.2), with the b.r = 0 that the
    cell starts from, so that at first inputs and outputs vary alike. p.f and p.r start at 0; the gates are then those
    of the first version (2017), in which the cell is linear in its state.
    """
    f = sigmoid(W.f @ x + p.f * c + b.f)
    r = sigmoid(W.r @ x + p.r * c + b.r)
    c = f * c + (1 - f) * (W.c @ x)
    h = r * c + (1 - r) * x * sqrt(3)
    return h, (c,)
