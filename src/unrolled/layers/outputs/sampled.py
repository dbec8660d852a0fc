"""The sampled softmax: while training, a target is compared with a few others that are drawn."""

from __future__ import annotations

import math

import numpy.typing as npt
import torch
import torch.nn.functional as F

from unrolled.kernels.losses import check_targets
from unrolled.layers.outputs.contract import ranks_of
from unrolled.layers.outputs.full import FullSoftmax

__all__ = ["SampledSoftmax"]


class SampledSoftmax(FullSoftmax):
    """A full softmax that is trained on samples (Jean et al. 2015, equations 5 to 9).

    For every batch, `samples` symbols are drawn, with replacement, from a log-uniform distribution over their ranks
    by frequency, r = 0 ... V - 1, which a text's own frequencies resemble (Zipf):

        P(r) = ln((r + 2) / (r + 1)) / ln(V + 1)

    The set C of those that came at all stands for the vocabulary. A symbol is in it with probability
    Q(r) = 1 - (1 - P(r))^samples, its expected count, and the loss of a target y is that of a softmax over y and C
    without y, with -ln Q added to each logit:

        -s_y + ln Σ_{c ∈ {y} ∪ C \\ {y}} exp(s_c),  s = W h + b - ln Q

    The correction makes up for frequent symbols being in C more often; without it the probabilities of the full softmax
    would come out of proportion. What is drawn and is the target itself (an accidental hit) counts once. In evaluation
    mode, everything is as in the full softmax. The loss while training is that of an easier choice: it is lower.

    Args:
        hidden: H.
        size: V.
        samples: draws a batch.
        counts: (V,) how often each symbol is seen; by default symbols are taken to be sorted, frequent ones first.
    """

    ranks: torch.Tensor
    order: torch.Tensor

    def __init__(self, hidden: int, size: int, samples: int, counts: npt.ArrayLike | None = None) -> None:
        super().__init__(hidden, size)
        self.samples = samples
        # Part of the weights: a run that starts from these goes on with the same ranks, whatever its own text counts.
        self.register_buffer("ranks", ranks_of(counts, size))
        self.register_buffer("order", torch.argsort(self.ranks))

    @property
    def about(self) -> str:
        return f"softmax trained on {self.samples} samples"

    def losses(self, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        if not self.training:
            return super().losses(hidden, targets, weights)
        check_targets(targets, len(self.weight))
        flat, wanted = hidden.flatten(0, -2), targets.flatten()
        drawn = self._draw()
        candidates = self.order[drawn]
        # Looked up at once: each gradient of a look-up is as large as all weights.
        places = torch.cat([candidates, wanted])
        parts = [len(candidates), len(wanted)]
        rows, row_of = torch.split(self.weight.index_select(0, places), parts)
        offsets, offset_of = torch.split(self.bias.index_select(0, places), parts)
        logits = F.linear(flat, rows, offsets)
        exact = torch.float64 if self.weight.dtype == torch.float64 else torch.float32
        logits = logits.to(exact) - self._log_expected(drawn, exact)
        # A place that is not there costs nothing, and its gradient is none.
        logits = logits.masked_fill(candidates == wanted.unsqueeze(1), -math.inf)
        # Not a product of matrices: one row of weights for each target, summed up exactly.
        own = (flat.to(exact) * row_of).sum(-1) + offset_of
        own = own - self._log_expected(self.ranks[wanted], exact)
        nats: torch.Tensor = torch.logaddexp(torch.logsumexp(logits, -1), own) - own
        if weights is not None:
            nats = nats * weights.flatten()
        return nats.view(targets.shape)

    def _draw(self) -> torch.Tensor:
        """The ranks (C,) that come in so many draws, each once, in ascending order.

        P(rank <= r) = ln(r + 2) / ln(V + 1), turned round. From PyTorch's generator, which training seeds for every
        step.
        """
        size = len(self.weight)
        uniform = torch.rand(self.samples, dtype=torch.float64, device=self.weight.device)
        ranks = (uniform * math.log1p(size)).exp_().long() - 1
        drawn: torch.Tensor = torch.unique(ranks.clamp_(0, size - 1))
        return drawn

    def _log_expected(self, ranks: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """ln Q of ranks."""
        p = torch.log1p(1 / (ranks.double() + 1)) / math.log1p(len(self.weight))
        found: torch.Tensor = torch.log(-torch.expm1(self.samples * torch.log1p(-p))).to(dtype)
        return found
