"""Long short-term memory as it was first published."""

from __future__ import annotations

from unrolled.cells.equations import U, W, b, cell, sigmoid, tanh


@cell(name="lstm-1997")
def lstm_1997(x, h, c):
    """Long short-term memory without a forget gate (Hochreiter & Schmidhuber 1997, section 4).

    The memory is a plain sum, the "constant error carousel": nothing is ever forgotten, so on a stream without end the
    memory only grows. The forget gate of 2000 cured that; compare the two to see what it does. The paper's g and h are
    logistic functions scaled to (-2, 2) and (-1, 1); tanh is the same shape, as all later work writes it.
    """
    i = sigmoid(W.i @ x + U.i @ h + b.i)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = c + i * g
    h = o * tanh(c)
    return h, c
