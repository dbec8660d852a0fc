"""Forecasts of what nobody has seen yet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unrolled.data.series import FloatArray, Series, previous
from unrolled.data.series_configuration import SeriesConfig, names_of
from unrolled.data.time_axis import Step, calendar_features, check_calendar, format_stamp
from unrolled.data.vocabulary import IntArray
from unrolled.errors import DataError, RunError
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.windows import WindowBatch

__all__ = ["Forecast", "ahead", "history_from_json", "history_to_json"]

_BATCH = 512


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is forecast of one series.

    Attributes:
        name: of the series.
        columns: names of its C columns.
        seen: texts of the time stamps of what was looked back on.
        values: (L, C) that, NaN where a value is missing.
        stamps: texts of the N time stamps ahead.
        point: (N, C).
        quantiles: (N, C, Q), ascending.
        levels: (Q,).
    """

    name: str
    columns: tuple[str, ...]
    seen: list[str]
    values: FloatArray
    stamps: list[str]
    point: FloatArray
    quantiles: FloatArray
    levels: tuple[float, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row a step and column: series, time, forecast and quantiles."""
        for column, name in enumerate(self.columns):
            for step, stamp in enumerate(self.stamps):
                row: dict[str, Any] = {"series": self.name if len(self.columns) == 1 else name, "time": stamp}
                row["forecast"] = float(self.point[step, column])
                for index, level in enumerate(self.levels):
                    row[f"q{level:g}"] = float(self.quantiles[step, column, index])
                yield row


def history_to_json(series: Sequence[Series], steps: int, step: Step) -> dict[str, Any]:
    """The last steps of series, and what is known ahead of them, from which a run forecasts without its data."""
    found = []
    for one in series:
        begin = max(0, len(one) - steps)
        found.append(
            {
                "name": one.name,
                "columns": list(one.columns),
                "stamps": one.stamps[begin:].tolist(),
                "values": _listed(one.values[begin:]),
                "past": _listed(one.past[begin:]),
                "known": _listed(one.known[begin:]),
            }
        )
    return {"step": {"unit": step.unit, "count": step.count}, "series": found}


def _listed(values: FloatArray) -> list[list[float | None]]:
    return [[number if math.isfinite(number) else None for number in row] for row in values.tolist()]


def history_from_json(value: Any) -> tuple[list[Series], Step]:
    """From what `history_to_json` gave."""
    try:
        step = Step(value["step"]["unit"], value["step"]["count"])
        found = []
        for entry in value["series"]:
            stamps = np.array(entry["stamps"], np.int64)
            values, past, known = (
                np.array(
                    [[math.nan if number is None else number for number in row] for row in entry[name]], np.float64
                )
                for name in ("values", "past", "known")
            )
            lines = np.arange(len(stamps), dtype=np.int64)
            columns = tuple(entry["columns"])
            found.append(Series(entry["name"], columns, stamps, values, past, known, lines, "the run"))
        return found, step
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"the last steps of the series in the run are damaged: {error!r}") from None


def ahead(
    model: Forecaster, config: SeriesConfig, scaling: Scaling, series: Sequence[Series], step: Step, steps: int
) -> list[Forecast]:
    """Forecast the steps after the end of series.

    Beyond the model's horizon H it goes on from its own point forecasts, H steps at a time; the errors of the stretches
    then are taken to add up like those of a random walk: the square of an interval's half width is that of the stretch
    plus that at the end of the stretch before.

    Args:
        model: the forecaster.
        config: the run's.
        scaling: the run's.
        series: what has been seen, at least a window of each; covariates known ahead go on beyond it.
        step: between time stamps.
        steps: N.

    Raises:
        DataError: a series is shorter than a window, is not the run's, or covariates are not known for long enough.
    """
    numbers, scaling = _numbered(model, scaling, series, config)
    window = model.window
    for one in series:
        _check(one, window, steps, config)
    found = []
    for begin in range(0, len(series), _BATCH):
        piece = series[begin : begin + _BATCH]
        found += _ahead(model, config, scaling, piece, numbers[begin : begin + _BATCH], step, steps)
    return found


def _numbered(
    model: Forecaster, scaling: Scaling, series: Sequence[Series], config: SeriesConfig
) -> tuple[IntArray, Scaling]:
    """Which of the run's series these are. New ones are scaled by what is given of them, where the network does not
    tell series apart."""
    unknown = [one for one in series if one.name not in scaling.names]
    if unknown and len(series) == 1 and len(scaling.names) == 1:
        return np.zeros(1, np.int64), scaling
    if unknown and model.names is not None:
        scaling.place(unknown[0].name, unknown[0].where)
    if unknown:
        whole = np.array([(0, len(one)) for one in unknown], np.int64)
        own = Scaling.fit(unknown, whole, config)
        scaling = Scaling(
            [*scaling.names, *own.names],
            np.concatenate((scaling.centres, own.centres)),
            np.concatenate((scaling.scales, own.scales)),
            scaling.covariate_centres,
            scaling.covariate_scales,
            scaling.transform,
            scaling.constant,
        )
    return np.array([scaling.names.index(one.name) for one in series], np.int64), scaling


def _check(one: Series, window: int, steps: int, config: SeriesConfig) -> None:
    if len(one) < window:
        raise DataError(
            f"the series {one.name!r} is shorter than the window that the run looks back on",
            expected=f"at least {window} steps",
            got=str(len(one)),
            where=one.where,
        )
    known = names_of(config.known)
    if known and len(one.known) - len(one) < steps:
        raise DataError(
            f"{', '.join(known)} must be known for all steps that are forecast",
            expected=f"{steps} steps after the last value of {one.name!r}",
            got=str(len(one.known) - len(one)),
            where=one.where,
            fix="give a table whose last rows have these columns and no value: unrolled predict RUN FILE; or a smaller "
            "--horizon",
        )


@torch.no_grad()
def _ahead(
    model: Forecaster,
    config: SeriesConfig,
    scaling: Scaling,
    series: Sequence[Series],
    numbers: IntArray,
    step: Step,
    steps: int,
) -> list[Forecast]:
    window, horizon = model.window, model.horizon
    stretches = -(-steps // horizon)
    calendar = check_calendar(names_of(config.calendar))
    seen, pasts, knowns, stamps = [], [], [], []
    for one, number in zip(series, numbers, strict=True):
        values = previous(scaling.scaled(int(number), one))[-window:]
        past, known = scaling.covariates(one)
        coming = step.after(int(one.stamps[len(one) - 1]), stretches * horizon)
        moments = np.concatenate((one.stamps[len(one) - window : len(one)], coming))
        table = known[len(one) - window :]
        # Steps of the last stretch that are not asked for need no covariates.
        table = np.concatenate((table, np.repeat(table[-1:], max(0, len(moments) - len(table)), axis=0)))
        features = calendar_features(moments, calendar)
        seen.append(values)
        pasts.append(past[len(one) - window : len(one)])
        knowns.append(np.concatenate((table[: len(moments)], features), axis=1))
        stamps.append(coming[:steps])
    dtype = model.read.weight.dtype
    x, past_, known_ = (torch.from_numpy(np.stack(part)).to(model.device, dtype) for part in (seen, pasts, knowns))
    owners = torch.from_numpy(numbers).to(model.device)
    points, spreads = [], []
    width: FloatArray | None = None
    for stretch in range(stretches):
        first = stretch * horizon
        batch = WindowBatch(x, past_, known_[:, first : first + window + horizon], x[:, :0], None, owners)
        point, spread = model(batch)
        made, around = point.double().cpu().numpy(), np.sort(spread.double().cpu().numpy(), axis=-1)
        off = around - made[..., None]
        if width is not None:
            off = np.sign(off) * np.sqrt(off**2 + width**2)
        width = off[:, -1:]
        points.append(made)
        spreads.append(made[..., None] + off)
        x = torch.cat((x, point), dim=1)[:, -window:]
        past_ = torch.cat((past_, past_[:, -1:].expand(-1, horizon, -1)), dim=1)[:, -window:]
    point_, spread_ = np.concatenate(points, axis=1)[:, :steps], np.concatenate(spreads, axis=1)[:, :steps]
    restored = scaling.restored(numbers, point_)
    levels = [scaling.restored(numbers, spread_[..., index]) for index in range(len(model.levels))]
    return [
        Forecast(
            one.name,
            one.columns,
            [format_stamp(int(stamp), step.is_time) for stamp in one.stamps[len(one) - window : len(one)]],
            one.values[-window:],
            [format_stamp(int(stamp), step.is_time) for stamp in stamps[index]],
            restored[index],
            np.stack([level[index] for level in levels], axis=-1) if levels else np.empty((*restored[index].shape, 0)),
            model.levels,
        )
        for index, one in enumerate(series)
    ]
