"""What comes next in a session: embedding, recurrent layers, a score for every item (Hidasi et al. 2016, Session-based
recommendations with recurrent neural networks, section 3; here with a full softmax and cross-entropy).

Axes: B batch, T time, E embedding, H hidden, V items.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch

from unrolled.cells import Equations
from unrolled.kernels import Kernel
from unrolled.layers import Dropout, Recurrent
from unrolled.tasks.events.configuration import NextConfig
from unrolled.tasks.supervised import Outcome, SupervisedModel

__all__ = ["EventBatch", "NextItem"]


@dataclass(frozen=True, eq=False)
class EventBatch:
    """B sessions.

    Attributes:
        ids: (B, T + 1) items, anything after the end of each; 0 is the unknown one.
        lengths: (B,) from 1 to T: events after the first.
    """

    ids: torch.Tensor
    lengths: torch.Tensor


class NextItem(SupervisedModel):
    """p(x_t+1 | x_1 ... x_t).

    Args:
        equations: the cell.
        items: V, with the unknown one, which is never predicted.
        config: the network, with sizes that are chosen.
    """

    def __init__(self, equations: Equations, items: int, config: NextConfig) -> None:
        super().__init__()
        hidden, dropout = config.hidden_size or 128, config.dropout or 0.0
        width = config.embedding_size or hidden
        self.config, self.equations, self.items = config, equations, items
        self.embedding = torch.nn.Embedding(items, width)
        self.recurrent = Recurrent(equations, width, hidden, config.layers, dropout=dropout)
        self.dropout = Dropout(dropout)
        # Where vectors are tied, the output of the layers is as wide as they are.
        self.between = torch.nn.Linear(hidden, width) if config.tied else None
        self.output = torch.nn.Linear(width if config.tied else hidden, items)
        torch.nn.init.normal_(self.embedding.weight, std=width**-0.5)
        torch.nn.init.zeros_(self.output.bias)
        if config.tied:
            self.output.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Items (B, T) of sessions that end after `lengths` (B,) to logits of the next (B, T, V)."""
        # Laid out time step after time step in memory, as the loops over time read it.
        x = self.dropout(self.embedding(ids.t()).transpose(0, 1))
        y, _ = self.recurrent(x, None, None, lengths)
        if self.between is not None:
            y = self.between(y)
        logits: torch.Tensor = self.output(self.dropout(y))
        return logits

    def targets(self, batch: EventBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, V) and items (N,) of all predictions of a batch, one session after the other.

        The unknown item has a logit of minus infinity, so that it has no share of the probability.
        """
        ids, lengths = batch.ids.to(self.device), batch.lengths.to(self.device)
        logits = self(ids[:, :-1], lengths)
        inside = torch.arange(ids.shape[1] - 1, device=self.device) < lengths.unsqueeze(1)
        scores = logits[inside].float()
        unknown = torch.zeros(self.items, dtype=torch.bool, device=self.device)
        unknown[0] = True
        return scores.masked_fill(unknown, -torch.inf), ids[:, 1:][inside]

    def loss(self, batch: EventBatch) -> Outcome:
        """Cross-entropy, in nats an event, of events whose item is known."""
        logits, items = self.targets(batch)
        known = items > 0
        total = torch.nn.functional.cross_entropy(logits[known], items[known], reduction="sum")
        return Outcome(total, int(known.sum()), len(batch.ids))

    def use(self, kernel: Kernel | None) -> None:
        self.recurrent.use(kernel)

    @property
    def uniform_loss(self) -> float:
        return log(max(self.items - 1, 1))

    @property
    def about(self) -> str:
        config = self.config
        return (
            f"{self.equations.name} {config.layers}x{self.recurrent.hidden_size}, embedding "
            f"{self.embedding.embedding_dim}{', tied' if config.tied else ''}, dropout {config.dropout or 0:g}; "
            f"{self.size:,} parameters"
        )
