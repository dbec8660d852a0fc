"""From files to series: wide tables, long ones, and tables with a series a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unrolled.data.series import FloatArray, Panel, Series, regular
from unrolled.data.series_configuration import SeriesConfig, names_of
from unrolled.data.series_tables import MISSING, SeriesTable, read_series_table
from unrolled.data.store import SplitSources
from unrolled.data.text import Source
from unrolled.data.time_axis import parse_stamp
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError, DataError

__all__ = ["read_parts", "read_series"]

_ORDER = {"text": 0, "train": 0, "valid": 1, "test": 2}
_TIME_NAMES = ("time", "date", "datetime", "timestamp", "ds", "day", "month", "year", "hour", "week", "quarter", "t")


def read_series(sources: Sequence[Source], config: SeriesConfig, *, future: bool = False) -> Panel:
    """Read series. Each file with a column a series is a table of its own; long ones and rows go on by name.

    Args:
        sources: the files.
        config: how to read them.
        future: rows at the end that have covariates and no values are steps to be forecast.

    Raises:
        DataError: something is not as it should be, with file and line.
        ConfigurationError: a column is named for two things.
    """
    return _read([("text", source) for source in sources], config, future)[0]


def read_parts(sources: SplitSources, config: SeriesConfig) -> tuple[Panel, dict[str, dict[str, int]]]:
    """Read series from files, of which some may be parts that follow each other in time.

    Returns:
        the series; and, for each, the stamp at which the parts begin that have files of their own.

    Raises:
        DataError: something is not as it should be; a part begins before the one before it has ended.
        ConfigurationError: a column is named for two things.
    """
    return _read(sources.parts, config, False)


def _read(
    parts: Sequence[tuple[str, Source]], config: SeriesConfig, future: bool
) -> tuple[Panel, dict[str, dict[str, int]]]:
    notes: list[str] = []
    pieces: dict[str, list[tuple[str, Series]]] = {}
    is_time, counted = False, True
    for part, source in parts:
        table = read_series_table(source, ragged=config.layout in ("auto", "rows") and config.id is None)
        layout = _layout(table, config)
        if layout == "rows":
            found = _of_rows(table)
        else:
            _check_full(table)
            time = _time_column(table, config)
            counted = counted and time is None
            found, is_time = _of_columns(table, time, config, future)
        for one in found:
            # A part in a file of its own continues the one table that all are parts of.
            name = "series" if layout == "wide" and part != "text" else one.name
            pieces.setdefault(name, []).append((part, replace(one, name=name)))
    begins = {name: _begins(named, counted) for name, named in pieces.items()}
    joined = [_joined([one for _, one in named], counted) for named in pieces.values()]
    panel = regular(joined, is_time, config, notes)
    panel = replace(panel, past=names_of(config.past), known=names_of(config.known), counted=counted)
    if counted and pieces and not any(one.lines[0] == one.lines[-1] for one in panel.series):
        notes.append("no column of time stamps was found: each row is a step")
    return panel, begins


def _begins(pieces: list[tuple[str, Series]], counted: bool) -> dict[str, int]:
    """The stamp at which each part begins."""
    found: dict[str, int] = {}
    before: Series | None = None
    for part, one in pieces:
        if part == "text":
            return {}
        begin = sum(len(other) for other_part, other in pieces if _ORDER[other_part] < _ORDER[part])
        stamp = begin if counted else int(one.stamps.min())
        if before is not None and not counted and part not in found and stamp <= int(before.stamps.max()):
            raise DataError(
                f"the {part} part begins before the part before it has ended",
                expected=f"time stamps after those of {before.where}",
                where=one.where,
                fix="cut in time: what is tested lies after what is trained on",
            )
        found.setdefault(part, stamp)
        before = one
    return found


def _layout(table: SeriesTable, config: SeriesConfig) -> str:
    if config.id is not None:
        return "long"
    if config.layout != "auto":
        return config.layout
    if config.time is not None or config.target is not None:
        return "wide"
    # A first column of names, and numbers in all others: a series a row.
    named = any(name.lower() in _TIME_NAMES for name in table.heading)
    first = [row[0] for row in table.rows[:50]]
    if named or len(table.heading) < 3 or any(_is_stamp(text, config) for text in first):
        return "wide"
    rest = [field for row in table.rows[:20] for field in row[1:]]
    return "rows" if all(_is_number(field) for field in rest) else "wide"


def _is_stamp(text: str, config: SeriesConfig) -> bool:
    try:
        parse_stamp(text, config.time_format)
    except ValueError:
        return _is_number(text)
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in MISSING
    return True


def _check_full(table: SeriesTable) -> None:
    for row, fields in enumerate(table.rows):
        if len(fields) != len(table.heading):
            raise DataError(
                "the row has another number of fields than there are columns",
                expected=f"{len(table.heading)}: {', '.join(table.heading)[:60]}",
                got=f"{len(fields)}: {', '.join(fields)[:60]}",
                where=table.where(row),
            )


def _of_rows(table: SeriesTable) -> list[Series]:
    """A series a row: its name, then its numbers; what is empty at its end is not there."""
    found = []
    lines_of: dict[str, int] = {}
    for row, (name, *fields) in enumerate(table.rows):
        while fields and not fields[-1].strip():
            fields.pop()
        if not fields:
            raise DataError(f"the series {name!r} has no value", where=table.where(row))
        if name in lines_of:
            raise DataError(
                f"two series are called {name!r}", where=f"{table.where(lines_of[name])} and line {table.lines[row]}"
            )
        lines_of[name] = row
        column = SeriesTable(table.source, [name], [[field] for field in fields], [table.lines[row]] * len(fields))
        values = column.numbers(0)[:, None]
        stamps = np.arange(len(values), dtype=np.int64)
        lines = np.full(len(values), table.lines[row], np.int64)
        nothing = np.empty((len(values), 0))
        found.append(Series(name, (name,), stamps, values, nothing, nothing, lines, table.source.name))
    return found


def _of_columns(table: SeriesTable, time: str | None, config: SeriesConfig, future: bool) -> tuple[list[Series], bool]:
    """A column a series, or several groups of rows of which each is one."""
    past, known = names_of(config.past), names_of(config.known)
    for name in (*past, *known):
        table.place(name)
    named = [name for name in (time, config.id, *past, *known) if name is not None]
    target = names_of(config.target) or tuple(
        name for column, name in enumerate(table.heading) if name not in named and table.is_numeric(column)
    )
    for name in target:
        if name in named:
            raise ConfigurationError(f"the column {name!r} is named for two things", fix="take it out of one of them")
    if not target:
        raise DataError(
            "there is no column of numbers to forecast",
            got=", ".join(map(repr, table.heading))[:200],
            where=f"{table.source.name}, line 1",
            fix="name it with --target",
        )
    stamps, is_time = _stamps(table, time, config)

    def columns(names: Sequence[str]) -> FloatArray:
        found = [table.numbers(table.place(name)) for name in names]
        return np.stack(found, axis=1) if found else np.empty((len(table.rows), 0))

    values, before, ahead = columns(target), columns(past), columns(known)
    lines = np.array(table.lines, np.int64)
    groups = {"": np.arange(len(table.rows))} if config.id is None else _groups(table, config.id)
    stem = table.source.path.name.split(".")[0]
    found = []
    for name, rows in groups.items():
        if time is None and config.id is not None:
            stamps[rows] = np.arange(len(rows))
        steps = len(rows)
        if future:
            # Rows may stand in any order where they are to be sorted; what is ahead is last in time.
            order = np.argsort(stamps[rows], kind="stable") if config.sort else np.arange(len(rows))
            rows = rows[order]
            there = np.isfinite(values[rows]).any(axis=1)
            steps = int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0
        found.append(
            Series(
                name or stem,
                target,
                stamps[rows],
                values[rows][:steps],
                before[rows][:steps],
                ahead[rows],
                lines[rows],
                table.source.name,
            )
        )
    return found, is_time


def _time_column(table: SeriesTable, config: SeriesConfig) -> str | None:
    if config.time is not None:
        table.place(config.time)
        return config.time
    for name in table.heading:
        if name.lower() in _TIME_NAMES and _reads(table, name, config):
            return name
    # A column of texts that all are times.
    for column, name in enumerate(table.heading):
        if not table.is_numeric(column) and _reads(table, name, config):
            return name
    return None


def _reads(table: SeriesTable, name: str, config: SeriesConfig) -> bool:
    column = table.place(name)
    try:
        for row in table.rows[:5]:
            parse_stamp(row[column], config.time_format)
    except ValueError:
        return False
    return True


def _stamps(table: SeriesTable, time: str | None, config: SeriesConfig) -> tuple[IntArray, bool]:
    if time is None:
        return np.arange(len(table.rows), dtype=np.int64), False
    column = table.place(time)
    stamps = np.empty(len(table.rows), np.int64)
    kinds = set()
    for row, fields in enumerate(table.rows):
        try:
            stamps[row], is_time = parse_stamp(fields[column], config.time_format)
        except ValueError:
            raise DataError(
                f"the column {time!r} has something that is no time stamp",
                expected=config.time_format or "ISO 8601 (2016-07-01 00:00:00, 2016-07-01, 2016-07) or whole numbers",
                got=repr(fields[column][:40]),
                where=table.where(row),
                fix="say how stamps are written, as --time-format %d/%m/%Y, or which column they are in: --time",
            ) from None
        kinds.add(is_time)
        if len(kinds) > 1:
            raise DataError(
                f"the column {time!r} has both times and numbers", got=repr(fields[column]), where=table.where(row)
            )
    return stamps, True in kinds


def _groups(table: SeriesTable, column: str) -> dict[str, IntArray]:
    names = table.texts(table.place(column))
    found: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if not name.strip():
            raise DataError(f"the column {column!r} is empty", where=table.where(row))
        found.setdefault(name.strip(), []).append(row)
    return {name: np.array(rows, np.int64) for name, rows in found.items()}


def _joined(pieces: list[Series], counted: bool) -> Series:
    """Stretches of one series, one after the other."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    for piece in pieces[1:]:
        if piece.columns != first.columns:
            raise DataError(
                f"the series {first.name!r} has other columns in another file",
                expected=", ".join(first.columns),
                got=", ".join(piece.columns),
                where=piece.where,
            )
    return Series(
        first.name,
        first.columns,
        np.arange(sum(len(piece.stamps) for piece in pieces), dtype=np.int64)
        if counted
        else np.concatenate([piece.stamps for piece in pieces]),
        np.concatenate([piece.values for piece in pieces]),
        np.concatenate([piece.past for piece in pieces]),
        np.concatenate([piece.known for piece in pieces]),
        np.concatenate([piece.lines for piece in pieces]),
        first.where,
    )
