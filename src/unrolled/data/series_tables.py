"""Tables of series as files have them: a heading, rows, and the line of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unrolled.data.text import Source, decode, read_bytes
from unrolled.errors import DataError, nearest

__all__ = ["MISSING", "SeriesTable", "read_series_table"]

MISSING = frozenset(("", "nan", "na", "n/a", "null", "none", "?", "-"))
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """A table of texts.

    Attributes:
        source: the file.
        heading: the names of its columns.
        rows: the fields of each row; of a table with a row a series they may be fewer than the heading has.
        lines: the line of the file that each row stands in, from 1.
    """

    source: Source
    heading: list[str]
    rows: list[list[str]]
    lines: list[int]

    def place(self, column: str) -> int:
        """The number of a column.

        Raises:
            DataError: there is none of that name.
        """
        try:
            return self.heading.index(column)
        except ValueError:
            raise DataError(
                f"there is no column {column!r}",
                expected=f"one of {', '.join(map(repr, self.heading[:20]))}",
                where=f"{self.source.name}, line 1",
                fix=nearest(column, self.heading),
            ) from None

    def texts(self, column: int) -> list[str]:
        """A column as it stands."""
        return [row[column] for row in self.rows]

    def is_numeric(self, column: int) -> bool:
        """Whether a column holds numbers, with values missing or not, at least one."""
        try:
            return bool(np.isfinite(_numbers(self.texts(column))).any())
        except ValueError:
            return False

    def numbers(self, column: int) -> npt.NDArray[np.float64]:
        """(rows,) a column as numbers, NaN where one is missing.

        Raises:
            DataError: a text that is no number, with its line.
        """
        texts = self.texts(column)
        try:
            found = _numbers(texts)
        except ValueError:
            row = next(index for index, text in enumerate(texts) if not _is_number(text))
            raise DataError(
                f"the column {self.heading[column]!r} has a text where a number should be",
                expected="a number, or nothing where it is missing",
                got=repr(texts[row][:40]),
                where=self.where(row),
                fix="a decimal point, no thousands separators; choose the columns to forecast with --target",
            ) from None
        endless = np.isinf(found)
        if endless.any():
            row = int(np.argmax(endless))
            raise DataError(f"the column {self.heading[column]!r} has an infinite number", where=self.where(row))
        return found

    def where(self, row: int) -> str:
        """File and line of a row, for messages."""
        return f"{self.source.name}, line {self.lines[row]}"


def _is_number(text: str) -> bool:
    try:
        _numbers([text])
    except ValueError:
        return False
    return True


def _numbers(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    try:
        return np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        found = (np.nan if text.strip().lower() in MISSING else float(text) for text in texts)
        return np.fromiter(found, np.float64, len(texts))


def read_series_table(source: Source, *, ragged: bool = False) -> SeriesTable:
    """Read a table with a heading: fields between commas, semicolons, tabs or bars, whichever the heading has most of.

    Args:
        source: the file; may be compressed.
        ragged: rows may have fewer fields than the heading, as series of different lengths do.

    Raises:
        DataError: a row with another number of fields, a quotation that is never closed, or no row at all.
    """
    lines = _lines(source)
    first = next(lines, "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
    heading: list[str] | None = None
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        for fields in reader:
            if not fields or (len(fields) == 1 and not fields[0].strip()):
                continue
            if heading is None:
                heading = [name.strip() for name in fields]
                _check_heading(heading, source)
                continue
            if len(fields) != len(heading) and not (ragged and len(fields) < len(heading)):
                raise DataError(
                    "the row has another number of fields than there are columns",
                    expected=f"{len(heading)}: {', '.join(heading)[:60]}",
                    got=f"{len(fields)}: {', '.join(fields)[:60]}",
                    where=f"{source.name}, line {reader.line_num}",
                )
            rows.append(fields)
            numbers.append(reader.line_num)
    except csv.Error as error:
        raise DataError(
            f"the row cannot be read as a table: {error}", where=f"{source.name}, line {reader.line_num}"
        ) from None
    if heading is None or not rows:
        raise DataError(
            "the table has no rows", expected="a line that names the columns, then a row a line", where=source.name
        )
    return SeriesTable(source, heading, rows, numbers)


def _lines(source: Source) -> Iterator[str]:
    rest = ""
    for text in decode(read_bytes(source), source):
        buffer = io.StringIO(rest + text, newline="")
        rest = ""
        for line in buffer:
            if line.endswith("\n"):
                yield line
            else:
                rest = line
    if rest:
        yield rest


def _chain(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _check_heading(heading: list[str], source: Source) -> None:
    twice = sorted({name for name in heading if heading.count(name) > 1})
    if twice:
        raise DataError(f"two columns are called {twice[0]!r}", where=f"{source.name}, line 1")
    if all(_is_number(name) for name in heading):
        raise DataError(
            "the first line has numbers where the names of the columns should be",
            got=", ".join(heading)[:60],
            where=f"{source.name}, line 1",
            fix="put a line with names before it",
        )
