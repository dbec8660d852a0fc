"""`train classify`: parse, call the verb, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from unrolled.cli.folding import fold_task
from unrolled.cli.options import check_of_network, given, options_of
from unrolled.cli.printing import print_trained_task
from unrolled.cli.screen import Screen, printable, stdout_console
from unrolled.cli.supervised import FileOptions, Flat, Json, train, training_options
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.errors import ConfigurationError
from unrolled.tasks.bow.configuration import BowConfig
from unrolled.tasks.classify.configuration import DEFAULTS, ClassifierConfig
from unrolled.tasks.classify.reading_configuration import ReadingConfig

__all__ = ["demo_classify", "show_report", "train_classify"]

_DataOptions = options_of(LabelledConfig, "Data")
_ReadingOptions = options_of(ReadingConfig, "Letters and pictures")
_ModelOptions = options_of(ClassifierConfig, "Network")
_TrainingOptions = training_options(DEFAULTS)
_BowOptions = options_of(BowConfig, "Bag of words (with --model bow)")


def train_classify(
    paths: Annotated[
        list[str] | None,
        Parameter(help="A table (CSV, TSV, JSON lines), a folder with a folder or a file a label, or lines."),
    ] = None,
    /,
    *,
    files: Annotated[FileOptions, Flat] = FileOptions(),  # noqa: B008
    init_from: Annotated[
        Path | None,
        Parameter(name=["--from", "--init-from"], help="Start from the weights of this run, a language model."),
    ] = None,
    kind: Annotated[Literal["network", "bow"], Parameter(name="--model", help="What is trained.")] = "network",
    data: Annotated[_DataOptions, Flat] = _DataOptions(),  # type: ignore[valid-type]  # noqa: B008
    reading: Annotated[_ReadingOptions, Flat] = _ReadingOptions(),  # type: ignore[valid-type]  # noqa: B008
    model: Annotated[_ModelOptions, Flat] = _ModelOptions(),  # type: ignore[valid-type]  # noqa: B008
    training: Annotated[_TrainingOptions, Flat] = _TrainingOptions(),  # type: ignore[valid-type]  # noqa: B008
    bow: Annotated[_BowOptions, Flat] = _BowOptions(),  # type: ignore[valid-type]  # noqa: B008
    json: Json = False,
) -> None:
    """Train a classifier of sequences."""
    options = {"init_from": init_from, **given(data, reading, model, training)}
    if kind == "bow":
        from unrolled.cli.bags import fit

        options |= given(bow)
        fit(paths or (), files.train or (), files.valid or (), files.test or (), files.run, options, json)
        return
    check_of_network(bow, "a bag of words", "bow")
    if options.get("folds") and not options.get("fold"):
        fold_task("classify", paths or [], files, options, json)
        return
    train("classify", paths, files, options, json)


def demo_classify(
    *,
    run: Annotated[
        Path | None, Parameter(help="Directory of the run; runs/demo-classify or the next free name.")
    ] = None,
    minutes: Annotated[float, Parameter(help="Minutes of training.")] = 1.0,
    json: Json = False,
) -> None:
    """Tell from a sentence of Python's documentation what it is about: a minute of training, and the result."""
    from unrolled.verbs.demo_classify import EXAMPLES
    from unrolled.verbs.demo_classify import demo_classify as verb
    from unrolled.verbs.supervised import open_task

    with Screen() as screen:
        trained = verb(run, minutes=minutes, listener=screen)
    if not json:
        opened = open_task(trained.run)
        report = opened.evaluate("test")
        print(f"\ntest: {opened.kind.summary(report)}")
        show_report(report)
        print("\nwhat it says of sentences that are not from there:")
        for sentence, found in zip(EXAMPLES, opened.predict(EXAMPLES), strict=True):
            print(f"  {found['label']:<12} {found['probability']:.2f}  {sentence}")
    print_trained_task(trained, json)


def show_report(report: dict[str, Any], picture: Path | None = None, json: bool = False) -> None:
    """The rest of what an evaluation found: a table of the labels, what is confused, and the matrix as a picture."""
    from unrolled.reports.confusion import class_rows, confused, draw_confusion
    from unrolled.reports.tables import table

    if "classes" not in report:
        if picture is not None:
            raise ConfigurationError("there is no confusion matrix of numbers", fix="leave --picture out")
        return
    labels, confusion = list(report["classes"]), report.get("confusion")
    if not json:
        shown = class_rows(report["classes"])
        print()
        stdout_console().print(table(shown, ("label", "precision", "recall", "f1", "examples")))
        most = [] if confusion is None else confused(confusion, labels)
        if most:
            said = ", ".join(f"{true} as {found} ({count:,})" for true, found, count in most)
            print(f"\ntaken for another most often: {printable(said)}")
    if picture is not None:
        if confusion is None:
            raise ConfigurationError(
                "there is no confusion matrix of several labels at once", fix="leave --picture out"
            )
        title = f"{report['split']}: accuracy {report['accuracy']:.4f}, macro F1 {report['macro_f1']:.4f}"
        draw_confusion(confusion, labels, picture, title)
        if not json:
            print(f"\nthe confusion matrix is in {picture}")
