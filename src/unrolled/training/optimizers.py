"""Optimisers and clipping, as the field defines them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from unrolled.layers.outputs import AdaptiveInput
from unrolled.training.configuration import TrainingConfig
from unrolled.training.finetuning import layers_of, scales

__all__ = ["AdagradInside", "build_optimizer", "clip_norm", "clip_value"]


class AdagradInside(torch.optim.Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011) with its epsilon inside the root.

    m += g²; w -= rate · g / sqrt(m + epsilon), as the classic minimal character network has it. PyTorch's own Adagrad
    divides by sqrt(m) + epsilon, which steps much further where little was seen.
    """

    def __init__(
        self, parameters: Iterable[torch.Tensor] | Iterable[dict[str, Any]], lr: float, epsilon: float
    ) -> None:
        super().__init__(parameters, {"lr": lr, "epsilon": epsilon})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["sum"] = torch.zeros_like(parameter)
                state["sum"].addcmul_(parameter.grad, parameter.grad)
                parameter.sub_(group["lr"] * parameter.grad / (state["sum"] + group["epsilon"]).sqrt_())


def build_optimizer(model: torch.nn.Module, config: TrainingConfig, learning_rate: float) -> torch.optim.Optimizer:
    """The optimiser of a configuration. Weight decay acts on matrices, not on biases, peepholes or embeddings; or, if
    the configuration says so, on all. Where layers have rates of their own, the `scale` of a group of parameters says
    what its rate is multiplied with."""
    if config.optimizer == "adagrad-inside" and config.layer_decay == 1:
        return AdagradInside(list(model.parameters()), learning_rate, config.epsilon)
    layers = layers_of(model) if config.layer_decay < 1 else [list(model.parameters())]
    groups = [
        {**group, "scale": scale, "lr": learning_rate * scale}
        for layer, scale in zip(layers, scales(len(layers), config), strict=True)
        for group in _by_decay(model, layer, config)
    ]
    if config.optimizer == "adamw":
        betas = (config.beta1, config.beta2)
        return torch.optim.AdamW(groups, learning_rate, betas, config.epsilon, fused=True)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, learning_rate, config.momentum)
    if config.optimizer == "rmsprop":
        # Tieleman & Hinton 2012, lecture 6e, without momentum: as Torch's, which char-rnn and torch-rnn use.
        return torch.optim.RMSprop(groups, learning_rate, config.beta2, config.epsilon)
    if config.optimizer == "adagrad":
        return torch.optim.Adagrad(groups, learning_rate, eps=config.epsilon)
    return AdagradInside(groups, learning_rate, config.epsilon)


def _by_decay(
    model: torch.nn.Module, parameters: Sequence[torch.nn.Parameter], config: TrainingConfig
) -> list[dict[str, Any]]:
    """Parameters that shrink and those that do not."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    for module in model.modules():
        embeddings |= {id(table) for table in module.tables} if isinstance(module, AdaptiveInput) else set()
    whole = config.decayed == "all"
    decayed = [p for p in parameters if whole or (p.dim() > 1 and id(p) not in embeddings)]
    others = [p for p in parameters if not whole and (p.dim() < 2 or id(p) in embeddings)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


@torch.no_grad()
def clip_norm(gradients: list[torch.Tensor], longest: float) -> float:
    """Shorten gradients, all together one vector, to a length of `longest` where they are longer; 0 leaves them.

    The length is the root of the sum of squares (Pascanu, Mikolov & Bengio 2013, algorithm 1).

    Returns:
        the length before.
    """
    norms = torch._foreach_norm(gradients)
    length = float(torch.linalg.vector_norm(torch.stack(norms)))
    if 0 < longest < length:
        torch._foreach_mul_(gradients, longest / length)
    return length


@torch.no_grad()
def clip_value(gradients: list[torch.Tensor], largest: float) -> None:
    """Set every entry beyond ±`largest` to it; 0 leaves them."""
    if largest > 0:
        for gradient in gradients:
            gradient.clamp_(-largest, largest)
