"""Training in few calls: between the trainer, whose weights and memories are PyTorch's, and `kernels.small`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from unrolled.kernels.small import KINDS, Made, Rule, SmallNet, Work, is_small
from unrolled.layers.watching import current
from unrolled.tasks import Small, Trainable
from unrolled.training.configuration import TrainingConfig

__all__ = ["Fused", "Outcome", "serves_training"]

# The memories of each optimiser, as PyTorch calls them.
_MEMORIES = {
    "adamw": ("exp_avg", "exp_avg_sq"),
    "sgd": ("momentum_buffer",),
    "adagrad": ("sum",),
    "adagrad-inside": ("sum",),
}
_COUNTED = ("adamw", "adagrad")  # whose memory has a count of updates beside


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of several updates.

    Attributes:
        made: how many, their losses and norms.
        targets: (U,) how many targets counted in each.
        epochs: (U,) passes over the data after each.
        next: the position after the last.
        carried: the state that the last left.
    """

    made: Made
    targets: Any
    epochs: Any
    next: dict[str, Any]
    carried: dict[str, torch.Tensor]


def serves_training(config: TrainingConfig) -> bool:
    """Whether updates of this configuration can be made in one call: not with gradients accumulated over batches, an
    epsilon of 0, rmsprop, a decay of biases and embeddings, an average of the weights, rates by layer, layers that
    wait for their turn, or what follows the passes over the text: a rate that falls with them, a validation after
    each."""
    plain = config.accumulate == 1 and config.average == "none" and config.schedule != "falling" and config.validations
    decays = config.decayed == "all" and config.weight_decay > 0
    plain = plain and config.layer_decay == 1 and not config.unfreeze
    return bool(plain) and config.epsilon > 0 and config.optimizer in KINDS and not decays


class Fused:
    """Makes updates of a trainer's model, many in one call, as if they were made one by one.

    Weights, memories and the carried state are where they are otherwise, before a call and after it, so that either way
    of training goes on where the other has stopped.
    """

    def __init__(self, offer: Small, config: TrainingConfig, optimizer: torch.optim.Optimizer) -> None:
        self._offer, self._config, self._optimizer = offer, config, optimizer
        rule = Rule(
            kind=config.optimizer,
            momentum=config.momentum,
            beta1=config.beta1,
            beta2=config.beta2,
            epsilon=config.epsilon,
            weight_decay=config.weight_decay,
            clip_value=config.clip_value,
            clip_norm=config.clip_norm,
        )
        self._net = SmallNet(offer.equations, offer.shape, rule, config.precision)

    @classmethod
    def of(cls, task: Trainable, config: TrainingConfig, optimizer: torch.optim.Optimizer) -> Fused | None:
        """The way for this training; `None` where it is not served: what `serves_training` says, bfloat16, another
        device, a net that is not small or not as `kernels.small` knows it."""
        offer = task.small()
        if offer is None or not serves_training(config) or not is_small(offer.equations, offer.shape):
            return None
        dtype = {"float32": torch.float32, "float64": torch.float64}.get(config.precision)
        fits = all(p.dtype == dtype and p.device.type == "cpu" and p.requires_grad for p in offer.parameters.values())
        return cls(offer, config, optimizer) if fits else None

    def serves(self) -> bool:
        """Whether it serves now: who watches wants to see every gate."""
        return current() is None

    def train(self, position: dict[str, Any], carried: dict[str, torch.Tensor], rates: list[float]) -> Outcome:
        """As many updates as there are rates, from a position and the state that the update before left."""
        given = self._offer.stretch(position, len(rates))
        shape = self._offer.shape
        targets = np.full(len(rates), shape.batch * shape.steps)
        if given.weights is not None:
            targets = given.weights.sum((1, 2))
        over = targets if self._config.reduction == "mean" else np.full(len(rates), shape.batch)
        self._give(carried)
        made = self._net.train(
            Work(
                x=given.x,
                y=given.y,
                resets=given.resets,
                weights=given.weights,
                fresh=given.fresh,
                over=over.astype(np.float64),
                counted=targets,
                rates=np.array(rates),
            ),
            self._count(),
        )
        self._take(int((targets[: made.done] > 0).sum()))
        return Outcome(made, targets, given.epochs, asdict(given.next), self._carried())

    def _memory(self, parameter: torch.nn.Parameter) -> list[torch.Tensor]:
        """The memories of a parameter, made as PyTorch makes them where there are none yet."""
        kind = self._config.optimizer
        if kind == "sgd" and not self._config.momentum:
            return []
        state = self._optimizer.state[parameter]
        for name in _MEMORIES[kind]:
            if state.get(name) is None:
                state[name] = torch.zeros_like(parameter)
        if kind in _COUNTED and "step" not in state:
            state["step"] = torch.zeros((), dtype=torch.float32)
        return [state[name] for name in _MEMORIES[kind]]

    def _count(self) -> int:
        state = self._optimizer.state[next(iter(self._offer.parameters.values()))]
        return int(state["step"]) if "step" in state else 0

    def _give(self, carried: dict[str, torch.Tensor]) -> None:
        weights, memories = self._net.weights, self._net.memories
        for name, parameter in self._offer.parameters.items():
            weights[name][...] = parameter.detach().numpy()
            for into, memory in zip(memories, self._memory(parameter), strict=False):
                into[name][...] = memory.numpy()
        for layer, names in enumerate(self._offer.states):
            for index, name in enumerate(names):
                self._net.carried[layer, index] = carried[name].numpy() if carried else 0

    def _take(self, updates: int) -> None:
        weights, memories = self._net.weights, self._net.memories
        for name, parameter in self._offer.parameters.items():
            parameter.detach().numpy()[...] = weights[name]
            for of, memory in zip(memories, self._memory(parameter), strict=False):
                memory.numpy()[...] = of[name]
            if self._config.optimizer in _COUNTED:
                self._optimizer.state[parameter]["step"] += updates

    def _carried(self) -> dict[str, torch.Tensor]:
        return {
            name: torch.from_numpy(self._net.carried[layer, index].copy())
            for layer, names in enumerate(self._offer.states)
            for index, name in enumerate(names)
        }
