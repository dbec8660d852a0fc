"""Windows of series: what is looked back on, and what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from unrolled.data.series import FloatArray, Series, previous
from unrolled.data.time_axis import Calendar, calendar_features
from unrolled.data.vocabulary import IntArray
from unrolled.tasks.forecast.scaling import Scaling

if TYPE_CHECKING:
    from unrolled.tasks.forecast.opponents import Linear

__all__ = ["WindowBatch", "Windows"]


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """B windows side by side, scaled.

    Attributes:
        x: (B, L, C) what is looked back on.
        past: (B, L, P) covariates known up to now.
        known: (B, L + H, K) covariates known ahead.
        y: (B, H, C) what came.
        there: (B, H, C) false where a value is missing; None where none is.
        series: (B,) which series each window is of.
    """

    x: torch.Tensor
    past: torch.Tensor
    known: torch.Tensor
    y: torch.Tensor
    there: torch.Tensor | None
    series: torch.Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> WindowBatch:
        """The same elsewhere, in another type."""
        there = None if self.there is None else self.there.to(device)
        x, past, known, y = (tensor.to(device, dtype) for tensor in (self.x, self.past, self.known, self.y))
        return WindowBatch(x, past, known, y, there, self.series.to(device))


class Windows:
    """All windows of a part of the data whose horizon lies in it, a step apart; see `tasks.supervised.Examples`.

    What is looked back on may lie in the part before. In the training part it does not: there is none before.

    Args:
        series: U of them, C columns each.
        ranges: (U, 2) the steps that are forecast.
        window: L.
        horizon: H.
        season: of the series.
        scaling: fitted to the training part.
        numbers: (U,) the number of each series in the scaling.
        calendar: which features of it the network is told.

    Attributes:
        lengths: (n,) all of them L.
        owners: (n,) which series each window is of.
        origins: (n,) the first step of its horizon.
        fitted_on: the windows to train and to validate on, for an opponent that is fitted to them; None in the training
            part.
        linear: what was fitted to these windows, once it was.
    """

    def __init__(
        self,
        series: Sequence[Series],
        ranges: IntArray,
        window: int,
        horizon: int,
        season: int,
        scaling: Scaling,
        numbers: IntArray,
        calendar: Sequence[Calendar],
    ) -> None:
        self.series, self.ranges, self.scaling, self.numbers = list(series), ranges, scaling, numbers
        self.window, self.horizon, self.season = window, horizon, season
        self.fitted_on: tuple[Windows, Windows] | None = None
        self.linear: Linear | None = None
        begins = np.maximum(ranges[:, 0], window)
        counts = np.maximum(ranges[:, 1] - horizon - begins + 1, 0)
        self.owners = np.repeat(np.arange(len(counts)), counts)
        ends = np.cumsum(counts)
        self.origins = np.arange(int(ends[-1])) - (ends - counts)[self.owners] + begins[self.owners]
        self.lengths: IntArray = np.broadcast_to(np.int64(window), len(self.owners))
        self._starts = np.concatenate(([0], np.cumsum([len(one) for one in series])))
        values, there, past, known = [], [], [], []
        for one, number in zip(series, numbers, strict=True):
            values.append(previous(scaling.scaled(int(number), one)))
            there.append(np.isfinite(one.values))
            before, ahead = scaling.covariates(one)
            past.append(before)
            known.append(np.concatenate((ahead, calendar_features(one.stamps, calendar)), axis=1)[: len(one)])
        self._values, self._past, self._known = (
            torch.from_numpy(np.concatenate(parts).astype(np.float32)) for parts in (values, past, known)
        )
        marks = np.concatenate(there)
        self._there = None if marks.all() else torch.from_numpy(marks)

    def __len__(self) -> int:
        return len(self.owners)

    def batch(self, rows: IntArray) -> WindowBatch:
        """Some windows."""
        owners = self.owners[rows]
        first = torch.from_numpy(self._starts[owners] + self.origins[rows] - self.window).unsqueeze(1)
        before, all_of_it = first + torch.arange(self.window), first + torch.arange(self.window + self.horizon)
        ahead = all_of_it[:, self.window :]
        return WindowBatch(
            x=self._values[before],
            past=self._past[before],
            known=self._known[all_of_it],
            y=self._values[ahead],
            there=None if self._there is None else self._there[ahead],
            series=torch.from_numpy(self.numbers[owners]),
        )

    def truth(self, rows: IntArray) -> FloatArray:
        """(n, H, C) what came, as the table has it; NaN where it is missing."""
        return self._ahead(rows, [one.values for one in self.series])

    def scaled_truth(self, rows: IntArray) -> FloatArray:
        """(n, H, C) what came, as the network reads it; NaN where it is missing."""
        pairs = zip(self.numbers, self.series, strict=True)
        return self._ahead(rows, [self.scaling.scaled(int(number), one) for number, one in pairs])

    def scaled(self, owner: int) -> FloatArray:
        """(T, C) a series as the network reads it, the previous value where one is missing."""
        begin, end = self._starts[owner], self._starts[owner + 1]
        return self._values[begin:end].numpy().astype(np.float64)

    def _ahead(self, rows: IntArray, arrays: Sequence[FloatArray]) -> FloatArray:
        together = np.concatenate(arrays)
        first = self._starts[self.owners[rows]] + self.origins[rows]
        return np.asarray(together[first[:, None] + np.arange(self.horizon)])
