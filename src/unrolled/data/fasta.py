"""FASTA: sequences of letters with a name each, over any number of lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unrolled.data.alphabets import Alphabet, Codes
from unrolled.data.compressed import plain_name
from unrolled.data.text import Source, read_bytes, read_text
from unrolled.errors import DataError

__all__ = ["ENDINGS", "Record", "fasta_stem", "is_fasta", "read_fasta"]

ENDINGS = (".fa", ".fasta", ".fna", ".ffn", ".faa", ".frn", ".fas")
"""Of the names of such files."""


@dataclass(frozen=True, eq=False)
class Record:
    """One sequence.

    Attributes:
        name: the first word of its header.
        description: what follows there.
        codes: (T,) its letters, at least one.
        line: the line of its header, from 1.
        source: the file.
    """

    name: str
    description: str
    codes: Codes
    line: int
    source: Source

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.source.name}, line {self.line}"

    def field(self, key: str) -> str | None:
        """The value of `key=value` in the description, None where there is none."""
        for word in self.description.split():
            name, sign, value = word.partition("=")
            if sign and name == key:
                return value
        return None


def is_fasta(source: Source) -> bool:
    """Whether the first character of a file that is not white space is the > of a header."""
    for chunk in read_bytes(source):
        if start := chunk.removeprefix(b"\xef\xbb\xbf").lstrip():
            return start[:1] == b">"
    return False


def fasta_stem(source: Source) -> str:
    """The name of a file without directory and endings: what its class is called where a file is a class."""
    path = plain_name(source.name)
    return path.stem if path.suffix.lower() in ENDINGS else path.name


def read_fasta(source: Source, alphabet: Alphabet) -> Iterator[Record]:
    """The sequences of a file (Pearson & Lipman 1988), one after the other; nothing but one of them is held.

    A header begins with >, and what follows up to the next is its sequence, over any number of lines; empty lines are
    passed over. A * at the end of a protein is left out.

    Args:
        source: the file; may be compressed.
        alphabet: its letters.

    Raises:
        DataError: letters before the first header, a letter outside the alphabet, a sequence without a letter, a header
            without a name; with file and line.
    """
    header, begin, stopped = "", 0, False
    parts: list[Codes] = []
    for number, line in enumerate(_lines(source), 1):
        if line.startswith(">"):
            if begin:
                yield _record(header, parts, begin, source)
            header, begin, stopped, parts = line[1:].strip(), number, False, []
            if not header:
                raise DataError("a sequence has no name", where=f"{source.name}, line {number}", expected=">name")
        elif line.strip():
            where = f"{source.name}, line {number}"
            if not begin:
                raise DataError(
                    "the file is no FASTA: there is something before the first header",
                    expected="a line that begins with >",
                    got=repr(line.strip()[:40]),
                    where=where,
                )
            if stopped:
                raise DataError("there are letters after the stop *", where=where, fix="cut the sequence at its stop")
            text = line.rstrip()
            stopped = text.endswith("*") and "*" not in alphabet.letters
            parts.append(alphabet.encode(text.removesuffix("*") if stopped else text, where))
    if begin:
        yield _record(header, parts, begin, source)


def _record(header: str, parts: list[Codes], line: int, source: Source) -> Record:
    codes: Codes = np.concatenate(parts) if parts else np.empty(0, np.uint8)
    if not len(codes):
        raise DataError("a sequence has no letter", got=f">{header[:60]}", where=f"{source.name}, line {line}")
    name, *rest = header.split(maxsplit=1)
    return Record(name, "".join(rest), codes, line, source)


def _lines(source: Source) -> Iterator[str]:
    """The lines of a file without their ends."""
    rest = ""
    for text in read_text(source):
        lines = (rest + text).split("\n")
        rest = lines.pop()
        yield from lines
    if rest:
        yield rest
