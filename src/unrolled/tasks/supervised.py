"""Training on examples: batches of them, shuffled in each pass, without a state that is carried over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from unrolled.data.example_batches import ExampleBatches, ExamplePosition, in_order
from unrolled.data.vocabulary import IntArray
from unrolled.kernels import Kernel
from unrolled.tasks import Loss, Small, Validation

__all__ = ["Examples", "Outcome", "SupervisedModel", "SupervisedTask", "batches_in_order", "mean_loss", "reading"]

_READ_AT_ONCE = 1 << 16  # time steps of a batch that is only read
_MOST_AT_ONCE = 1024  # examples of it


@dataclass(frozen=True, eq=False)
class Outcome:
    """The loss of a batch.

    Attributes:
        total: summed over targets; a scalar in the graph.
        targets: over how many (labels, words, numbers).
        sequences: in how many examples these are.
        penalty: what is to be made small besides, a target; no part of the loss that is told.
    """

    total: torch.Tensor
    targets: int
    sequences: int
    penalty: torch.Tensor | None = None


class Examples(Protocol):
    """What a model is trained on: n examples."""

    @property
    def lengths(self) -> IntArray:
        """(n,) time steps of each."""

    def batch(self, rows: IntArray) -> Any:
        """Some of them side by side, as the model reads them: tensors on the processor, padded."""


class SupervisedModel(torch.nn.Module):
    """A model that is trained on examples. What derives from it gives `loss` and `use`."""

    def loss(self, batch: Any) -> Outcome:
        """The loss of a batch, in evaluation mode without anything random."""
        raise NotImplementedError

    def use(self, kernel: Kernel | None) -> None:
        """Let its recurrent layers run on this kernel."""
        raise NotImplementedError

    @property
    def about(self) -> str:
        """The network, in a line."""
        raise NotImplementedError

    @property
    def uniform_loss(self) -> float:
        """The loss a target of one who knows nothing, from which the one that is shown begins."""
        return 0.0

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.parameters()).device


class SupervisedTask:
    """A model and its examples; see `tasks.Trainable`.

    Args:
        model: the model.
        train: the examples to train on, at least one.
        valid: those to validate on; may be empty.
        batch: B examples a batch.
        seed: of their order.
        judge: how good the model, in evaluation mode, is on the examples to validate on, where checkpoints are not
            chosen by the loss alone.
    """

    def __init__(
        self,
        model: SupervisedModel,
        train: Examples,
        valid: Examples,
        *,
        batch: int,
        seed: int,
        judge: Callable[[], Validation] | None = None,
    ) -> None:
        self.model, self._train, self._valid, self._judge = model, train, valid, judge
        self._batches = ExampleBatches(train.lengths, batch, seed=seed)

    def start(self) -> dict[str, Any]:
        """The first batch of the first pass."""
        return asdict(ExamplePosition())

    def batches_per_epoch(self) -> int:
        """Batches of a pass."""
        return self._batches.count

    def uniform_loss(self) -> float:
        """That of the model."""
        return self.model.uniform_loss

    def loss(self, position: dict[str, Any], state: dict[str, torch.Tensor]) -> Loss:
        """The loss of one batch. Nothing is carried to the next."""
        place = ExamplePosition(**position)
        following = self._batches.following(place)
        outcome = self.model.loss(self._train.batch(self._batches.rows(place)))
        return Loss(
            total=outcome.total,
            targets=outcome.targets,
            sequences=outcome.sequences,
            state={},
            next=asdict(following),
            epoch=following.epoch + following.batch / self._batches.count,
            penalty=outcome.penalty,
        )

    def small(self) -> Small | None:
        """There is no training in one call."""
        return None

    @torch.no_grad()
    def validate(self) -> Validation | None:
        """How good the model is on the examples to validate on."""
        if not len(self._valid.lengths):
            return None
        with reading(self.model):
            return Validation(mean_loss(self.model, self._valid)) if self._judge is None else self._judge()


def batches_in_order(examples: Examples) -> Iterator[tuple[IntArray, Any]]:
    """All examples for reading without training: the numbers of some of like length, and their batch."""
    lengths = examples.lengths
    mean = max(1, int(lengths.mean())) if len(lengths) else 1
    for rows in in_order(lengths, max(1, min(_MOST_AT_ONCE, _READ_AT_ONCE // mean))):
        # Long ones come last, and take what memory several short ones do.
        pieces = -(-len(rows) * int(lengths[rows].max(initial=1)) // _READ_AT_ONCE)
        size = -(-len(rows) // max(1, pieces))
        for begin in range(0, len(rows), size):
            piece = rows[begin : begin + size]
            yield piece, examples.batch(piece)


@contextmanager
def reading(model: torch.nn.Module) -> Iterator[None]:
    """A model in evaluation mode inside, and as it was after."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


@torch.no_grad()
def mean_loss(model: SupervisedModel, examples: Examples) -> float:
    """The loss a target over some examples, at least one, in evaluation mode; the model is left as it was."""
    total, targets = 0.0, 0
    with reading(model):
        for _, batch in batches_in_order(examples):
            outcome = model.loss(batch)
            total, targets = total + float(outcome.total), targets + outcome.targets
    return total / max(targets, 1)
