"""Sequences of items: read from tables with a row for each sequence, or a row for each event."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from unrolled.data.configuration import DecodingErrors
from unrolled.data.preparation import Progress
from unrolled.data.tables import Row, TableFormat, read_rows, table_format
from unrolled.data.text import Source, read_lines, read_text
from unrolled.errors import DataError

__all__ = ["Sessions", "cut_items", "read_events", "read_sequences", "read_unfinished"]


@dataclass(eq=False)
class Sessions:
    """n sessions.

    Attributes:
        items: of each what happened, in its order.
        begins: of each the time of its first event, in seconds; 0 where times are not known.
        names: of each what its table calls it; empty where sessions have no names.
    """

    items: list[tuple[str, ...]] = field(default_factory=list)
    begins: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def select(self, rows: Iterable[int]) -> Sessions:
        """Some of them, in a new order."""
        chosen = list(rows)
        names = [self.names[row] for row in chosen] if self.names else []
        return Sessions([self.items[row] for row in chosen], [self.begins[row] for row in chosen], names)


def cut_items(text: str, separator: str | None = None) -> tuple[str, ...]:
    """The items of a sequence that is a text.

    >>> cut_items("shoes  hat"), cut_items("shoes, red hat", ","), cut_items("Ada", "")
    (('shoes', 'hat'), ('shoes', 'red hat'), ('A', 'd', 'a'))
    """
    if separator is None:
        return tuple(text.split())
    parts = text if separator == "" else text.split(separator)
    return tuple(part for part in (part.strip() for part in parts) if part)


def read_sequences(
    sources: Sequence[Source],
    column: str | None = None,
    *,
    separator: str | None = None,
    errors: DecodingErrors = "strict",
    told: Progress | None = None,
) -> Sessions:
    """Sequences, one a row: of a column of a table, or, without a column, one a line of a text.

    Args:
        sources: the files.
        column: of CSV, TSV or JSON lines; there also a list of items.
        separator: what stands between items; white space if None; each character is one if "".
        errors: what a byte that is not UTF-8 does.
        told: is told of progress.

    Raises:
        DataError: there is none; a row is malformed, or has no such column; with file and line.
    """
    found = Sessions()
    for number, source in enumerate(sources):
        if told is not None:
            told(number, len(sources), "reading")
        if column is not None:
            for row in read_rows(source, errors=errors):
                found.items.append(_listed(row.get(column), separator, row))
        elif table_format(source) is not None:
            raise DataError(
                "which column holds the sequences is not said",
                where=source.name,
                fix="--sequence COLUMN where a row is a whole sequence, --session COLUMN where it is one event",
            )
        else:
            lines = "".join(read_text(source, errors)).split("\n")
            found.items += [cut_items(line, separator) for line in lines]
    found.items = [items for items in found.items if items]
    found.begins = [0.0] * len(found.items)
    return _checked(found, sources)


def read_events(
    sources: Sequence[Source],
    session: str,
    item: str,
    time: str | None = None,
    *,
    kind: TableFormat | None = None,
    errors: DecodingErrors = "strict",
    told: Progress | None = None,
) -> Sessions:
    """Sessions from tables with a row for each event, in any order where there is a time.

    Args:
        sources: the files, read as one table.
        session: the column of the session.
        item: the column of the item.
        time: the column of the time; without one the order is that of the rows.
        kind: the format of the tables; by their names if not given.
        errors: what a byte that is not UTF-8 does.
        told: is told of progress.

    Raises:
        DataError: there is none; a row is malformed, a value is missing, or no time, or a number among dates; with
            file and line.
    """
    events: dict[str, list[tuple[float, str]]] = {}
    dated: bool | None = None
    for number, source in enumerate(sources):
        if told is not None:
            told(number, len(sources), "reading")
        for row in read_rows(source, kind, errors=errors):
            at, is_date = (0.0, False) if time is None else _read_time(row.get(time), row)
            dated = is_date if dated is None else dated
            if time is not None and is_date is not dated:
                raise DataError(
                    "numbers and dates are mixed in the times: they have no order",
                    expected="a date, as before" if dated else "a number, as before",
                    got=repr(row.get(time)),
                    where=row.where,
                )
            events.setdefault(_name(row, session), []).append((at, _name(row, item)))
    found = Sessions()
    for name, happened in events.items():
        happened.sort(key=lambda event: event[0])  # stable: those of one time stay as they stand
        found.names.append(name)
        found.items.append(tuple(item_name for _, item_name in happened))
        found.begins.append(happened[0][0])
    return _checked(found, sources)


def read_unfinished(
    sources: Sequence[Source],
    column: str | None = None,
    *,
    separator: str | None = None,
    kind: TableFormat | None = None,
    errors: DecodingErrors = "strict",
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Sequences that are to go on, each with its line: also those in which nothing happened yet.

    Args:
        sources: the files.
        column: see `read_sequences`; None for lines of a text.
        separator: see `read_sequences`.
        kind: the format of the tables; by their names if not given.
        errors: see `read_sequences`.

    Raises:
        DataError: a row is malformed, or has no such column; with file and line.
    """
    for source in sources:
        if column is None:
            for number, line in read_lines(source, errors):
                yield number, cut_items(line, separator)
        else:
            for row in read_rows(source, kind, errors=errors):
                yield row.line, _listed(row.get(column), separator, row)


def _checked(found: Sessions, sources: Sequence[Source]) -> Sessions:
    if not len(found):
        raise DataError("there are no sequences", where=", ".join(source.name for source in sources[:3]))
    return found


def _name(row: Row, column: str) -> str:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int):
        value = str(int(value)) if isinstance(value, float) and value.is_integer() else None
    name = "" if value is None else str(value).strip()
    if not name:
        raise DataError(f"the {column} is missing", expected="a name or a number", where=row.where)
    return name


def _listed(value: Any, separator: str | None, row: Row) -> tuple[str, ...]:
    if isinstance(value, list):
        if all(isinstance(each, str | int) and not isinstance(each, bool) for each in value):
            return tuple(str(each) for each in value)
    elif isinstance(value, str):
        return cut_items(value, separator)
    raise DataError("the sequence is no sequence", expected="a text, or a list of names or numbers", where=row.where)


def _read_time(value: Any, row: Row) -> tuple[float, bool]:
    """A time as a number, of a date its seconds, and whether it is a date."""
    is_date = False
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        is_date = True
        try:
            read = datetime.fromisoformat(str(value).strip())
            seconds = (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            seconds = math.nan
    if not math.isfinite(seconds):
        raise DataError(
            "the time cannot be read",
            expected="a number, or a date as 2024-05-31T10:00",
            got=repr(value),
            where=row.where,
        )
    return seconds, is_date
