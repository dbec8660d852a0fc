"""Long short-term memory whose gates see the memory."""

from __future__ import annotations

from unrolled.cells.equations import U, W, b, cell, p, sigmoid, tanh


@cell(init={"b.f": 1.0})
def lstm_peephole(x, h, c):
    """Long short-term memory with peepholes (Gers, Schraudolph & Schmidhuber 2002, section 2).

    The input and forget gates see the memory before the step, the output gate the memory after it, each through one
    weight a unit. The peepholes start at 0, which is an LSTM without them.
    """
    i = sigmoid(W.i @ x + U.i @ h + p.i * c + b.i)
    f = sigmoid(W.f @ x + U.f @ h + p.f * c + b.f)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    o = sigmoid(W.o @ x + U.o @ h + p.o * c + b.o)
    h = o * tanh(c)
    return h, c
