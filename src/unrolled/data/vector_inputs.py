"""Series of vectors as a network reads them: standardised on the training part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data.inputs import Input, check_values
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.ragged import Ragged
from unrolled.errors import DataError

__all__ = ["VectorInput"]

_CONSTANT = 1e-7  # a deviation so much smaller than the values is rounding, and would blow up what comes later


@dataclass(frozen=True, eq=False)
class VectorInput(Input):
    """Series of vectors, each number less its mean and divided by its deviation.

    Attributes:
        columns: D names.
        means: D, of the time steps of the training part.
        deviations: D, above 0; 1 of a number that is constant.
    """

    name = "vectors"
    columns: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def fit(cls, values: Sequence[npt.NDArray[Any]], config: LabelledConfig) -> VectorInput:
        """The input that fits the series of a training part; values that are missing (NaN) are left out.

        Args:
            values: at least one series, each (T,) with a field of float32 for each column; see `data.frames.Frames`.
            config: says nothing of it.

        Raises:
            DataError: a column has no value at all, or series have other columns.
        """
        columns = tuple(values[0].dtype.names or ())
        steps = np.concatenate([_matched(one, columns) for one in values]).astype(np.float64)
        for name, column in zip(columns, steps.T, strict=True):
            if np.isnan(column).all():
                raise DataError(f"the column {name!r} has no value in the training part", fix="leave it out")
        means, deviations = np.nanmean(steps, 0), np.nanstd(steps, 0)
        deviations[deviations <= _CONSTANT * np.abs(means)] = 1.0
        return cls(columns, tuple(means.tolist()), tuple(deviations.tolist()))

    @property
    def width(self) -> int:
        return len(self.columns)

    @property
    def about(self) -> str:
        return f"{len(self.columns)} numbers a time step, standardised"

    def encode(self, values: Sequence[Any]) -> Ragged:
        """(T, D) float32 for each series. A value that is missing becomes the mean, 0.

        Raises:
            DataError: a value is no series, or has other columns; their order does not matter.
        """
        check_values(values, np.ndarray, "a series of vectors (T,) with a field for each column")
        means, deviations = np.array(self.means), np.array(self.deviations)
        scaled = (
            np.nan_to_num((_matched(one, self.columns).astype(np.float64) - means) / deviations, nan=0.0)
            for one in values
        )
        return Ragged.of((one.astype(np.float32) for one in scaled), np.empty((0, self.width), np.float32))

    def details(self) -> dict[str, Any]:
        return {
            "columns": list(self.columns),
            "means": list(self.means),
            "deviations": list(self.deviations),
        }

    @classmethod
    def build(cls, details: Mapping[str, Any], where: str) -> VectorInput:
        try:
            columns = tuple(map(str, details["columns"]))
            means, deviations = tuple(map(float, details["means"])), tuple(map(float, details["deviations"]))
            if not (len(columns) == len(means) == len(deviations) > 0 and min(deviations) > 0):
                raise ValueError("a value is out of range")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("not an input of vectors", got=f"{type(error).__name__}: {error}", where=where) from None
        return cls(columns, means, deviations)


def _matched(series: npt.NDArray[Any], columns: tuple[str, ...]) -> npt.NDArray[Any]:
    """(T, D) the columns of a series, in this order."""
    names = series.dtype.names or ()
    if sorted(names) != sorted(columns):
        strange = sorted(set(names) - set(columns)) or sorted(set(columns) - set(names))
        raise DataError(
            "a series has other columns than those that were trained on",
            expected=f"{len(columns)}: {', '.join(columns)[:80]}",
            got=f"{len(names)}: {', '.join(names)[:80]}" + (f"; look at {strange[0]!r}" if strange else ""),
        )
    return np.stack([series[name] for name in columns], 1)
