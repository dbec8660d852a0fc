"""Options of training; without torch, so that the command line answers at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from unrolled.errors import ConfigurationError, nearest
from unrolled.tasks import Select

__all__ = [
    "OF_EXAMPLES",
    "OF_STREAMS",
    "Average",
    "Decayed",
    "Optimizer",
    "Precision",
    "Reduction",
    "Schedule",
    "TrainingConfig",
]

Optimizer = Literal["adamw", "adagrad", "adagrad-inside", "rmsprop", "sgd"]
Precision = Literal["auto", "float32", "bfloat16", "float64"]
Schedule = Literal["cosine", "slanted", "constant", "falling"]
Reduction = Literal["mean", "sum"]
Decayed = Literal["matrices", "all"]
Average = Literal["none", "triggered", "exponential"]

OF_STREAMS = ("length", "random_lengths", "shift", "valid_limit")
"""Fields that say something of a text read in streams only: tasks that learn from examples have none of them."""
OF_EXAMPLES = ("select",)
"""Fields that say something of tasks that learn from examples only."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. What is None is chosen from the text and the budget, and printed.

    Attributes:
        minutes: budget, in minutes of training (validating and sampling are outside); 10 where there is no other.
        epochs: budget, in passes over the training text.
        steps: budget, in updates of the weights.
        batch: parallel streams of text; chosen from the text if not given.
        length: time steps through which is backpropagated.
        random_lengths: draw the length of each sequence around that, seldom around half of it, and scale the rate of
            its update by how long it is (Merity et al. 2018, section 4.1).
        optimizer: adamw, adagrad, adagrad-inside (its epsilon inside the root), rmsprop or sgd (with momentum).
        learning_rate: the highest of the schedule; chosen from optimizer, cell and size if not given.
        schedule: cosine (warm-up, then down to final_rate along a cosine over the budget), slanted (the same along
            straight lines), constant, or falling (constant at first, then smaller with each pass over the text).
        warmup: share of the budget over which the rate rises.
        final_rate: the rate at the end, as a share of the highest.
        fall_after: with falling, the pass over the text after which the rate begins to fall.
        fall_factor: with falling, what the rate is multiplied with after that pass and each one more.
        layer_decay: the rate of a layer as a share of that of the layer above it: below 1 for a network that was
            trained before (Howard & Ruder 2018, section 3.2; 1/2.6 there).
        unfreeze: train the top layer at first, and one more below it after each such share of the budget; 0 trains all
            from the start.
        momentum: share of the last step that sgd keeps.
        beta1: decay of adamw's mean of gradients.
        beta2: decay of adamw's mean of their squares, and of rmsprop's.
        epsilon: added to the root (adagrad-inside: in it) of what the optimizer divides by.
        weight_decay: share of the rate by which matrices shrink each step (sgd, adagrad and rmsprop add it to the
            gradient, adagrad-inside has none).
        decayed: what shrinks: matrices (but embeddings and what is tied to them) or all (biases and embeddings too).
        clip_norm: gradients longer than this, all parameters together, are shortened to it; 0 is off.
        clip_value: entries of gradients beyond plus or minus this are set to it; 0 is off.
        average: validate, sample and save an average of the weights: none, triggered (averaged SGD with its
            non-monotonic trigger, NT-ASGD) or exponential (a moving mean).
        nonmonotone: with triggered, averaging begins at a validation that is worse than the best of those more than so
            many before it.
        average_decay: with exponential, the share of itself that the mean keeps at every update.
        accumulate: batches whose gradients are added before an update.
        reduction: mean (over all targets) or sum (over time, mean over streams) of the losses of a batch.
        smoothing: of the loss that is shown: each step keeps this share of it.
        shift: begin each pass over the text at another offset, so that sequences are cut elsewhere.
        patience: stop after so many validations without a better one; 0 is off.
        select: which checkpoint is the best one: that of the best metric on the validation part (accuracy or F1, of
            tasks that have such a one; between equals the loss decides) or that of the lowest loss.
        validations: how often is validated over the budget, the end included; 0: after every pass over the text.
        valid_limit: tokens validated on during training, the first ones; at the end it is all of them.
        checkpoint_every: save after so many steps, besides at every validation; 0 is off.
        keep: checkpoints kept besides the last and the best.
        precision: auto (bfloat16 products where that was measured to be faster), float32, bfloat16 or float64.
        seed: of everything random.
        threads: processor threads; as many as there are cores if not given.
        device: cpu, cuda, mps, or auto: cuda where there is one, else cpu.
    """

    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    batch: int | None = None
    length: int = 128
    random_lengths: bool = False
    optimizer: Optimizer = "adamw"
    learning_rate: float | None = None
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    final_rate: float = 0.02
    fall_after: int = 10
    fall_factor: float = 0.97
    layer_decay: float = 1.0
    unfreeze: float = 0.0
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    decayed: Decayed = "matrices"
    clip_norm: float = 0.25
    clip_value: float = 0.0
    average: Average = "none"
    nonmonotone: int = 5
    average_decay: float = 0.999
    accumulate: int = 1
    reduction: Reduction = "mean"
    smoothing: float = 0.95
    shift: bool = True
    patience: int = 0
    select: Select = "metric"
    validations: int = 10
    valid_limit: int = 500_000
    checkpoint_every: int = 0
    keep: int = 2
    precision: Precision = "auto"
    seed: int = 0
    threads: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        given = [name for name in _BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigurationError(f"the budget is given twice: {' and '.join(given)}", fix="keep one of them")
        for name in given:
            self._check(name, "above 0", getattr(self, name) > 0)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in get_args(choices):
                raise ConfigurationError(f"{name} has no such choice: {value!r}", fix=nearest(value, get_args(choices)))
        if self.learning_rate is not None:
            self._check("learning_rate", "above 0", self.learning_rate > 0)
        for name in ("batch", "length", "accumulate", "threads"):
            value = getattr(self, name)
            if value is not None:
                self._check(name, "at least 1", value >= 1)
        rates = ("final_rate", "epsilon", "weight_decay", "clip_norm", "clip_value")
        for name in (*rates, "validations", "fall_after", "nonmonotone", "patience", "checkpoint_every"):
            self._check(name, "at least 0", getattr(self, name) >= 0)
        self._check("keep", "at least 1", self.keep >= 1)
        self._check("valid_limit", "at least 2", self.valid_limit >= 2)
        # So that the seed of every step, which is made from it, is one that PyTorch takes.
        self._check("seed", "from 0 to 4294967295", 0 <= self.seed < 2**32)
        for name in ("fall_factor", "layer_decay"):
            self._check(name, "above 0 and at most 1", 0 < getattr(self, name) <= 1)
        for name in ("warmup", "unfreeze", "momentum", "beta1", "beta2", "average_decay", "smoothing"):
            self._check(name, "at least 0 and below 1", 0 <= getattr(self, name) < 1)

    @property
    def budget(self) -> tuple[str, float]:
        """What the budget counts, "minutes", "epochs" or "steps", and how much of that it is, once it is given."""
        return next((name, float(value)) for name in _BUDGETS if (value := getattr(self, name)))

    def _check(self, name: str, expected: str, holds: bool) -> None:
        value: Any = getattr(self, name)
        if not holds or not math.isfinite(value):
            raise ConfigurationError(f"{name} is out of range", expected=f"a finite number {expected}", got=str(value))


_BUDGETS = ("minutes", "epochs", "steps")
_CHOICES: dict[str, Any] = {
    "optimizer": Optimizer,
    "schedule": Schedule,
    "reduction": Reduction,
    "decayed": Decayed,
    "average": Average,
    "select": Select,
    "precision": Precision,
}
