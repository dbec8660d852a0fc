"""`demo forecast`: a forecaster of series that every machine can make."""

from __future__ import annotations

from pathlib import Path

from unrolled.data import example_series
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import demo_places
from unrolled.verbs.supervised import TrainedTask, train_task

__all__ = ["demo_forecast"]


def demo_forecast(
    run: str | Path | None = None, *, minutes: float = 1.0, listener: Listener | None = None
) -> TrainedTask:
    """Train a forecaster of the consumption of three sites, a day ahead, from the two weeks before.

    The series are made by `data.example_series` and written beside the run (`<run>.csv`); temperature and holidays are
    known ahead.

    Args:
        run: the directory of the run; `runs/demo-forecast` or the next free name if not given.
        minutes: of training.
        listener: hears what happens.
    """
    path, table = demo_places(run, "demo-forecast", ".csv", minutes)
    table.parent.mkdir(parents=True, exist_ok=True)
    example_series.write(table)
    return train_task(
        "forecast",
        str(table),
        run=path,
        listener=listener,
        horizon=24,
        window=336,
        known="temperature,holiday",
        calendar="weekday",
        minutes=minutes,
    )
