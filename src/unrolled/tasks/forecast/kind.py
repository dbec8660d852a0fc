"""`train forecast`: from series to a forecaster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import torch

from unrolled.cells import Equations
from unrolled.data.preparation import Progress
from unrolled.data.series import Series, units
from unrolled.data.series_configuration import SeriesConfig, names_of
from unrolled.data.series_reading import read_parts, read_series
from unrolled.data.store import PARTS, Part, SplitSources
from unrolled.data.text import Source
from unrolled.data.time_axis import check_calendar, format_stamp
from unrolled.errors import DataError
from unrolled.tasks import Trainable
from unrolled.tasks.forecast.configuration import DEFAULTS, ForecasterConfig
from unrolled.tasks.forecast.cutting import borders, check_lengths, settle
from unrolled.tasks.forecast.evaluation import NAIVE, evaluate, evaluate_linear
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.opponents import fitted_linear
from unrolled.tasks.forecast.prediction import ahead, history_from_json, history_to_json
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.windows import Windows
from unrolled.tasks.kinds import Chosen, Kind, Options, Prepared, told_parts
from unrolled.tasks.supervised import Examples, SupervisedModel

__all__ = ["Forecasting"]

_TOLD_APART = 1000  # series up to which each has a vector of its own


class Forecasting(Kind):
    """Series to what comes next."""

    name = "forecast"
    about = "the next steps of series"
    loss = "scaled absolute error"
    sections: ClassVar[dict[str, type[Any]]] = {"data": SeriesConfig, "model": ForecasterConfig}
    defaults: ClassVar[dict[str, Any]] = DEFAULTS
    ahead: ClassVar[bool] = True

    def prepare(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any] | None = None,
        told: Progress | None = None,
    ) -> Prepared:
        config = cast("SeriesConfig", options["data"])
        calendar = check_calendar(names_of(config.calendar))
        panel, begins = read_parts(sources, config)
        if calendar and not panel.step.is_time:
            raise DataError(
                "a calendar wants time stamps", fix="name their column with --time, or leave out --calendar"
            )
        series = units(panel, config.joint)
        ends = borders(panel, series, config, config.horizon or 1, begins)["train"][:, 1]
        if not ends.any():
            raise DataError("no series has a value in the training part", fix="another --split")
        late = [one.name for one, end in zip(series, ends, strict=True) if not end]
        series = [one for one, end in zip(series, ends, strict=True) if end]
        if late:
            named = ", ".join(map(repr, late[:3]))
            panel.notes.append(f"{len(late)} series begin after the training part and are left out: {named}")
        config = settle(panel, series, config, cast("ForecasterConfig", options["model"]).segment, ends[ends > 0])
        assert config.horizon is not None
        assert config.window is not None
        assert config.season is not None
        cut = borders(panel, series, config, config.horizon, begins)
        notes = panel.notes + check_lengths(series, cut, config)
        if vocabulary is None:
            scaling = Scaling.fit(series, cut["train"], config)
            steps = max(config.window, config.season)
            vocabulary = {
                "scaling": scaling.to_json(),
                "covariates": {"past": len(panel.past), "known": len(panel.known)},
                "history": history_to_json(series, steps, panel.step),
            }
        else:
            scaling = Scaling.from_json(vocabulary["scaling"])
        if scaling.constant:
            shown = ", ".join(map(repr, scaling.constant[:3]))
            notes.append(f"{len(scaling.constant)} series constant in the training part, scaled by 1: {shown}")
        numbers = np.array([scaling.place(one.name, one.where) for one in series], np.int64)
        shape = (config.window, config.horizon, config.season)
        parts = {part: Windows(series, cut[part], *shape, scaling, numbers, calendar) for part in PARTS}
        for part in PARTS[1:]:
            parts[part].fitted_on = parts["train"], parts["valid"]
        longest = max(series, key=len)
        first, last = (format_stamp(int(longest.stamps[place]), panel.step.is_time) for place in (0, len(longest) - 1))
        columns = series[0].values.shape[1]
        wide = f" of {columns} columns" if columns > 1 else ""
        sizes = told_parts({part: len(parts[part]) for part in PARTS})
        facts = {
            "series": f"{len(series):,}{wide}, up to {len(longest):,} steps, {panel.step.about()}, {first} to {last}",
            "windows": f"{sizes}; {config.window} steps to {config.horizon}, season {config.season}",
        }
        if notes:
            first_notes = notes if len(notes) < 4 else [*notes[:3], f"and {len(notes) - 3} more"]
            facts["treated"] = "; ".join(first_notes)
        return Prepared(cast("dict[Any, Examples]", parts), dict(vocabulary), facts)

    def all_examples(
        self,
        sources: Sequence[Source],
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Progress | None = None,
    ) -> Examples:
        """All windows of other tables of the run's series."""
        config = cast("SeriesConfig", options["data"])
        series = units(read_series(sources, config), config.joint)
        scaling = Scaling.from_json(vocabulary["scaling"])
        numbers = np.array([scaling.place(one.name, one.where) for one in series], np.int64)
        whole = np.array([(0, len(one)) for one in series], np.int64)
        shape = (config.window or 1, config.horizon or 1, config.season or 1)
        return Windows(series, whole, *shape, scaling, numbers, check_calendar(names_of(config.calendar)))

    def choose(self, equations: Equations, options: Options, prepared: Prepared, work: float) -> Chosen:
        windows = cast("Windows", prepared.parts["train"])
        data, model = cast("SeriesConfig", options["data"]), cast("ForecasterConfig", options["model"])
        data = replace(data, window=windows.window, horizon=windows.horizon, season=windows.season)
        segment = model.segment
        if segment is None:
            most = min(48, windows.horizon // 2)
            segment = max((size for size in range(1, most + 1) if windows.horizon % size == 0), default=1)
        many = 1 < len(windows.series) <= _TOLD_APART
        model = replace(
            model,
            hidden_size=model.hidden_size or 128,
            segment=segment,
            identity=many if model.identity is None else model.identity,
            dropout=0.3 if model.dropout is None else model.dropout,
            linear=model.normalise in ("last", "seasonal") if model.linear is None else model.linear,
        )
        batch = int(min(256, max(16, 2 ** int(np.log2(max(1, len(windows) / 30))))))
        return Chosen({**options, "data": data, "model": model}, batch=batch, learning_rate=2e-3)

    def build(self, equations: Equations, options: Options, vocabulary: Mapping[str, Any]) -> SupervisedModel:
        data = cast("SeriesConfig", options["data"])
        scaling = Scaling.from_json(vocabulary["scaling"])
        assert data.window is not None
        assert data.horizon is not None
        assert data.season is not None
        return Forecaster(
            equations,
            cast("ForecasterConfig", options["model"]),
            columns=scaling.centres.shape[1],
            past=vocabulary["covariates"]["past"],
            known=vocabulary["covariates"]["known"] + 2 * len(names_of(data.calendar)),
            series=len(scaling.names),
            window=data.window,
            horizon=data.horizon,
            season=data.season,
        )

    def task(self, model: SupervisedModel, prepared: Prepared, options: Options, **given: Any) -> Trainable:
        train, valid = (cast("Windows", prepared.parts[part]) for part in PARTS[:2])
        if cast("Forecaster", model).config.linear:
            cast("Forecaster", model).set_linear(torch.from_numpy(fitted_linear(train, valid).weights))
        return super().task(model, prepared, options, **given)

    def evaluate(
        self,
        model: SupervisedModel,
        examples: Examples,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        return evaluate(cast("Forecaster", model), cast("Windows", examples), told)

    def summary(self, report: Mapping[str, Any]) -> str:
        against = ", ".join(
            f"{100 * report['skill'][name]['mae']:+.1f} % against the {name}"
            for name in NAIVE
            if report["skill"][name]["mae"] is not None
        )
        return (
            f"skill {against}; MAE {report['mae']:.4g}, MSE {report['mse']:.4g}, scaled {report['scaled_mae']:.4f} and "
            f"{report['scaled_mse']:.4f}; {report['verdict']}"
        )

    def predict(
        self, model: SupervisedModel, lines: Iterable[Any], options: Options, vocabulary: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Each line is an object with `values`, a window of numbers or more, and `series`, its name, which may be left
        out where the run has one."""
        config = cast("SeriesConfig", options["data"])
        scaling = Scaling.from_json(vocabulary["scaling"])
        known, step = history_from_json(vocabulary["history"])
        for number, line in enumerate(lines, 1):
            one = _given(line, number, known, calendar=bool(names_of(config.calendar)))
            (made,) = ahead(cast("Forecaster", model), config, scaling, [one], step, config.horizon or 1)
            yield {
                "series": made.name,
                "forecast": made.point.squeeze(1).tolist() if made.point.shape[1] == 1 else made.point.tolist(),
                **{f"q{level:g}": made.quantiles[..., place].tolist() for place, level in enumerate(made.levels)},
            }

    def opponent(
        self, prepared: Prepared, part: Part, options: Options, told: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        return evaluate_linear(cast("Windows", prepared.parts[part]))


def _given(line: Any, number: int, known: Sequence[Series], *, calendar: bool) -> Series:
    """A series from a JSON object, like those that are known."""
    where, like = f"line {number}", known[0]
    try:
        line = json.loads(line) if isinstance(line, str) else line
        values = np.array(line["values"], np.float64)
        values = values[:, None] if values.ndim == 1 else values
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "this is no series", expected='{"values": [1.5, 2.0, ...]}', got=repr(error)[:60], where=where
        ) from None
    if values.ndim != 2 or values.shape[1] != len(like.columns):
        raise DataError(
            "the series has another number of columns than the run forecasts",
            expected=f"{len(like.columns)}: {', '.join(like.columns)}",
            got=str(values.shape[1:]),
            where=where,
        )
    if like.past.shape[1] or like.known.shape[1] or calendar:
        raise DataError("a forecaster with covariates or a calendar reads tables", where=where, fix="give a CSV file")
    steps = len(values)
    nothing = np.empty((steps, 0))
    name = str(line.get("series", like.name if len(known) == 1 else where))
    lines = np.full(steps, number, np.int64)
    return Series(name, like.columns, np.arange(steps), values, nothing, nothing, lines, where)
