"""Tagged sentences that every machine with this package has: the source of Python's standard library, word by word.

A sentence is a logical line, its words are the tokens that Python's own tokenizer finds (comments left out, strings
shortened), and the tag of each is what it is there, as Python's own parser says:

    keyword, operator, number, string
    function, class, parameter     a name that is defined
    module                         one that is imported, or imported from
    call, method                   one that is called; after a point
    attribute, argument            one after a point; one of a keyword argument
    target, name                   one that is assigned to; any other

What a name is follows from its line (`x = f(x=x)` has a target, a call, an argument and a name), sometimes from how it
is spelt, and sometimes not at all.
"""

from __future__ import annotations

import ast
import io
import itertools
import keyword
import random
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path

from unrolled.data import standard_library
from unrolled.files import write_atomically

__all__ = ["tag_source", "write"]

_LONGEST = 24  # characters of a string
_FEWEST, _MOST = 3, 80  # words of a line: longer ones are tables
_DRAWN = 0
_SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}
_PLAIN = {tokenize.NUMBER: "number", tokenize.STRING: "string"}
_Place = tuple[int, int]


def write(path: Path, words: int = 120_000) -> Path:
    """Write whole files of the standard library, drawn by chance (the same ones each time), until there are so many
    words: CoNLL columns, word and tag, a document a file.

    Raises:
        StorageError: the file cannot be written.
    """
    files = standard_library.files()
    random.Random(_DRAWN).shuffle(files)
    made: list[str] = []
    count = 0
    for file in files:
        if count >= words:
            break
        sentences = _read(file)
        made += ["-DOCSTART-\tO\n\n"] * bool(sentences)
        for sentence in sentences:
            made.append("".join(f"{word}\t{tag}\n" for word, tag in sentence) + "\n")
            count += len(sentence)
    write_atomically(path, "".join(made).encode("utf-8", "backslashreplace"))
    return path


def _read(file: Path) -> list[list[tuple[str, str]]]:
    try:
        return tag_source(file.read_bytes().decode())
    except (SyntaxError, ValueError, tokenize.TokenError):
        return []  # not UTF-8, or a template that is no program


def tag_source(source: str) -> list[list[tuple[str, str]]]:
    """The logical lines of a program, each token with its tag; very short and very long ones are left out.

    >>> tag_source("x = f(a, x=x.y)")
    [[('x', 'target'), ('=', 'operator'), ('f', 'call'), ('(', 'operator'), ('a', 'name'), (',', 'operator'),
    ('x', 'argument'), ('=', 'operator'), ('x', 'name'), ('.', 'operator'), ('y', 'attribute'), (')', 'operator')]]

    Raises:
        SyntaxError: it is no program of this Python.
    """
    with warnings.catch_warnings(action="ignore"):
        tree = ast.parse(source)
    # The parser counts columns in bytes, the tokenizer in characters.
    lines = [line.encode() for line in source.split("\n")]
    roles = {(row, len(lines[row - 1][:column].decode(errors="replace"))): role for (row, column), role in _roles(tree)}
    found: list[list[tuple[str, str]]] = []
    sentence: list[tuple[str, str]] = []
    before, importing = "", False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            found.append(sentence)
            sentence, before, importing = [], "", False
        elif token.type not in _SKIPPED:
            importing = importing or (not sentence and token.string in ("import", "from"))
            tag = _PLAIN.get(token.type, "operator")
            if token.type == tokenize.NAME:
                tag = _name(token.string, token.start, before, importing, roles)
            sentence.append((_shown(token.string) if tag == "string" else token.string, tag))
            before = token.string
    return [one for one in found if _FEWEST <= len(one) <= _MOST]


def _name(text: str, place: _Place, before: str, importing: bool, roles: dict[_Place, str]) -> str:
    if keyword.iskeyword(text):
        return "keyword"
    if before == "def":
        return "function"
    if before == "class":
        return "class"
    return "module" if importing else roles.get(place, "name")


def _roles(tree: ast.AST) -> Iterator[tuple[_Place, str]]:
    """What names are, by line from 1 and byte from 0; what comes later of the same place holds."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        match node:
            case ast.Name():
                role = "call" if id(node) in called else "name" if isinstance(node.ctx, ast.Load) else "target"
                yield (node.lineno, node.col_offset), role
            case ast.Attribute(end_lineno=int(row), end_col_offset=int(column), attr=attr):
                yield (row, column - len(attr.encode())), "method" if id(node) in called else "attribute"
            case ast.arg():
                yield (node.lineno, node.col_offset), "parameter"
            case ast.keyword(arg=str()):
                yield (node.lineno, node.col_offset), "argument"


def _shown(string: str) -> str:
    """A string in few characters, without white space at which a line would end."""
    one = "".join(itertools.islice((" " if c.isspace() else c for c in string), _LONGEST + 1))
    return one if len(one) <= _LONGEST else f"{one[: _LONGEST - 4]}...{string[-1]}"
