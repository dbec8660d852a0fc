"""Measures of forecasts, and how sure they are.

As in the M4 competition (Makridakis, Spiliotis & Assimakopoulos 2020, section 2.3), sMAPE is 200 |y - f| / (|y| + |f|)
in per cent, and MASE the mean absolute error over that of the seasonal naive forecast, one step ahead, on what came
before; both are means of a series' steps, then of series.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from unrolled.data.series import FloatArray, Series
from unrolled.data.vocabulary import IntArray

__all__ = ["interval", "mase_scales", "measure", "pinball"]

_DRAWS = 1000
_LEAST = 5  # blocks or series, of fewer nothing can be said


def measure(
    truth: FloatArray, forecast: FloatArray, owners: IntArray, scaled: tuple[FloatArray, FloatArray], scales: FloatArray
) -> dict[str, Any]:
    """All measures of forecasts.

    Args:
        truth: (n, H, C) what came, NaN where it is missing.
        forecast: (n, H, C).
        owners: (n,) which series each window is of.
        scaled: truth and forecast once more, scaled by what was fitted to the training part.
        scales: (U, C) what MASE divides by; NaN where it has no value.

    Returns:
        `mae`, `mse`, `rmse`, in the table's units, `scaled_mae` and `scaled_mse`, over all numbers; `smape`, `mase` and
        `mape` (per cent), means of series. None where one has no value.
    """
    error = truth - forecast
    off = scaled[0] - scaled[1]
    size = np.abs(truth) + np.abs(forecast)
    # Where both are 0 there is no error.
    smape = np.where(
        size > 0, 200 * np.abs(error) / np.where(size > 0, size, 1.0), np.where(np.isnan(error), np.nan, 0)
    )
    mape = np.where(truth != 0, 100 * np.abs(error) / np.where(truth != 0, np.abs(truth), 1.0), np.nan)
    mase = np.abs(error) / scales[owners][:, None, :]
    mean_square = float(np.nanmean(error**2))
    return {
        "mae": float(np.nanmean(np.abs(error))),
        "mse": mean_square,
        "rmse": mean_square**0.5,
        "scaled_mae": float(np.nanmean(np.abs(off))),
        "scaled_mse": float(np.nanmean(off**2)),
        "smape": _by_series(smape, owners),
        "mase": _by_series(mase, owners),
        "mape": _by_series(mape, owners),
    }


def _by_series(values: FloatArray, owners: IntArray) -> float | None:
    """The mean of the means of each series and column, over those that have one."""
    count = int(owners.max(initial=-1)) + 1
    sums, seen = np.zeros((count, values.shape[2])), np.zeros((count, values.shape[2]))
    there = np.isfinite(values)
    np.add.at(sums, owners, np.where(there, values, 0.0).sum(axis=1))
    np.add.at(seen, owners, there.sum(axis=1))
    if not seen.any():
        return None
    return float((sums[seen > 0] / seen[seen > 0]).mean())


def mase_scales(series: Sequence[Series], ends: IntArray, season: int) -> FloatArray:
    """(U, C) the mean absolute seasonal difference of each column before a step; NaN where it is 0 or there is none."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a mean of nothing
        for one, end in zip(series, ends, strict=True):
            values = one.values[:end]
            found.append(np.nanmean(np.abs(values[season:] - values[:-season]), axis=0))
    scales = np.array(found)
    return np.where(scales > 0, scales, np.nan)


def pinball(truth: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> dict[str, Any]:
    """Mean pinball loss (Koenker & Bassett 1978) and share of what came that lies below, for each quantile.

    Args:
        truth: (n, H, C), NaN where it is missing.
        quantiles: (n, H, C, Q).
        levels: (Q,).
    """
    found = {}
    there = np.isfinite(truth)
    for index, level in enumerate(levels):
        off = (truth - quantiles[..., index])[there]
        found[f"{level:g}"] = {
            "pinball": float(np.maximum(level * off, (level - 1) * off).mean()),
            "below": float((off <= 0).mean()),
        }
    return found


def interval(
    model: FloatArray, other: FloatArray, owners: IntArray, origins: IntArray, horizon: int, *, seed: int = 0
) -> tuple[float, float, float]:
    """The skill 1 - (error of the model) / (error of another), with a 95 % interval by bootstrap.

    Windows that overlap err together: drawn with replacement are blocks of origins in a row, each at least a horizon
    long, with all series at these origins (Künsch 1989); where there are few origins and many series, series.

    Args:
        model: (n,) summed absolute errors of windows.
        other: (n,) the same of the other forecast.
        owners: (n,) which series each window is of.
        origins: (n,) the first step of its horizon.
        horizon: H.
        seed: of the draws.

    Returns:
        the skill, and the lower and upper end of the interval; NaN where there are too few to draw from.
    """
    skill = _skill(model.sum(), other.sum())
    steps, places = np.unique(origins, return_inverse=True)
    by_origin = np.bincount(places, model), np.bincount(places, other)
    length = max(horizon, round(len(steps) ** (1 / 3)))
    count = int(owners.max(initial=0)) + 1
    generator = np.random.default_rng(seed)
    if len(steps) >= 3 * length:
        blocks = -(-len(steps) // length)
        sums = [np.concatenate(([0.0], np.cumsum(part))) for part in by_origin]
        parts = [total[length:] - total[:-length] for total in sums]
        drawn = generator.integers(0, len(parts[0]), (_DRAWS, blocks))
    else:
        present = np.unique(owners)
        parts = [np.bincount(owners, part, count)[present] for part in (model, other)]
        drawn = generator.integers(0, len(present), (_DRAWS, len(present)))
    if len(parts[0]) < _LEAST:
        return skill, float("nan"), float("nan")
    skills = [_skill(*(part[row].sum() for part in parts)) for row in drawn]
    low, high = np.nanpercentile(skills, [2.5, 97.5]) if np.isfinite(skills).any() else (np.nan, np.nan)
    return skill, float(low), float(high)


def _skill(model: float, other: float) -> float:
    return 1 - float(model) / float(other) if other > 0 else float("nan")
