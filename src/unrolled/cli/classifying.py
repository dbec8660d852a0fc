"""`train classify`: parse, call the verb, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unrolled.cli.options import given, options_of
from unrolled.cli.printing import print_trained_task
from unrolled.cli.screen import Screen
from unrolled.cli.supervised import Files, Flat, Json, training_options
from unrolled.tasks.classify.configuration import DEFAULTS, ClassifierConfig, LabelledConfig

__all__ = ["train_classify"]

_DataOptions = options_of(LabelledConfig, "Data")
_ModelOptions = options_of(ClassifierConfig, "Network")
_TrainingOptions = training_options(DEFAULTS)


def train_classify(
    paths: Annotated[list[str] | None, Parameter(help="Files of labelled sequences.")] = None,
    /,
    *,
    run: Annotated[Path | None, Parameter(help="Directory of the run; named after data and cell if not given.")] = None,
    train: Annotated[Files, Parameter(help="Files to train on, where the split is given.")] = None,
    valid: Annotated[Files, Parameter(help="Files to validate on.")] = None,
    test: Annotated[Files, Parameter(help="Files kept for testing.")] = None,
    init_from: Annotated[
        Path | None,
        Parameter(name=["--from", "--init-from"], help="Start from the weights of this run, a language model."),
    ] = None,
    data: Annotated[_DataOptions, Flat] = _DataOptions(),  # type: ignore[valid-type]  # noqa: B008
    model: Annotated[_ModelOptions, Flat] = _ModelOptions(),  # type: ignore[valid-type]  # noqa: B008
    training: Annotated[_TrainingOptions, Flat] = _TrainingOptions(),  # type: ignore[valid-type]  # noqa: B008
    json: Json = False,
) -> None:
    """Train a classifier of sequences."""
    from unrolled.verbs.supervised import train_task

    with Screen() as screen:
        trained = train_task(
            "classify",
            paths or (),
            train=train or (),
            valid=valid or (),
            test=test or (),
            run=run,
            init_from=init_from,
            listener=screen,
            **given(data, model, training),
        )
    print_trained_task(trained, json)
