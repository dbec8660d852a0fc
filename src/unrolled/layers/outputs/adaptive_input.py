"""Adaptive input: the vectors of symbols that an adaptive softmax has already."""

from __future__ import annotations

import torch

from unrolled.layers.outputs.adaptive import AdaptiveSoftmax

__all__ = ["AdaptiveInput"]


class AdaptiveInput(torch.nn.Module):
    """Symbols as vectors, tied to an adaptive softmax (Baevski & Auli 2019, sections 3 and 4.1).

    A symbol of the head has its row there, one of cluster j its row of few dimensions, taken to H by the product that
    takes hidden vectors down to the cluster, the other way round:

        x = s W_head[y]           y in the head
        x = s D_jᵀ W_j[y]         y in cluster j

    The module has no parameters of its own: those of the output layer are in a checkpoint once, under its names.

    Args:
        output: the output layer.
        scale: s.
    """

    def __init__(self, output: AdaptiveSoftmax, scale: float) -> None:
        super().__init__()
        # In a tuple, so that PyTorch does not count it as a part.
        self._shared, self.scale = (output,), scale

    @property
    def tables(self) -> list[torch.Tensor]:
        """The parameters that hold vectors of symbols."""
        return self._shared[0].tables

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found = self._shared[0].vectors(ids)
        return found if self.scale == 1 else self.scale * found

    def restart(self) -> None:
        """Draw them anew: logits are then as large as those of tied vectors of H dimensions, in every cluster."""
        self._shared[0].restart_tied()
