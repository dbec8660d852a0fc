"""`train forecast`, and `predict` of a forecaster: parse, call the verb, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from unrolled.cli.options import given, options_of
from unrolled.cli.printing import print_json, print_trained_task
from unrolled.cli.screen import Screen
from unrolled.cli.supervised import FileOptions, Flat, Json, train, training_options
from unrolled.data.series_configuration import SeriesConfig
from unrolled.errors import ConfigurationError
from unrolled.tasks.forecast.configuration import DEFAULTS, ForecasterConfig

__all__ = ["demo_forecast", "predict_ahead", "show_report", "train_forecast"]

_DataOptions = options_of(SeriesConfig, "Series")
_ModelOptions = options_of(ForecasterConfig, "Network")
_TrainingOptions = training_options(DEFAULTS)


def train_forecast(
    paths: Annotated[list[str] | None, Parameter(help="Tables of series: CSV, also compressed.")] = None,
    /,
    *,
    files: Annotated[FileOptions, Flat] = FileOptions(),  # noqa: B008
    data: Annotated[_DataOptions, Flat] = _DataOptions(),  # type: ignore[valid-type]  # noqa: B008
    model: Annotated[_ModelOptions, Flat] = _ModelOptions(),  # type: ignore[valid-type]  # noqa: B008
    training: Annotated[_TrainingOptions, Flat] = _TrainingOptions(),  # type: ignore[valid-type]  # noqa: B008
    json: Json = False,
) -> None:
    """Train a forecaster of one or several series.

    What is not given is chosen from the series, and printed.
    """
    train("forecast", paths, files, given(data, model, training), json)


def predict_ahead(
    opened: Any, file: str | None, horizon: int | None, output: str | None, picture: str | None, json: bool = False
) -> None:
    """Forecast the steps ahead into a table and a picture, and say where they are."""
    from unrolled.verbs.forecasting import forecast

    found = forecast(opened, file, horizon=horizon, output=output, picture=picture)
    if json:
        about = {"run": str(opened.run.path), "task": opened.kind.name, "checkpoint": opened.step}
        files = {"table": str(found.table), "picture": found.picture and str(found.picture)}
        items = [row for each in found.forecasts for row in each.rows()]
        print_json({**about, **files, "beyond": found.beyond, "items": items})
        return
    first = found.forecasts[0]
    print(f"{len(found.forecasts):,} series, {len(first.stamps):,} steps, {first.stamps[0]} to {first.stamps[-1]}")
    if found.beyond:
        print(
            f"beyond the {opened.options['data'].horizon} steps of the network it goes on from its own forecasts, and "
            "intervals widen like those of a random walk"
        )
    print(f"the table is in {found.table}")
    if found.picture is not None:
        several = "" if found.drawn >= len(found.forecasts) else f" (of the first {found.drawn})"
        print(f"the picture is in {found.picture}{several}")


def demo_forecast(
    *,
    run: Annotated[
        Path | None, Parameter(help="Directory of the run; runs/demo-forecast or the next free name.")
    ] = None,
    minutes: Annotated[float, Parameter(help="Minutes of training.")] = 1.0,
    json: Json = False,
) -> None:
    """Forecast the consumption of three sites, made by a documented generator: a minute of training, and the result."""
    from unrolled.verbs.demo_forecast import demo_forecast as verb
    from unrolled.verbs.supervised import open_task

    with Screen() as screen:
        trained = verb(run, minutes=minutes, listener=screen)
        opened = open_task(trained.run, listener=screen)
        report = opened.evaluate("test")
    if not json:
        print(f"\non the test part, which it never saw: {opened.kind.summary(report)}")
        show_report(report)
    print_trained_task(trained, json)


def show_report(report: dict[str, Any], picture: Path | None = None, json: bool = False) -> None:
    """All that an evaluation found: the skills, every measure beside the opponents', and the quantiles."""
    from unrolled.tasks.forecast.evaluation import report_lines

    if picture is not None:
        raise ConfigurationError("there is no picture of an evaluation of forecast", fix="unrolled predict draws one")
    if not json:
        print("\n".join(f"  {line}".rstrip() for line in report_lines(report)))
