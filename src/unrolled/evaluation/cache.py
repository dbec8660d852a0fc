"""The continuous cache: words that came in contexts like this one come again (Grave et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unrolled.errors import ConfigurationError

__all__ = ["Cache", "CacheReader"]


@dataclass(frozen=True)
class Cache:
    """What is kept of a text, and how much it counts.

    Attributes:
        window: of so many symbols, the last ones, the hidden vector before each is kept with the symbol.
        flatness: θ, by which products of hidden vectors are multiplied: near 0 all that is kept counts alike.
        share: λ of the probability that the cache gives; the model gives the rest.
    """

    window: int
    flatness: float
    share: float

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigurationError("a cache is too short", expected="at least 1 symbol", got=str(self.window))
        if not 0 <= self.flatness < float("inf"):
            raise ConfigurationError("flatness is out of range", expected="at least 0", got=str(self.flatness))
        if not 0 <= self.share < 1:
            raise ConfigurationError("share is a probability", expected="at least 0, below 1", got=str(self.share))


class CacheReader:
    """Reads a text in B streams, keeps what it has read, and says how likely the cache finds each target:

        p(y_t) ∝ Σ_{i < t} 1[y_i = y_t] exp(θ h_t · h_i)        over the last `window` i (equations 3 and 4)

    where h_i is what the output layer gets when it predicts y_i.

    Args:
        window: see `Cache`.
        flatnesses: K values of θ that are looked at side by side.
    """

    def __init__(self, window: int, flatnesses: Sequence[float]) -> None:
        self._window, self._flatnesses = window, tuple(flatnesses)
        self._hidden: torch.Tensor | None = None
        self._targets = self._documents = torch.empty(0, 0, dtype=torch.int64)

    def read(
        self, hidden: torch.Tensor, targets: torch.Tensor, resets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Read on.

        Args:
            hidden: (B, T, H).
            targets: (B, T).
            resets: (B, T), true where a document begins: what was kept before is forgotten.

        Returns:
            ln p of the targets (K, B, T), -inf where the cache has them not; and where it has anything (B, T).
        """
        count = targets.shape[1]
        begun = torch.zeros_like(targets) if resets is None else resets.long().cumsum(1)
        if self._hidden is None:
            self._hidden = hidden[:, :0]
            self._targets = self._documents = targets[:, :0]
        elif self._documents.shape[1]:
            begun = begun + self._documents[:, -1:]
        keys = torch.cat([self._hidden, hidden], 1)
        words = torch.cat([self._targets, targets], 1)
        documents = torch.cat([self._documents, begun], 1)
        places = torch.arange(keys.shape[1], device=targets.device)
        now = places[-count:].unsqueeze(1)
        within = (places < now) & (places >= now - self._window) & (documents.unsqueeze(1) == begun.unsqueeze(2))
        scores = (hidden @ keys.transpose(1, 2)).masked_fill_(~within, -math.inf)
        hits = scores.masked_fill(words.unsqueeze(1) != targets.unsqueeze(2), -math.inf)
        there = within.any(2)
        found = torch.stack([_log_share(hits, scores, flatness, there) for flatness in self._flatnesses])
        self._hidden, self._targets = keys[:, -self._window :], words[:, -self._window :]
        self._documents = documents[:, -self._window :]
        return found, there


def _log_share(hits: torch.Tensor, scores: torch.Tensor, flatness: float, there: torch.Tensor) -> torch.Tensor:
    """ln of the share that hits (B, T, N) have of exp(flatness · scores)."""
    if flatness == 0:
        part, whole = (torch.isfinite(each).sum(2).to(scores.dtype).log() for each in (hits, scores))
    else:
        part, whole = (torch.logsumexp(flatness * each, 2) for each in (hits, scores))
    return torch.where(there, part - whole, -math.inf)
