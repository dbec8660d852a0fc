"""A linear map of the n-grams that a sequence has: what a bag of words knows, as a layer.

Axes: B batch, T time, V vocabulary, C outputs.
"""

from __future__ import annotations

import torch

from unrolled.errors import ConfigurationError
from unrolled.layers.dropping import check_probability

__all__ = ["NGrams"]

_MULTIPLIER = 0x9E3779B97F4A7C15 - (1 << 64)  # 2^64 / golden ratio, which spreads what is multiplied (Knuth, 6.4)


class NGrams(torch.nn.Module):
    """For every n-gram of symbols that a sequence has, once, C numbers; their sum by the root of their count.

    With `placed`, n-grams at different places of a sequence, counted from its start, are different ones: a position
    weight matrix (Stormo et al. 1982) and, from pairs on, what neighbours say together.

    The start and the end of a sequence are symbols too. An n-gram's row in the table follows from its symbols (feature
    hashing, Weinberger et al. 2009): none needs to be known in advance, and some share a row. All start at zero.

    Args:
        order: the longest, in symbols.
        symbols: V.
        outputs: C.
        size: rows of the table.
        dropout: probability with which an n-gram is left out while training.
        placed: whether an n-gram is another one where it stands elsewhere.

    Raises:
        ConfigurationError: a number is out of range.
    """

    def __init__(
        self,
        order: int,
        symbols: int,
        outputs: int,
        size: int = 1 << 16,
        dropout: float = 0.0,
        *,
        placed: bool = False,
    ) -> None:
        super().__init__()
        if order < 1 or size < 2:
            raise ConfigurationError("n-grams are of at least one symbol, and their table has at least two rows")
        check_probability("dropout", dropout)
        self.order, self.symbols, self.size, self.dropout, self.placed = order, symbols, size, dropout, placed
        self.weight = torch.nn.Parameter(torch.zeros(size, outputs))

    def reset_parameters(self) -> None:
        """Start again."""
        torch.nn.init.zeros_(self.weight)

    def rows(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(B, M) the rows of each sequence's n-grams, ascending; 0, which no n-gram has, where there are fewer.

        Args:
            ids: (B, T).
            lengths: (B,) from 1 to T.
        """
        batch, steps = ids.shape
        around = torch.nn.functional.pad(ids.long() + 1, (1, 1))
        around[:, 0] = self.symbols + 1
        around[torch.arange(batch, device=ids.device), lengths + 1] = self.symbols + 2
        times, found = torch.arange(steps + 2, device=ids.device), []
        mixed = (times + 1).expand_as(around) if self.placed else torch.zeros_like(around)
        for n in range(1, min(self.order, steps + 2) + 1):
            last = n - 1
            # Products of 64 bits, whose overflow is wanted; their upper half has been stirred most.
            mixed = mixed[:, : around.shape[1] - last] * _MULTIPLIER + around[:, last:]
            places = ((mixed * _MULTIPLIER) >> 32) % (self.size - 1) + 1
            beyond = times[: places.shape[1]] + n > lengths.unsqueeze(1) + 2
            found.append(places.masked_fill(beyond, 0))
        ordered = torch.cat(found, 1).sort(1).values
        again = torch.zeros_like(ordered, dtype=torch.bool)
        again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
        return ordered.masked_fill(again, 0)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """ids (B, T) of sequences that end after `lengths` (B,) to (B, C)."""
        rows = self.rows(ids, lengths)
        shares = (rows > 0).to(self.weight.dtype)
        shares = shares / shares.sum(1, keepdim=True).sqrt()
        if self.training and self.dropout:
            shares = torch.nn.functional.dropout(shares, self.dropout)
        return torch.nn.functional.embedding_bag(rows, self.weight, per_sample_weights=shares, mode="sum")
