"""Rows of tables: CSV, TSV and JSON lines, streamed, each with the line it stands in."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from unrolled.data.compressed import plain_name
from unrolled.data.configuration import DecodingErrors
from unrolled.data.text import Source, decode, read_bytes
from unrolled.errors import ConfigurationError, DataError, nearest

__all__ = ["Row", "TableFormat", "read_rows", "table_format"]

TableFormat = Literal["csv", "tsv", "jsonl"]
_ENDINGS: dict[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_LONGEST = 1 << 27  # characters of one field: a quotation mark that is never closed must not fill the memory


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        values: by the column's name; texts, of JSON lines any JSON value.
        line: the line of the file that it begins in, from 1.
        source: the file.
    """

    values: dict[str, Any]
    line: int
    source: Source

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.source.name}, line {self.line}"

    def get(self, column: str) -> Any:
        """A value.

        Raises:
            DataError: there is no such column; the nearest is named.
        """
        try:
            return self.values[column]
        except KeyError:
            raise DataError(
                f"there is no column {column!r}",
                expected=f"one of {', '.join(map(repr, self.values))}",
                where=self.where,
                fix=nearest(column, self.values),
            ) from None


def table_format(source: Source) -> TableFormat | None:
    """What the name of a file says of its format, `None` if nothing; `.csv.gz` is CSV, compressed."""
    return _ENDINGS.get(plain_name(source.name).suffix.lower())


def read_rows(
    source: Source,
    kind: TableFormat | None = None,
    *,
    columns: Iterable[str] | None = None,
    errors: DecodingErrors = "strict",
    digest: Any = None,
    bad: Callable[[DataError], None] | None = None,
) -> Iterator[Row]:
    """The rows of a file, one after the other; nothing but one row is held.

    CSV is that of RFC 4180: commas, quotation marks around what holds commas or line ends, doubled inside; the first
    row names the columns, unless `columns` does. TSV has tabs and no quotation. A JSON line is an object. Empty lines
    are passed over.

    Args:
        source: the file; may be compressed.
        kind: its format; by its name if not given.
        columns: names of the columns of a CSV or TSV file whose first row is not a heading.
        errors: what a byte that is not UTF-8 does.
        digest: a hash that is fed with the content on the way.
        bad: is told of a row that cannot be read, in place of raising its error; what comes after it is read.

    Raises:
        DataError: not UTF-8, a row with more or fewer fields than columns, a quotation that is not closed, a line that
            is not a JSON object, a column named twice; with file and line.
        ConfigurationError: no format is given, and the name does not say it.
    """
    kind = kind or table_format(source)
    if kind is None:
        raise ConfigurationError(
            "the name of the file does not say its format",
            expected=f"a name that ends with {', '.join(_ENDINGS)}, compressed or not",
            where=source.name,
            fix=f"say it with --format {' or '.join(get_args(TableFormat))}",
        )
    lines = _lines(decode(_hashed(source, digest), source, errors))
    if kind == "jsonl":
        return _objects(lines, source, bad or _raise)
    return _table(lines, source, kind, None if columns is None else list(columns), bad or _raise)


def _raise(error: DataError) -> None:
    raise error


def _hashed(source: Source, digest: Any) -> Iterator[bytes]:
    digest = hashlib.sha256() if digest is None else digest
    for chunk in read_bytes(source):
        digest.update(chunk)
        yield chunk


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces, each with its line feed."""
    rest: list[str] = []
    for text in texts:
        # Not `splitlines`, which also cuts at what a JSON string or a field may hold, such as U+2028.
        whole, feed, tail = text.rpartition("\n")
        if not feed:
            rest.append(tail)
            continue
        yield from io.StringIO("".join([*rest, whole, "\n"]), newline="\n")
        rest = [tail]
    if last := "".join(rest):
        yield last


def _objects(lines: Iterable[str], source: Source, bad: Callable[[DataError], None]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            problem, got = "the line is not JSON", str(error).split(":", maxsplit=1)[0]
            bad(DataError(problem, got=got, where=f"{source.name}, line {number}"))
            continue
        if not isinstance(value, dict):
            problem, expected = "the line is not a JSON object", '{"column": value, ...}'
            bad(DataError(problem, expected=expected, got=line.strip()[:60], where=f"{source.name}, line {number}"))
            continue
        yield Row(value, number, source)


def _table(
    lines: Iterator[str],
    source: Source,
    kind: TableFormat,
    columns: list[str] | None,
    bad: Callable[[DataError], None],
) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST)
    if kind == "tsv":
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(lines, strict=True)
    begin = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            bad(
                DataError(
                    f"the row cannot be read as {kind.upper()}: {error}",
                    where=f"{source.name}, line {begin}",
                    fix="quotation marks inside a field are doubled, and each that is opened is closed"
                    if kind == "csv"
                    else None,
                )
            )
            begin = reader.line_num + 1
            continue
        line, begin = begin, reader.line_num + 1
        if not fields:
            continue
        if columns is None:
            columns = [name.strip() for name in fields]
            twice = sorted({name for name in columns if columns.count(name) > 1})
            if twice:
                raise DataError(f"two columns are called {twice[0]!r}", where=f"{source.name}, line {line}")
            continue
        if len(fields) != len(columns):
            bad(
                DataError(
                    "the row has another number of fields than there are columns",
                    expected=f"{len(columns)}: {', '.join(columns)}",
                    got=f"{len(fields)}: {', '.join(fields)[:60]}",
                    where=f"{source.name}, line {line}",
                    fix="put quotation marks around a field that holds a comma" if kind == "csv" else None,
                )
            )
            continue
        yield Row(dict(zip(columns, fields, strict=True)), line, source)
