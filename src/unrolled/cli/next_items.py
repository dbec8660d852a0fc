"""`train next`: parse, call the verb, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unrolled.cli.options import given, options_of
from unrolled.cli.printing import print_trained_task
from unrolled.cli.screen import Screen
from unrolled.cli.supervised import FileOptions, Flat, Json, train, training_options
from unrolled.tasks.events.configuration import DEFAULTS, EventsConfig, NextConfig

__all__ = ["demo_next", "train_next"]

_DataOptions = options_of(EventsConfig, "Data")
_ModelOptions = options_of(NextConfig, "Network")
_TrainingOptions = training_options(DEFAULTS)


def train_next(
    paths: Annotated[list[str] | None, Parameter(help="Files: a sequence a line, or tables; see --sequence.")] = None,
    /,
    *,
    files: Annotated[FileOptions, Flat] = FileOptions(),  # noqa: B008
    data: Annotated[_DataOptions, Flat] = _DataOptions(),  # type: ignore[valid-type]  # noqa: B008
    model: Annotated[_ModelOptions, Flat] = _ModelOptions(),  # type: ignore[valid-type]  # noqa: B008
    training: Annotated[_TrainingOptions, Flat] = _TrainingOptions(),  # type: ignore[valid-type]  # noqa: B008
    json: Json = False,
) -> None:
    """Train a model of what comes next in a session: a purchase, a page."""
    train("next", paths, files, given(data, model, training), json)


def demo_next(
    *,
    run: Annotated[Path | None, Parameter(help="Directory of the run; runs/demo-next or the next free name.")] = None,
    minutes: Annotated[float, Parameter(help="Minutes of training.")] = 1.0,
    json: Json = False,
) -> None:
    """Learn what is looked at next in a shop that does not exist: a minute of training, and the result."""
    from unrolled.verbs.demo_next import demo_next as verb
    from unrolled.verbs.supervised import open_task

    with Screen() as screen:
        trained = verb(run, minutes=minutes, listener=screen)
    if not json:
        opened = open_task(trained.run)
        print(f"\ntest: {opened.kind.summary(opened.evaluate('test'))}")
        print("\nafter item0001, item0004:")
        for found in next(iter(opened.predict(["item0001 item0004"])))["items"][:5]:
            print(f"  {found['item']}  {found['probability']:.3f}")
    print_trained_task(trained, json)
