"""Tasks: one file each, with what its data looks like, its model, its loss and its metrics.

A task that is trained by gradient offers what `Trainable` says; `training` knows nothing else of it. One that is fitted
(n-grams: counted, not descended) offers what `Fittable` says, and gives a `Fitted`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    import unrolled.cells
    import unrolled.data.streams
    import unrolled.kernels.small

__all__ = ["Fittable", "Fitted", "Loss", "Select", "Small", "Trainable", "Validation"]


Select = Literal["metric", "loss"]
"""What the best checkpoint is the best by: the task's metric on the validation part, or the loss."""


@dataclass(frozen=True, eq=False)
class Loss:
    """What a batch gives.

    Attributes:
        total: the loss in nats, summed over targets; a scalar in the graph.
        targets: over how many.
        sequences: in how many sequences these are.
        state: what is carried to the next batch, cut off from the graph.
        next: the position after this batch.
        epoch: passes over the data after this batch, with its fraction.
        rate: what the learning rate of its update is multiplied with.
        penalty: what is to be made small besides, in nats a target, and is no part of the loss; a scalar in the graph.
    """

    total: torch.Tensor
    targets: int
    sequences: int
    state: dict[str, torch.Tensor]
    next: dict[str, Any]
    epoch: float
    rate: float = 1.0
    penalty: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class Small:
    """What a task offers whose net can be trained by `kernels.small`, many updates in one call.

    Attributes:
        equations: the cell.
        shape: sizes of net and batches.
        parameters: of the model, by the names of `SmallNet.weights`.
        states: the names of the carried state, for every layer those of the cell's states.
        stretch: from a position and a number to so many batches.
    """

    equations: unrolled.cells.Equations
    shape: unrolled.kernels.small.Shape
    parameters: dict[str, torch.nn.Parameter]
    states: list[list[str]]
    stretch: Callable[[dict[str, Any], int], unrolled.data.streams.Stretch]


@dataclass(frozen=True)
class Validation:
    """What a model comes to on the validation part.

    Attributes:
        loss: nats a target.
        score: what checkpoints are chosen by, the larger the better, the loss between equals; None: by the loss alone.
        measure: what the score is called.
    """

    loss: float
    score: float | None = None
    measure: str = ""

    def better_than(self, other: Validation) -> bool:
        """Whether of two checkpoints this one is kept.

        >>> Validation(0.5, 0.91).better_than(Validation(0.4, 0.90)), Validation(0.5).better_than(Validation(0.4))
        (True, False)
        """
        if self.score is not None and other.score is not None and self.score != other.score:
            return self.score > other.score
        return self.loss < other.loss


class Trainable(Protocol):
    """The contract of a task that is trained by gradient.

    A position says where in its data training stands: JSON values, from which the next batch follows alone. A state is
    what the model carries from one batch to the next: named tensors whose first axis are the sequences, empty before
    the first.
    """

    @property
    def model(self) -> torch.nn.Module:
        """What is trained."""

    def start(self) -> dict[str, Any]:
        """The position before the first batch."""

    def batches_per_epoch(self) -> int:
        """How many batches one pass over the training data has."""

    def uniform_loss(self) -> float:
        """The loss of one who guesses all outcomes equally likely, in nats a target: where training starts from."""

    def loss(self, position: dict[str, Any], state: dict[str, torch.Tensor]) -> Loss:
        """The loss of the batch at a position, from the state that the batch before left."""

    def validate(self) -> Validation | None:
        """How good the model is on the validation part; `None` if there is none. Leaves the model as it was."""

    def small(self) -> Small | None:
        """What training in one call of many updates wants to know; `None` if that is not what the loss computes."""


class Fitted(Protocol):
    """A model that was fitted: what a run keeps of it."""

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All its numbers, int32, int64 or float64, by name."""

    def facts(self) -> dict[str, object]:
        """What else a reader of the run wants to know, as JSON."""


class Fittable(Protocol):
    """The contract of a task that is fitted: in one go, from nothing, to the same numbers each time."""

    def fit(self) -> Fitted:
        """The model that the training part gives; what is chosen is chosen on the validation part."""

    def validate(self, model: Fitted) -> float | None:
        """Mean loss on the validation part, in nats a target; `None` if there is none."""
