"""To and from PyTorch's own recurrent modules, where the equations are the same."""

from __future__ import annotations

from typing import Any

import torch

from unrolled.cells import Equations, find_cell
from unrolled.errors import ConfigurationError
from unrolled.kernels.library import Match, recognise
from unrolled.layers.recurrent import Recurrent, RecurrentLayer

__all__ = ["from_torch", "to_torch"]

_MODULES: dict[str, Any] = {
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
    "rnn": torch.nn.RNN,
    "rnn-relu": torch.nn.RNN,
}


def _weights(module: torch.nn.RNNBase, layer: str) -> list[torch.Tensor]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    found = [getattr(module, f"{name}_l{layer}", None) for name in names]
    gates = found[1].shape[0]  # type: ignore[union-attr]
    return [found[0].new_zeros(gates) if part is None else part for part in found]  # type: ignore[union-attr]


def _named(stack: Recurrent | RecurrentLayer) -> list[tuple[str, RecurrentLayer]]:
    """Every layer with the end of its parameters' names in PyTorch's modules."""
    if isinstance(stack, RecurrentLayer):
        return [("0", stack)]
    return [
        (f"{index}{end}", layer)
        for index, directions in enumerate(stack._layers())
        for layer, end in zip(directions, ("", "_reverse"), strict=False)
    ]


def _match(equations: Equations) -> Match:
    match = recognise(equations)
    if match is None:
        raise ConfigurationError(
            f"PyTorch has no module with the equations of {equations.name}", expected=f"one of {', '.join(_MODULES)}"
        )
    return match


@torch.no_grad()
def from_torch(module: torch.nn.LSTM | torch.nn.GRU | torch.nn.RNN) -> Recurrent:
    """A stack with the equations and weights of a PyTorch module.

    PyTorch orders the gates of an LSTM i, f, g, o and keeps two biases where the equations hold one: the two are added.

    Raises:
        ConfigurationError: the module projects its output, or is of another kind.
    """
    kind = next((name for name, known in _MODULES.items() if type(module) is known), None)
    if kind == "rnn" and module.nonlinearity == "relu":
        kind = "rnn-relu"
    if kind is None or module.proj_size:
        raise ConfigurationError(
            "this module cannot be taken over",
            expected="nn.LSTM, nn.GRU or nn.RNN, without proj_size",
            got=repr(module),
        )
    equations = find_cell(kind)
    stack = Recurrent(
        equations,
        module.input_size,
        module.hidden_size,
        module.num_layers,
        dropout=module.dropout,
        bidirectional=module.bidirectional,
    )
    like = next(module.parameters())
    stack.to(like.dtype).to(like.device)
    for suffix, layer in _named(stack):
        for name, value in _match(equations).unpacked(_weights(module, suffix)).items():
            layer.cell_parameters()[name].copy_(value)
    stack.train(module.training)
    return stack


@torch.no_grad()
def to_torch(stack: Recurrent | RecurrentLayer) -> torch.nn.RNNBase:
    """A PyTorch module (batch first) with the weights of a stack or layer.

    Raises:
        ConfigurationError: PyTorch has no module with these equations, or the stack is residual, has layers of several
            sizes, or drops units or weights in a way that PyTorch's modules do not.
    """
    if isinstance(stack, Recurrent) and (stack.residual or stack.dropout.variational):
        raise ConfigurationError("PyTorch's modules have no residual stacks and no variational dropout")
    found = [layer for _, layer in _named(stack)]
    if len({layer.hidden_size for layer in found}) > 1 or any(layer.weight_drop for layer in found):
        raise ConfigurationError("PyTorch's modules have layers of one size, and drop no weights")
    match = _match(stack.equations)
    extra: dict[str, Any] = {"nonlinearity": "relu"} if match.operator == "rnn-relu" else {}
    if isinstance(stack, Recurrent):
        layers = len(stack.layers)
        extra |= {"num_layers": layers, "dropout": stack.dropout.probability if layers > 1 else 0.0}
        extra |= {"bidirectional": len(stack.backward_layers) > 0}
    module: torch.nn.RNNBase = _MODULES[match.operator](stack.input_size, stack.hidden_size, batch_first=True, **extra)
    like = next(stack.parameters())
    module.to(like.dtype).to(like.device)
    for suffix, layer in _named(stack):
        for target, value in zip(_weights(module, suffix), match.packed(layer.cell_parameters()), strict=True):
            target.copy_(value)
    module.train(stack.training)
    return module
