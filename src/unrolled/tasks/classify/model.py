"""A classifier of sequences: embedding, recurrent layers, pooling over time, a linear layer.

Axes: B batch, T time, E embedding, H hidden, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from unrolled.cells import Equations
from unrolled.kernels import Kernel
from unrolled.layers import Dropout, Recurrent
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.supervised import Outcome, SupervisedModel

__all__ = ["Classifier", "LabelledBatch"]


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """B sequences and their labels.

    Attributes:
        ids: (B, T) symbols, anything after the end of each.
        lengths: (B,) from 1 to T.
        labels: (B,) the number of the label of each, below 0 where it is not known.
    """

    ids: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor


class Classifier(SupervisedModel):
    """p(label | x_1 ... x_T).

    Args:
        equations: the cell.
        symbols: V.
        classes: C.
        config: the network, with sizes that are chosen.
    """

    def __init__(self, equations: Equations, symbols: int, classes: int, config: ClassifierConfig) -> None:
        super().__init__()
        hidden, dropout = config.hidden_size or 128, config.dropout or 0.0
        width = hidden if config.embedding_size is None else config.embedding_size
        self.config, self.equations, self.classes = config, equations, classes
        self.embedding = torch.nn.Embedding(symbols, width)
        self.recurrent = Recurrent(
            equations, width, hidden, config.layers, dropout=dropout, bidirectional=config.bidirectional
        )
        self.scores = torch.nn.Linear(self.recurrent.output_size, 1, bias=False)
        self.dropout = Dropout(dropout)
        self.output = torch.nn.Linear(self.recurrent.output_size, classes)
        torch.nn.init.normal_(self.embedding.weight)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Symbols (B, T) of sequences that end after `lengths` (B,) to logits (B, C)."""
        # Laid out time step after time step in memory, as the loops over time read it.
        x = self.dropout(self.embedding(ids.t()).transpose(0, 1))
        y, state = self.recurrent(x, None, None, lengths)
        logits: torch.Tensor = self.output(self.dropout(self._pooled(y, state, lengths)))
        return logits

    def _pooled(self, y: torch.Tensor, state: object, lengths: torch.Tensor) -> torch.Tensor:
        inside = (torch.arange(y.shape[1], device=y.device) < lengths.unsqueeze(1)).unsqueeze(2)
        if self.config.pooling == "mean":
            return y.sum(1) / lengths.unsqueeze(1).to(y.dtype)
        if self.config.pooling == "max":
            return y.masked_fill(~inside, -torch.inf).amax(1)
        if self.config.pooling == "attention":
            weights = self.scores(torch.tanh(y)).masked_fill(~inside, -torch.inf).softmax(1)
            pooled: torch.Tensor = (weights * y).sum(1)
            return pooled
        last = y[torch.arange(len(y), device=y.device), lengths - 1]
        if not self.recurrent.backward_layers:
            return last
        half = y.shape[2] // 2
        return torch.cat([last[:, :half], y[:, 0, half:]], 1)

    def loss(self, batch: LabelledBatch) -> Outcome:
        """Cross-entropy, in nats a label."""
        device = self.device
        logits = self(batch.ids.to(device), batch.lengths.to(device))
        total = torch.nn.functional.cross_entropy(logits.float(), batch.labels.to(device), reduction="sum")
        return Outcome(total, len(batch.labels), len(batch.labels))

    def use(self, kernel: Kernel | None) -> None:
        self.recurrent.use(kernel)

    @property
    def uniform_loss(self) -> float:
        """ln C."""
        return math.log(self.classes)

    @property
    def about(self) -> str:
        config = self.config
        both = " in both directions" if config.bidirectional else ""
        return (
            f"{self.equations.name} {config.layers}x{self.recurrent.hidden_size}{both}, embedding "
            f"{self.embedding.embedding_dim}, {config.pooling} over time, dropout {config.dropout or 0:g}; "
            f"{self.size:,} parameters"
        )
