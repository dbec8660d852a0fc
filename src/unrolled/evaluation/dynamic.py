"""Dynamic evaluation: a model that goes on learning from the text it is asked about (Krause et al. 2018).

A segment is predicted first and learnt from afterwards, so that every symbol is still predicted from those before it
alone. What learns is a copy: the model, and the run it came from, stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from unrolled.data.streams import Batch
from unrolled.errors import ConfigurationError, nearest
from unrolled.tasks.language_model import LanguageModel

__all__ = ["RULES", "Adapted", "Dynamic", "Rule", "root_mean_squares"]

Rule = Literal["sgd", "rms"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True)
class Dynamic:
    """How a model learns from what it reads; g is the gradient of the mean loss of a segment.

    Attributes:
        rule: "sgd", w += decay (w_0 - w) - rate g, or "rms", whose steps are scaled by what the gradient of each weight
            was like on the training text, r = sqrt(mean g²):
            w += min(1, decay r / mean r) (w_0 - w) - rate g / (r + epsilon mean r)
            (equations 5 and 6; the paper's epsilon is a number, here it is a share of the mean over all weights).
        rate: of learning.
        decay: share of the way back to the trained weights w_0 that is gone after each segment.
        segment: symbols that are read before anything is learnt.
        epsilon: see rule.
    """

    rule: Rule
    rate: float
    decay: float
    segment: int
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ConfigurationError(f"unknown rule {self.rule!r}", fix=nearest(self.rule, RULES))
        for name in ("rate", "decay", "epsilon"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ConfigurationError(f"{name} is out of range", expected="at least 0", got=str(value))
        if self.decay > 1:
            raise ConfigurationError("decay is out of range", expected="at most 1", got=str(self.decay))
        if self.segment < 1:
            raise ConfigurationError("a segment is too short", expected="at least 1 symbol", got=str(self.segment))


class Adapted:
    """A copy of a model that learns.

    Args:
        model: it stays as it is.
        dynamic: how the copy learns.
        roots: for the rule "rms", `root_mean_squares` of the model.
    """

    def __init__(self, model: LanguageModel, dynamic: Dynamic, roots: Sequence[torch.Tensor] | None = None) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_()
        self._weights: list[torch.Tensor] = list(self.model.parameters())
        self._start = [weight.detach().clone() for weight in self._weights]
        self._dynamic = dynamic
        self._scales: list[torch.Tensor] = []
        self._ways_back: list[torch.Tensor] = []
        if dynamic.rule == "rms":
            if roots is None:
                raise ValueError("the rule rms needs the root mean squares of gradients")
            mean = float(torch.cat([root.flatten() for root in roots]).mean(dtype=torch.float64)) or 1.0
            self._scales = [dynamic.rate / (root + dynamic.epsilon * mean) for root in roots]
            self._ways_back = [(dynamic.decay / mean * root).clamp_(max=1) for root in roots]

    def learn(self, nats: torch.Tensor, targets: int) -> None:
        """Learn from the nats (B, T) of a segment, of which so many targets count."""
        if not targets:
            return
        gradients = list(torch.autograd.grad(nats.sum() / targets, self._weights, materialize_grads=True))
        with torch.no_grad():
            if self._dynamic.rule == "rms":
                torch._foreach_lerp_(self._weights, self._start, self._ways_back)
                torch._foreach_addcmul_(self._weights, gradients, self._scales, value=-1)
            else:
                torch._foreach_lerp_(self._weights, self._start, self._dynamic.decay)
                torch._foreach_add_(self._weights, gradients, alpha=-self._dynamic.rate)


def root_mean_squares(model: LanguageModel, batches: Iterable[Batch]) -> list[torch.Tensor]:
    """sqrt(mean g²) over batches, for every weight of a model: how large its gradient is on its training text."""
    before = model.training
    model.eval()
    weights = list(model.parameters())
    squares, count = [torch.zeros_like(weight) for weight in weights], 0
    state = None
    try:
        for batch in batches:
            with torch.enable_grad():
                nats, after = model.losses(batch, None if batch.fresh else state)
                gradients = torch.autograd.grad(nats.sum() / max(batch.targets, 1), weights, materialize_grads=True)
            state = tuple(tuple(part.detach() for part in layer) for layer in after)
            torch._foreach_addcmul_(squares, list(gradients), list(gradients))
            count += 1
    finally:
        model.train(before)
    return [square.div_(max(count, 1)).sqrt_() for square in squares]
