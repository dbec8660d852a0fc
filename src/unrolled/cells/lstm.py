"""Long short-term memory, in the form everybody uses today."""

from __future__ import annotations

from unrolled.cells.equations import U, W, b, cell, sigmoid, tanh


@cell(init={"b.f": 1.0})
def lstm(x, h, c):
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000).

    The bias of the forget gate starts at 1, so that at first the memory is kept and gradients reach far back
    (Jozefowicz, Zaremba & Sutskever 2015, section 2.2).
    """
    i = sigmoid(W.i @ x + U.i @ h + b.i)
    f = sigmoid(W.f @ x + U.f @ h + b.f)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    h = o * tanh(c)
    return h, c
