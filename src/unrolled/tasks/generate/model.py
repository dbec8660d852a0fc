"""A generator of sequences, given a category: embedding, recurrent layers, softmax over symbols and the end.

With s_0 the boundary, which is also the symbol that ends a sequence, k the category and e_k its vector:

    state_0 = A e_k                          for every state of every layer, with a matrix of its own
    x_t     = [E s_{t-1}; e_k]               the symbol before and the category, at every step
    y_t, state_t = cell(x_t, state_{t-1})    in every layer
    p(s_t | s_1 ... s_{t-1}, k) = softmax(W y_t + b)

The category enters where a sequence begins and stays in sight while it goes on (as the network of Karpathy & Fei-Fei
2015, section 3.2, is told of its picture at the first step alone, and that of Vinyals & Le 2015 in its state).

Axes: B batch, T time, E embedding, H hidden, V symbols without the boundary, C categories.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from unrolled.cells import Equations
from unrolled.kernels import Kernel
from unrolled.layers import Dropout, Recurrent, StackState
from unrolled.layers.outputs import FullSoftmax
from unrolled.tasks.generate.configuration import GeneratorConfig
from unrolled.tasks.supervised import Outcome, SupervisedModel

__all__ = ["Generator", "GeneratorStepping", "GroupedBatch"]


@dataclass(frozen=True, eq=False)
class GroupedBatch:
    """B sequences and their categories.

    Attributes:
        ids: (B, T) symbols, the boundary (V) at the end of each that ends; anything beyond.
        lengths: (B,) from 1 to T, with the boundary.
        categories: (B,) from 0 to C - 1.
    """

    ids: torch.Tensor
    lengths: torch.Tensor
    categories: torch.Tensor


class Generator(SupervisedModel):
    """p(s_1 ... s_T | category).

    Args:
        equations: the cell.
        symbols: V.
        categories: C.
        config: the network, with sizes that are chosen.
    """

    def __init__(self, equations: Equations, symbols: int, categories: int, config: GeneratorConfig) -> None:
        super().__init__()
        hidden, dropout = config.hidden_size or 128, config.dropout or 0.0
        width, own = config.embedding_size or hidden, config.category_size or min(32, categories)
        self.config, self.equations, self.symbols, self.categories = config, equations, symbols, categories
        self.embedding = torch.nn.Embedding(symbols + 1, width)
        self.category = torch.nn.Embedding(categories, own) if config.conditional else None
        given = width + (own if config.conditional else 0)
        self.recurrent = Recurrent(equations, given, hidden, config.layers, dropout=dropout)
        states = config.layers * len(equations.states)
        self.start = torch.nn.Linear(own, states * hidden, bias=False) if config.conditional else None
        self.dropout = Dropout(dropout)
        self.output = FullSoftmax(hidden, symbols + 1)
        torch.nn.init.normal_(self.embedding.weight)
        self.output.restart()
        if self.category is not None and self.start is not None:
            torch.nn.init.normal_(self.category.weight)
            # Small, so that every sequence first begins nearly alike.
            torch.nn.init.normal_(self.start.weight, std=0.1 / math.sqrt(own))

    def initial_state(self, categories: torch.Tensor) -> StackState:
        """The state that sequences of these categories (B,) begin with."""
        if self.category is None or self.start is None:
            return self.recurrent.initial_state(len(categories))
        like, count = self.embedding.weight.dtype, len(self.equations.states)
        flat = self.start(self.category(categories)).to(like)
        parts = [part.contiguous() for part in flat.chunk(self.config.layers * count, 1)]
        return tuple(tuple(parts[layer * count : (layer + 1) * count]) for layer in range(self.config.layers))

    def inputs(self, before: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        """What the layers get after the symbols `before` (B, T), each (B, T, D)."""
        # Laid out time step after time step in memory, as the loops over time read it.
        x: torch.Tensor = self.embedding(before.t())
        if self.category is not None:
            own = self.category(categories)
            x = torch.cat([x, own.expand(len(x), *own.shape)], 2)
        return x.transpose(0, 1)

    def nats(self, batch: GroupedBatch) -> torch.Tensor:
        """-ln p of every symbol (B, T), 0 beyond the end of each sequence."""
        ids, categories = batch.ids.to(self.device), batch.categories.to(self.device)
        edge = torch.full_like(ids[:, :1], self.symbols)
        before = torch.cat([edge, ids[:, :-1]], 1)
        y, _ = self.recurrent(self.dropout(self.inputs(before, categories)), self.initial_state(categories))
        inside = torch.arange(ids.shape[1], device=self.device) < batch.lengths.to(self.device).unsqueeze(1)
        return self.output.losses(self.dropout(y), ids, inside.to(y.dtype))

    def loss(self, batch: GroupedBatch) -> Outcome:
        """Nats of all symbols, ends included."""
        return Outcome(self.nats(batch).sum(), int(batch.lengths.sum()), len(batch.ids))

    def stepping(self) -> GeneratorStepping:
        """The generator with its weights packed, for one symbol after the other without gradients."""
        return GeneratorStepping(self)

    def use(self, kernel: Kernel | None) -> None:
        self.recurrent.use(kernel)

    @property
    def uniform_loss(self) -> float:
        """ln (V + 1)."""
        return math.log(self.symbols + 1)

    @property
    def about(self) -> str:
        config, own = self.config, self.category
        told = "unconditional" if own is None else f"category {own.embedding_dim}"
        return (
            f"{self.equations.name} {config.layers}x{self.recurrent.hidden_size}, embedding "
            f"{self.embedding.embedding_dim}, {told}, dropout {config.dropout or 0:g}; {self.size:,} parameters"
        )


class GeneratorStepping:
    """One symbol at a time; memory does not grow with their number. Later changes to the weights are not seen."""

    def __init__(self, model: Generator) -> None:
        self._model, self._recurrent = model, model.recurrent.stepping()

    @torch.no_grad()
    def initial_state(self, categories: torch.Tensor) -> StackState:
        """See `Generator.initial_state`."""
        return self._model.initial_state(categories)

    @torch.no_grad()
    def step(self, before: torch.Tensor, categories: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """Symbols (B,), their categories and the state before to logits (B, V + 1) of the next and the state after."""
        x = self._model.inputs(before.unsqueeze(1), categories)[:, 0]
        y, state = self._recurrent.step(x, state)
        logits: torch.Tensor = self._model.output(y)
        return logits, state
