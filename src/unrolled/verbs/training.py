"""`train` and `resume`: from a text to a trained run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from unrolled import __version__
from unrolled.cells import Equations, find_cell
from unrolled.data.configuration import TextConfig
from unrolled.data.store import PARTS, SplitSources, TokenStore, prepare
from unrolled.data.vocabulary import Vocabulary
from unrolled.decoding import Sampler, generate
from unrolled.errors import DivergenceError, RunError
from unrolled.evaluation import Evaluation, evaluate
from unrolled.kernels import candidates, choose
from unrolled.kernels.small import is_small
from unrolled.runs.checkpoints import Checkpoint
from unrolled.runs.configuration import dump_section, load_section
from unrolled.runs.directory import Run
from unrolled.runs.logs import Logs, NoLogs, truncate_to
from unrolled.runs.models import build_language_model, check_network, learns_from_examples, load_language_model, section
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.configuration import Precision, TrainingConfig
from unrolled.training.events import SampleDue
from unrolled.training.fused import serves_training
from unrolled.training.loop import Trainer, seeded
from unrolled.training.memory import keep_freed_memory
from unrolled.training.precision import Way, measure
from unrolled.training.processes import Processes, current, joined
from unrolled.training.signals import interruptible
from unrolled.verbs.continuation import is_begun, take_up
from unrolled.verbs.defaults import choose_device, choose_output, choose_sizes, choose_threads
from unrolled.verbs.listening import Listener, counted
from unrolled.verbs.naming import listed, place_run, stem
from unrolled.verbs.options import read_options
from unrolled.verbs.origins import Origin, describe_store, open_store
from unrolled.verbs.sharing import agree, check_shares, check_sources, create_run, held, in_turn
from unrolled.verbs.supervised import TrainedTask, resume_task

__all__ = ["Trained", "resume", "train_lm"]

_SAMPLE_LENGTH = 200
_DTYPES = {"float64": torch.float64}
_REGULARISED = (
    *("tied", "variational", "input_dropout", "layer_dropout", "output_dropout", "embedding_dropout"),
    *("weight_drop", "activation_penalty", "temporal_penalty", "mogrifier"),
)


@dataclass(frozen=True)
class Trained:
    """What training came to.

    Attributes:
        run: the run's directory.
        steps: updates of the weights.
        minutes: minutes of training.
        epochs: passes over the training text.
        parameters: of the network.
        valid: the best checkpoint on the whole validation part, state carried over; None where there is none. That
            checkpoint was chosen on this part.
        budget: what the budget counted: "minutes", "epochs" or "steps".
        spent: how much of that the budget was.
    """

    run: Path
    steps: int
    minutes: float
    epochs: float
    parameters: int
    valid: Evaluation | None
    budget: str
    spent: float


@joined()
def train_lm(
    paths: str | Path | Sequence[str | Path] = (),
    *,
    train: Sequence[str] = (),
    valid: Sequence[str] = (),
    test: Sequence[str] = (),
    run: str | Path | None = None,
    recipe: str | None = None,
    init_from: str | Path | None = None,
    sample_every: int | None = None,
    equations: Equations | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Trained:
    """Train a language model on text.

    Args:
        paths: a file, directory, glob, "-" for standard input, or several; split as `split` says.
        train: files to train on, where the split is given; then also `valid` and `test`.
        valid: files to validate on.
        test: files kept for testing.
        run: the directory of the run; by default `runs/` and a name made from the text and the cell.
        recipe: the name of a recipe; options given here win over it.
        init_from: a run whose best weights training starts from.
        sample_every: steps between samples of text; at growing intervals if not given, none if 0.
        equations: the cell, in place of a name in the option `cell`.
        listener: hears what happens.
        options: fields of `TextConfig`, `LanguageModelConfig` and `TrainingConfig`, by name.

    Raises:
        InputError: something of this is wrong; nothing was trained.
        DivergenceError: training diverged; the last good checkpoint is kept.
        Interrupted: stopped by the user; all is saved.
    """
    processes = current()
    listener = listener if listener is not None and processes.first else Listener()
    origin = None if init_from is None else Origin.open(init_from)
    text, model_config, training, extra = read_options(options, recipe, None if origin is None else origin.network)
    if sample_every is None:
        sample_every = extra.get("sample_every")
    if equations is None and origin is not None and model_config.cell == origin.network["cell"]:
        equations = origin.equations
    equations = equations or find_cell(model_config.cell)
    model_config = replace(model_config, cell=equations.name)
    device, threads = choose_device(training.device), choose_threads(training.threads, processes.local_count)
    torch.set_num_threads(threads)

    names = listed(paths)
    check_sources(processes, [*names, *train, *valid, *test])
    sources = SplitSources.find(names, train=train, valid=valid, test=test)
    place = str(place_run(run, f"{stem(names, sources)}-{equations.name}")) if processes.first else ""
    path = Path(processes.of_the_first(place))
    store = in_turn(processes, lambda: prepare(sources, text, progress=listener.preparing, processes=threads))
    model_config, training = choose_sizes(
        equations,
        model_config,
        training,
        train_tokens=len(store.split("train")),
        threads=threads * processes.count,
        device=device,
        symbols=min(store.vocabulary.size, model_config.samples if model_config.output == "sampled" else 1 << 62),
    )
    model_config = choose_output(model_config, store.vocabulary)
    model_config, training = agree(processes, model_config), agree(processes, replace(training, threads=threads))
    check_shares(processes, training, store)
    with seeded(torch.device("cpu"), training.seed):
        model = LanguageModel(store.vocabulary.size, equations, model_config, counts=store.vocabulary.counts)
    if origin is not None:
        origin.give(model, store.vocabulary)
    model.to(processes.device(device), _DTYPES.get(training.precision, torch.float32))
    task = _task(model, store, text, training, processes)
    seconds: dict[str, float] = {}
    ways = _ways(task, training)
    if len(ways) > 1:
        listener.doing("measuring " + ", ".join(map(str, ways)))
    way, seconds = measure(task, ways, model.recurrent.use)
    way = Way(*processes.of_the_first([*way]))
    model.recurrent.use(way.kernel)
    training = replace(training, precision=way.precision)
    config = {
        "task": "lm",
        "unrolled": __version__,
        "data": describe_store(store, sources),
        "text": dump_section(text),
        "model": dump_section(model_config),
        "equations": equations.to_json(),
        "training": dump_section(training),
        "sample_every": sample_every,
        "recipe": recipe,
        "init_from": None if origin is None else {"run": str(origin.path.resolve()), "checkpoint": origin.step},
        "measured": {
            "kernel": way.kernel,
            "device": str(device),
            "torch": torch.__version__,
            "seconds_a_batch": seconds,
            "processes": processes.count,
        },
    }
    opened = create_run(processes, path, config, store.vocabulary.to_json())
    with held(processes, opened):
        return _conduct(opened, task, training, store, text, listener, sample_every)


@joined()
def resume(
    run: str | Path,
    *,
    minutes: float | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    checkpoint: str = "last",
    device: str | None = None,
    threads: int | None = None,
    listener: Listener | None = None,
) -> Trained | TrainedTask:
    """Go on with a run exactly where its last checkpoint stands, whatever its task.

    Args:
        run: its directory.
        minutes: a new budget, counted from the beginning of the run; or `epochs`, or `steps`.
        epochs: see minutes.
        steps: see minutes.
        checkpoint: "last", "best" or the step of a checkpoint to go on from; later ones are given up.
        device: where to go on, if not where the run was; the bits may then differ.
        threads: with how many threads, if not with those of the run; the bits may then differ.
        listener: hears what happens.

    Raises:
        RunError: the run is damaged, or its text is gone.
        ConfigurationError: the new budget is spent already.
        DivergenceError, Interrupted: see `train_lm`.
    """
    processes = current()
    listener = listener if listener is not None and processes.first else Listener()
    opened = Run.open(run)
    check_network(opened)
    budget = {"minutes": minutes, "epochs": epochs, "steps": steps}
    if learns_from_examples(opened):
        return resume_task(
            opened, budget=budget, checkpoint=checkpoint, device=device, threads=threads, listener=listener
        )
    if opened.config.get("task") != "lm":
        raise RunError(f"{opened.path} is not a language model", got=f"task {opened.config.get('task')!r}")
    where = str(opened.path / "config.json")
    text = load_section(TextConfig, section(opened, "text"), f"{where}, text")
    training = load_section(TrainingConfig, section(opened, "training"), f"{where}, training")
    extended = any(value is not None for value in budget.values())
    if extended:
        # Checked like any other options, as they may come from a command line.
        training = load_section(TrainingConfig, {**dump_section(training), **budget}, "the new budget")
    measured = opened.config["measured"]
    placed = choose_device(device or str(measured["device"]))
    begun_by = measured.get("processes", 1)
    if begun_by != processes.count:
        listener.note(
            f"the run was begun by {counted(begun_by, 'process', 'es')} and goes on with {processes.count}: its "
            "streams are divided anew, and the last digits may differ"
        )
    if threads is None and begun_by == processes.count:
        threads = training.threads
    torch.set_num_threads(choose_threads(threads, processes.local_count))
    with seeded(torch.device("cpu"), training.seed):
        model, vocabulary = build_language_model(opened)
    store = in_turn(processes, lambda: open_store(opened, text, vocabulary, listener))
    check_shares(processes, training, store)
    begun, origin = is_begun(opened, checkpoint), opened.config.get("init_from")
    if not begun and origin is not None:
        Origin.open(origin["run"], str(origin["checkpoint"])).give(model, vocabulary)
    model.to(processes.device(placed), _DTYPES.get(training.precision, torch.float32))
    if str(placed) == str(measured["device"]):
        # What was measured is part of the run: another kernel gives other last digits.
        model.recurrent.use(measured["kernel"])
    task = _task(model, store, text, training, processes)
    sample_every = opened.config.get("sample_every")
    with held(processes, opened):
        batches = task.batches_per_epoch()
        loaded = take_up(opened, checkpoint, training, batches, listener, extended=extended) if begun else None
        if extended and processes.first:
            opened = opened.with_config({**opened.config, "training": dump_section(training)})
        return _conduct(opened, task, training, store, text, listener, sample_every, loaded, extended=extended)


def _task(
    model: LanguageModel, store: TokenStore, text: TextConfig, training: TrainingConfig, processes: Processes
) -> LanguageModelTask:
    assert training.batch is not None
    keep_freed_memory()
    return LanguageModelTask(
        model,
        store.split("train"),
        store.split("valid"),
        batch=training.batch,
        length=training.length,
        seed=training.seed,
        documents=text.documents,
        shift=training.shift,
        vary=training.random_lengths,
        block=text.shuffle_block,
        valid_limit=training.valid_limit,
        **_together(processes),
    )


def _together(processes: Processes) -> dict[str, Any]:
    """How streams are shared among the processes, where there are several."""
    return {} if processes.count == 1 else {"share": processes.rows, "add": processes.sum}


def _conduct(
    run: Run,
    task: LanguageModelTask,
    training: TrainingConfig,
    store: TokenStore,
    text: TextConfig,
    listener: Listener,
    sample_every: int | None,
    checkpoint: Checkpoint | None = None,
    extended: bool = False,
) -> Trained:
    """Train, show, and look at the result once more as a whole. The run is held by the caller."""
    processes = current()
    trainer = Trainer(task, training, run, sample_every=sample_every, processes=processes)
    if checkpoint is None:
        if processes.first:
            truncate_to(run, {"metrics.jsonl": 0, "samples.txt": 0})
    else:
        for note in trainer.restore(checkpoint):
            listener.note(note)
    if extended:
        trainer.renew_patience()
    begun_at = trainer.step
    listener.started(str(run.path), _facts(run, task.model, training, store))
    seed = training.seed
    with interruptible(trainer.interrupt), Logs(run) if processes.first else NoLogs() as logs:
        for event in trainer.train(logs):
            listener.event(event)
            if isinstance(event, SampleDue) and processes.first:
                sample = _sample(task.model, store.vocabulary, seed, f"training diverged at step {event.step}", run)
                logs.sample(f"step {event.step}, {trainer.smoothed:.3f} nats", sample)
                listener.sampled(event.step, sample)
    if trainer.budget.progress(trainer.step, trainer.minutes) < 1:
        listener.note(f"stopped early: {training.patience} validations in a row were not better than the best")
    elif checkpoint is not None and trainer.step == begun_at:
        listener.note("the budget was spent already; a larger --steps, --epochs or --minutes goes on")
    valid = None
    if trainer.best is not None:
        best, vocabulary, _ = load_language_model(run)
        best.to(next(task.model.parameters()).device)
        valid = evaluate(
            best,
            vocabulary,
            store.split("valid"),
            documents=text.documents,
            progress=listener.reading,
            **_together(processes),
        )
    size = task.model.size
    return Trained(run.path, trainer.step, trainer.minutes, trainer.epoch, size, valid, *training.budget)


def _sample(model: LanguageModel, vocabulary: Vocabulary, seed: int, diverged: str, run: Run) -> str:
    """A text of the model as it stands; training does not notice."""
    before = model.training
    model.eval()
    try:
        return "".join(generate(model.stepping(), vocabulary, length=_SAMPLE_LENGTH, sampler=Sampler(seed=seed)))
    except DivergenceError as error:
        fix = "a smaller --learning-rate; the last good checkpoint is kept"
        raise DivergenceError(f"{diverged}: {error.problem}", where=str(run.path), fix=fix) from error
    finally:
        model.train(before)


def _facts(run: Run, model: LanguageModel, training: TrainingConfig, store: TokenStore) -> dict[str, str]:
    """What a user wants to see before the bar: what was given and what was chosen."""
    network, measured = run.config["model"], run.config["measured"]
    tokens = {part: len(store.split(part)) for part in PARTS}
    embedding = f"embedding {network['embedding_size']}" if network["embedding_size"] else "one-hot"
    about = f", {model.output.about}" if model.output.about else ""
    unit = "characters" if store.vocabulary.unit == "char" else f"{store.vocabulary.unit}s"
    budget, size = training.budget
    seconds = measured["seconds_a_batch"]
    timed = " a batch, ".join(f"{name} {1000 * value:.0f} ms" for name, value in seconds.items())
    chosen = f" (measured: {timed} a batch)" if seconds else ""
    return {
        "text": f"{tokens['train']:,} {unit} to train on, {tokens['valid']:,} to validate, {tokens['test']:,} to test; "
        f"{store.vocabulary.size} symbols",
        "network": f"{network['cell']} {network['layers']}x{network['hidden_size']}, {embedding}, "
        f"dropout {network['dropout']:g}{_also(network, LanguageModelConfig(), _REGULARISED)}{about}; "
        f"{model.size:,} parameters",
        "training": f"{size:,.9g} {budget}; {training.optimizer}, rate {training.learning_rate:g}, "
        f"{counted(training.batch or 1, 'stream')} of {training.length} steps"
        f"{_also(dump_section(training), TrainingConfig(), ('random_lengths', 'average', 'decayed'))}",
        "machine": f"{measured['device']}, {counted(torch.get_num_threads(), 'thread')}, "
        f"{training.precision}{chosen}, kernel {measured['kernel']}",
    }


def _also(options: Mapping[str, Any], usual: Any, names: Sequence[str]) -> str:
    """Those of some options that are not as usual, in words."""
    said = []
    for name in names:
        value, words = options.get(name, getattr(usual, name)), name.replace("_", " ")
        if value not in (getattr(usual, name), None):
            said.append(
                words if value is True else f"{words} {value if isinstance(value, str) else format(value, 'g')}"
            )
    return "".join(f", {one}" for one in said)


def _ways(task: LanguageModelTask, training: TrainingConfig) -> list[Way]:
    """The precisions and kernels that may be chosen between.

    With a precision that is given, the kernel follows from the equations: such runs are equal to the last bit.
    """
    model, offer = task.model, task.small()
    like, equations = next(model.parameters()), model.recurrent.equations
    # The widest layer's: what serves that serves all.
    widest = max(model.initial_state(training.batch or 1), key=lambda layer: layer[0].shape[1])
    state = tuple(part.to(like) for part in widest)

    def product(precision: str) -> torch.dtype:
        return torch.bfloat16 if precision == "bfloat16" else like.dtype

    if training.precision != "auto":
        return [Way(training.precision, choose(equations, state, product(training.precision)))]
    if offer is not None and serves_training(training) and is_small(offer.equations, offer.shape):
        # Its training step is one compiled call, in float32.
        return [Way("float32", choose(equations, state, like.dtype))]
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    return [Way(name, kernel) for name in precisions for kernel in candidates(equations, state, product(name))]
