"""The mixture of softmaxes: a distribution that no single product of matrices can give."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from unrolled.kernels import linear_cross_entropy
from unrolled.layers.initial import initialise
from unrolled.layers.outputs.contract import OutputLayer

__all__ = ["MixtureOfSoftmaxes"]


class MixtureOfSoftmaxes(OutputLayer):
    """K softmaxes over the same rows of weights, mixed (Yang et al. 2018, section 2.3).

        p = Σ_k π_k softmax(W tanh(A_k h + a_k) + b),  π = softmax(P h)

    The logits of one softmax, for all contexts together, are a matrix of rank H at most; the logarithm of a mixture has
    no such bound. It costs K times the arithmetic of the full softmax.

    Args:
        hidden: H.
        size: V.
        experts: K.
        width: columns of W; H if not given.
    """

    def __init__(self, hidden: int, size: int, experts: int, width: int | None = None) -> None:
        super().__init__()
        self.experts, self.width = experts, width or hidden
        self.prior = torch.nn.Linear(hidden, experts, bias=False)
        self.latent = torch.nn.Linear(hidden, experts * self.width)
        self.weight = torch.nn.Parameter(torch.empty(size, self.width))
        self.bias = torch.nn.Parameter(torch.empty(size))
        self.restart()

    @property
    def about(self) -> str:
        return f"mixture of {self.experts} softmaxes"

    def restart(self) -> None:
        initialise(self.prior.weight, "glorot")
        for rows in self.latent.weight.detach().chunk(self.experts):
            initialise(rows, "glorot")
        initialise(self.latent.bias, "zeros")
        initialise(self.weight, "glorot")
        initialise(self.bias, "zeros")

    def tie(self, vectors: torch.Tensor) -> None:
        if vectors.shape != self.weight.shape:
            super().tie(vectors)
        self.register_parameter("weight", vectors)  # type: ignore[arg-type]  # PyTorch refuses what is no parameter

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        log_prior, latent = self._parts(hidden)
        mixed: torch.Tensor | None = None
        for k in range(self.experts):
            logits = F.linear(latent[..., k, :], self.weight, self.bias).to(log_prior.dtype)
            each = torch.log_softmax(logits, -1) + log_prior[..., k : k + 1]
            mixed = each if mixed is None else torch.logaddexp(mixed, each)
        assert mixed is not None
        return mixed

    def losses(self, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        log_prior, latent = self._parts(hidden)
        each = targets.unsqueeze(-1).expand(*targets.shape, self.experts)
        # What the experts' gradients are multiplied with is known at the end only: they are computed on the way back.
        nats = linear_cross_entropy(latent, self.weight, self.bias, each, ahead=False)
        mixed = -torch.logsumexp(log_prior - nats, -1)
        return mixed if weights is None else mixed * weights

    def _parts(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """ln π (..., K), and what the softmaxes get, (..., K, width)."""
        exact = torch.float64 if self.weight.dtype == torch.float64 else torch.float32
        log_prior = torch.log_softmax(self.prior(hidden).to(exact), -1)
        latent = torch.tanh(self.latent(hidden))
        return log_prior, latent.view(*hidden.shape[:-1], self.experts, self.width)
