"""How files hold labelled examples: a registry of formats.

A format says which files it fits by their names and where they lie, and reads them. To add one, derive from `Format`
and put it into `FORMATS`, before those that fit anything.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from unrolled.data.compressed import plain_name
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.tables import Row, TableFormat, read_rows, table_format
from unrolled.data.text import Source, read_lines, read_text
from unrolled.errors import ConfigurationError, DataError, nearest

__all__ = [
    "FORMATS",
    "Bad",
    "Files",
    "FirstWord",
    "Folders",
    "Format",
    "Item",
    "Lines",
    "Table",
    "all_formats",
    "find_format",
    "input_of",
]

Bad = Callable[[DataError], None]
"""What is told of a row that cannot be read: it raises the error, or counts it."""

_BESIDE = {"README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "SOURCE", "SOURCES", "CITATION", "AUTHORS", "CHANGELOG"}
_FAST_TEXT = "__label__"


class Item(NamedTuple):
    """An example as a format finds it.

    Attributes:
        input: the text; of other formats an array (T, ...).
        label: a string, or a JSON value; None where there is none.
        source: the file.
        line: the line it begins in, from 1; 0 where it is the whole file.
    """

    input: Any
    label: Any
    source: Source
    line: int

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.source.name}, line {self.line}" if self.line else self.source.name


class Format(ABC):
    """How files hold labelled examples.

    Attributes:
        name: what `--format` calls it.
        about: what an example is, in a few words.
        input: what of `data.inputs.INPUTS` it is read as.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    input: ClassVar[str] = "text"

    @abstractmethod
    def fits(self, sources: Sequence[Source]) -> bool:
        """Whether files look like it, by their names and where they lie."""

    def suits(self, sources: Sequence[Source], config: LabelledConfig) -> bool:
        """Whether files look like it, or it was named for those that were trained on."""
        return self.name == config.format or self.fits(sources)

    @abstractmethod
    def read(self, sources: Sequence[Source], config: LabelledConfig, bad: Bad, labelled: bool) -> Iterator[Item]:
        """The examples of files, in their order.

        Args:
            sources: the files of one part.
            config: how they are read.
            bad: is told of a row that cannot be read.
            labelled: whether each has to have a label.
        """


class Table(Format):
    """CSV, TSV and JSON lines: a row an example, with a column that holds the text and one that holds the label."""

    name, about = "table", "a row an example (CSV, TSV, JSON lines)"

    def __init__(self, kind: TableFormat | None = None) -> None:
        self.kind = kind
        if kind is not None:
            self.name = kind  # type: ignore[misc]

    def fits(self, sources: Sequence[Source]) -> bool:
        return all(table_format(source) is not None for source in sources)

    def read(self, sources: Sequence[Source], config: LabelledConfig, bad: Bad, labelled: bool) -> Iterator[Item]:
        columns = None if config.columns is None else [name.strip() for name in config.columns.split(",")]
        for source in sources:
            first = True
            for row in read_rows(source, self.kind, columns=columns, errors=config.errors, bad=bad):
                if first:
                    # That a column is not there is said of the first row; later ones may leave theirs out.
                    _check_column(row, config.text, "--text")
                    if labelled:
                        _check_column(row, config.label, "--label")
                    first = False
                yield Item(row.values.get(config.text), row.values.get(config.label), source, row.line)


def _check_column(row: Row, column: str, option: str) -> None:
    """Raise a `DataError` where a table has no column of a name, with the option that names another."""
    if column in row.values:
        return
    fix = f"name the column with {option}; {nearest(column, row.values)}"
    if len(row.values) == 1 and ";" in next(iter(row.values)):
        fix = "separate the fields by commas, or tabs in a .tsv file: semicolons are read as text"
    raise DataError(
        f"there is no column {column!r}",
        expected=f"one of {', '.join(map(repr, row.values))}",
        where=row.where,
        fix=fix,
    )


class Folders(Format):
    """A folder a label, a file an example: the label is the first folder below what all files have in common."""

    name, about = "folders", "a folder a label, a file an example"

    def fits(self, sources: Sequence[Source]) -> bool:
        return len({source.path.parent for source in sources}) > 1

    def read(self, sources: Sequence[Source], config: LabelledConfig, bad: Bad, labelled: bool) -> Iterator[Item]:
        root = os.path.commonpath([source.path.parent for source in sources])
        for source in sources:
            below = source.path.relative_to(root).parts
            # A file beside the folders describes them.
            if len(below) > 1 or not labelled:
                yield Item("".join(read_text(source, config.errors)), below[0] if len(below) > 1 else None, source, 0)


class Files(Format):
    """A file a label, a line an example: the label is the file's name without its ending."""

    name, about = "files", "a file a label, a line an example"

    def fits(self, sources: Sequence[Source]) -> bool:
        return len(sources) > 1

    def read(self, sources: Sequence[Source], config: LabelledConfig, bad: Bad, labelled: bool) -> Iterator[Item]:
        for source in sources:
            label = plain_name(source.path.name).stem
            if label not in _BESIDE:
                for number, line in read_lines(source, config.errors):
                    if line.strip():
                        yield Item(line, label, source, number)


class FirstWord(Format):
    """A line an example, its first word the label, with or without `__label__` before it (as fastText writes it)."""

    name, about = "first", "a line an example, its first word the label"

    def fits(self, sources: Sequence[Source]) -> bool:
        return True

    def read(self, sources: Sequence[Source], config: LabelledConfig, bad: Bad, labelled: bool) -> Iterator[Item]:
        for source in sources:
            for number, line in read_lines(source, config.errors):
                label, _, text = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
                labels = [label.removeprefix(_FAST_TEXT)] if label else []
                while config.target == "labels" and text.startswith(_FAST_TEXT):
                    label, _, text = text.partition(" ")
                    labels.append(label.removeprefix(_FAST_TEXT))
                if labels:
                    yield Item(text, labels if config.target == "labels" else labels[0], source, number)


class Lines(Format):
    """A line an example, without labels: what is only to be predicted. An empty line is one, too."""

    name, about = "lines", "a line an example, without labels"

    def fits(self, sources: Sequence[Source]) -> bool:
        return False

    def read(self, sources: Sequence[Source], config: LabelledConfig, bad: Bad, labelled: bool) -> Iterator[Item]:
        for source in sources:
            for number, line in read_lines(source, config.errors):
                yield Item(line, None, source, number)


FORMATS: list[Format] = [
    Table(),
    Table("csv"),
    Table("tsv"),
    Table("jsonl"),
    Folders(),
    Files(),
    FirstWord(),
    Lines(),
]
"""Those of texts; the first that fits is taken where none is named."""


def all_formats() -> list[Format]:
    """Those of sequences that are no texts, then those of texts."""
    from unrolled.data.sequence_formats import SEQUENCE_FORMATS  # which derive from `Format`

    return [*SEQUENCE_FORMATS, *FORMATS]


def input_of(sources: Sequence[Source], config: LabelledConfig) -> str:
    """What of `data.inputs.INPUTS` files are read as.

    Raises:
        ConfigurationError: an alphabet is given for what has no letters.
    """
    found = find_format(sources, config)
    if config.alphabet is None:
        return found.input
    if found.input not in ("text", "letters"):
        raise ConfigurationError(f"an alphabet is for sequences of letters, not for {found.about}", got=found.name)
    return "letters"


def find_format(sources: Sequence[Source], config: LabelledConfig) -> Format:
    """The format that the options name; else the first that fits.

    Args:
        sources: the files of a part.
        config: with the format's name, or auto.

    Raises:
        ConfigurationError: there is no such format.
    """
    if config.format != "auto":
        names = {kind.name: kind for kind in all_formats()}
        if config.format not in names:
            raise ConfigurationError(f"there is no format {config.format!r}", fix=nearest(config.format, names))
        return names[config.format]
    return next(kind for kind in all_formats() if kind.fits(sources))
