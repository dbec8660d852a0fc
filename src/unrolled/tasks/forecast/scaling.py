"""Bringing series to one scale, which is fitted to their training parts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.data.series import FloatArray, Series, previous
from unrolled.data.series_configuration import Scale, SeriesConfig, Transform
from unrolled.data.vocabulary import IntArray
from unrolled.errors import DataError, RunError

__all__ = ["Scaling", "transformed"]


@dataclass(frozen=True, eq=False)
class Scaling:
    """From numbers as they stand in the table to those that the network reads, and back.

    Attributes:
        names: of the U series.
        centres: (U, C) subtracted after the transform.
        scales: (U, C) then divided by, above 0.
        covariate_centres: (P + K,) the same of covariates, all series together.
        covariate_scales: (P + K,).
        transform: taken first.
        constant: names of series without a change in the training part: their scale is 1.
    """

    names: list[str]
    centres: FloatArray
    scales: FloatArray
    covariate_centres: FloatArray
    covariate_scales: FloatArray
    transform: Transform
    constant: list[str]

    @classmethod
    def fit(cls, series: Sequence[Series], train: IntArray, config: SeriesConfig) -> Scaling:
        """Fit to the training part: (U, 2) its steps in each series.

        Raises:
            DataError: a logarithm of a number that is not above 0.
        """
        centres, scales, constant = [], [], []
        for one, (begin, end) in zip(series, train, strict=True):
            values = transformed(one, config.transform)[begin:end]
            if not np.isfinite(values).any(axis=0).all():
                # All of it lies after the training part: there is nothing to fit to, and nothing is trained on it.
                centre, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
            else:
                centre, scale = _fitted(values, config.scale, config.season or 1)
            if end > begin and (scale == 0).any():
                constant.append(one.name)
            centres.append(centre)
            scales.append(np.where(scale > 0, scale, 1.0))
        pairs = zip(series, train, strict=True)
        covariates = [np.concatenate((one.past[b:e], one.known[b:e]), axis=1) for one, (b, e) in pairs]
        together = np.concatenate(covariates)
        there = np.isfinite(together)
        count = np.maximum(there.sum(axis=0), 1)
        mean = np.where(there, together, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(there, together - mean, 0.0) ** 2).sum(axis=0) / count)
        spread = np.where(_changing(spread, mean) > 0, spread, 1.0)
        names = [one.name for one in series]
        return cls(names, np.array(centres), np.array(scales), mean, spread, config.transform, constant)

    def place(self, name: str, where: str) -> int:
        """The number of a series.

        Raises:
            DataError: it was not there when the run was trained.
        """
        try:
            return self.names.index(name)
        except ValueError:
            known = ", ".join(map(repr, self.names[:8])) + (", ..." if len(self.names) > 8 else "")
            raise DataError(f"the run knows no series {name!r}", expected=f"one of {known}", where=where) from None

    def scaled(self, index: int, one: Series) -> FloatArray:
        """(T, C) the values of a series to what the network reads.

        Raises:
            DataError: a logarithm of a number that is not above 0.
        """
        return np.asarray((transformed(one, self.transform) - self.centres[index]) / self.scales[index])

    def restored(self, index: IntArray, values: FloatArray) -> FloatArray:
        """(n, ..., C) that the network gave, of the series of numbers (n,), to numbers as in the table."""
        between = (len(index), *[1] * (values.ndim - 2), values.shape[-1])
        restored = values * self.scales[index].reshape(between) + self.centres[index].reshape(between)
        return np.exp(restored) if self.transform == "log" else restored

    def covariates(self, one: Series) -> tuple[FloatArray, FloatArray]:
        """(T, P) and (T + F, K) of a series to what the network reads; the last one before where one is missing."""
        split = one.past.shape[1]
        past = (previous(one.past) - self.covariate_centres[:split]) / self.covariate_scales[:split]
        known = (previous(one.known) - self.covariate_centres[split:]) / self.covariate_scales[split:]
        return past, known

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        arrays = ("centres", "scales", "covariate_centres", "covariate_scales")
        listed = {name: getattr(self, name).tolist() for name in arrays}
        return {"names": self.names, "transform": self.transform, "constant": self.constant, **listed}

    @classmethod
    def from_json(cls, value: Any) -> Scaling:
        """From what `to_json` gave."""
        try:
            arrays = ("centres", "scales", "covariate_centres", "covariate_scales")
            listed = {name: np.array(value[name], np.float64) for name in arrays}
            return cls(names=value["names"], transform=value["transform"], constant=value["constant"], **listed)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"the scaling of the run is damaged: {error!r}") from None


def _fitted(values: FloatArray, scale: Scale, season: int) -> tuple[FloatArray, FloatArray]:
    if scale == "none":
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    centre = np.nanmean(values, axis=0)
    if scale == "seasonal" and len(values) > season:
        change = np.abs(values[season:] - values[:-season])
        found = np.where(np.isfinite(change).any(axis=0), np.nan_to_num(change).mean(axis=0), 0.0)
        if (found > 0).all():
            return centre, found
    spread = np.nanstd(values, axis=0)
    return centre, _changing(spread, centre)


def _changing(spread: FloatArray, centre: FloatArray) -> FloatArray:
    """Standard deviations; 0 of what is constant up to rounding."""
    return np.where(spread > 1e-12 * np.maximum(np.abs(centre), 1e-300), spread, 0.0)


def transformed(one: Series, transform: Transform) -> FloatArray:
    """(T, C) the values of a series, or their logarithms.

    Raises:
        DataError: a logarithm of a number that is not above 0.
    """
    values = one.values
    if transform == "none":
        return values
    wrong = values <= 0
    if wrong.any():
        step = int(np.argmax(wrong.any(axis=1)))
        raise DataError(
            "the logarithm wants numbers above 0",
            got=f"{np.nanmin(values[step]):g} in {one.name!r}",
            where=one.at(step),
            fix="leave out --transform log",
        )
    return np.log(values)
