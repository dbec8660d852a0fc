"""Where the clusters of an adaptive softmax end."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["choose_cutoffs"]

_MOST = 4  # clusters
_NARROWEST = 16  # dimensions that a cluster keeps: with fewer, symbols can hardly be told apart
_POINTS = 120  # at which a cluster may end
# The share of targets that the head has all dimensions for; the cut-offs that were published with good perplexities
# (4,000 of 793,471 words, 2,000 of 44,371) leave it about so much.
_HEAD = 0.7
# What a logit costs beside its product, in multiplications: reading, exponential and writing of it and of its gradient.
_LOGIT = 128
# What a cluster costs beside its logits, in logits: its targets are gathered, and its gradient scattered.
_CLUSTER = 64


def choose_cutoffs(counts: npt.ArrayLike, hidden: int, divisor: float = 4.0) -> tuple[int, ...]:
    """The cut-offs with which a target costs least on average (Grave et al. 2017, section 4.2 and 4.3).

    The cost of n logits of width d is n (d + a constant), times the share of targets that need them. Cut-offs are
    sought by dynamic programming on a grid of about 120 points, evenly spaced in the logarithm, such that the head has
    at least 70% of the targets and every cluster at least 16 dimensions.

    Args:
        counts: (V,) how often each symbol is seen, in any order.
        hidden: H.
        divisor: by which the dimensions of each cluster are fewer than those of the one before.

    Returns:
        up to 4 numbers; none where a single head is cheapest, as in small vocabularies.

    >>> choose_cutoffs([1] * 50, 128)
    ()
    """
    sorted_counts = np.sort(np.asarray(counts, np.float64))[::-1]
    size = len(sorted_counts)
    shares = np.concatenate([[0.0], np.cumsum(sorted_counts)]) / max(sorted_counts.sum(), 1.0)
    points = np.unique(np.geomspace(1, size, _POINTS).round().astype(np.int64))
    ends, gathered = points.astype(np.float64), shares[points]
    per_head = hidden + _LOGIT
    if len(points) < 2:
        return ()
    best = size * float(per_head)
    cutoffs: tuple[int, ...] = ()
    for clusters in range(1, min(_MOST, size - 1) + 1):
        if hidden / divisor**clusters < min(_NARROWEST, hidden / divisor):
            break
        # costs[k]: the least that everything beyond points[k] costs, from a level on; from the last level down.
        costs = np.where(points == size, 0.0, math.inf)
        choices = []
        for level in range(clusters, 0, -1):
            width = max(1, int(hidden / divisor**level))
            sizes, share = ends[None, :] - ends[:, None], gathered[None, :] - gathered[:, None]
            each = share * (sizes * (width + _LOGIT) + width * hidden) + _CLUSTER * per_head
            total = np.where(sizes > 0, each + costs[None, :], math.inf)
            choices.append(total.argmin(1))
            costs = total.min(1)
        whole = np.where(gathered >= min(_HEAD, gathered[-2]), (ends + clusters) * per_head + costs, math.inf)
        at = int(whole.argmin())
        if whole[at] < best:
            best, found = float(whole[at]), [at]
            for choice in reversed(choices[1:]):
                found.append(int(choice[found[-1]]))
            cutoffs = tuple(int(points[index]) for index in found)
    return cutoffs
