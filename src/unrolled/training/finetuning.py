"""Training what was trained before: layers at rates of their own, and one after the other."""

from __future__ import annotations

import torch

from unrolled.layers import Recurrent
from unrolled.training.configuration import TrainingConfig

__all__ = ["layers_of", "scales", "thaw"]

_Layers = list[list[torch.nn.Parameter]]


def layers_of(model: torch.nn.Module) -> _Layers:
    """The parameters of a model, layer by layer from the input to the output, each once: those of the embedding, those
    of each recurrent layer (of both directions), and all others. A layer without parameters is left out."""
    parts: list[list[torch.nn.Module]] = []
    embedding, recurrent = getattr(model, "embedding", None), getattr(model, "recurrent", None)
    if isinstance(embedding, torch.nn.Module):
        parts.append([embedding])
    if isinstance(recurrent, Recurrent):
        for index, layer in enumerate(recurrent.layers):
            parts.append([layer, *recurrent.backward_layers[index : index + 1]])
    parts.append([model])
    layers: _Layers = []
    seen: set[int] = set()
    for modules in parts:
        found = [p for module in modules for p in module.parameters() if id(p) not in seen]
        seen |= {id(parameter) for parameter in found}
        layers += [found] if found else []
    return layers


def scales(layers: int, config: TrainingConfig) -> list[float]:
    """What the rate of each of so many layers is multiplied with: 1 at the top, and `layer_decay` times that of the
    layer above for each below (Howard & Ruder 2018, section 3.2)."""
    return [config.layer_decay ** (layers - 1 - index) for index in range(layers)]


def thaw(layers: _Layers, config: TrainingConfig, progress: float) -> None:
    """Let the layers be trained whose turn has come: the top one from the start, and one more below it after every
    `unfreeze` of the budget (Howard & Ruder 2018, section 3.3, count passes over the data). The others get no gradient,
    and cost none."""
    if not config.unfreeze:
        return
    trained = 1 + int(progress / config.unfreeze)
    for index, layer in enumerate(reversed(layers)):
        for parameter in layer:
            parameter.requires_grad_(index < trained)
