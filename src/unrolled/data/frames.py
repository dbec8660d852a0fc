"""Series of vectors: NPZ, CSV with a row a time step, and the .ts files of the time-series archives.

Axes: n series, N time steps of all, T of one, D numbers a time step.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data.compressed import plain_name
from unrolled.data.ragged import Ragged
from unrolled.data.tables import Row, read_rows
from unrolled.data.text import Source, read_text
from unrolled.errors import DataError

__all__ = ["Frames", "read_arrays", "read_frames", "read_long_table", "read_npz", "read_ts"]

_NUMBERS = "biuf"  # kinds of NumPy arrays that are read as numbers
# What NumPy raises of a file that is damaged, cut off, or something else.
_UNREADABLE = (
    *(ValueError, EOFError, KeyError, TypeError, AttributeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True, eq=False)
class Frames:
    """n series of vectors.

    Attributes:
        series: (N, D) float32 of all, NaN where a value is missing.
        labels: n labels as texts, "" where there is none.
        names: n names: of the column of series, or their place in the file.
        columns: D names of the numbers of a time step.
        lines: n lines of the file at which they begin, from 1; 0 where it has none.
    """

    series: Ragged
    labels: list[str]
    names: list[str]
    columns: list[str]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.series)

    def named(self, index: int) -> npt.NDArray[Any]:
        """A series (T,) with a field for each column, so that the names go with the numbers."""
        fields = np.dtype([(name, np.float32) for name in self.columns])
        return np.ascontiguousarray(self.series[index]).view(fields).ravel()


def read_frames(
    source: Source, *, series: str = "series", label: str = "label", features: Sequence[str] = (), skip: str = ""
) -> Frames:
    """The series of a file, by what its name ends with: .npz, .ts, or a table.

    Args:
        source: the file; tables and .ts may be compressed.
        series: the column of a table that says which series a row belongs to.
        label: its column of the label.
        features: its columns of numbers; all others if not given.
        skip: a column of it that is left out, such as the time.

    Raises:
        DataError: see the readers of each.
    """
    suffix = plain_name(source.name).suffix.lower()
    if suffix == ".npz":
        return read_npz(source)
    if suffix == ".ts":
        return read_ts(source)
    return read_long_table(source, series=series, label=label, features=features, skip=skip)


def read_arrays(source: Source) -> dict[str, npt.NDArray[Any]]:
    """The arrays of NumPy's archive, by name.

    Raises:
        DataError: it is damaged, cut off, something else, or holds objects.
    """
    try:
        with source.path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise DataError(
            "the file cannot be read as NPZ",
            expected="what numpy.savez writes, without objects",
            got=(str(error).splitlines() or [type(error).__name__])[0][:100],
            where=source.name,
            fix="it may have been cut off; write it again: numpy.savez(path, x=x, y=y)",
        ) from None
    except OSError as error:
        raise DataError(f"{source.name} cannot be read: {error.strerror or error}", where=source.name) from error


def read_npz(source: Source) -> Frames:
    """Series from NumPy's archive: `x` (n, T, D), or (n, T) of one number a step; or, of different lengths, `x` (N, D)
    one after the other with `lengths` (n,) from 1, that add up to N. `y` (n,) are the labels, texts or whole numbers;
    it may be missing. `columns` (D,) may name the numbers.

    Raises:
        DataError: see `read_arrays`; or an array is missing, or shapes do not fit.
    """
    arrays = read_arrays(source)
    if "x" not in arrays or arrays["x"].dtype.kind not in _NUMBERS:
        got = f"x of {arrays['x'].dtype}" if "x" in arrays else ", ".join(sorted(arrays)) or "nothing"
        raise DataError("the archive has no series", expected="numbers under the name x", got=got, where=source.name)
    x = arrays["x"]
    if "lengths" in arrays:
        lengths = np.asarray(arrays["lengths"]).ravel()
        x = x.reshape(-1, 1) if x.ndim == 1 else x
        whole = lengths.dtype.kind in "iu" and len(lengths) > 0 and bool((lengths > 0).all())
        if x.ndim != 2 or not whole or int(lengths.sum()) != len(x):
            raise _shapes(source, "x (N, D) and lengths (n,), whole numbers from 1 that add up to N", arrays)
    else:
        x = x[:, :, None] if x.ndim == 2 else x
        if x.ndim != 3 or 0 in x.shape:
            raise _shapes(source, "x (n, T, D) or (n, T), or x (N, D) with lengths (n,)", arrays)
        lengths = np.full(len(x), x.shape[1])
        x = x.reshape(-1, x.shape[2])
    labels = [""] * len(lengths)
    if "y" in arrays:
        if arrays["y"].shape != (len(lengths),) or arrays["y"].dtype.kind not in "biufUS":
            raise _shapes(source, f"y ({len(lengths)},): a label a series", arrays)
        labels = [_label(value) for value in arrays["y"].tolist()]
    columns = [str(name) for name in arrays.get("columns", np.arange(x.shape[1])).ravel().tolist()]
    if len(columns) != x.shape[1]:
        raise _shapes(source, f"columns ({x.shape[1]},)", arrays)
    values = _finite(x.astype(np.float32), source)
    series = Ragged(values, np.cumsum([0, *lengths.tolist()], dtype=np.int64))
    return Frames(series, labels, [str(index) for index in range(len(lengths))], columns, [0] * len(lengths))


def read_long_table(
    source: Source, *, series: str = "series", label: str = "label", features: Sequence[str] = (), skip: str = ""
) -> Frames:
    """Series from a table with a row a time step, those of a series one after the other.

    Args:
        source: the file.
        series: the column that says which series a row belongs to.
        label: the column of the label, the same in all rows of a series; may be missing.
        features: the columns of numbers; all others if not given.
        skip: a column that is left out, such as the time.

    Raises:
        DataError: a column is missing, a value is no number, the label of a series changes, or a series goes on after
            another began; with file and line.
    """
    names: list[str] = []
    labels: list[str] = []
    rows: list[list[float]] = []
    lengths: list[int] = []
    lines: list[int] = []
    seen: set[str] = set()
    columns = list(features)
    for row in read_rows(source):
        name = str(row.get(series))
        if not columns:
            columns = [column for column in row.values if column not in (series, label, skip)]
            if not columns:
                raise DataError("there is no column of numbers", got=", ".join(row.values), where=row.where)
        said = _label(row.values.get(label, ""))
        if not names or name != names[-1]:
            if name in seen:
                raise DataError(
                    f"the series {name!r} goes on after another began",
                    expected="the rows of a series one after the other",
                    where=row.where,
                    fix=f"sort the file by the column {series!r}, the rows of each in the order of time",
                )
            seen.add(name)
            names.append(name)
            labels.append(said)
            lengths.append(0)
            lines.append(row.line)
        elif said != labels[-1]:
            raise DataError(
                f"the label changes within the series {name!r}",
                expected=repr(labels[-1]),
                got=repr(said),
                where=row.where,
                fix="a label a series; for one a time step: train tag",
            )
        lengths[-1] += 1
        rows.append([_number(row, column) for column in columns])
    if not rows:
        raise DataError("the file has no row", where=source.name)
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    return Frames(Ragged(np.array(rows, np.float32), starts), labels, names, columns, lines)


def read_ts(source: Source) -> Frames:
    """Series from a .ts file, as the UCR and UEA archives have them: lines with @ say what there is; after @data a
    line a series, the values of a dimension with commas, dimensions with colons, the label last; ? is missing.

    Raises:
        DataError: there is no @data, time stamps stand with the values, a value is no number, or a line has another
            number of dimensions or values; with file and line.
    """
    labelled, inside = False, False
    arrays: list[npt.NDArray[np.float32]] = []
    labels: list[str] = []
    begins: list[int] = []
    for number, line in enumerate("".join(read_text(source)).split("\n"), 1):
        text, where = line.strip(), f"{source.name}, line {number}"
        if not text or text.startswith("#"):
            continue
        if not inside:
            key, *rest = text.lower().split()
            if key == "@timestamps" and rest[:1] == ["true"]:
                raise DataError(
                    "the values stand with time stamps", where=where, fix="write them as a table, with a column each"
                )
            if key in ("@classlabel", "@targetlabel"):
                labelled = rest[:1] == ["true"]
            inside = key == "@data"
            if not key.startswith("@"):
                raise DataError("the line is not of a .ts file", expected="@data first", got=text[:40], where=where)
            continue
        dimensions = text.split(":")
        label = dimensions.pop().strip() if labelled else ""
        if not dimensions or (labelled and "," in label):
            raise DataError("the line has no label", expected="values:label", got=text[-40:], where=where)
        values = [_numbers(part, where) for part in dimensions]
        if len({len(part) for part in values}) != 1:
            counts = ", ".join(str(len(part)) for part in values)
            raise DataError("the dimensions of a series have different lengths", got=counts, where=where)
        if arrays and len(values) != arrays[0].shape[1]:
            raise DataError(
                "the series has another number of dimensions than the first",
                expected=str(arrays[0].shape[1]),
                got=str(len(values)),
                where=where,
            )
        arrays.append(np.array(values, np.float32).T)
        labels.append(label)
        begins.append(number)
    if not arrays:
        raise DataError("the file has no series", expected="lines after @data", where=source.name)
    columns = [str(index) for index in range(arrays[0].shape[1])]
    return Frames(Ragged.of(arrays), labels, [str(index) for index in range(len(arrays))], columns, begins)


def _numbers(text: str, where: str) -> list[float]:
    """The values of a dimension of a .ts file."""
    values = []
    for place, word in enumerate(text.split(","), 1):
        try:
            value = math.nan if word.strip() == "?" else float(word)
        except ValueError:
            raise _no_number(word, f"{where}, value {place}") from None
        if math.isinf(value):
            raise _no_number(word, f"{where}, value {place}")
        values.append(value)
    return values


def _number(row: Row, column: str) -> float:
    """A value of a table; NaN where it is empty."""
    value = row.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise _no_number(value, f"{row.where}, column {column!r}") from None
    if math.isinf(number):
        raise _no_number(value, f"{row.where}, column {column!r}")
    return number


def _no_number(value: object, where: str) -> DataError:
    return DataError(
        "a value is no number",
        expected="a finite number, or nothing where it is missing",
        got=repr(value)[:40],
        where=where,
        fix="correct it, or name the columns of numbers with --features",
    )


def _finite(values: npt.NDArray[np.float32], source: Source) -> npt.NDArray[np.float32]:
    """The values, of which some may be NaN, but none infinite."""
    if np.isinf(values).any():
        step, column = (int(index[0]) for index in np.nonzero(np.isinf(values)))
        raise _no_number(float(values[step, column]), f"{source.name}, x, time step {step} of all, number {column}")
    return values


def _label(value: object) -> str:
    """A label as a text: whole numbers without a point."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shapes(source: Source, expected: str, arrays: dict[str, npt.NDArray[Any]]) -> DataError:
    got = ", ".join(f"{name} {array.shape} of {array.dtype}" for name, array in sorted(arrays.items()))
    return DataError("the arrays of the archive do not fit together", expected=expected, got=got, where=source.name)
