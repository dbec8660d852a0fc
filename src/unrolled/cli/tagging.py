"""`train tag`, `demo tag`, and what is shown of a tagger: parse, call the verb, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from unrolled.cli.options import given, options_of
from unrolled.cli.printing import print_trained_task
from unrolled.cli.screen import Screen, stdout_console
from unrolled.cli.supervised import FileOptions, Flat, Json, train, training_options
from unrolled.errors import ConfigurationError
from unrolled.tasks.tag.configuration import DEFAULTS, TagData, TaggerConfig

if TYPE_CHECKING:
    from unrolled.verbs.supervised import OpenedTask

__all__ = ["demo_tag", "show_report", "train_tag", "write_conll"]

_DataOptions = options_of(TagData, "Data")
_ModelOptions = options_of(TaggerConfig, "Network")
_TrainingOptions = training_options(DEFAULTS)


def train_tag(
    paths: Annotated[
        list[str] | None, Parameter(help="Files of tagged sentences (CoNLL, CoNLL-U) or labelled frames (NPZ, CSV).")
    ] = None,
    /,
    *,
    files: Annotated[FileOptions, Flat] = FileOptions(),  # noqa: B008
    data: Annotated[_DataOptions, Flat] = _DataOptions(),  # type: ignore[valid-type]  # noqa: B008
    model: Annotated[_ModelOptions, Flat] = _ModelOptions(),  # type: ignore[valid-type]  # noqa: B008
    training: Annotated[_TrainingOptions, Flat] = _TrainingOptions(),  # type: ignore[valid-type]  # noqa: B008
    json: Json = False,
) -> None:
    """Train a tagger: a tag for every word of a sentence, or for every frame of a series."""
    train("tag", paths, files, given(data, model, training), json)


def demo_tag(
    *,
    run: Annotated[Path | None, Parameter(help="Directory of the run; runs/demo-tag or the next free name.")] = None,
    minutes: Annotated[float, Parameter(help="Minutes of training.")] = 1.0,
    json: Json = False,
) -> None:
    """Tell what every word of a line of Python is: a minute of training, and the result."""
    from unrolled.verbs.demo_tag import EXAMPLES
    from unrolled.verbs.demo_tag import demo_tag as verb
    from unrolled.verbs.supervised import open_task

    with Screen() as screen:
        trained = verb(run, minutes=minutes, listener=screen)
    if not json:
        opened = open_task(trained.run)
        report = opened.evaluate("test")
        print(f"\ntest: {opened.kind.summary(report)}")
        show_report(report)
        print("\nwhat it says of lines that are not from there:")
        for found in opened.predict(EXAMPLES):
            words = zip(found["tokens"], found["tags"], strict=True)
            print("  " + " ".join(word if tag in ("operator", "keyword") else f"{word}/{tag}" for word, tag in words))
    print_trained_task(trained, json)


def show_report(report: dict[str, Any], picture: Path | None = None, json: bool = False) -> None:
    """The rest of what an evaluation found: a table of the tags or spans, and what is confused as a picture."""
    from unrolled.reports.confusion import class_rows, confused, draw_confusion
    from unrolled.reports.tables import table

    tags = list(report["per_tag"])
    if not json:
        print(f"  {report['sequence_accuracy']:.4f} of {report['sequences']:,} sequences without an error")
        if report.get("accuracy_unknown_words") is not None:
            accuracy, count = report["accuracy_unknown_words"], report["unknown_words"]
            print(f"  accuracy {accuracy:.4f} of {count:,} words that the training part does not have")
        if report["unknown_tags"]:
            print(f"  {report['unknown_tags']:,} tags that the training part does not have: none of them can be found")
        print()
        rows = [
            {("span" if spans else "tag"): row.pop("label"), **row}
            for spans, of in ((False, report["per_tag"]), (True, report.get("per_type", {})))
            for row in class_rows(of)
        ]
        stdout_console().print(table(rows, ("tag", "span", "precision", "recall", "f1", "examples")))
        for given, tag, count in confused(report["confusion"], tags):
            print(f"  {given} taken for {tag}: {count:,}")
    if picture is not None:
        draw_confusion(report["confusion"], tags, picture, f"{report['split']}, checkpoint {report['checkpoint']}")
        if not json:
            print(f"\nthe confusion matrix is in {picture}")


def write_conll(opened: OpenedTask, file: str, form: str | None = None) -> None:
    """What a tagger says of a file, as CoNLL on standard output; see `tasks.tag.predicting`."""
    from typing import cast

    from unrolled.data.text import find_sources, read_lines
    from unrolled.tasks.tag.kind import Tag
    from unrolled.tasks.tag.predicting import read_inputs, tag_sentences, written
    from unrolled.tasks.tag.reading import words_of
    from unrolled.tasks.tag.vocabulary import Tags

    vocabulary = opened.run.vocabulary
    if not isinstance(opened.kind, Tag) or "words" not in vocabulary:
        raise ConfigurationError("only what a tagger of words says can be written as CoNLL", fix="leave --conll out")
    words, tags = words_of(vocabulary), Tags.from_json(vocabulary)
    for source in find_sources([file]):
        lines = (line for _, line in read_lines(source))
        layouts: list[Any] = []

        def sentences(lines: Any = lines, name: str = source.name, layouts: list[Any] = layouts) -> Any:
            for sentence, layout in read_inputs(lines, opened.options["data"], form, name):
                layouts[:] = [layout]
                yield sentence

        for found in tag_sentences(cast("Any", opened.model), sentences(), words, tags):
            sys.stdout.write(written(found, layouts[0]))
