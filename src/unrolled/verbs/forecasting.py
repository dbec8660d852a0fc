"""`predict` of a forecaster: the steps that come next, as a table and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from unrolled.data.series import units
from unrolled.data.series_configuration import SeriesConfig
from unrolled.data.series_reading import read_series
from unrolled.data.text import find_sources
from unrolled.errors import ConfigurationError
from unrolled.reports.forecasts import draw_forecasts, write_forecasts
from unrolled.reports.pictures import check_picture
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.prediction import Forecast, ahead, history_from_json
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.verbs.supervised import OpenedTask

__all__ = ["Forecasts", "forecast"]


@dataclass(frozen=True, eq=False)
class Forecasts:
    """What was forecast, and where it was written.

    Attributes:
        forecasts: one a series.
        table: the CSV file.
        picture: the picture; None where none was drawn.
        drawn: how many curves it shows.
        beyond: whether more steps were asked for than the network forecasts at once.
    """

    forecasts: list[Forecast]
    table: Path
    picture: Path | None
    drawn: int
    beyond: bool


def forecast(
    opened: OpenedTask,
    source: str | None = None,
    *,
    horizon: int | None = None,
    output: str | Path | None = None,
    picture: str | Path | None = None,
) -> Forecasts:
    """Forecast what comes after the end of series.

    Args:
        opened: a run of a forecaster.
        source: a table as the run was trained on, whose end is forecast from; the run's own data, which it remembers
            the end of, if not given. Rows at its end with covariates and no values are the steps ahead.
        horizon: steps ahead; as many as were trained if not given.
        output: the CSV file; `forecast.csv` in the run if not given.
        picture: the picture; the same name with .png if not given; none if empty.

    Raises:
        DataError: the table is not as the run's was, too short, or covariates are not known for so many steps.
        ConfigurationError: a name or number is out of range.
        StorageError: a file cannot be written.
    """
    config = cast("SeriesConfig", opened.options["data"])
    steps = horizon if horizon is not None else config.horizon or 1
    if steps < 1:
        raise ConfigurationError("horizon is too small", expected="at least 1", got=str(steps))
    table = Path(output) if output is not None else opened.run.path / "forecast.csv"
    drawn_into = table.with_suffix(".png") if picture is None else Path(picture) if str(picture) else None
    if drawn_into is not None:
        check_picture(drawn_into)
    vocabulary = opened.run.vocabulary
    series, step = history_from_json(vocabulary["history"])
    if source is not None:
        panel = read_series(find_sources([source]), config, future=True)
        series, step = units(panel, config.joint), step if panel.counted else panel.step
    scaling = Scaling.from_json(vocabulary["scaling"])
    found = ahead(cast("Forecaster", opened.model), config, scaling, series, step, steps)
    write_forecasts(found, table)
    drawn = 0 if drawn_into is None else draw_forecasts(found, drawn_into)
    return Forecasts(found, table, drawn_into, drawn, steps > (config.horizon or 1))
