"""What an output layer offers.

Axes: ... any (batch and time), H hidden, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt
import torch

from unrolled.errors import ConfigurationError

__all__ = ["OutputLayer", "ranks_of"]


class OutputLayer(torch.nn.Module):
    """From hidden vectors (..., H) to a distribution over V symbols."""

    @property
    def about(self) -> str:
        """What there is to say of it beside the sizes of the network; empty for the plain one."""
        return ""

    @abstractmethod
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden vectors (..., H) to logits (..., V), whose softmax is the distribution, whatever the layer."""

    @abstractmethod
    def losses(self, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """What training lessens: -w ln p(target) for every target. In evaluation mode that is exact in every layer.

        Args:
            hidden: (..., H).
            targets: (...) of 0 to V - 1.
            weights: w (...), 1 if not given.

        Returns:
            nats (...), in float32, or float64 if the weights of the layer are.

        Raises:
            ConfigurationError: a target is outside the vocabulary.
        """

    @abstractmethod
    def restart(self) -> None:
        """Start again: small matrices, no biases."""

    def tie(self, vectors: torch.Tensor) -> None:
        """Take the vectors (V, H) of an embedding as weights (Press & Wolf 2017).

        Raises:
            ConfigurationError: the layer has no vector of that size for every symbol.
        """
        raise ConfigurationError(
            "tied is of an output layer with a vector for every symbol", expected="output full, sampled or mixture"
        )

    def log_probabilities(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden vectors (..., H) to ln p (..., V) of every symbol, in float32, or float64 if the weights are."""
        logits = self.forward(hidden)
        return torch.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), -1)


def ranks_of(counts: npt.ArrayLike | None, size: int) -> torch.Tensor:
    """(V,) the place of every symbol when the most frequent comes first; equal counts in the order of their numbers.

    Without counts, symbols are taken to be in that order already.

    >>> ranks_of([3, 9, 0, 9], 4).tolist()
    [2, 0, 3, 1]
    """
    ranks = torch.arange(size)
    if counts is not None:
        order = np.argsort(-np.asarray(counts, np.int64), kind="stable")
        if order.shape != (size,):
            raise ConfigurationError("counts do not fit the vocabulary", expected=str((size,)), got=str(order.shape))
        ranks[torch.from_numpy(order)] = torch.arange(size)
    return ranks
