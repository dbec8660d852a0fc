"""How parameters start."""

from __future__ import annotations

import math

import torch

from unrolled.cells import Equations

__all__ = ["initialise", "starting_value"]

_KINDS: dict[str, float | str] = {"input matrix": "glorot", "hidden matrix": "orthogonal", "vector": 0.0}


def starting_value(equations: Equations, parameter: str) -> float | str:
    """How a parameter starts: what the cell says of it, of its family, or else what its kind does."""
    given = dict(equations.init)
    family = parameter.split(".")[0]
    return given.get(parameter, given.get(family, _KINDS[equations.parameters[parameter]]))


@torch.no_grad()
def initialise(tensor: torch.Tensor, how: float | str, generator: torch.Generator | None = None) -> None:
    """Fill a parameter in place.

    Args:
        tensor: a matrix (outputs, inputs) or a vector.
        how: a number, "zeros", or
            "glorot": uniform within ±sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010, equation 16);
            "orthogonal": a random orthogonal matrix (Saxe, McClelland & Ganguli 2014);
            "uniform": uniform within ±1/sqrt(outputs), PyTorch's start for recurrent modules.
        generator: the source of randomness.
    """
    if not isinstance(how, str):
        tensor.fill_(how)
    elif how == "zeros":
        tensor.zero_()
    elif how == "glorot":
        bound = math.sqrt(6 / (tensor.shape[0] + tensor.shape[-1]))
        tensor.uniform_(-bound, bound, generator=generator)
    elif how == "uniform":
        bound = 1 / math.sqrt(tensor.shape[0])
        tensor.uniform_(-bound, bound, generator=generator)
    else:
        torch.nn.init.orthogonal_(tensor if tensor.dim() > 1 else tensor.unsqueeze(0), generator=generator)
