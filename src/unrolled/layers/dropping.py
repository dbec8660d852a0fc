"""What is left out at random while training: units, whole words, recurrent weights. What stays is scaled up by
1 / (1 - p), so that nothing is to be done when the model is used.

Axes: B batch, T time, D units, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from unrolled.errors import ConfigurationError

__all__ = ["Dropout", "check_probability", "drop_weights", "drop_words"]


class Dropout(torch.nn.Module):
    """Dropout (Srivastava et al. 2014), or its variational form: one mask for all steps (Gal & Ghahramani 2016)."""

    def __init__(self, probability: float, variational: bool = False) -> None:
        super().__init__()
        check_probability("dropout", probability)
        self.probability, self.variational = probability, variational

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, D) with units dropped, in training only."""
        if not self.training or self.probability == 0:
            return x
        if not self.variational:
            return torch.nn.functional.dropout(x, self.probability)
        mask = torch.nn.functional.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), self.probability)
        return x * mask


def drop_words(x: torch.Tensor, ids: torch.Tensor, words: int, probability: float) -> torch.Tensor:
    """Embedded symbols with whole words left out: one that is dropped is zero wherever it occurs in the batch (Gal &
    Ghahramani 2016, section 4.2; Merity et al. 2018, section 4.3).

    Args:
        x: (..., D), the vectors of `ids`.
        ids: (...).
        words: V.
        probability: with which each of the V words is dropped.
    """
    kept = torch.nn.functional.dropout(x.new_ones(words), probability)
    return x * kept[ids].unsqueeze(-1)


def drop_weights(
    parameters: Mapping[str, torch.Tensor], names: Iterable[str], probability: float
) -> dict[str, torch.Tensor]:
    """Parameters, of which the matrices `names` have lost single weights, the same at every time step: DropConnect on
    what leads from step to step (Wan et al. 2013; Merity et al. 2018, section 2). A kernel does not notice."""
    dropped = {name: torch.nn.functional.dropout(parameters[name], probability) for name in names}
    return {**parameters, **dropped}


def check_probability(name: str, value: float) -> None:
    """Raise unless a value is one that something can be dropped with."""
    if not 0 <= value < 1:
        raise ConfigurationError(f"{name} is a probability", expected="at least 0 and below 1", got=str(value))
