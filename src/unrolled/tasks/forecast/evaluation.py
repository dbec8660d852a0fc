"""How good forecasts are, beside the naive ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from unrolled.data.series import FloatArray
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError
from unrolled.tasks.forecast.metrics import interval, mase_scales, measure, pinball
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.opponents import fitted_linear, last_value, seasonal_naive
from unrolled.tasks.forecast.windows import Windows
from unrolled.tasks.supervised import reading

__all__ = ["NAIVE", "beaten", "evaluate", "evaluate_linear", "forecasts", "report_lines", "verdict"]

NAIVE = ("last value", "seasonal naive")
_MOST = 40_000_000  # numbers that are forecast at once: of more windows every second, third, ... is taken
_BATCH = 1024


@torch.no_grad()
def forecasts(
    model: Forecaster, windows: Windows, rows: IntArray, told: Callable[[int, int], None] | None = None
) -> tuple[FloatArray, FloatArray]:
    """Points (n, H, C) and quantiles (n, H, C, Q), ascending in Q, scaled as windows are."""
    points, quantiles = [], []
    with reading(model):
        for begin in range(0, len(rows), _BATCH):
            batch = windows.batch(rows[begin : begin + _BATCH]).to(model.device, model.read.weight.dtype)
            point, spread = model(batch)
            points.append(point.double().cpu().numpy())
            # Quantiles are learned apart and may cross; sorted they are nearer to the true ones (Chernozhukov,
            # Fernández-Val & Galichon 2010).
            quantiles.append(np.sort(spread.double().cpu().numpy(), axis=-1))
            if told is not None:
                told(min(begin + _BATCH, len(rows)), len(rows))
    return np.concatenate(points), np.concatenate(quantiles)


def evaluate(model: Forecaster, windows: Windows, told: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """All there is to say of a model's forecasts: first the skill against the naive ones, and a linear one.

    Args:
        model: the forecaster.
        windows: of the part, at least one.
        told: is told of progress.
    """
    rows = _rows(windows)
    return _compared(windows, rows, *forecasts(model, windows, rows, told), model.levels)


def evaluate_linear(windows: Windows) -> dict[str, Any]:
    """The same of the linear forecast that stands beside it, and in words which one it is.

    Raises:
        ConfigurationError: there is no training part that it could be fitted to.
    """
    if windows.fitted_on is None or not len(windows.fitted_on[0]):
        raise ConfigurationError("a linear forecast is fitted to the training part, and measured on another")
    linear, rows = fitted_linear(*windows.fitted_on), _rows(windows)
    point = np.concatenate(
        [linear.scaled(windows, rows[first : first + _BATCH]) for first in range(0, len(rows), _BATCH)]
    )
    about = (
        f"a linear map of {windows.window} steps to {windows.horizon}, one for all series, penalty {linear.penalty:g}"
    )
    return {"opponent": about, **_compared(windows, rows, point, point[..., None], ())}


def _rows(windows: Windows) -> IntArray:
    """The windows that are looked at: all, or of very many every second, third, ..."""
    size = windows.horizon * windows.scaling.centres.shape[1]
    return np.arange(0, len(windows), max(1, -(-len(windows) * size // _MOST)))


def _compared(
    windows: Windows, rows: IntArray, point: FloatArray, spread: FloatArray, levels: Sequence[float]
) -> dict[str, Any]:
    owners, origins = windows.owners[rows], windows.origins[rows]
    numbers = windows.numbers[owners]
    truth, scaled = windows.truth(rows), windows.scaled_truth(rows)
    scales = mase_scales(windows.series, windows.ranges[:, 0], windows.season)
    if not windows.ranges[:, 0].any():
        # Of the training part, nothing comes before.
        scales = mase_scales(windows.series, windows.ranges[:, 1], windows.season)

    def measured(made: FloatArray, in_scale: FloatArray) -> dict[str, Any]:
        return measure(truth, made, owners, (scaled, in_scale), scales)

    others = {"last value": last_value(windows, rows), "seasonal naive": seasonal_naive(windows, rows)}
    fitted: dict[str, Any] = {}
    if windows.fitted_on is not None and len(windows.fitted_on[0]):
        linear = fitted_linear(*windows.fitted_on)
        others["linear"] = linear.forecast(windows, rows)
        fitted = {"linear": {"penalty": linear.penalty, "valid_scaled_mae": linear.loss}}
    off = np.nansum(np.abs(scaled - point), axis=(1, 2))
    skills, opponents = {}, {}
    own = measured(windows.scaling.restored(numbers, point), point)
    for name, made in others.items():
        in_scale = _scaled(windows, numbers, made)
        opponents[name] = measured(made, in_scale)
        missed = np.nansum(np.abs(scaled - in_scale), axis=(1, 2))
        skill, low, high = interval(off, missed, owners, origins, windows.horizon)
        square = opponents[name]["scaled_mse"]
        skills[name] = {
            "mae": _finite(skill),
            "low": _finite(low),
            "high": _finite(high),
            "mse": 1 - own["scaled_mse"] / square if square > 0 else None,
        }
    found: dict[str, Any] = {
        "skill": skills,
        "beats_naive": all(beaten(skills[name]) for name in NAIVE),
        "verdict": verdict(skills),
        **own,
        "loss": own["scaled_mae"],
        "opponents": opponents,
        "fitted": fitted,
        "windows": len(rows),
        "stride": 1 if len(rows) < 2 else int(rows[1]),
        "series": len(np.unique(owners)),
        "window": windows.window,
        "horizon": windows.horizon,
        "season": windows.season,
        "mase_undefined": int(np.isnan(scales).sum()),
    }
    if levels:
        restored = [windows.scaling.restored(numbers, spread[..., index]) for index in range(len(levels))]
        found["quantiles"] = pinball(truth, np.stack(restored, axis=-1), levels)
    return found


def _scaled(windows: Windows, numbers: IntArray, made: FloatArray) -> FloatArray:
    scaling = windows.scaling
    taken = np.log(made) if scaling.transform == "log" else made
    return np.asarray((taken - scaling.centres[numbers][:, None]) / scaling.scales[numbers][:, None])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def beaten(skill: dict[str, Any]) -> bool:
    """Whether a skill is above 0 beyond chance: its whole interval is."""
    low = skill["low"] if skill["low"] is not None else skill["mae"]
    return low is not None and low > 0


def verdict(skills: dict[str, dict[str, Any]]) -> str:
    """Whether the naive forecasts are beaten, in a sentence."""
    worse = [name for name in NAIVE if skills[name]["mae"] is None or skills[name]["mae"] <= 0]
    unsure = [name for name in NAIVE if name not in worse and not beaten(skills[name])]
    if worse:
        return f"this forecaster does not beat {' and '.join(map(_the, worse))}: use {_the(_best(skills))} instead"
    if unsure:
        return f"this forecaster cannot be told apart from {' and '.join(map(_the, unsure))}: the interval holds 0"
    return "this forecaster beats the last value and the seasonal naive forecast"


def _the(name: str) -> str:
    return {"last value": "the last value", "seasonal naive": "the seasonal naive forecast"}.get(
        name, f"the {name} one"
    )


def _best(skills: dict[str, dict[str, Any]]) -> str:
    """The naive forecast that is hardest to beat."""
    # One that makes no error leaves no skill to speak of.
    return min(NAIVE, key=lambda name: -math.inf if skills[name]["mae"] is None else skills[name]["mae"])


_SHOWN = ("scaled_mae", "scaled_mse", "mae", "rmse", "smape", "mase", "mape")


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """What `evaluate` found, for people, after its summary: the skill first."""
    made = ["skill (1 - error / error of the other; 95 % interval by bootstrap), of the mean absolute error:"]
    for name, skill in report["skill"].items():
        if skill["mae"] is None:
            made.append(f"  against {_the(name)}: none, as that makes no error")
            continue
        between = "" if skill["low"] is None else f"  ({100 * skill['low']:+.1f} to {100 * skill['high']:+.1f})"
        square = "" if skill["mse"] is None else f"; of squares {100 * skill['mse']:+.1f} %"
        made.append(f"  against {_the(name)}: {100 * skill['mae']:+.1f} %{between}{square}")
    made.append("")
    made.append(f"{'':<16}" + "".join(f"{name:>12}" for name in _SHOWN))
    for name, found in {"this forecaster": report, **report["opponents"]}.items():
        made.append(f"{name:<16}" + "".join(f"{_number(found[measure]):>12}" for measure in _SHOWN))
    apart = "" if report["stride"] == 1 else f", {report['stride']} apart"
    made.append(
        f"({report['windows']:,} windows of {report['series']:,} series{apart}, {report['window']} steps to "
        f"{report['horizon']}, season {report['season']}; smape and mape in per cent)"
    )
    for level, found in report.get("quantiles", {}).items():
        made.append(
            f"quantile {level}: {100 * found['below']:.1f} % of what came lies below it, pinball loss "
            f"{found['pinball']:.4g}"
        )
    return made


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
