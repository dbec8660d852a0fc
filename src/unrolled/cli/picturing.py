"""`demo images`: parse, call the verb, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unrolled.cli.classifying import show_report
from unrolled.cli.printing import print_trained_task
from unrolled.cli.screen import Screen
from unrolled.cli.supervised import Json
from unrolled.data.images import Scan

__all__ = ["demo_images"]


def demo_images(
    *,
    run: Annotated[Path | None, Parameter(help="Directory of the run; runs/demo-images or the next free name.")] = None,
    images: Annotated[Scan, Parameter(help="How a picture is read: a row or a pixel a time step.")] = "rows",
    minutes: Annotated[float, Parameter(help="Minutes of training.")] = 0.5,
    json: Json = False,
) -> None:
    """Read handwritten digits row by row: half a minute of training, and the result."""
    from unrolled.verbs.demo_images import demo_images as verb
    from unrolled.verbs.supervised import open_task

    with Screen() as screen:
        trained = verb(run, minutes=minutes, images=images, listener=screen)
    if not json:
        opened = open_task(trained.run)
        report = opened.evaluate("test")
        print(f"\ntest: {opened.kind.summary(report)}")
        show_report(report)
    print_trained_task(trained, json)
