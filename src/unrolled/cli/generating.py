"""`train generate`, `sample` of what it trained, and its demonstration: parse, call the verb, print."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from unrolled.cli.options import given as given_options
from unrolled.cli.options import options_of
from unrolled.cli.printing import print_json, print_trained_task
from unrolled.cli.screen import Screen, printable
from unrolled.cli.supervised import FileOptions, Flat, Json, train, training_options
from unrolled.errors import ConfigurationError
from unrolled.tasks.generate.configuration import DEFAULTS, GeneratorConfig, GroupedConfig

__all__ = ["demo_generate", "sample_generator", "train_generate"]

_DataOptions = options_of(GroupedConfig, "Data")
_ModelOptions = options_of(GeneratorConfig, "Network")
_TrainingOptions = training_options(DEFAULTS)


def train_generate(
    paths: Annotated[list[str] | None, Parameter(help="Files of sequences with a category.")] = None,
    /,
    *,
    files: Annotated[FileOptions, Flat] = FileOptions(),  # noqa: B008
    data: Annotated[_DataOptions, Flat] = _DataOptions(),  # type: ignore[valid-type]  # noqa: B008
    model: Annotated[_ModelOptions, Flat] = _ModelOptions(),  # type: ignore[valid-type]  # noqa: B008
    training: Annotated[_TrainingOptions, Flat] = _TrainingOptions(),  # type: ignore[valid-type]  # noqa: B008
    json: Json = False,
) -> None:
    """Train a generator of sequences, given a category: names of a language, titles of a section."""
    train("generate", paths, files, given_options(data, model, training), json)


def sample_generator(
    run: Path,
    category: str | None,
    checkpoint: str,
    device: str,
    threads: int | None,
    json: bool,
    given: dict[str, Any],
) -> None:
    """Sequences of a generator: one a line; with its category before it where that is drawn."""
    from unrolled.verbs.generating import open_generator

    options = dict(given)
    if options.pop("stop") or options.pop("precision") != "float32":
        problem = "--stop and --precision are for language models"
        raise ConfigurationError(problem, fix="leave them out: a sequence has its own end")
    model = open_generator(run, checkpoint, device=device, threads=threads)
    made = model.sample(category, **options)
    if json:
        items = [asdict(each) for each in made]
        seed, prompt = options["seed"], options["prompt"]
        texts = [item["text"] for item in items]
        about = {"run": str(run), "task": "generate", "checkpoint": model.step, "seed": seed, "prompt": prompt}
        print_json({**about, "texts": texts, "items": items})
        return
    # On a terminal a text must not move the cursor or change colours; a file gets it as it is.
    shown = printable if sys.stdout.isatty() else str
    for each in made:
        before = "" if category is not None or not each.category else f"{each.category}\t"
        sys.stdout.write(f"{before}{shown(each.text)}\n")
        sys.stdout.flush()


def demo_generate(
    *,
    run: Annotated[
        Path | None, Parameter(help="Directory of the run; runs/demo-generate or the next free name.")
    ] = None,
    minutes: Annotated[float, Parameter(help="Minutes of training.")] = 1.0,
    json: Json = False,
) -> None:
    """Names such as Python's library has, of classes, functions, constants, arguments: a minute of training."""
    from unrolled.verbs.demo_generate import demo_generate as verb
    from unrolled.verbs.generating import open_generator
    from unrolled.verbs.supervised import open_task

    with Screen() as screen:
        trained = verb(run, minutes=minutes, listener=screen)
        opened = open_task(trained.run, listener=screen)
        beside = None if json else opened.opponent("test")
    if beside is not None:
        print(f"\ntest: {opened.kind.summary(opened.evaluate('test'))}")
        print(f"beside it: {beside['opponent']}\n  {opened.kind.summary(beside)}")
        model = open_generator(trained.run)
        print("\nsome that it makes, at temperature 0.7:")
        for category in model.symbols.categories:
            texts = [printable(each.text) for each in model.sample(category, count=6, temperature=0.7)]
            print(f"  {category:<10} {'  '.join(texts)}")
    print_trained_task(trained, json)
