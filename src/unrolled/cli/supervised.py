"""What the commands of all tasks that learn from examples share: `evaluate`, `predict`, and what `train` prints."""

from __future__ import annotations

import itertools
import json as json_module
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

from cyclopts import Parameter

from unrolled.cli.options import Whole, given, options_of
from unrolled.cli.printing import print_json, print_trained_task
from unrolled.cli.screen import Screen
from unrolled.errors import ConfigurationError
from unrolled.reports.pictures import check_picture
from unrolled.runs.logs import finite
from unrolled.tasks.forecast.configuration import AheadConfig
from unrolled.training.configuration import OF_STREAMS, TrainingConfig

__all__ = ["FileOptions", "Files", "Flat", "Json", "evaluate_task", "predict", "train", "training_options"]

Flat = Parameter(name="*")
Json = Annotated[bool, Parameter(help="Print one JSON object on standard output and nothing else there.", negative="")]
Files = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


@dataclass(frozen=True)
class FileOptions:
    """Where a run goes and, if its parts are files, which."""

    run: Annotated[Path | None, Parameter(help="Directory of the run; named after data and cell if not given.")] = None
    train: Annotated[Files, Parameter(help="Files to train on, where the parts are files.")] = None
    valid: Annotated[Files, Parameter(help="Files to validate on.")] = None
    test: Annotated[Files, Parameter(help="Files kept for testing.")] = None


_AheadOptions = options_of(AheadConfig, "Forecasters")


def training_options(defaults: Mapping[str, Any]) -> type[Any]:
    """The options of training for a task, with the defaults that it has."""
    return options_of(TrainingConfig, "Training", defaults, OF_STREAMS)


def train(task: str, paths: list[str] | None, files: FileOptions, options: dict[str, Any], json: bool) -> None:
    """Train a task and print what came of it.

    Args:
        task: its name.
        paths: files that are split as the options say.
        files: where the run goes, and the parts that are files.
        options: of the task and of training, and `init_from`, by name.
        json: print one JSON object.
    """
    from unrolled.verbs.supervised import train_task

    with Screen() as screen:
        trained = train_task(
            task,
            paths or (),
            train=files.train or (),
            valid=files.valid or (),
            test=files.test or (),
            run=files.run,
            listener=screen,
            **options,
        )
    print_trained_task(trained, json)


def predict(
    run: Annotated[Path, Parameter(help="The directory of a run.")],
    file: Annotated[
        str | None,
        Parameter(help="Inputs: lines, or a format of the task's; or - for standard input. A forecaster needs none."),
    ] = None,
    /,
    *,
    form: Annotated[
        str | None, Parameter(name="--format", help="What the inputs are; by their name if not given.")
    ] = None,
    ahead: Annotated[_AheadOptions, Flat] = _AheadOptions(),  # type: ignore[valid-type]  # noqa: B008
    top: Annotated[
        Whole | None,
        Parameter(help="How many labels or items, the likeliest; all labels, or ten items, if not given."),
    ] = None,
    checkpoint: Annotated[str, Parameter(help="best, last, or the step of a checkpoint.")] = "best",
    mix: Annotated[
        list[str] | None,
        Parameter(
            help="Another run of the same labels, mixed with this one, weights found on valid; can be given several "
            "times.",
            negative="",
        ),
    ] = None,
    conll: Annotated[
        bool, Parameter(help="Of a tagger: write CoNLL with the tags put in, not JSON lines.", negative="")
    ] = False,
    device: Annotated[str, Parameter(help="cpu, cuda, mps, or auto.")] = "auto",
    threads: Annotated[Whole | None, Parameter(help="Processor threads.")] = None,
    json: Json = False,
) -> None:
    """What a trained model says of new inputs, one JSON line each; of a forecaster, the steps ahead as a table."""
    from unrolled.verbs.supervised import open_task

    if top is not None and top < 1:
        raise ConfigurationError("top is a number of labels", expected="at least 1", got=str(top))
    with Screen(quiet=True) as screen:
        opened = open_task(run, checkpoint, device=device, threads=threads, listener=screen)
        _check_options(opened.kind.name, top=top, form=form, mix=mix, conll=conll, json=json)
        if opened.kind.ahead:
            from unrolled.cli.forecasting import predict_ahead

            predict_ahead(opened, file, **asdict(ahead), json=json)
            return
        for name in given(ahead):
            raise ConfigurationError(f"--{name} is an option of forecasters", got=f"a run of {opened.kind.name}")
        if file is None:
            raise ConfigurationError("there is nothing to predict", fix="name a file, or - for standard input")
        if conll:
            from unrolled.cli.tagging import write_conll

            write_conll(opened, file, form)
            return
        if top is not None and opened.kind.name == "next":
            from unrolled.tasks.events.kind import Next

            cast("Next", opened.kind).shown = top
        source: Any = opened
        if mix:
            from unrolled.verbs.mixing import mix_tasks

            source = mix_tasks(opened, mix, device=device, threads=threads)
        items = (_cut(found, top) for found in source.predict_file(file, form))
        if json:
            about = {"run": str(run), "task": opened.kind.name, "checkpoint": opened.step}
            mixture = {"mixture": source.shares} if mix else {}
            print_json({**about, **mixture, "items": list(items)})
            return
        for found in items:
            sys.stdout.write(json_module.dumps(finite(found), ensure_ascii=False, allow_nan=False) + "\n")


def _named(report: Mapping[str, Any]) -> str:
    """What a report beside that of a run is of."""
    if "mixture" in report:
        return "mixture: " + " + ".join(f"{weight:.3f} {name}" for name, weight in report["mixture"].items())
    return str(report.get("opponent") or f"{report['run']}, checkpoint {report['checkpoint']}")


def _cut(found: dict[str, Any], top: int | None) -> dict[str, Any]:
    """A prediction with the likeliest labels only."""
    shares = found.get("probabilities")
    if top is None or not isinstance(shares, dict):
        return found
    return {**found, "probabilities": dict(itertools.islice(shares.items(), top))}


def _check_options(
    task: str, *, top: int | None, form: str | None, mix: Sequence[str] | None, conll: bool, json: bool
) -> None:
    """Raise a `ConfigurationError` where `predict` is given an option that its task does not have."""
    for option, is_given, tasks in (
        ("--top", top is not None, ("classify", "generate", "next")),
        ("--format", form is not None, ("classify", "generate", "next", "tag")),
        ("--mix", bool(mix), ("classify",)),
        ("--conll", conll, ("tag",)),
    ):
        if is_given and task not in tasks:
            raise ConfigurationError(
                f"{option} is an option of {', '.join(tasks)}", got=f"a run of {task}", fix=f"leave {option} out"
            )
    if conll and json:
        raise ConfigurationError("--conll and --json are two forms of the same", fix="leave one of them out")


def evaluate_task(
    run: Path,
    split: Any,
    checkpoint: str,
    device: str,
    threads: int | None,
    json: bool,
    baseline: str | None = None,
    *,
    on: str | None = None,
    mix: Sequence[str] = (),
    picture: Path | None = None,
) -> None:
    """The metrics of a run on a part of its own data or on a file, with the classical opponent or other runs beside."""
    from unrolled.verbs.supervised import open_task

    if baseline == "ngram":
        raise ConfigurationError("--baseline ngram is of language models", got=str(run), fix="--baseline classical")
    if on is not None and split != "valid":
        raise ConfigurationError(
            "--on and --split both say what to evaluate on", got=f"{on} and {split}", fix="leave one of them out"
        )
    with Screen() as screen:
        opened = open_task(run, checkpoint, device=device, threads=threads, listener=screen)
        shown = _SHOWN.get(opened.kind.name)
        if picture is not None and shown is None:
            raise ConfigurationError(
                f"there is no picture of an evaluation of {opened.kind.name}",
                expected="a run of classify or tag",
                fix="leave --picture out",
            )
        if picture is not None:
            check_picture(picture)
        if on is not None and baseline is not None:
            raise ConfigurationError(
                "the opponent is fitted to the data of the run", fix="leave --baseline or --on out"
            )
        if mix:
            from unrolled.verbs.mixing import mix_tasks

            mixed = mix_tasks(opened, mix, device=device, threads=threads)
            report, *beside = mixed.evaluate(split) if on is None else mixed.evaluate_file(on)
            confused = beside[-1]
        else:
            report = confused = opened.evaluate(split) if on is None else opened.evaluate_file(on)
            beside = []
        if baseline is not None:
            beside.append(opened.opponent(split))
    if json:
        print_json({"run": str(run), **report, **({"beside": beside} if beside else {})})
    else:
        print(f"{report['split']}, checkpoint {report['checkpoint']}\n  {opened.kind.summary(report)}")
        for other in beside:
            print(f"beside it: {_named(other)}\n  {opened.kind.summary(other)}")
        if on is None and split == "valid":
            weights = ", and so were the weights of the mixture" if mix else ""
            print(f"  (what was trained was chosen on these{weights})")
        if beside and shown is not None:
            # What follows is of one of them.
            print(f"\n{'the mixture' if mix else run}:")
    if shown is not None:
        module, _, function = shown.partition(":")
        getattr(import_module(module), function)(confused, picture, json)


_SHOWN = {
    "classify": "unrolled.cli.classifying:show_report",
    "forecast": "unrolled.cli.forecasting:show_report",
    "tag": "unrolled.cli.tagging:show_report",
}
"""What shows the rest of a report, a table or a picture, by the task."""
