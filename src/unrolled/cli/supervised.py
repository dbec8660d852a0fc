"""What the commands of all tasks that learn from examples share: `evaluate`, `predict`, and what `train` prints."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from unrolled.cli.options import options_of
from unrolled.cli.printing import print_json
from unrolled.cli.screen import Screen
from unrolled.training.configuration import OF_STREAMS, TrainingConfig

__all__ = ["Files", "Flat", "Json", "evaluate_task", "predict", "training_options"]

Flat = Parameter(name="*")
Json = Annotated[bool, Parameter(help="Print one JSON object on standard output and nothing else there.", negative="")]
Files = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


def training_options(defaults: Mapping[str, Any]) -> type[Any]:
    """The options of training for a task, with the defaults that it has."""
    return options_of(TrainingConfig, "Training", defaults, OF_STREAMS)


def predict(
    run: Annotated[Path, Parameter(help="The directory of a run.")],
    file: Annotated[str, Parameter(help="Inputs, one a line, or - for standard input.")],
    /,
    *,
    checkpoint: Annotated[str, Parameter(help="best, last, or the step of a checkpoint.")] = "best",
    device: Annotated[str, Parameter(help="cpu, cuda, mps, or auto.")] = "auto",
    threads: Annotated[int | None, Parameter(help="Processor threads.")] = None,
) -> None:
    """What a trained model says of new inputs: one JSON line each."""
    from unrolled.data.text import find_sources, read_text
    from unrolled.verbs.supervised import open_task

    with Screen(quiet=True) as screen:
        opened = open_task(run, checkpoint, device=device, threads=threads, listener=screen)
        lines = "".join(read_text(find_sources([file])[0])).splitlines()
        for found in opened.predict(lines):
            sys.stdout.write(json_module.dumps(found, ensure_ascii=False) + "\n")


def evaluate_task(
    run: Path, split: Any, checkpoint: str, device: str, threads: int | None, json: bool, baseline: bool = False
) -> None:
    """The metrics of a run on a part of its own data, and those of the classical opponent beside."""
    from unrolled.verbs.supervised import open_task

    with Screen() as screen:
        opened = open_task(run, checkpoint, device=device, threads=threads, listener=screen)
        report = opened.evaluate(split)
        beside = opened.opponent(split) if baseline else None
    if json:
        print_json({"run": str(run), **report, **({} if beside is None else {"beside": [beside]})})
    else:
        print(f"{report['split']}, checkpoint {report['checkpoint']}\n  {opened.kind.summary(report)}")
        if beside is not None:
            print(f"beside it: {beside['opponent']}\n  {opened.kind.summary(beside)}")
