"""How well next items are predicted: how high the one that came stands among all, and how likely it was.

hit rate at k: the share of events whose item is among the k likeliest. MRR at k: the mean of 1 / rank, 0 for a rank
above k. Of items that are equally likely each has their mean rank, so that one who knows nothing gains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CUTS", "Ranks", "ranks_of"]

CUTS = (1, 5, 10, 20)
"""The k that are told."""

_Floats = npt.NDArray[np.float64]


def ranks_of(scores: npt.NDArray[Any], items: npt.NDArray[np.int64]) -> _Floats:
    """(N,) the rank of each item among the scores (N, V), from 1; of equals the mean."""
    own = scores[np.arange(len(items)), items][:, None]
    found: _Floats = 1 + (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2
    return found


@dataclass(frozen=True, eq=False)
class Ranks:
    """N predictions.

    Attributes:
        ranks: (N,) of the item that came, from 1; infinite for one that training never saw.
        nats: (N,) -ln p of it; infinite for such a one.
    """

    ranks: _Floats
    nats: _Floats

    def describe(self) -> dict[str, Any]:
        """As JSON: `hit_rate` and `mrr` by k, `nats` (mean, of items that training saw)."""
        known = self.nats[np.isfinite(self.nats)]
        inverse = 1 / self.ranks
        return {
            "hit_rate": {str(k): float((self.ranks <= k).mean()) for k in CUTS},
            "mrr": {str(k): float(np.where(self.ranks <= k, inverse, 0).mean()) for k in CUTS},
            "nats": float(known.mean()) if len(known) else None,
        }
