"""What a forecaster is measured against: the last value, the seasonal naive forecast, and a linear map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unrolled.data.series import FloatArray, previous
from unrolled.data.vocabulary import IntArray
from unrolled.errors import DataError
from unrolled.tasks.forecast.windows import Windows

__all__ = ["Linear", "fit_linear", "fitted_linear", "last_value", "seasonal_naive"]

_PENALTIES = (1e-7, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_ROWS = 4096
_MOST = 50_000  # windows that are fitted to: of more every second, third, ... is taken


def last_value(windows: Windows, rows: IntArray) -> FloatArray:
    """(n, H, C) the last value before the horizon, in the table's numbers, for every step of it."""
    return _looked_back(windows, rows, np.ones(windows.horizon, np.int64))


def seasonal_naive(windows: Windows, rows: IntArray) -> FloatArray:
    """(n, H, C) the value a season (or as many as are needed) before each step of the horizon."""
    steps = np.arange(windows.horizon)
    return _looked_back(windows, rows, windows.season - steps % windows.season)


def _looked_back(windows: Windows, rows: IntArray, back: IntArray) -> FloatArray:
    """The values so many steps before the horizon's first: the last there is where one is missing."""
    arrays = [previous(one.values) for one in windows.series]
    starts = np.concatenate(([0], np.cumsum([len(array) for array in arrays])))
    owners = windows.owners[rows]
    # Of a series that has no whole season before, its first value.
    places = np.maximum(windows.origins[rows][:, None] - back, 0)
    return np.asarray(np.concatenate(arrays)[starts[owners][:, None] + places])


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear map from a window to its horizon, one for all series and columns: of the values without their last one,
    given back to the forecast (NLinear of Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?",
    fitted in closed form with a penalty on its size).

    Attributes:
        weights: (L + 1, H), the last row a constant.
        penalty: a share of the mean square of the inputs, chosen on the validation part.
        loss: mean absolute error there, scaled; None where there is none.
    """

    weights: FloatArray
    penalty: float
    loss: float | None

    def forecast(self, windows: Windows, rows: IntArray) -> FloatArray:
        """(n, H, C) in the table's numbers."""
        found = []
        for begin in range(0, len(rows), _ROWS):
            piece = rows[begin : begin + _ROWS]
            found.append(windows.scaling.restored(windows.numbers[windows.owners[piece]], self.scaled(windows, piece)))
        return np.concatenate(found)

    def scaled(self, windows: Windows, rows: IntArray) -> FloatArray:
        """(n, H, C) scaled as windows are."""
        x = windows.batch(rows).x.numpy().astype(np.float64).transpose(0, 2, 1)
        last = x[..., -1:]
        made = (x - last) @ self.weights[:-1] + self.weights[-1] + last
        return np.asarray(made.transpose(0, 2, 1))


def fit_linear(train: Windows, valid: Windows) -> Linear:
    """Fit to the training windows; the penalty is the one that is best on the validation windows.

    Raises:
        DataError: there is no window to fit to.
    """
    if not len(train):
        raise DataError("there is no window to fit a linear forecast to")
    size = train.window + 1
    gram, cross = np.zeros((size, size)), np.zeros((size, train.horizon))
    for inputs, targets in _pairs(train):
        gram += inputs.T @ inputs
        cross += inputs.T @ targets
    # Windows that are all constant would leave nothing to solve.
    scale = np.trace(gram[:-1, :-1]) / max(train.window, 1) or 1.0
    ridge = np.diag(np.append(np.full(train.window, scale), max(gram[-1, -1], 1.0) * 1e-9))
    tried, some = [], _some(valid)
    for penalty in _PENALTIES:
        weights: FloatArray = np.linalg.solve(gram + penalty * ridge, cross).astype(np.float64)
        loss = None
        if len(valid):
            total, count = 0.0, 0
            linear = Linear(weights, penalty, None)
            for begin in range(0, len(some), _ROWS):
                rows = some[begin : begin + _ROWS]
                error = np.abs(linear.scaled(valid, rows) - valid.scaled_truth(rows))
                total, count = total + float(np.nansum(error)), count + int(np.isfinite(error).sum())
            loss = total / max(count, 1)
        tried.append(Linear(weights, penalty, loss))
    if not len(valid):
        return tried[_PENALTIES.index(1e-3)]
    return min(tried, key=lambda linear: np.inf if linear.loss is None else linear.loss)


def fitted_linear(train: Windows, valid: Windows) -> Linear:
    """What `fit_linear` gives, fitted once for each training part."""
    if train.linear is None:
        train.linear = fit_linear(train, valid)
    return train.linear


def _some(windows: Windows) -> IntArray:
    return np.arange(0, len(windows), max(1, -(-len(windows) // _MOST)))


def _pairs(windows: Windows) -> Iterator[tuple[FloatArray, FloatArray]]:
    """(n, L + 1) and (n, H), of whole windows alone, without their last value and with a constant."""
    rows = _some(windows)
    for begin in range(0, len(rows), _ROWS):
        batch = windows.batch(rows[begin : begin + _ROWS])
        x, y = (part.numpy().astype(np.float64).transpose(0, 2, 1) for part in (batch.x, batch.y))
        last = x[..., -1:]
        inputs = np.concatenate((x - last, np.ones_like(last)), axis=2).reshape(-1, windows.window + 1)
        targets = (y - last).reshape(-1, windows.horizon)
        if batch.there is not None:
            whole = batch.there.numpy().all(axis=1).reshape(-1)
            inputs, targets = inputs[whole], targets[whole]
        yield inputs, targets
