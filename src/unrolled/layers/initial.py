"""How parameters start."""

from __future__ import annotations

import math

import torch

from unrolled.cells import Equations
from unrolled.cells._graph import initialiser

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
            "uniform": uniform within ±1/sqrt(outputs), PyTorch's start for recurrent modules;
            "complex": one part of a complex matrix whose entries have the variance 1 / inputs, uniform;
            "between(LOW, HIGH)": uniform between the two;
            "log-between(LOW, HIGH)": the logarithm of what is uniform between the two;
            "ring(LOW, HIGH)": v = log(-log r), so that r = exp(-exp(v)), for complex numbers r exp(iφ) that are uniform
                on the ring between the circles of these radii (Orvieto et al. 2023, lemma 3.2). Radii are not drawn:
                unit j of H has the one with a share (j + 1/2) / H of the ring's area inside;
            "ring-scale(LOW, HIGH)": log sqrt(1 - r²) for the same radii.
        generator: the source of randomness.
    """
    if not isinstance(how, str):
        tensor.fill_(how)
        return
    name, bounds = initialiser(how)
    if name == "zeros":
        tensor.zero_()
    elif name == "glorot":
        bound = math.sqrt(6 / (tensor.shape[0] + tensor.shape[-1]))
        tensor.uniform_(-bound, bound, generator=generator)
    elif name == "uniform":
        bound = 1 / math.sqrt(tensor.shape[0])
        tensor.uniform_(-bound, bound, generator=generator)
    elif name == "complex":
        bound = math.sqrt(1.5 / tensor.shape[-1])
        tensor.uniform_(-bound, bound, generator=generator)
    elif name == "between":
        tensor.uniform_(*bounds, generator=generator)
    elif name == "log-between":
        # What is drawn may be 0.
        tensor.uniform_(*bounds, generator=generator).clamp_(min=torch.finfo(tensor.dtype).tiny).log_()
    elif name in ("ring", "ring-scale"):
        low, high = bounds
        share = (torch.arange(len(tensor), dtype=torch.float64) + 0.5) / len(tensor)
        square = low**2 + share * (high**2 - low**2)
        value = torch.log(-square.log() / 2) if name == "ring" else torch.log1p(-square) / 2
        tensor.copy_(value.view(-1, *[1] * (tensor.dim() - 1)).expand_as(tensor))
    else:
        torch.nn.init.orthogonal_(tensor if tensor.dim() > 1 else tensor.unsqueeze(0), generator=generator)
