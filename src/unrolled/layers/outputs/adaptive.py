"""The adaptive softmax: frequent symbols first, rare ones in clusters that are looked into only if needed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy.typing as npt
import torch
import torch.nn.functional as F

from unrolled.errors import ConfigurationError
from unrolled.kernels import linear_cross_entropy
from unrolled.kernels.losses import check_targets
from unrolled.layers.initial import initialise
from unrolled.layers.outputs.contract import OutputLayer, ranks_of

__all__ = ["AdaptiveSoftmax"]


class AdaptiveSoftmax(OutputLayer):
    """A tree of two levels over symbols sorted by frequency (Grave et al. 2017, section 4).

    The head has the symbols of rank 0 ... c_0 - 1 and one more row for each of J clusters of rarer ones; cluster j has
    those of rank c_{j-1} ... c_j - 1, in H / divisor^j dimensions:

        p(y) = head(y)                                             y in the head
        p(y) = head(cluster j) softmax(W_j D_j h + b_j)(y)         y in cluster j

    A target in the head costs c_0 + J rows; only those of rare symbols, few of a batch, cost those of their cluster.
    What comes out is exact: probabilities of all symbols sum to 1.

    Args:
        hidden: H.
        size: V.
        cutoffs: c_0 < c_1 < ... < c_{J-1}, where head and clusters but the last end; with none of them, there is only
            the head.
        divisor: by which the dimensions of each cluster are fewer than those of the one before; at least 1.
        counts: (V,) how often each symbol is seen; by default symbols are taken to be sorted, frequent ones first.

    Raises:
        ConfigurationError: cut-offs do not ascend within the vocabulary.
    """

    ranks: torch.Tensor

    def __init__(
        self,
        hidden: int,
        size: int,
        cutoffs: Sequence[int],
        divisor: float = 4.0,
        counts: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__()
        ends = [*cutoffs, size]
        if ends[0] < 1 or any(first >= second for first, second in itertools.pairwise(ends)):
            raise ConfigurationError(
                "cutoffs are not those of the vocabulary",
                expected=f"ascending numbers from 1 to {size - 1}",
                got=", ".join(map(str, cutoffs)),
                fix="leave --cutoffs out: they are chosen from the frequencies of the text",
            )
        self.size, self.cutoffs = size, tuple(cutoffs)
        self.head = torch.nn.Linear(hidden, ends[0] + len(ends) - 1)
        self.clusters = torch.nn.ModuleList(
            _Cluster(hidden, max(1, int(hidden / divisor**level)), begin, end)
            for level, (begin, end) in enumerate(itertools.pairwise(ends), 1)
        )
        # Part of the weights: a run that starts from these goes on with the same ranks, whatever its own text counts.
        self.register_buffer("ranks", ranks_of(counts, size))
        self.restart()

    @property
    def about(self) -> str:
        ends = " ".join(map(str, self.cutoffs)) or "none"
        return f"adaptive softmax, cut-offs {ends}"

    def restart(self) -> None:
        for linear in [self.head, *(part for cluster in self._clusters() for part in (cluster.down, cluster.rows))]:
            initialise(linear.weight, "glorot")
            if linear.bias is not None:
                initialise(linear.bias, "zeros")

    def restart_tied(self) -> None:
        """Start again where the rows are the vectors of symbols too: a symbol of any cluster is read as a vector of
        entries of about H^-1/2, and its logit is as large as one of the head."""
        torch.nn.init.normal_(self.head.weight, std=self.head.in_features**-0.5)
        for cluster in self._clusters():
            torch.nn.init.normal_(cluster.down.weight, std=cluster.down.in_features**-0.5)
            torch.nn.init.normal_(cluster.rows.weight, std=cluster.rows.in_features**-0.5)

    @property
    def tables(self) -> list[torch.Tensor]:
        """The parameters with a row for each symbol: of the head, and of every cluster."""
        return [self.head.weight, *(cluster.rows.weight for cluster in self._clusters())]

    def vectors(self, ids: torch.Tensor) -> torch.Tensor:
        """The vectors (..., H) of symbols (...): rows of the head, or of a cluster and up from its dimensions."""
        ranks = self.ranks[ids.flatten()]
        first = self.head.out_features - len(self.clusters)
        found = F.embedding(ranks.clamp(max=first - 1), self.head.weight)
        for cluster in self._clusters():
            # Also where there are none: every parameter has a gradient after every batch.
            places = torch.nonzero((ranks >= cluster.begin) & (ranks < cluster.end)).squeeze(1)
            rows = F.embedding(ranks[places] - cluster.begin, cluster.rows.weight)
            found = found.index_copy(0, places, (rows @ cluster.down.weight).to(found.dtype))
        return found.view(*ids.shape, -1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        exact = torch.float64 if self.head.weight.dtype == torch.float64 else torch.float32
        log_p = torch.log_softmax(self.head(hidden).to(exact), -1)
        first = self.head.out_features - len(self.clusters)
        parts = [log_p[..., :first]]
        for index, cluster in enumerate(self._clusters(), first):
            inside = torch.log_softmax(cluster(hidden).to(exact), -1)
            parts.append(log_p[..., index : index + 1] + inside)
        return torch.cat(parts, -1).index_select(-1, self.ranks)

    def losses(self, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        check_targets(targets, self.size)
        flat, ranks = hidden.flatten(0, -2), self.ranks[targets.flatten()]
        scale = None if weights is None else weights.flatten()
        first = self.head.out_features - len(self.clusters)
        in_head = ranks
        for index, cluster in enumerate(self._clusters(), first):
            in_head = in_head.masked_fill((ranks >= cluster.begin) & (ranks < cluster.end), index)
        nats = linear_cross_entropy(flat, self.head.weight, self.head.bias, in_head, scale)
        for cluster in self._clusters():
            # Also where there are none: every parameter has a gradient after every batch.
            rows = torch.nonzero((ranks >= cluster.begin) & (ranks < cluster.end)).squeeze(1)
            inside = linear_cross_entropy(
                F.linear(flat.index_select(0, rows), cluster.down.weight),
                cluster.rows.weight,
                cluster.rows.bias,
                ranks[rows] - cluster.begin,
                None if scale is None else scale[rows],
            )
            nats = nats.index_add(0, rows, inside)
        return nats.view(targets.shape)

    def _clusters(self) -> list[_Cluster]:
        return [cluster for cluster in self.clusters if isinstance(cluster, _Cluster)]


class _Cluster(torch.nn.Module):
    """The symbols of rank `begin` to `end` - 1, in fewer dimensions."""

    def __init__(self, hidden: int, width: int, begin: int, end: int) -> None:
        super().__init__()
        self.begin, self.end = begin, end
        self.down = torch.nn.Linear(hidden, width, bias=False)
        self.rows = torch.nn.Linear(width, end - begin)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.rows(self.down(hidden))
        return logits
