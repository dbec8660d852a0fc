"""Series with time stamps and covariates, from tables; nothing is guessed over: what is irregular is an error or asked
for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from unrolled.data.series_configuration import SeriesConfig
from unrolled.data.time_axis import Step, find_step, format_stamp
from unrolled.data.vocabulary import IntArray
from unrolled.errors import DataError

__all__ = ["FloatArray", "Panel", "Series", "previous", "regular", "units"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One or several columns over the same steps.

    Attributes:
        name: of the series.
        columns: the names of its C columns.
        stamps: (T + F,) of its steps and of F steps after them of which only covariates are known.
        values: (T, C) the numbers, NaN where one is missing.
        past: (T, P) covariates that are known up to now.
        known: (T + F, K) covariates that are known ahead.
        lines: (T + F,) the line of the file that each step stands in, for messages; -1 for one that was filled in.
        where: the file.
    """

    name: str
    columns: tuple[str, ...]
    stamps: IntArray
    values: FloatArray
    past: FloatArray
    known: FloatArray
    lines: IntArray
    where: str

    def __len__(self) -> int:
        return len(self.values)

    def at(self, step: int) -> str:
        """File and line of a step, for messages."""
        return f"{self.where}, line {self.lines[step]}"


@dataclass(frozen=True, eq=False)
class Panel:
    """Several series with one step between their time stamps.

    Attributes:
        series: at least one.
        step: between stamps.
        past: names of covariates known up to now.
        known: names of covariates known ahead.
        counted: whether there are no stamps, and each series counts its steps for itself.
        notes: what was done to the table and is not self-evident, a sentence each.
    """

    series: list[Series]
    step: Step
    past: tuple[str, ...]
    known: tuple[str, ...]
    counted: bool
    notes: list[str]


def regular(series: Sequence[Series], is_time: bool, config: SeriesConfig, notes: list[str]) -> Panel:
    """Series in order, each stamp once, all with the same step, with no value missing where that is not asked for.

    Args:
        series: as the table has them.
        is_time: whether stamps are times, not numbers.
        config: `sort`, `repeated`, `gaps` and `missing` say what is treated, and how.
        notes: is added to.

    Raises:
        DataError: what is irregular and was not asked to be treated, with the lines.
    """
    if not series:
        raise DataError("there is no series")
    ordered = [_distinct(_in_order(one, is_time, config, notes), is_time, config, notes) for one in series]
    longest = max(ordered, key=lambda one: len(one.stamps))
    step, _ = find_step(longest.stamps, is_time)
    spaced = [_spaced(one, step, config, notes) for one in ordered]
    for one in spaced:
        _check_missing(one, config, notes)
    return Panel(spaced, step, (), (), False, notes)


def _in_order(one: Series, is_time: bool, config: SeriesConfig, notes: list[str]) -> Series:
    wrong = np.diff(one.stamps) < 0
    if not wrong.any():
        return one
    if not config.sort:
        place = int(np.argmax(wrong))
        raise DataError(
            "the time stamps are out of order",
            expected=f"one after {format_stamp(one.stamps[place], is_time)}",
            got=format_stamp(one.stamps[place + 1], is_time),
            where=one.at(place + 1),
            fix="sort the table by time, or add --sort",
        )
    notes.append(f"{one.name}: rows were sorted by time")
    return _rows(one, np.argsort(one.stamps, kind="stable"))


def _rows(one: Series, order: IntArray) -> Series:
    return replace(
        one,
        stamps=one.stamps[order],
        values=one.values[order],
        past=one.past[order],
        known=one.known[order],
        lines=one.lines[order],
    )


def _distinct(one: Series, is_time: bool, config: SeriesConfig, notes: list[str]) -> Series:
    same = np.diff(one.stamps) == 0
    if not same.any():
        return one
    place = int(np.argmax(same))
    if config.repeated == "error":
        raise DataError(
            f"the time stamp {format_stamp(one.stamps[place], is_time)} comes twice",
            where=f"{one.at(place)} and line {one.lines[place + 1]}",
            fix="take one out; or --repeated first, last or mean; or, where a column says which series a row is of, "
            "name it with --id",
        )
    notes.append(f"{one.name}: {int(same.sum())} rows whose time stamp came before: {config.repeated}")
    starts = np.flatnonzero(np.concatenate(([True], ~same)))
    if config.repeated == "first":
        return _rows(one, starts)
    ends = np.append(starts[1:], len(one.stamps)) - 1
    if config.repeated == "last":
        return _rows(one, ends)
    firsts = _rows(one, starts)
    return replace(
        firsts,
        values=_means(one.values, starts, ends),
        past=_means(one.past, starts, ends),
        known=_means(one.known, starts, ends),
    )


def _means(values: FloatArray, starts: IntArray, ends: IntArray) -> FloatArray:
    """Means of stretches of rows, over what is not missing."""
    if not values.shape[1]:
        return values[starts]
    there = np.isfinite(values)
    sums = np.add.reduceat(np.where(there, values, 0.0), starts, axis=0)
    counts = np.add.reduceat(there, starts, axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _spaced(one: Series, step: Step, config: SeriesConfig, notes: list[str]) -> Series:
    """The series with every step there."""
    if config.gaps == "rows" or step.unit == "weekday" or len(one.stamps) < 2:
        return one
    due = step.after(int(one.stamps[0]), len(one.stamps) - 1)
    wrong = one.stamps[1:] != due
    if not wrong.any():
        return one
    place = int(np.argmax(wrong))
    # From the row before it, as all that comes after the first gap is off.
    shown = format_stamp(int(one.stamps[place]), step.is_time), format_stamp(int(one.stamps[place + 1]), step.is_time)
    if config.gaps == "error":
        raise DataError(
            "the time stamps are irregular",
            expected=f"{step.about()}, as most are",
            got=f"{shown[1]} after {shown[0]}",
            where=one.at(place + 1),
            fix="--gaps fill to take steps that are not there for missing values, --gaps rows to take each row for a "
            "step",
        )
    reach = one.stamps[-1] - one.stamps[0]
    count = (
        int(reach // step.count)
        if not step.unit.startswith("month")
        else int(reach // (28 * 86_400_000_000 * step.count)) + 1
    )
    grid = np.concatenate((one.stamps[:1], step.after(int(one.stamps[0]), count)))
    grid = grid[grid <= one.stamps[-1]]
    places = np.searchsorted(grid, one.stamps)
    off = grid[np.minimum(places, len(grid) - 1)] != one.stamps
    if off.any():
        raise DataError(
            "a time stamp lies between two steps",
            expected=f"{step.about()}, from {format_stamp(int(one.stamps[0]), step.is_time)}",
            got=format_stamp(int(one.stamps[np.argmax(off)]), step.is_time),
            where=one.at(int(np.argmax(off))),
            fix="--gaps rows to take each row for a step, or bring the series to one step first",
        )
    notes.append(f"{one.name}: {len(grid) - len(places):,} steps that were not there are missing values")
    steps = int(places[len(one) - 1]) + 1 if len(one) else 0
    lines = np.full(len(grid), -1, np.int64)
    lines[places] = one.lines
    return replace(
        one,
        stamps=grid,
        values=_spread(one.values, places, steps),
        past=_spread(one.past, places, steps),
        known=_filled_forward(_spread(one.known, places, len(grid))),
        lines=lines,
    )


def _spread(values: FloatArray, places: IntArray, steps: int) -> FloatArray:
    wide = np.full((steps, values.shape[1]), np.nan)
    wide[places[: len(values)]] = values
    return wide


def _filled_forward(values: FloatArray) -> FloatArray:
    """Every missing number replaced by the last one before it; those before the first stay missing."""
    if not len(values):
        return values
    places = np.where(np.isfinite(values), np.arange(len(values))[:, None], -1)
    last = np.maximum.accumulate(places, axis=0)
    taken = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= 0, taken, np.nan)


def _check_missing(one: Series, config: SeriesConfig, notes: list[str]) -> None:
    for what, array in (("value", one.values), ("covariate", one.past), ("covariate", one.known)):
        missing = ~np.isfinite(array)
        if not missing.any():
            continue
        # A column that begins later begins there.
        inner = missing & (np.cumsum(~missing, axis=0) > 0) if what == "value" else missing
        if not inner.any():
            continue
        if config.missing == "error":
            place, column = (int(index) for index in np.argwhere(inner)[0])
            where = one.columns[column] if what == "value" else "covariates"
            gap = one.lines[place] < 0
            raise DataError(
                f"{int(inner.sum()):,} of {array.size:,} {what}s are missing in {where}",
                where=f"{one.where}, the step after line {one.lines[:place].max(initial=1)}" if gap else one.at(place),
                fix="fill them as you see fit, or --missing previous: the network then reads the last value before, "
                "and no forecast is measured by one that is missing",
            )
        notes.append(
            f"{one.name}: {int(inner.sum()):,} of {array.size:,} {what}s are missing: the previous one is read"
        )


def units(panel: Panel, joint: bool) -> list[Series]:
    """What is forecast on its own: the series as they are, or each of their columns alone.

    A column that begins later than its table begins at its first value. One without any value is an error.
    """
    found = []
    for one in panel.series:
        for columns in [range(len(one.columns))] if joint else [range(c, c + 1) for c in range(len(one.columns))]:
            values = one.values[:, columns.start : columns.stop]
            there = np.isfinite(values).all(axis=1)
            if not there.any():
                raise DataError(
                    f"the series {one.columns[columns.start]!r} has no value"
                    if len(columns) == 1
                    else f"in {one.name!r} there is no step at which all columns have a value",
                    where=one.where,
                    fix="leave it out of --target" if len(columns) == 1 else "leave out --joint",
                )
            begin = int(np.argmax(there))
            names = one.columns[columns.start : columns.stop]
            single = len(columns) == 1 and len(panel.series) == 1
            found.append(
                Series(
                    names[0] if single else one.name if len(one.columns) == len(columns) else f"{one.name}/{names[0]}",
                    names,
                    one.stamps[begin:],
                    values[begin:],
                    one.past[begin:],
                    one.known[begin:],
                    one.lines[begin:],
                    one.where,
                )
            )
    return found


def previous(values: FloatArray) -> FloatArray:
    """(T, C) with every missing number replaced by the last one before it; 0 before the first."""
    return np.nan_to_num(_filled_forward(values))
