"""A classifier of pictures that are read as sequences.

Axes: B batch, T time, D numbers a time step, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unrolled.cells import Equations
from unrolled.data.picture_inputs import PictureInput
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.classify.model import Classifier, Target

__all__ = ["PictureClassifier", "moved"]


def moved(pictures: torch.Tensor, down: torch.Tensor, right: torch.Tensor, blank: float = 0.0) -> torch.Tensor:
    """Pictures moved by whole pixels; what comes in from beyond their borders is blank.

    Args:
        pictures: (B, height, width, channels).
        down: (B,) pixels, below 0 for upward.
        right: (B,) pixels.
        blank: what is beyond.
    """
    count, height, width, _ = pictures.shape
    rows = torch.arange(height, device=pictures.device) - down.unsqueeze(1)  # (B, height) where each comes from
    columns = torch.arange(width, device=pictures.device) - right.unsqueeze(1)
    inside = ((rows >= 0) & (rows < height)).unsqueeze(2) & ((columns >= 0) & (columns < width)).unsqueeze(1)
    which = torch.arange(count, device=pictures.device).view(-1, 1, 1)
    found = pictures[which, rows.clamp(0, height - 1).unsqueeze(2), columns.clamp(0, width - 1).unsqueeze(1)]
    return found.masked_fill(~inside.unsqueeze(3), blank)


class PictureClassifier(Classifier):
    """p(class | picture), of pictures whose rows or pixels come one after the other.

    Args:
        equations: the cell.
        config: the network.
        pictures: how they were read.
        move: while training, a picture is moved by up to so many pixels up or down and left or right, drawn anew each
            time it is read.
        classes: C.
        target: see `Classifier`.
        weights: see `Classifier`.
    """

    def __init__(
        self,
        equations: Equations,
        config: ClassifierConfig,
        pictures: PictureInput,
        *,
        move: int = 0,
        classes: int,
        target: Target = "class",
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(equations, config, classes=classes, inputs=pictures.width, target=target, weights=weights)
        self.pictures, self.move = pictures, move
        order = torch.tensor(pictures.order, dtype=torch.long)
        self.register_buffer("_order", order, persistent=False)
        self.register_buffer("_places", order.argsort(), persistent=False)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Bytes (B, T, D) to logits (B, C)."""
        if self.training and self.move:
            x = self._moved(x)
        scaled = (x.to(self.output.weight.dtype) - self.pictures.mean) / self.pictures.deviation
        return super().forward(scaled, lengths)

    def _moved(self, x: torch.Tensor) -> torch.Tensor:
        permuted = self.pictures.scan == "permuted"
        whole = x[:, self.get_buffer("_places")] if permuted else x
        by = torch.randint(-self.move, self.move + 1, (2, len(x)), device=x.device)
        whole = moved(whole.reshape(len(x), *self.pictures.shape), by[0], by[1]).reshape(x.shape)
        return whole[:, self.get_buffer("_order")] if permuted else whole
