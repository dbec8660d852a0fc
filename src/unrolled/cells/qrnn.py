"""The pooling of quasi-recurrent networks, in two published forms."""

from __future__ import annotations

from unrolled.cells.equations import W, b, cell, sigmoid, tanh


@cell(init={"b.f": 1.0})
def qrnn(x, c):
    """Quasi-recurrent network, fo-pooling (Bradbury et al. 2017, equations 1 and 4).

    An LSTM whose gates look at the input instead of the state. The paper's gates see a window of inputs: that
    convolution is a layer around the cell. The bias of the forget gate starts at 1, as in the LSTM.
    """
    z = tanh(W.z @ x + b.z)
    f = sigmoid(W.f @ x + b.f)
    o = sigmoid(W.o @ x + b.o)
    c = f * c + (1 - f) * z
    h = o * c
    return h, (c,)


@cell(init={"b.f": 1.0})
def qrnn_ifo(x, c):
    """Quasi-recurrent network, ifo-pooling (Bradbury et al. 2017, equations 1 and 5): with an input gate of its own.

    The bias of the forget gate starts at 1, as in the LSTM.
    """
    z = tanh(W.z @ x + b.z)
    i = sigmoid(W.i @ x + b.i)
    f = sigmoid(W.f @ x + b.f)
    o = sigmoid(W.o @ x + b.o)
    c = f * c + i * z
    h = o * c
    return h, (c,)
