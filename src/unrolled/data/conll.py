"""Tagged sentences: CoNLL columns and CoNLL-U, read a sentence at a time and written back as they were.

A line is a word, its columns separated by tabs or, where the file has none, by spaces; an empty line ends a sentence.
Read as no word are

- document marks: a word line whose word is `-DOCSTART-`, and in CoNLL-U the comment `# newdoc`;
- comments before the first word of a sentence: in CoNLL-U every line that begins with `#`; in columns such a line only
  if it has another number of columns than the file's words, as `#` may well be a word;
- in CoNLL-U multiword tokens (`1-2`) and empty nodes (`1.1`).

They are kept, so that a sentence is written as it was read.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from unrolled.data.text import Source, read_lines
from unrolled.errors import ConfigurationError, DataError, nearest

__all__ = ["COLUMNS", "Layout", "Sentence", "find_layout", "parse_sentences", "read_sentences"]

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_MARK = "-DOCSTART-"
_NAMES = "# global.columns ="
_SNIFFED = 2000  # lines
_NONE = "_"  # what CoNLL-U writes where nothing is known


@dataclass(frozen=True)
class Layout:
    """Where in a line what stands.

    Attributes:
        kind: "conllu", or "columns".
        tabs: whether tabs separate columns, or else any white space.
        width: columns of a word.
        token: the column of the word, from 0.
        tag: the column of the tag, from 0; None where there is none.
        prefix: what every word begins with and is cut off.
    """

    kind: Literal["columns", "conllu"]
    tabs: bool
    width: int
    token: int
    tag: int | None
    prefix: str = ""

    def cut(self, line: str) -> list[str]:
        """The columns of a line."""
        return line.split("\t") if self.tabs else line.split()


@dataclass(frozen=True)
class Sentence:
    """A sentence as it stands in a file.

    Attributes:
        tokens: its words.
        tags: a tag a word; None for a word that was not tagged; empty where the file has no tags.
        document: whether a document begins with it.
        lines: its lines and those before it that are no word, without line ends.
        places: the lines that are words, by their place in `lines`.
        line: the number in the file of its first word's line, from 1.
        where: what the file is called.
    """

    tokens: tuple[str, ...]
    tags: tuple[str | None, ...] = ()
    document: bool = False
    lines: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    line: int = 1
    where: str = "text"

    def written(self, layout: Layout, tags: Sequence[str] | None = None) -> str:
        """The sentence as it was read, with the empty line that ends it; or with other tags.

        Args:
            layout: where its tag stands; a column is added where there is none.
            tags: one a word.
        """
        lines = list(self.lines)
        for place, tag in zip(self.places, tags or (), strict=bool(tags)):
            columns = layout.cut(lines[place])
            if layout.tag is None:
                columns.append(tag)
            else:
                columns[layout.tag] = tag
            lines[place] = ("\t" if layout.tabs else " ").join(columns)
        return "".join(f"{line}\n" for line in [*lines, ""])


def read_sentences(source: Source, layout: Layout) -> Iterator[Sentence]:
    """The sentences of a file.

    Raises:
        DataError: a line with too few or too many columns, an empty word or tag, or, in CoNLL-U, a word whose number is
            not the next; with its file and line.
    """
    return parse_sentences((line for _, line in read_lines(source)), layout, source.name)


def find_layout(
    lines: Iterable[str],
    name: str,
    *,
    kind: str = "auto",
    token: str | None = None,
    tag: str | None = None,
    prefix: str = "",
) -> Layout:
    """How a file is laid out, from its name and first lines.

    Args:
        lines: its lines; not all of them are read.
        name: what it is called.
        kind: "conllu", "columns", or "auto": CoNLL-U if the file's name says so, or each word has ten columns with tabs
            between them, of which the first is a number.
        token: the column of the word: its number from 1, or from -1 for the last; in CoNLL-U its name, as in `COLUMNS`
            or as `# global.columns` says. By default the first, in CoNLL-U `form`.
        tag: the column of the tag; by default the last (none where there is one column), in CoNLL-U `upos`.
        prefix: what every word begins with and is cut off.

    Raises:
        DataError: the file has no words.
        ConfigurationError: there is no such column.
    """
    seen = [line for line in itertools.islice(lines, _SNIFFED) if line.strip()]
    words = [line for line in seen if not line.startswith("#")] or seen
    if not words:
        raise DataError("the file has no words", where=name, expected="a word a line with its tag")
    tabs = sum("\t" in line for line in words) * 2 > len(words)
    width = Counter(len(line.split("\t") if tabs else line.split()) for line in words).most_common(1)[0][0]
    if kind == "auto":
        named = any(end in name for end in (".conllu", ".conllup"))
        numbered = width == len(COLUMNS) and tabs and sum(line[0].isdigit() for line in words) * 2 > len(words)
        kind = "conllu" if named or numbered else "columns"
    if kind == "columns":
        at = _column(token or "1", width, (), name)
        found = None if width == 1 and tag is None else _column(tag or "-1", width, (), name)
        return Layout("columns", tabs, width, at, found, prefix)
    given = next((line for line in seen if line.startswith(_NAMES)), None)
    names = COLUMNS if given is None else tuple(given.removeprefix(_NAMES).lower().split())
    at, found = (_column(one, len(names), names, name) for one in (token or "form", tag or "upos"))
    # Where words are not numbered, nothing is known of how they are.
    return Layout("conllu" if names[0] == "id" else "columns", True, len(names), at, found, prefix)


def parse_sentences(lines: Iterable[str], layout: Layout, name: str = "text") -> Iterator[Sentence]:
    """The sentences of lines without their ends; see `read_sentences`."""
    held: list[str] = []
    places: list[int] = []
    tokens: list[str] = []
    tags: list[str | None] = []
    document, first = False, 0
    for number, line in enumerate(itertools.chain(lines, [""]), 1):
        if line and not line.isspace():
            where = f"{name}, line {number}"
            if not places and line.startswith("#") and _is_comment(line, layout):
                document = document or line.split()[1:2] == ["newdoc"]
                held.append(line)
                continue
            columns = layout.cut(line)
            if columns[0] == _MARK:
                document = True
                held.append(line)
                continue
            _check_width(columns, layout, where)
            held.append(line)
            if layout.kind == "conllu" and not _is_word(columns[0], len(places), where):
                continue
            token, tag = _read(columns, layout, where)
            tokens.append(token)
            if layout.tag is not None:
                tags.append(tag)
            first = first or number
            places.append(len(held) - 1)
        elif places:
            yield Sentence(tuple(tokens), tuple(tags), document, tuple(held), tuple(places), first, name)
            held, places, tokens, tags, document, first = [], [], [], [], False, 0
        elif held:
            # Of a mark that stands alone, or of a sentence without words: written before the next one.
            held.append("")


def _is_comment(line: str, layout: Layout) -> bool:
    return layout.kind == "conllu" or len(layout.cut(line)) != layout.width


def _is_word(number: str, before: int, where: str) -> bool:
    """Whether the first column of CoNLL-U is that of a word, not of several or of an empty node."""
    if number == str(before + 1):
        return True
    first, _, second = number.partition("-") if "-" in number else number.partition(".")
    if first.isdigit() and second.isdigit():
        return False
    raise DataError(
        "a word of a sentence is missing or out of place",
        expected=f"word {before + 1}, or an empty line before the next sentence",
        got=f"number {number!r}",
        where=where,
    )


def _check_width(columns: Sequence[str], layout: Layout, where: str) -> None:
    if len(columns) != layout.width:
        between = "tabs" if layout.tabs else "spaces"
        raise DataError(
            "a line has another number of columns than the others",
            expected=f"{layout.width} columns with {between} between them",
            got=f"{len(columns)}",
            where=where,
            fix="mend the line; if it is the last one, the file may have been cut off",
        )


def _read(columns: Sequence[str], layout: Layout, where: str) -> tuple[str, str | None]:
    """The word and the tag of a line."""
    token = columns[layout.token].removeprefix(layout.prefix)
    tag = None if layout.tag is None else columns[layout.tag]
    for what, column, text in (("word", layout.token, token), ("tag", layout.tag, tag)):
        if text is not None and (not text or text.isspace()):
            raise DataError(f"a {what} is empty", where=f"{where}, column {column + 1 if column is not None else 0}")
    return token, None if tag == _NONE and layout.kind == "conllu" else tag


def _column(given: str, width: int, names: Sequence[str], where: str) -> int:
    """The place from 0 of a column that is given by its number from 1, from -1 for the last, or by its name."""
    try:
        number = int(given)
    except ValueError:
        if given.lower() in names:
            return names.index(given.lower())
        fix = nearest(given, names) if names else "give its number: 1 is the first column, -1 the last"
        raise ConfigurationError(f"there is no column {given!r}", where=where, fix=fix) from None
    if not 1 <= abs(number) <= width:
        raise ConfigurationError(
            f"there is no column {given}", expected=f"from 1 to {width}, or from -{width} to -1", where=where
        )
    return number - 1 if number > 0 else width + number
