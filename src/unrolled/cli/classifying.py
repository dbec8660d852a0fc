"""`train classify`: parse, call the verb, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unrolled.cli.options import check_of_network, given, options_of
from unrolled.cli.printing import print_trained_task
from unrolled.cli.screen import Screen
from unrolled.cli.supervised import Files, Flat, Json, training_options
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.tasks.bow.configuration import BowConfig
from unrolled.tasks.classify.configuration import DEFAULTS, ClassifierConfig

__all__ = ["train_classify"]

_DataOptions = options_of(LabelledConfig, "Data")
_ModelOptions = options_of(ClassifierConfig, "Network")
_TrainingOptions = training_options(DEFAULTS)
_BowOptions = options_of(BowConfig, "Bag of words (with --model bow)")


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
    kind: Annotated[Literal["network", "bow"], Parameter(name="--model", help="What is trained.")] = "network",
    data: Annotated[_DataOptions, Flat] = _DataOptions(),  # type: ignore[valid-type]  # noqa: B008
    model: Annotated[_ModelOptions, Flat] = _ModelOptions(),  # type: ignore[valid-type]  # noqa: B008
    training: Annotated[_TrainingOptions, Flat] = _TrainingOptions(),  # type: ignore[valid-type]  # noqa: B008
    bow: Annotated[_BowOptions, Flat] = _BowOptions(),  # type: ignore[valid-type]  # noqa: B008
    json: Json = False,
) -> None:
    """Train a classifier of sequences."""
    if kind == "bow":
        from unrolled.cli.bags import fit

        fit(paths or (), train or (), valid or (), test or (), run, given(data, model, training, bow), json)
        return
    check_of_network(bow, "a bag of words", "bow")
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
