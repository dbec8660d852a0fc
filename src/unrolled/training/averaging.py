"""Averages of the weights over training: what is validated, sampled and saved in place of the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from unrolled.training.configuration import TrainingConfig

__all__ = ["Averaging"]


class Averaging:
    """The average of a model's weights, beside the weights that are trained.

    "triggered" is averaged SGD as its non-monotonic trigger starts it (NT-ASGD; Merity et al. 2018, algorithm 1): once
    a validation is worse than the best of those more than `nonmonotone` before, the mean of the weights after every
    update from then on. "exponential" is a moving mean that keeps a share d of itself at every update,
    d = min(average_decay, (1 + n) / (10 + n)) after n of them, so that it forgets the start.

    Args:
        parameters: those of the model, by name; each once.
        config: says which average.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], config: TrainingConfig) -> None:
        self._parameters, self._config = dict(parameters), config
        self._means: dict[str, torch.Tensor] = {}
        self._heard: list[float] = []
        self._count = 0
        if config.average == "exponential":
            self._start()

    @property
    def active(self) -> bool:
        """Whether there is an average by now."""
        return bool(self._means)

    def _start(self) -> None:
        self._means = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._count = 0

    @torch.no_grad()
    def updated(self) -> None:
        """The weights were updated once."""
        if not self.active:
            return
        self._count += 1
        share = 1 / self._count
        if self._config.average == "exponential":
            share = 1 - min(self._config.average_decay, self._count / (9 + self._count))
        weights = [self._parameters[name].detach() for name in self._means]
        torch._foreach_lerp_([*self._means.values()], weights, share)

    def heard(self, loss: float) -> bool:
        """A validation came to this loss.

        Returns:
            whether averaging begins here.
        """
        if self._config.average != "triggered" or self.active:
            return False
        before = self._heard[: max(0, len(self._heard) - self._config.nonmonotone)]
        self._heard.append(loss)
        if not before or loss <= min(before):
            return False
        self._start()
        return True

    @contextmanager
    @torch.no_grad()
    def shown(self) -> Iterator[None]:
        """The model has the average as its weights inside, where there is one, and its own again after."""
        own = self.own()
        self._fill(self._means)
        try:
            yield
        finally:
            self._fill(own)

    def own(self) -> dict[str, torch.Tensor]:
        """The weights that are trained, copied; nothing where there is no average and the model shows them."""
        return {name: self._parameters[name].detach().clone() for name in self._means}

    @torch.no_grad()
    def _fill(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, value in weights.items():
            self._parameters[name].copy_(value)

    def state(self) -> dict[str, Any]:
        """What is to be kept besides the average and the weights, as JSON."""
        return {"count": self._count, "heard": self._heard}

    def put(self, own: Mapping[str, torch.Tensor], state: Mapping[str, Any] | None) -> None:
        """Go on from what was kept; the model has the average as its weights, if there is one."""
        self._means, self._count, self._heard = {}, 0, []
        if own:
            self._start()
            self._fill(own)
        elif self._config.average == "exponential":
            self._start()
        if state is not None:
            self._count, self._heard = state["count"], list(state["heard"])
