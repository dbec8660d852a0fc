"""`train`, `resume`, `evaluate` and `predict` of the tasks that learn from examples: see `tasks.kinds`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from unrolled import __version__
from unrolled.cells import Equations, find_cell
from unrolled.data.store import Part, SplitSources
from unrolled.data.text import find_sources
from unrolled.errors import ConfigurationError, DataError
from unrolled.kernels import candidates, choose
from unrolled.layers import RecurrentLayer
from unrolled.runs.checkpoints import Checkpoint
from unrolled.runs.configuration import dump_section, load_section
from unrolled.runs.directory import Run
from unrolled.runs.logs import Logs, truncate_to
from unrolled.runs.models import is_fitted, load_bag, load_task_model, read_sections
from unrolled.tasks import Trainable
from unrolled.tasks.kinds import Kind, Options, Prepared, find_kind
from unrolled.tasks.supervised import Examples, SupervisedModel
from unrolled.training.configuration import Precision, TrainingConfig
from unrolled.training.loop import Trainer, seeded
from unrolled.training.memory import keep_freed_memory
from unrolled.training.precision import Way, measure
from unrolled.training.processes import refuse_several
from unrolled.training.signals import interruptible
from unrolled.verbs.continuation import is_begun, take_up
from unrolled.verbs.defaults import choose_device, choose_threads, with_budget, work_of
from unrolled.verbs.listening import Listener, counted
from unrolled.verbs.naming import listed, place_run, stem
from unrolled.verbs.origins import Origin
from unrolled.verbs.task_data import describe_sources, find_data
from unrolled.verbs.task_options import following, read_task_options

__all__ = ["OpenedTask", "TrainedTask", "open_task", "resume_task", "train_task"]


@dataclass(frozen=True)
class TrainedTask:
    """What training came to.

    Attributes:
        task: its name.
        run: the run's directory.
        steps: updates of the weights.
        minutes: minutes of training.
        epochs: passes over the training examples.
        parameters: of the network.
        valid: what `evaluate` says of the best checkpoint on the validation part, on which it was chosen; None where
            there is none.
        summary: that in a line.
        budget: what the budget counted: "minutes", "epochs" or "steps".
        spent: how much of that the budget was.
    """

    task: str
    run: Path
    steps: int
    minutes: float
    epochs: float
    parameters: int
    valid: dict[str, Any] | None
    summary: str
    budget: str
    spent: float


def train_task(
    task: str,
    paths: str | Path | Sequence[str | Path] = (),
    *,
    train: Sequence[str] = (),
    valid: Sequence[str] = (),
    test: Sequence[str] = (),
    run: str | Path | None = None,
    init_from: str | Path | None = None,
    equations: Equations | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> TrainedTask:
    """Train a model on examples.

    Args:
        task: "classify", for one; see `tasks.kinds.KINDS`.
        paths: a file, directory or glob, or several; split as the options say.
        train: files to train on, where the split is given; then also `valid` and `test`.
        valid: files to validate on.
        test: files kept for testing.
        run: the directory of the run; by default `runs/` and a name made from the data, the task and the cell.
        init_from: a run of a language model, from whose best weights training starts.
        equations: the cell, in place of a name in the option `cell`.
        listener: hears what happens.
        options: fields of the task's sections and of `TrainingConfig`, by name.

    Raises:
        InputError: something of this is wrong; nothing was trained.
        DivergenceError: a loss or gradient is not finite; the last good checkpoint stays.
        Interrupted: the user stopped it; all is saved.
    """
    kind, listener = find_kind(task), listener or Listener()
    refuse_several(f"train {task}")
    origin = None if init_from is None else Origin.open(init_from)
    sections, training = read_task_options(kind, options, {} if origin is None else following(kind, origin, options))
    if origin is not None:
        equations = origin.equations
    equations = equations or find_cell(sections["model"].cell)
    sections["model"] = replace(sections["model"], cell=equations.name)
    device, threads = choose_device(training.device), choose_threads(training.threads)
    torch.set_num_threads(threads)
    names = listed(paths)
    sources = SplitSources.find(names, train=train, valid=valid, test=test)
    path = place_run(run, f"{stem(names, sources)}-{task}-{equations.name}")
    described = describe_sources(sources)
    begun = None if origin is None else {"language_model": origin.vocabulary.to_json()}
    prepared = kind.prepare(sources, sections, begun, listener.preparing)
    training = with_budget(replace(training, threads=threads))
    chosen = kind.choose(equations, sections, prepared, work_of(training, threads, device))
    training = replace(
        training,
        batch=training.batch or chosen.batch,
        learning_rate=training.learning_rate or chosen.learning_rate,
    )
    with seeded(torch.device("cpu"), training.seed):
        model = kind.build(equations, chosen.options, prepared.vocabulary)
    if origin is not None:
        kind.hand_over(origin.model, model)
    model.to(device, _dtype(training))
    trainable = _task(kind, model, prepared, chosen.options, training)
    ways = _ways(model, training)
    if len(ways) > 1:
        listener.doing("measuring " + ", ".join(map(str, ways)))
    keep_freed_memory()
    way, seconds = measure(trainable, ways, model.use)
    model.use(way.kernel)
    training = replace(training, precision=way.precision)
    config = {
        "task": task,
        "unrolled": __version__,
        "data_sources": described,
        **{name: dump_section(section) for name, section in chosen.options.items()},
        "equations": equations.to_json(),
        "training": dump_section(training),
        "init_from": None if origin is None else {"run": str(origin.path.resolve()), "checkpoint": origin.step},
        "measured": {
            "kernel": way.kernel,
            "device": str(device),
            "torch": torch.__version__,
            "seconds_a_batch": seconds,
        },
    }
    opened = Run.create(path, config, prepared.vocabulary)
    with opened.exclusive():
        return _conduct(opened, kind, model, trainable, prepared, chosen.options, training, listener)


def resume_task(
    opened: Run,
    *,
    budget: Mapping[str, Any],
    checkpoint: str = "last",
    device: str | None = None,
    threads: int | None = None,
    listener: Listener | None = None,
) -> TrainedTask:
    """Go on with a run exactly where its last checkpoint stands; see `verbs.training.resume`."""
    listener = listener or Listener()
    refuse_several("resume")
    kind, equations, sections = read_sections(opened)
    where = str(opened.path / "config.json")
    training = load_section(TrainingConfig, opened.config["training"], f"{where}, training")
    extended = any(value is not None for value in budget.values())
    if extended:
        training = load_section(TrainingConfig, {**dump_section(training), **budget}, "the new budget")
    measured = opened.config["measured"]
    torch.set_num_threads(choose_threads(threads if threads is not None else training.threads))
    prepared = kind.prepare(find_data(opened), sections, opened.vocabulary, listener.preparing)
    with seeded(torch.device("cpu"), training.seed):
        model = kind.build(equations, sections, prepared.vocabulary)
    placed = choose_device(device or str(measured["device"]))
    model.to(placed, _dtype(training))
    if str(placed) == str(measured["device"]):
        # What was measured is part of the run: another kernel gives other last digits.
        model.use(measured["kernel"])
    task = _task(kind, model, prepared, sections, training)
    with opened.exclusive():
        begun, origin = is_begun(opened, checkpoint), opened.config.get("init_from")
        if not begun and origin is not None:
            kind.hand_over(Origin.open(origin["run"], str(origin["checkpoint"])).model, model)
        batches = task.batches_per_epoch()
        loaded = take_up(opened, checkpoint, training, batches, listener, extended=extended) if begun else None
        if extended:
            opened = opened.with_config({**opened.config, "training": dump_section(training)})
        return _conduct(opened, kind, model, task, prepared, sections, training, listener, loaded, extended=extended)


@dataclass
class OpenedTask:
    """A run of a task, ready to be used.

    Attributes:
        run: the run.
        kind: its task.
        model: its network, in evaluation mode.
        options: its sections.
        step: of the checkpoint.
        listener: hears what happens.
    """

    run: Run
    kind: Kind
    model: SupervisedModel
    options: Options
    step: int
    listener: Listener

    def evaluate(self, split: Part = "test") -> dict[str, Any]:
        """The metrics on a part of the run's own data.

        Raises:
            RunError: the data is gone or has changed.
            ConfigurationError: the part is empty.
        """
        return self._report(self.examples(split), split)

    def examples(self, split: Part) -> Examples:
        """A part of the run's own data; for errors see `evaluate`."""
        prepared = self.kind.prepare(find_data(self.run), self.options, self.run.vocabulary, self.listener.preparing)
        return _part(prepared, split)

    def evaluate_file(self, name: str) -> dict[str, Any]:
        """The metrics on other data in the same format: a file, directory or glob.

        Raises:
            DataError: it is not in that format, or holds no example.
        """
        return self._report(self.examples_of_file(name), name)

    def examples_of_file(self, name: str) -> Examples:
        """Other data in the same format; for errors see `evaluate_file`."""
        told = self.listener.preparing
        examples = self.kind.all_examples(find_sources([name]), self.options, self.run.vocabulary, told)
        if not len(examples.lengths):
            expected = "at least one; of a series as many steps as a window and its horizon have"
            raise DataError("there are no examples", expected=expected, where=name)
        return examples

    def _report(self, examples: Examples, called: str) -> dict[str, Any]:
        found = self.kind.evaluate(self.model, examples, self.options, self.run.vocabulary, self.listener.reading)
        return {"task": self.kind.name, "split": called, "checkpoint": self.step, **found}

    def predict(self, lines: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """What the model says of new inputs, one after the other."""
        return self.kind.predict(self.model, lines, self.options, self.run.vocabulary)

    def opponent(self, split: Part = "test") -> dict[str, Any]:
        """The classical opponent on a part of the run's own data; see `Kind.opponent`, for errors `evaluate` too."""
        told = self.listener.preparing
        prepared = self.kind.prepare_opponent(find_data(self.run), self.options, self.run.vocabulary, told)
        _part(prepared, split)
        return self.kind.opponent(prepared, split, self.options, self.listener.doing)

    def predict_file(self, name: str, form: str | None = None) -> Iterator[dict[str, Any]]:
        """What the model says of what a file holds ("-" for standard input), each with where it stands there.

        Args:
            name: the file, directory or glob.
            form: its format, of tasks that read several.

        Raises:
            DataError: it cannot be read as that.
            ConfigurationError: there is no such format.
        """
        places: deque[dict[str, Any]] = deque()

        def inputs() -> Iterator[Any]:
            for place, value in self.kind.read_inputs(find_sources([name]), self.options, form):
                places.append(place)
                yield value

        for found in self.predict(inputs()):
            yield {**places.popleft(), **found}


def open_task(
    run: str | Path,
    checkpoint: str = "best",
    *,
    device: str = "auto",
    threads: int | None = None,
    listener: Listener | None = None,
) -> OpenedTask:
    """Open a run of a task that learns from examples.

    Raises:
        RunError: it is a run of another task, or a file of it is damaged.
    """
    opened = Run.open(run)
    torch.set_num_threads(choose_threads(threads))
    if is_fitted(opened):
        from unrolled.tasks.bow.kind import BagModel, Bow

        bag, step, options = load_bag(opened, checkpoint)
        return OpenedTask(opened, Bow(), BagModel(bag), options, step, listener or Listener())
    kind, _, sections = read_sections(opened)
    model, loaded = load_task_model(opened, checkpoint)
    model.to(choose_device(device))
    return OpenedTask(opened, kind, model, sections, loaded.step, listener or Listener())


def _part(prepared: Prepared, split: Part) -> Examples:
    """The examples of a part, of which there is at least one."""
    if not len(prepared.parts[split].lengths):
        raise ConfigurationError(
            f"the {split} part of the data is empty", fix="choose another --split, or train with another --split"
        )
    return prepared.parts[split]


def _conduct(
    run: Run,
    kind: Kind,
    model: SupervisedModel,
    task: Trainable,
    prepared: Prepared,
    options: Options,
    training: TrainingConfig,
    listener: Listener,
    checkpoint: Checkpoint | None = None,
    extended: bool = False,
) -> TrainedTask:
    """Train, and look at the result once more as a whole. The run is held by the caller."""
    trainer = Trainer(task, training, run, sample_every=0)
    if checkpoint is None:
        truncate_to(run, {"metrics.jsonl": 0, "samples.txt": 0})
    else:
        for note in trainer.restore(checkpoint):
            listener.note(note)
    if extended:
        trainer.renew_patience()
    begun_at = trainer.step
    listener.started(str(run.path), {**prepared.facts, **_facts(run, model, training)}, kind.loss)
    with interruptible(trainer.interrupt), Logs(run) as logs:
        for event in trainer.train(logs):
            listener.event(event)
    if trainer.budget.progress(trainer.step, trainer.minutes) < 1:
        listener.note(f"stopped early: {training.patience} validations in a row were not better than the best")
    elif checkpoint is not None and trainer.step == begun_at:
        listener.note("the budget was spent already; a larger --steps, --epochs or --minutes goes on")
    valid = None
    if trainer.best is not None:
        best, _ = load_task_model(run)
        best.to(model.device)
        valid = kind.evaluate(best, prepared.parts["valid"], options, run.vocabulary, listener.reading)
    return TrainedTask(
        kind.name,
        run.path,
        trainer.step,
        trainer.minutes,
        trainer.epoch,
        model.size,
        valid,
        "" if valid is None else kind.summary(valid),
        *training.budget,
    )


def _task(
    kind: Kind, model: SupervisedModel, prepared: Prepared, options: Options, training: TrainingConfig
) -> Trainable:
    batch = training.batch or 1
    return kind.task(model, prepared, options, batch=batch, seed=training.seed, select=training.select)


def _facts(run: Run, model: SupervisedModel, training: TrainingConfig) -> dict[str, str]:
    """What was chosen."""
    measured = run.config["measured"]
    budget, size = training.budget
    return {
        "network": model.about,
        "training": f"{size:,.9g} {budget}; {training.optimizer}, rate {training.learning_rate:g}, batches of "
        f"{training.batch}",
        "machine": f"{measured['device']}, {counted(torch.get_num_threads(), 'thread')}, {training.precision}, kernel "
        f"{measured['kernel']}",
    }


def _ways(model: SupervisedModel, training: TrainingConfig) -> list[Way]:
    """The precisions and kernels that may be chosen between; see `verbs.training`."""
    layers = [layer for layer in model.modules() if isinstance(layer, RecurrentLayer)]
    widest = max(layers, key=lambda layer: layer.hidden_size)
    state = widest.initial_state(training.batch or 1)
    like = next(model.parameters())

    def product(precision: str) -> torch.dtype:
        return torch.bfloat16 if precision == "bfloat16" else like.dtype

    if training.precision != "auto":
        return [Way(training.precision, choose(widest.equations, state, product(training.precision)))]
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    return [
        Way(precision, kernel)
        for precision in precisions
        for kernel in candidates(widest.equations, state, product(precision))
    ]


def _dtype(training: TrainingConfig) -> torch.dtype:
    return torch.float64 if training.precision == "float64" else torch.float32
