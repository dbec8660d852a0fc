"""Sequences of different lengths in one batch, and states emptied in mid-sequence: an LSTM 2x512, forward and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from benchmarks.agreement import TOLERANCES
from benchmarks.limits import products_limit
from benchmarks.registry import Case, Contender, Limit, Results, Work
from unrolled.cells import find_cell
from unrolled.kernels.library import recognise
from unrolled.layers import Recurrent, to_torch
from unrolled.training.memory import keep_freed_memory

__all__ = ["Sequences", "works"]

L, H, B, T = 2, 512, 64, 128
_RESET = 1 / 32  # the probability that a document begins at a step

Forward = Callable[[Tensor], Tensor]


class Sequences:
    """The batch: x (B, T, D), which steps count, and what comes back from above at each of them.

    Args:
        counted: (B, T), true where a step belongs to a sequence.
    """

    def __init__(self, counted: Tensor, layers: int = L, hidden: int = H) -> None:
        keep_freed_memory()
        torch.manual_seed(0)
        batch, steps = counted.shape
        self.counted = counted
        self.x = torch.randn(batch, steps, hidden)
        self.above = torch.randn(batch, steps, hidden) * counted.unsqueeze(-1)
        self.recurrent = Recurrent(find_cell("lstm"), hidden, hidden, layers)
        self.start = {name: value.clone() for name, value in self.recurrent.state_dict().items()}

    def contender(self, name: str, module: torch.nn.Module, forward: Forward) -> Contender:
        """`forward` from x (B, T, D) to y (B, T, H), and all gradients back."""
        x = self.x.clone().requires_grad_()

        def run() -> Tensor:
            module.zero_grad()
            x.grad = None
            y = forward(x)
            y.backward(self.above)
            return y

        def results() -> Results:
            y = run() * self.counted.unsqueeze(-1)
            return {"y": y.detach(), "x": x.grad, **self._gradients(module)}

        return Contender(name, run, results)

    def _gradients(self, module: torch.nn.Module) -> dict[str, Any]:
        if not isinstance(module, torch.nn.LSTM):
            return {name: parameter.grad for name, parameter in module.named_parameters()}
        found, match = {}, recognise(self.recurrent.equations)
        assert match is not None
        for layer in range(module.num_layers):
            names = ("weight_ih", "weight_hh", "bias_ih")
            gradients = [getattr(module, f"{name}_l{layer}").grad for name in names]
            for name, value in match.unpacked([*gradients, torch.zeros_like(gradients[2])]).items():
                found[f"layers.{layer}.{name}"] = value
        return found

    def reference(self, resets: Tensor | None = None) -> Results:
        """The plain loop over time in float64. What comes after the end of a sequence cannot change what was before."""
        sizes = self.recurrent.input_size, self.recurrent.hidden_size, len(self.recurrent.layers)
        module = Recurrent(self.recurrent.equations, *sizes, kernel="reference").double()
        module.load_state_dict(self.start)
        x = self.x.double().requires_grad_()
        y, _ = module(x, None, resets)
        y.backward(self.above.double())
        return {
            "y": (y * self.counted.unsqueeze(-1)).detach(),
            "x": x.grad,
            **{name: parameter.grad for name, parameter in module.named_parameters()},
        }

    def limit(self) -> Limit:
        """The products of the steps that count."""
        flop = 6.0 * sum(p.numel() for p in self.recurrent.parameters() if p.dim() == 2)
        hidden = self.recurrent.hidden_size
        batch, steps = self.counted.shape
        shapes = [(batch, hidden, 4 * hidden), (batch * steps, hidden, 4 * hidden)]
        return products_limit(flop, shapes, torch.float32)


def lengths_of(batch: int, steps: int) -> Tensor:
    """Lengths (B,) from 1 to T, of which half is padding, in no order."""
    lengths = torch.linspace(1, steps, batch).round().long()
    return lengths[torch.randperm(batch, generator=torch.Generator().manual_seed(0))]


def _lengths() -> Case:
    lengths = lengths_of(B, T)
    sequences = Sequences(torch.arange(T) < lengths[:, None])
    recurrent, lstm = sequences.recurrent, to_torch(sequences.recurrent)
    assert isinstance(lstm, torch.nn.LSTM)

    def packed(x: Tensor) -> Tensor:
        given = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(lstm(given)[0], batch_first=True, total_length=T)[0]

    return Case(
        ours=sequences.contender("unrolled", recurrent, lambda x: recurrent(x, lengths=lengths)[0]),
        peers=(
            sequences.contender("nn.LSTM packed", lstm, packed),
            sequences.contender("nn.LSTM padded", lstm, lambda x: lstm(x)[0]),
        ),
        reference=sequences.reference,
        tolerance=TOLERANCES["float32"],
        amount=int(lengths.sum()),
        limit=sequences.limit,
        note="padded: it computes the padding too, and does not give the state at the end of each sequence",
    )


def segments(resets: Tensor) -> tuple[Tensor, Tensor]:
    """The stretches between resets (B, T) as sequences of their own, packed.

    Returns:
        for each entry of the packed data its place in (B · T), and the batch size of every step.
    """
    batch, steps = resets.shape
    found: list[tuple[int, int]] = []
    for row in range(batch):
        begins = sorted({0, *np.flatnonzero(resets[row].numpy()).tolist()})
        found += [(row * steps + i, j - i) for i, j in zip(begins, [*begins[1:], steps], strict=True)]
    found.sort(key=lambda pair: -pair[1])
    sizes = [sum(length > t for _, length in found) for t in range(found[0][1])]
    places = [begin + t for t, size in enumerate(sizes) for begin, _ in found[:size]]
    return torch.tensor(places), torch.tensor(sizes)


def _resets() -> Case:
    resets = torch.rand(B, T, generator=torch.Generator().manual_seed(0)) < _RESET
    sequences = Sequences(torch.ones(B, T, dtype=torch.bool))
    recurrent, lstm = sequences.recurrent, to_torch(sequences.recurrent)
    places, sizes = segments(resets)

    def packed(x: Tensor) -> Tensor:
        given = PackedSequence(x.flatten(0, 1)[places], sizes)
        y = lstm(given)[0].data
        return y.new_empty(y.shape).index_copy(0, places, y).view(x.shape)

    return Case(
        ours=sequences.contender("unrolled", recurrent, lambda x: recurrent(x, resets=resets)[0]),
        peers=(sequences.contender("nn.LSTM packed", lstm, packed),),
        reference=partial(sequences.reference, resets),
        tolerance=TOLERANCES["float32"],
        amount=B * T,
        limit=sequences.limit,
        note="packed: every stretch between two resets is a sequence of its own",
    )


def works() -> list[Work]:
    """Lengths and resets."""
    about = f"lstm {L}x{H}, B {B}, T {T}, float32, forward and backward"
    return [
        Work(f"lengths-lstm-{L}x{H}", f"{about}, lengths 1 to {T}: half padding", "step/s", 1.5, 2, _lengths),
        Work(f"resets-lstm-{L}x{H}", f"{about}, state emptied every 32 steps on average", "step/s", 1.5, 2, _resets),
    ]
