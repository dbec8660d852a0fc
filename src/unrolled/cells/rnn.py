"""The simple recurrent network, with the three activations it is taught with."""

from __future__ import annotations

from unrolled.cells.equations import U, W, b, cell, relu, sigmoid, tanh


@cell
def rnn(x, h):
    """Simple recurrent network (Elman 1990, "Finding structure in time", with tanh).

    The recurrent matrix starts orthogonal, so that at first it neither shrinks nor stretches what it carries
    (Saxe et al. 2014).
    """
    h = tanh(W.h @ x + U.h @ h + b.h)
    return h


@cell(init={"U": "orthogonal"})
def rnn_relu(x, h):
    """Simple recurrent network of rectified linear units (Le, Jaitly & Hinton 2015).

    Nothing bounds its state: keep the clipping of gradients on. The recurrent matrix starts orthogonal, which keeps
    lengths as their identity matrix does without making every unit remember only itself.
    """
    h = relu(W.h @ x + U.h @ h + b.h)
    return h


@cell
def rnn_sigmoid(x, h):
    """Simple recurrent network with logistic units, as in Elman 1990.

    The slope of the logistic function is at most 1/4, so its gradients vanish four times faster a step than those of
    tanh: kept to show that.
    """
    h = sigmoid(W.h @ x + U.h @ h + b.h)
    return h
