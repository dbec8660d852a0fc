"""The loop: batches in, updates out, events on the way; saved so that it goes on as if it had never stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import torch

from unrolled.errors import DivergenceError, Interrupted
from unrolled.runs.checkpoints import Checkpoint, rewind, save
from unrolled.runs.directory import Run
from unrolled.runs.logs import Logs
from unrolled.runs.models import load_weights
from unrolled.tasks import Trainable, Validation
from unrolled.training.averaging import Averaging
from unrolled.training.budget import Budget, Clock, Crossings, Speed, rate_at
from unrolled.training.chunks import Chunks
from unrolled.training.configuration import TrainingConfig
from unrolled.training.events import Event, SampleDue, Saved, Stepped, Validated
from unrolled.training.finetuning import layers_of, thaw
from unrolled.training.fused import Fused
from unrolled.training.optimizers import build_optimizer, clip_norm, clip_value
from unrolled.training.processes import ALONE, Processes

__all__ = ["Snapshot", "Trainer", "Update", "autocast", "seeded"]

_LINES = 500  # of metrics over a budget
_SAVE_MINUTES = 5.0  # at most so much training is lost when the machine stops
_SAMPLES = [2.0**-power for power in range(8)]  # shares of the budget: text is shown at growing intervals


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Products in bfloat16 where the precision says so; weights and states stay as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """PyTorch's generators seeded inside, and as they were outside."""
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class Snapshot:
    """All that the updates to come depend on besides the data and the configuration, as a checkpoint's files hold it.

    Attributes:
        model: the weights; where they are averaged, the average.
        training: the optimiser's memories, `<parameter's number>/<name>`, the carried state, `carried/<name>`, and,
            where an average is in their place, the weights themselves, `own/<name>`.
        state: the rest, as JSON.
    """

    model: dict[str, torch.Tensor]
    training: dict[str, torch.Tensor]
    state: dict[str, Any]


@dataclass(frozen=True)
class Update:
    """What one update of the weights came from.

    Attributes:
        loss: nats a target, before the update.
        norm: length of the gradient before its length was clipped.
        rate: the learning rate.
        targets: over how many symbols.
        step: updates with this one.
        epoch: passes over the data after it.
        smoothed: the exponential mean of losses after it.
    """

    loss: float
    norm: float
    rate: float
    targets: int
    step: int
    epoch: float
    smoothed: float


class Trainer:
    """Trains a task within a budget, into a run.

    All that decides an update is in the checkpoint or follows from the seed and the step, so that with a budget in
    steps a run that was interrupted ends with the bits of one that was not.

    Args:
        task: what is trained.
        config: how; `learning_rate` and `precision` must be chosen by now.
        run: where checkpoints and logs go.
        sample_every: steps between samples; at growing intervals if not given, never if 0.
        processes: those that train together, each with its share of the task; all of them call the same methods, and
            the first one writes.
    """

    def __init__(
        self,
        task: Trainable,
        config: TrainingConfig,
        run: Run,
        *,
        sample_every: int | None = None,
        processes: Processes = ALONE,
    ) -> None:
        if config.learning_rate is None or config.precision == "auto":
            raise ValueError("the learning rate and the precision are chosen before training")
        self.task, self.config, self.run, self.model = task, config, run, task.model
        self.budget = Budget.of(config, task.batches_per_epoch())
        self.sample_every = sample_every
        self._learning_rate = config.learning_rate
        self._parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self._device = self._parameters[0].device
        self._layers = layers_of(self.model)
        self._optimizer = build_optimizer(self.model, config, config.learning_rate)
        self._averaging = Averaging(dict(self.model.named_parameters()), config)
        self._fused = Fused.of(task, config, self._optimizer) if processes.count == 1 else None
        self.processes = processes
        self.step, self.epoch, self.minutes = 0, 0.0, 0.0
        self.smoothed = task.uniform_loss()
        self.best: Validation | None = None
        self._position = task.start()
        self._carried: dict[str, torch.Tensor] = {}
        self._without_better = 0
        self._asked = self._stop = self._settled = False
        processes.spread([*self.model.state_dict().values()])

    def restore(self, checkpoint: Checkpoint) -> list[str]:
        """Go on from a checkpoint: weights, optimiser, carried state, position, logs.

        Returns:
            one sentence for each log that has lost its tail.

        Raises:
            RunError: the checkpoint is of another network.
        """
        where = f"checkpoint {checkpoint.step} of {self.run.path}"
        self.put(Snapshot(checkpoint.model, checkpoint.training, checkpoint.state), where)
        self.processes.meet()  # what another still reads must not be touched
        return rewind(self.run, checkpoint) if self.processes.first else []

    def snapshot(self) -> Snapshot:
        """Where training stands, copied; `put` brings it back.

        The carried state is that of all processes, in the order of the streams: a snapshot does not know how many
        there were.
        """
        memories = self._optimizer.state_dict()["state"]
        training = {f"{index}/{key}": value for index, memory in memories.items() for key, value in memory.items()}
        # What an optimiser leaves empty (momentum before the first step) it makes anew.
        training = {name: value for name, value in training.items() if isinstance(value, torch.Tensor)}
        batch = int(self.processes.sum([_rows(self._carried)])[0])
        training |= {f"carried/{name}": self.processes.gather(rows, batch) for name, rows in self._carried.items()}
        training |= {f"own/{name}": value for name, value in self._averaging.own().items()}
        state = {
            "step": self.step,
            "epoch": self.epoch,
            "minutes": self.minutes,
            "position": self._position,
            "smoothed": self.smoothed,
            "best": None if self.best is None else self.best.loss,
            "best_score": None if self.best is None else self.best.score,
            "without_better": self._without_better,
        }
        if self.config.average != "none":
            state["averaging"] = self._averaging.state()
        with self._averaging.shown():
            return Snapshot(_copied(self.model.state_dict()), _copied(training), state)

    def put(self, snapshot: Snapshot, where: str = "a snapshot") -> None:
        """Go on from a snapshot, of this training or made by hand. The run's files stay as they are.

        Args:
            snapshot: it is copied.
            where: what it is, for the error.

        Raises:
            RunError: it is of another network.
        """
        load_weights(self.model, snapshot.model, where)
        state = snapshot.state
        self.step, self.epoch, self.minutes = state["step"], state["epoch"], state["minutes"]
        self.smoothed, self._without_better = state["smoothed"], state["without_better"]
        self.best = None if state["best"] is None else Validation(state["best"], state.get("best_score"))
        self._position, self._carried = state["position"], {}
        memories: dict[int, dict[str, Any]] = {}
        own: dict[str, torch.Tensor] = {}
        for name, tensor in _copied(snapshot.training).items():
            owner, key = name.split("/", 1)
            if owner == "carried":
                self._carried[key] = tensor[slice(*self.processes.rows(len(tensor)))].to(self._device)
            elif owner == "own":
                own[key] = tensor
            else:
                memories.setdefault(int(owner), {})[key] = tensor
        self._averaging.put(own, state.get("averaging"))
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": memories, "param_groups": groups})

    def renew_patience(self) -> None:
        """Count validations without a better one from here on: a run that was stopped early may go on."""
        self._without_better = 0

    def interrupt(self) -> None:
        """Stop after the step that is under way: save, and raise `Interrupted` from `train`, in all processes."""
        self._asked = True
        if self.processes.count == 1:
            self._stop = True

    def train(self, logs: Logs) -> Iterator[Event]:
        """Train until the budget is spent, or patience is.

        Args:
            logs: of the run; metrics are added to them.

        Raises:
            DivergenceError: a loss or gradient is not finite; the last good checkpoint stays.
            Interrupted: `interrupt` was called; all is saved.
        """
        config, clock = self.config, Clock(self.minutes)
        progress = self.budget.progress(self.step, self.minutes)
        shares = [(k + 1) / config.validations for k in range(config.validations)] or [1.0]
        validations = Crossings(shares, progress)
        lines = Crossings([(k + 1) / _LINES for k in range(_LINES)], progress)
        samples = Crossings(_SAMPLES, progress)
        chunks = Chunks(self.budget, shares + _SAMPLES)
        speed = Speed(self.budget, self.step, clock.minutes)
        with clock.paused():
            if self.step == 0:
                # From here on there is something to go on from, whenever the machine stops.
                yield self._save(best=False)
                if self.sample_every != 0:
                    yield SampleDue(0)
            self.processes.meet()
        saved_at = self.minutes
        self.model.train()
        while progress < 1 and not (config.patience and self._without_better >= config.patience):
            passes = int(self.epoch)
            updates = self.updates(chunks.length(self.step, config.checkpoint_every, self.sample_every or 0))
            chunks.lasted(len(updates), clock.minutes - self.minutes)
            self._agree(clock.minutes)
            with clock.paused():
                per_second, left = speed.after(self.step, sum(update.targets for update in updates), self.minutes)
                for update in updates:
                    last, progress = update is updates[-1], self.budget.progress(update.step, self.minutes)
                    line = (last or self.budget.steps is not None) and lines.crossed(progress)
                    if not (line or last):
                        continue
                    stepped = Stepped(
                        update.step,
                        update.epoch,
                        progress,
                        update.loss,
                        update.smoothed,
                        update.norm,
                        update.rate,
                        per_second,
                        left,
                    )
                    if line or update.step == 1:
                        logs.metrics({**asdict(stepped), "minutes": self.minutes})
                    yield stepped
                sampled = samples.crossed(progress) if self.sample_every is None else self._every(self.sample_every)
                if sampled:
                    with self._averaging.shown():
                        yield SampleDue(self.step)
                due = validations.crossed(progress) or (not config.validations and int(self.epoch) > passes)
                validated = self._validate(logs) if due else None
                if validated is not None:
                    yield validated
                late = self.minutes - saved_at > _SAVE_MINUTES
                saving = due or self._stop or self._every(config.checkpoint_every) or late
                if saving:
                    yield self._save(best=validated is not None and validated.best)
                    saved_at = self.minutes
                if sampled or saving:
                    self.processes.meet()
                if self._stop and progress < 1:
                    raise Interrupted(
                        f"stopped after step {self.step}; everything is saved in {self.run.path}",
                        fix=f"go on with: unrolled resume {self.run.path}",
                    )

    def _every(self, steps: int) -> bool:
        return steps > 0 and self.step % steps == 0

    def _agree(self, minutes: float) -> None:
        """The minutes of the first process, which are those of all; and that all stop where one was asked to."""
        if self.processes.count == 1:
            self.minutes = minutes
            return
        first = minutes if self.processes.first else 0.0
        self.minutes, asked = self.processes.sum([first, float(self._asked)], updating=self._settled)
        self._stop = asked > 0
        # In the first update kernels are compiled, which may take one longer than another.
        self._settled = True

    def update(self) -> Update:
        """One update of the weights, and nothing else: no clock, no validation, no file.

        Raises:
            DivergenceError: the loss or the gradient is not finite; the weights stay as they were.
        """
        return self.updates(1)[0]

    def updates(self, most: int) -> list[Update]:
        """One update, or several, at most so many, where they can be made in one call. `train` is made of these.

        With a budget in steps or epochs, how many are made at once decides nothing: each is what it would have been
        alone. With one in minutes the learning rate follows the clock, which is looked at once a call.

        Raises:
            DivergenceError: the loss or the gradient of an update is not finite: neither it nor those before it in the
                same call are told of, and training goes on from the last checkpoint.
        """
        if self._fused is None or not self._fused.serves():
            return [self._update()]
        config, begin = self.config, self.step
        if self.budget.steps is not None:
            most = min(most, max(1, self.budget.steps - self.step))
        progresses = (self.budget.progress(step, self.minutes) for step in range(begin, begin + most))
        rates = [self._learning_rate * rate_at(progress, config) for progress in progresses]
        came = self._fused.train(self._position, self._carried, rates)
        done, totals, norms = came.made.done, came.made.totals.tolist(), came.made.norms.tolist()
        updates = []
        for index, (targets, epoch) in enumerate(zip(came.targets[:done].tolist(), came.epochs.tolist(), strict=False)):
            loss = totals[index] / max(targets, 1)
            self.step += 1
            self.smoothed = config.smoothing * self.smoothed + (1 - config.smoothing) * loss
            updates.append(Update(loss, norms[index], rates[index], targets, self.step, epoch, self.smoothed))
        if done < most:
            self._diverged(totals[done], norms[done], int(came.targets[done]), rates[done])
        self._position, self._carried, self.epoch = came.next, came.carried, updates[-1].epoch
        return updates

    def _update(self) -> Update:
        """One update, operation by operation, which serves every task."""
        config, processes = self.config, self.processes
        progress, scale = self.budget.progress(self.step, self.minutes), 0.0
        rate = self._learning_rate * rate_at(progress, config, self.epoch)
        thaw(self._layers, config, progress)
        self._optimizer.zero_grad()
        total, targets = 0.0, 0
        # What is random in a step follows from the seed and the step: nothing of it needs to be saved.
        with seeded(self._device, processes.seed(config.seed * 1_000_003 + self.step)):
            for _ in range(config.accumulate):
                with autocast(self._device, config.precision):
                    given = self.task.loss(self._position, self._carried)
                counted, sequences = processes.sum([given.targets, given.sequences], updating=self._settled)
                over = counted if config.reduction == "mean" else sequences
                if given.targets:
                    goal = given.total if given.penalty is None else given.total + given.targets * given.penalty
                    (goal / (over * config.accumulate)).backward()  # type: ignore[no-untyped-call]
                self._position, self._carried, self.epoch = given.next, given.state, given.epoch
                total, targets = total + float(given.total.detach()), targets + int(counted)
                scale += given.rate / config.accumulate
        rate *= scale
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        if processes.count > 1:
            # First the number: who is slower the first time may be so for long, and is waited for here.
            total = processes.sum([total], updating=self._settled)[0]
            self._add_up(targets)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        clip_value(gradients, config.clip_value)
        norm = clip_norm(gradients, config.clip_norm) if gradients else 0.0
        if not (math.isfinite(total) and math.isfinite(norm)):
            self._diverged(total, norm, targets, rate)
        self._optimizer.step()
        self._averaging.updated()
        self.step += 1
        loss = total / max(targets, 1)
        self.smoothed = config.smoothing * self.smoothed + (1 - config.smoothing) * loss
        return Update(loss, norm, rate, targets, self.step, self.epoch, self.smoothed)

    def _add_up(self, targets: int) -> None:
        """Sum the gradients of all processes, of which some may have had no target."""
        if targets:
            for parameter in self._parameters:
                if parameter.grad is None and parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)
            self.processes.add_up([parameter.grad for parameter in self._parameters if parameter.grad is not None])

    def _diverged(self, total: float, norm: float, targets: int, rate: float) -> NoReturn:
        raise DivergenceError(
            f"training diverged at step {self.step + 1}: the {'gradient' if math.isfinite(total) else 'loss'} is "
            "not a finite number",
            got=f"loss {total / max(targets, 1):g} nats, gradient norm {norm:g}, learning rate {rate:.2g}",
            where=str(self.run.path),
            fix=f"a smaller --learning-rate (say {self._learning_rate / 3:.1g}) or --clip-norm, or --precision "
            "float32; the last good checkpoint is kept",
        )

    def _validate(self, logs: Logs) -> Validated | None:
        with self._averaging.shown():
            found = self.task.validate()
        if found is None:
            return None
        if not math.isfinite(found.loss):
            raise DivergenceError(
                f"training diverged at step {self.step}: the validation loss is not a finite number",
                where=str(self.run.path),
                fix=f"a smaller --learning-rate (say {self._learning_rate / 3:.1g}); the last good checkpoint is kept",
            )
        self._averaging.heard(found.loss)
        better = self.best is None or found.better_than(self.best)
        self.best = found if better else self.best
        self._without_better = 0 if better else self._without_better + 1
        said = {"valid": found.loss, "best": better} | ({found.measure: found.score} if found.measure else {})
        logs.metrics({"step": self.step, "epoch": self.epoch, "minutes": self.minutes, **said})
        return Validated(self.step, found.loss, better, found.score, found.measure)

    def _is_good(self, now: Snapshot) -> bool:
        """Whether training can go on from here. What cannot be gone on from takes the place of no checkpoint."""
        with seeded(self._device, 0), torch.no_grad(), autocast(self._device, self.config.precision):
            coming = float(self.task.loss(self._position, self._carried).total)
        coming = self.processes.sum([coming])[0]
        weights = [*now.model.values(), *(value for name, value in now.training.items() if name.startswith("own/"))]
        return math.isfinite(coming) and all(bool(value.isfinite().all()) for value in weights)

    def _save(self, best: bool) -> Saved:
        now = self.snapshot()
        if not self._is_good(now):
            raise DivergenceError(
                f"training diverged at step {self.step}: a weight, or the loss that comes next, is not a finite number",
                where=str(self.run.path),
                fix=f"a smaller --learning-rate (say {self._learning_rate / 3:.1g}); the last good checkpoint is kept",
            )
        if not self.processes.first:
            return Saved(self.step, self.run.checkpoint(f"{self.step:09d}"))
        path = save(self.run, self.step, now.model, now.training, now.state, best, keep=self.config.keep)
        return Saved(self.step, path)


def _rows(carried: Mapping[str, torch.Tensor]) -> int:
    """In how many sequences states are carried: the length of their first axis."""
    return next((len(tensor) for tensor in carried.values()), 0)


def _copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
