"""The independently recurrent network."""

from __future__ import annotations

from unrolled.cells.equations import W, b, cell, p, relu


@cell(init={"p.h": "between(0, 1)"})
def indrnn(x, h):
    """Independently recurrent network of rectified linear units (Li et al. 2018, equation 4).

    Every unit sees its own state only, through one weight. Those start evenly spread from 0 to 1: units that remember
    for one step and for long, and none that grows (section 4 bounds their size by what T steps may magnify). Nothing
    bounds the state once they have learnt: keep the clipping of gradients on.
    """
    h = relu(W.h @ x + p.h * h + b.h)
    return h
