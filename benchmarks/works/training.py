"""Whole training steps of language models, against PyTorch's modules and JAX.

A step is: batch, forward, loss, backward, clipping, Adam. Ours is the trainer's own update.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.agreement import TOLERANCES
from benchmarks.limits import products_limit
from benchmarks.peers.torch_modules import TorchTraining
from benchmarks.registry import Absent, Case, Contender, Limit, Results, Work, peer
from unrolled.cells import Equations, find_cell
from unrolled.data.store import Tokens
from unrolled.runs import Run
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.configuration import Precision, TrainingConfig
from unrolled.training.loop import Trainer
from unrolled.training.memory import keep_freed_memory
from unrolled.training.optimizers import build_optimizer

__all__ = ["CLIP", "RATE", "Shape", "Training", "V", "scratch_run", "update", "works"]

V, CLIP, RATE = 100, 5.0, 1e-3
_CHUNKS = 16  # of the text: an epoch


@dataclass(frozen=True)
class Shape:
    """The network and its batch.

    Attributes:
        equations: of the cell, or its name.
        layers, hidden, batch, steps: L, H, B, T.
        precision: of the products.
    """

    equations: Equations | str
    layers: int
    hidden: int
    batch: int
    steps: int
    precision: Precision = "float32"

    @property
    def cell(self) -> Equations:
        """The equations."""
        return find_cell(self.equations) if isinstance(self.equations, str) else self.equations

    @property
    def dtype(self) -> torch.dtype:
        """Of the products."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32


def scratch_run() -> Run:
    """A run for a trainer that is only asked for updates, which write nothing: its directory is gone again."""
    with tempfile.TemporaryDirectory() as directory:
        return Run.create(Path(directory) / "run", {}, {})


def update(trainer: Trainer, count: int) -> None:
    """So many updates, as training makes them."""
    while count > 0:
        count -= len(trainer.updates(count))


class Training:
    """Our own training of a language model, one update at a time.

    Args:
        shape: what is trained.
        updates: in a step; training asks for many at once too.
    """

    def __init__(self, shape: Shape, updates: int = 1) -> None:
        self.updates = updates
        keep_freed_memory()
        torch.manual_seed(0)
        self.shape = shape
        network = LanguageModelConfig(hidden_size=shape.hidden, layers=shape.layers, dropout=0.0)
        self.model = LanguageModel(V, shape.cell, network)
        self.start = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.stream = np.random.default_rng(0).integers(V, size=shape.batch * shape.steps * _CHUNKS + 1)
        self.config = TrainingConfig(
            steps=1_000_000, batch=shape.batch, length=shape.steps, learning_rate=RATE, schedule="constant",
            weight_decay=0.0, clip_norm=CLIP, shift=False, precision=shape.precision,
        )  # fmt: skip
        self._rows = np.arange(shape.batch) * ((len(self.stream) - 1) // shape.batch)

    @cached_property
    def trainer(self) -> Trainer:
        """Of the model; what it compiles is compiled when it is first asked for."""
        train, valid, shape = Tokens(self.stream), Tokens(self.stream[:0]), self.shape
        task = LanguageModelTask(self.model, train, valid, batch=shape.batch, length=shape.steps, seed=0, shift=False)
        return Trainer(task, self.config, scratch_run())

    @property
    def ids(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The first batch, (T + 1, B)."""
        return self.stream[self._rows[None, :] + np.arange(self.shape.steps + 1)[:, None]]

    @property
    def flop(self) -> float:
        """Floating-point operations of products a symbol: forward, and twice that backward."""
        matrices = [p for p in self.model.recurrent.parameters() if p.dim() == 2] + [self.model.output.weight]
        return 6.0 * sum(matrix.numel() for matrix in matrices)

    def step(self) -> None:
        """Some updates."""
        update(self.trainer, self.updates)

    def results(self) -> Results:
        """Loss and gradients of the first update, read from what it left in Adam's memory."""
        before = self.trainer.snapshot()
        loss = self.trainer.update().loss
        memories = self.trainer.snapshot().training
        self.trainer.put(before)
        groups = build_optimizer(self.model, self.config, RATE).param_groups
        numbers = {id(p): number for number, p in enumerate(p for group in groups for p in group["params"])}
        share = 1 - self.config.beta1
        return {"loss": loss} | {
            name: memories[f"{numbers[id(p)]}/exp_avg"] / share for name, p in self.model.named_parameters()
        }

    def reference(self) -> Results:
        """Loss and gradients by the plain loop over time in float64."""
        network = LanguageModelConfig(hidden_size=self.shape.hidden, layers=self.shape.layers, dropout=0.0)
        model = LanguageModel(V, self.shape.cell, network, kernel="reference").double()
        model.load_state_dict(self.start)
        ids = torch.from_numpy(self.ids.T)
        logits, _ = model(ids[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        return {"loss": loss.detach()} | {name: p.grad for name, p in model.named_parameters()}

    def limit(self) -> Limit:
        """The fastest product at the shapes of a step of time and of the whole sequence, and nothing but products."""
        b, t, h = self.shape.batch, self.shape.steps, self.shape.hidden
        gates = sum(name.startswith("U.") for name in self.shape.cell.parameters)
        return products_limit(self.flop, [(b, h, gates * h), (b * t, h, gates * h)], self.shape.dtype)

    def contender(self, name: str = "unrolled") -> Contender:
        """Us."""
        return Contender(name, self.step, self.results, amount=self.updates * self.shape.batch * self.shape.steps)


def _jax(training: Training) -> Contender | Absent:
    name, shape = "JAX scan", training.shape

    def build() -> Contender:
        from benchmarks.peers.jax_networks import JaxTraining

        bfloat16 = shape.precision == "bfloat16"
        options = {"clip": CLIP, "rate": RATE, "bfloat16": bfloat16}
        jax = JaxTraining(training.start, training.ids, str(shape.equations), shape.layers, **options)
        return Contender(name, jax.step, jax.results)

    return peer(name, ["jax"], build)


def _torch(training: Training) -> Contender:
    shape = training.shape
    ids = torch.from_numpy(training.ids)
    module = TorchTraining(training.model, ids, CLIP, RATE, shape.precision == "bfloat16")
    return Contender(f"nn.{str(shape.equations).upper()}", module.step, module.results)


def _build(shape: Shape) -> Case:
    training = Training(shape)
    return Case(
        ours=training.contender(),
        peers=(_torch(training), _jax(training)),
        reference=training.reference,
        tolerance=TOLERANCES[shape.precision],
        amount=shape.batch * shape.steps,
        limit=training.limit,
    )


def works() -> list[Work]:
    """LSTM, GRU and RNN, in both precisions."""
    rows: list[tuple[str, int, int, int, int, float, float]] = [
        ("lstm", 2, 512, 64, 128, 1.3, 1.2),
        ("gru", 2, 512, 64, 128, 2.0, 1.2),
        ("rnn", 1, 512, 64, 128, 2.0, 1.2),
        ("lstm", 2, 128, 50, 50, 1.5, 1.0),
    ]
    found = []
    for cell, layers, hidden, batch, steps, *targets in rows:
        for precision, target in zip(("float32", "bfloat16"), targets, strict=True):
            shape = Shape(cell, layers, hidden, batch, steps, precision)  # type: ignore[arg-type]
            about = f"training step, {cell} {layers}x{hidden}, B {batch}, T {steps}, V {V}, {precision} products"
            name = f"train-{cell}-{layers}x{hidden}-{precision}"
            found.append(Work(name, about, "char/s", target, 2, partial(_build, shape)))
    return found
