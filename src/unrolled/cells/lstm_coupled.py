"""Long short-term memory with one gate for writing and forgetting."""

from __future__ import annotations

from unrolled.cells.equations import U, W, b, cell, sigmoid, tanh


@cell(init={"b.f": 1.0})
def lstm_coupled(x, h, c):
    """Long short-term memory with coupled input and forget gates (Greff et al. 2017, "CIFG").

    What is forgotten is what is written: the memory stays an average of what it was given, with a quarter fewer
    parameters. The gate starts at a bias of 1 for remembering, as in the LSTM.
    """
    f = sigmoid(W.f @ x + U.f @ h + b.f)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c + (1 - f) * g
    h = o * tanh(c)
    return h, c
