"""How a model reads symbols: as they are, or as vectors.

Axes: ... any (batch and time), V vocabulary, E embedding.
"""

from __future__ import annotations

import torch

__all__ = ["OneHot", "Vectors"]


class OneHot(torch.nn.Module):
    """Symbols as they are: ids (...) to (..., V), zeros with a one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(ids, self.size)


class Vectors(torch.nn.Embedding):
    """Symbols as vectors: ids (...) to (..., E), multiplied with a number."""

    def __init__(self, size: int, width: int, scale: float = 1.0) -> None:
        super().__init__(size, width)
        self.scale = scale

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found = super().forward(ids)
        return found if self.scale == 1 else self.scale * found
