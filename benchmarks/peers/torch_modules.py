"""PyTorch's own recurrent modules: a language model, and one whole step of training it."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from benchmarks.registry import Results
from unrolled.kernels.library import recognise
from unrolled.layers import to_torch
from unrolled.tasks.language_model import LanguageModel

__all__ = ["TorchLanguageModel", "TorchTraining", "cell_gradients"]


def cell_gradients(module: torch.nn.RNNBase, model: LanguageModel) -> dict[str, torch.Tensor]:
    """Gradients of a PyTorch module under the names that the parameters of `model.recurrent` have."""
    match = recognise(model.recurrent.equations)
    assert match is not None
    found: dict[str, torch.Tensor] = {}
    for layer in range(module.num_layers):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        gradients = [getattr(module, f"{name}_l{layer}").grad for name in names]
        # Both biases have the gradient that our one has; in a GRU the last third of the second has one of its own.
        own = gradients[3].chunk(3)[-1] if match.operator == "gru" else gradients[3][:0]
        gradients[3] = torch.cat([torch.zeros_like(gradients[3])[own.numel() :], own])
        for name, value in match.unpacked(gradients).items():
            found[f"recurrent.layers.{layer}.{name}"] = value
    return found


class TorchLanguageModel(torch.nn.Module):
    """Embedding, recurrent module, output layer, with the weights of one of ours; time comes first, which is faster."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        hidden = model.recurrent.hidden_size
        self.rnn = to_torch(model.recurrent)
        self.rnn.batch_first = False
        self.embedding = torch.nn.Embedding(model.vocabulary_size, hidden)
        self.output = torch.nn.Linear(hidden, model.vocabulary_size)
        self.embedding.load_state_dict(model.embedding.state_dict())
        self.output.load_state_dict(model.output.state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Symbols (T, B) to logits (T, B, V)."""
        return self.output(self.rnn(self.embedding(x))[0])


class TorchTraining:
    """Whole training steps: fused Adam, the gradient's length clipped.

    Args:
        model: ours, whose weights it starts from; they are copied.
        ids: (T + 1, B) symbols.
        clip: the longest gradient.
    """

    def __init__(self, model: LanguageModel, ids: torch.Tensor, clip: float, rate: float, bfloat16: bool) -> None:
        self._ours, self._ids, self._clip = model, ids, clip
        self._rate, self._bfloat16 = rate, bfloat16
        self._model = TorchLanguageModel(model)
        self._optimizer = torch.optim.Adam(self._model.parameters(), rate, fused=True)

    def _gradients(self, model: torch.nn.Module) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16) if self._bfloat16 else nullcontext():
            logits = model(self._ids[:-1])
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), self._ids[1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), self._clip, foreach=True)
        return loss

    def step(self) -> None:
        """One step."""
        self._optimizer.zero_grad()
        self._gradients(self._model)
        self._optimizer.step()

    def results(self) -> Results:
        """Loss and gradients of the first step."""
        model = TorchLanguageModel(self._ours)
        loss = self._gradients(model)
        named = {
            f"{part}.{name}": p.grad
            for part in ("embedding", "output")
            for name, p in model.get_submodule(part).named_parameters()
        }
        return {"loss": loss, **named, **cell_gradients(model.rnn, self._ours)}
