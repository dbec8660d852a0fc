"""`demo forecast`: a forecaster of series that every machine can make."""

from __future__ import annotations

from pathlib import Path

from unrolled.data import example_series
from unrolled.errors import RunError
from unrolled.runs.directory import DEFAULT_ROOT, Run, unique_name
from unrolled.training.configuration import TrainingConfig
from unrolled.verbs.listening import Listener
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
    TrainingConfig(minutes=minutes)  # a wrong budget is said before anything is written
    path = Path(run) if run is not None else DEFAULT_ROOT / unique_name(DEFAULT_ROOT, "demo-forecast")
    Run.check_free(path)
    table = path.parent / f"{path.name}.csv"
    if run is not None and table.exists():
        raise RunError(
            "the series of the demonstration would replace a file", where=str(table), fix="choose another --run"
        )
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
