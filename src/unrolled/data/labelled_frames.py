"""Series of vectors with a label a frame: NPZ and CSV.

NPZ holds `x`, (N, D) for one series or several one after the other, or (n, T, D); the labels `y`, (N,) or (n, T), whole
numbers or texts; and, where there are several, `lengths` (n,), which sum to N, or say where each of the (n, T, D) ends.
CSV has a row a frame with its label in a column, numbers in others, and perhaps one that says which series a row is of,
whose rows follow each other; without one, a file is a series.

Axes: T time, D input, n series, N frames of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unrolled.data.frames import read_arrays
from unrolled.data.tables import Row, read_rows
from unrolled.data.text import Source
from unrolled.errors import ConfigurationError, DataError, nearest

__all__ = ["LabelledSeries", "read_csv_series", "read_npz_series"]


@dataclass(frozen=True, eq=False)
class LabelledSeries:
    """One series.

    Attributes:
        x: (T, D) numbers, all finite.
        labels: T of them; empty where the data has none.
        where: file, and line or place of its first frame.
        columns: what the D inputs are called; empty where they have no names.
    """

    x: npt.NDArray[np.float64]
    labels: tuple[str, ...]
    where: str
    columns: tuple[str, ...] = ()


def read_npz_series(source: Source, label: str = "y", *, labelled: bool = True) -> list[LabelledSeries]:
    """The series of an NPZ file.

    Args:
        source: the file.
        label: the array of labels.
        labelled: whether there must be one.

    Raises:
        DataError: the file is damaged, an array is missing or has a wrong shape, a number is not finite.
    """
    arrays = read_arrays(source)
    for name in ("x", label) if labelled else ("x",):
        if name not in arrays:
            raise DataError(
                f"there is no array {name!r}", where=source.name, fix=nearest(name, arrays) if arrays else None
            )
    x, y = arrays["x"], arrays.get(label)
    if x.dtype.kind not in "fiub" or x.ndim not in (2, 3) or 0 in x.shape:
        raise DataError(
            "x has a wrong shape or type",
            expected="numbers (N, D) or (n, T, D)",
            got=f"{x.dtype} {x.shape}",
            where=source.name,
        )
    x = x.astype(np.float64)
    if y is not None and (y.shape != x.shape[:-1] or y.dtype.kind not in "iubU"):
        raise DataError(
            f"{label} does not fit x",
            expected=f"whole numbers or texts {x.shape[:-1]}, one a frame",
            got=f"{y.dtype} {y.shape}",
            where=source.name,
        )
    lengths = _lengths(arrays.get("lengths"), x.shape, source.name)
    if x.ndim == 3:
        pieces = [(x[index, :length], None if y is None else y[index, :length]) for index, length in enumerate(lengths)]
    else:
        ends = np.cumsum(lengths)
        pieces = [
            (x[end - length : end], None if y is None else y[end - length : end])
            for end, length in zip(ends.tolist(), lengths, strict=True)
        ]
    found = []
    for index, (frames, labels) in enumerate(pieces):
        where = f"{source.name}, series {index}"
        bad = np.argwhere(~np.isfinite(frames))
        if len(bad):
            at, column = bad[0].tolist()
            raise DataError(
                "a value is not a finite number",
                got=str(frames[at, column]),
                where=f"{where}, frame {at}, input {column}",
                fix="fill in missing values, or leave those frames out",
            )
        names = () if labels is None else tuple(str(one) for one in labels.tolist())
        found.append(LabelledSeries(frames, names, where))
    return found


def _lengths(given: npt.NDArray[np.generic] | None, shape: tuple[int, ...], where: str) -> list[int]:
    if given is None:
        return [shape[1]] * shape[0] if len(shape) == 3 else [shape[0]]
    whole = given.ndim == 1 and given.dtype.kind in "iu" and given.size > 0
    lengths = [int(one) for one in given.tolist()] if whole else []
    if len(shape) == 3:
        good = whole and len(lengths) == shape[0] and min(lengths) >= 1 and max(lengths) <= shape[1]
        expected = f"{shape[0]} whole numbers from 1 to {shape[1]}"
    else:
        good = whole and min(lengths) >= 1 and sum(lengths) == shape[0]
        expected = f"whole numbers from 1 on that sum to {shape[0]}"
    if not good:
        raise DataError("lengths do not fit x", expected=expected, got=str(given)[:80], where=where)
    return lengths


def read_csv_series(
    source: Source,
    label: str | None,
    series: str | None = None,
    columns: Sequence[str] = (),
    *,
    labelled: bool = True,
) -> Iterator[LabelledSeries]:
    """The series of a CSV file, one after the other.

    Args:
        source: the file.
        label: the column of labels.
        series: the column that says to which series a row belongs; None: all are of one.
        columns: those of numbers; all others if not given.
        labelled: whether the column of labels must be there.

    Raises:
        ConfigurationError: a column is not said.
        DataError: a column is missing, a value is not a finite number, a label is missing, or a series goes on after
            another began; with file and line.
    """
    if label is None and labelled:
        raise ConfigurationError("the column of labels is not said", where=source.name, fix="give --tag-column NAME")
    held: list[list[float]] = []
    labels: list[str] = []
    begun: Row | None = None
    seen: set[str] = set()
    current: str | None = None
    for row in read_rows(source, "csv"):
        if not columns:
            columns = [name for name in row.values if name not in (label, series)]
            if not columns:
                raise DataError("no column of numbers is left", got=", ".join(row.values), where=source.name)
        key = "" if series is None else str(row.get(series))
        if key != current:
            if begun is not None:
                yield _series(held, labels, begun, columns)
                held, labels = [], []
            if key in seen:
                raise DataError(
                    f"series {key!r} goes on after another began", where=row.where, fix="sort the rows by series"
                )
            seen.add(key)
            current, begun = key, row
        held.append([_number(row, column) for column in columns])
        if label is not None and (labelled or label in row.values):
            value = str(row.get(label))
            if not value.strip():
                raise DataError("a label is missing", where=f"{row.where}, column {label!r}")
            labels.append(value)
    if begun is None:
        raise DataError("the file has no rows", where=source.name, expected="a heading, and a row a frame")
    yield _series(held, labels, begun, columns)


def _series(held: list[list[float]], labels: list[str], begun: Row, columns: Sequence[str]) -> LabelledSeries:
    return LabelledSeries(np.array(held, np.float64), tuple(labels), begun.where, tuple(columns))


def _number(row: Row, column: str) -> float:
    text = row.get(column)
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            "a value is not a finite number",
            got=repr(text),
            where=f"{row.where}, column {column!r}",
            fix="fill in missing values; name the columns of numbers with --feature-columns A,B,C if this is none",
        )
    return value
