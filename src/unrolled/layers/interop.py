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


def _weights(module: torch.nn.RNNBase, layer: int) -> list[torch.Tensor]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    found = [getattr(module, f"{name}_l{layer}", None) for name in names]
    gates = found[1].shape[0]  # type: ignore[union-attr]
    return [found[0].new_zeros(gates) if part is None else part for part in found]  # type: ignore[union-attr]


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
        ConfigurationError: the module runs in both directions, projects its output, or is of another kind.
    """
    kind = next((name for name, known in _MODULES.items() if type(module) is known), None)
    if kind == "rnn" and module.nonlinearity == "relu":
        kind = "rnn-relu"
    if kind is None or module.bidirectional or module.proj_size:
        raise ConfigurationError(
            "this module cannot be taken over",
            expected="nn.LSTM, nn.GRU or nn.RNN of one direction, without proj_size",
            got=repr(module),
        )
    equations = find_cell(kind)
    stack = Recurrent(equations, module.input_size, module.hidden_size, module.num_layers, dropout=module.dropout)
    like = next(module.parameters())
    stack.to(like.dtype).to(like.device)
    for index, layer in enumerate(stack._layers()):
        for name, value in _match(equations).unpacked(_weights(module, index)).items():
            layer.cell_parameters()[name].copy_(value)
    stack.train(module.training)
    return stack


@torch.no_grad()
def to_torch(stack: Recurrent | RecurrentLayer) -> torch.nn.RNNBase:
    """A PyTorch module (batch first) with the weights of a stack or layer.

    Raises:
        ConfigurationError: PyTorch has no module with these equations, or the stack is residual.
    """
    layers = [stack] if isinstance(stack, RecurrentLayer) else list(stack._layers())
    if isinstance(stack, Recurrent) and (stack.residual or stack.dropout.variational):
        raise ConfigurationError("PyTorch's modules have no residual stacks and no variational dropout")
    match = _match(stack.equations)
    extra: dict[str, Any] = {"nonlinearity": "relu"} if match.operator == "rnn-relu" else {}
    dropout = stack.dropout.probability if isinstance(stack, Recurrent) and len(layers) > 1 else 0.0
    module: torch.nn.RNNBase = _MODULES[match.operator](
        stack.input_size, stack.hidden_size, len(layers), batch_first=True, dropout=dropout, **extra
    )
    like = next(stack.parameters())
    module.to(like.dtype).to(like.device)
    for index, layer in enumerate(layers):
        for target, value in zip(_weights(module, index), match.packed(layer.cell_parameters()), strict=True):
            target.copy_(value)
    module.train(stack.training)
    return module
