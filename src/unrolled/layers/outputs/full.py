"""The full softmax: every symbol has a row of weights, and every target is compared with all of them."""

from __future__ import annotations

import torch

from unrolled.kernels import linear_cross_entropy
from unrolled.layers.initial import initialise
from unrolled.layers.outputs.contract import OutputLayer

__all__ = ["FullSoftmax"]


class FullSoftmax(torch.nn.Linear, OutputLayer):
    """p = softmax(W h + b). Logits are never held for all targets; see `kernels.losses`.

    Args:
        hidden: H.
        size: V.
    """

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__(hidden, size)

    def restart(self) -> None:
        initialise(self.weight, "glorot")
        initialise(self.bias, "zeros")

    def tie(self, vectors: torch.Tensor) -> None:
        self.register_parameter("weight", vectors)  # type: ignore[arg-type]  # PyTorch refuses what is no parameter

    def losses(self, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        return linear_cross_entropy(hidden, self.weight, self.bias, targets, weights)
