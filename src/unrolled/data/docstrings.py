"""Labelled sentences that every machine with this package has: from the documentation in Python's standard library.

The docstrings of some families of modules are cut into sentences; the label of a sentence is its family. What a family
is called is masked in its own sentences, so that nothing is told by the name: a model has to know what text about files
sounds like.
"""

from __future__ import annotations

import ast
import csv
import io
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from unrolled.data.standard_library import files
from unrolled.files import write_atomically

__all__ = ["FAMILIES", "sentences", "write_sentences"]

FAMILIES: dict[str, tuple[str, ...]] = {
    "asynchronous": ("asyncio", "concurrent", "selectors", "socketserver", "asyncore"),
    "email": ("email", "mailbox", "smtplib", "imaplib", "poplib", "mimetypes"),
    "files": ("pathlib", "shutil", "tempfile", "zipfile", "tarfile", "gzip", "os", "glob", "fnmatch"),
    "language": ("ast", "inspect", "dis", "tokenize", "importlib", "typing", "dataclasses", "enum", "pickle"),
    "logging": ("logging", "warnings", "traceback", "pdb", "bdb", "cProfile", "trace"),
    "numbers": ("decimal", "fractions", "statistics", "random", "numbers", "datetime", "calendar", "heapq", "bisect"),
    "testing": ("unittest", "doctest"),
    "web": ("http", "urllib", "html", "xml", "xmlrpc", "wsgiref", "ssl", "socket", "ftplib"),
    "windows": ("tkinter", "turtle", "idlelib", "curses", "turtledemo"),
}
"""The labels, each with the modules and packages its sentences come from."""

_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_PROMPT = re.compile(r"^\s*(>>>|\.\.\.|[-=~]{3,})")
_LEAST_WORDS, _MOST_WORDS = 5, 60


def sentences() -> Iterator[tuple[str, str]]:
    """Sentences and their families, each sentence once, in the order of the files."""
    families = {module: family for family, modules in FAMILIES.items() for module in modules}
    root = Path(sysconfig.get_paths()["stdlib"])
    seen: set[str] = set()
    for path in files():
        module = path.relative_to(root).parts[0].removesuffix(".py")
        if module not in families:
            continue
        names = re.compile(rf"\b({'|'.join(FAMILIES[families[module]])})s?\b", re.IGNORECASE)
        for text in _docstrings(path):
            for sentence in _cut(text):
                sentence = names.sub("_", sentence)
                if sentence not in seen:
                    seen.add(sentence)
                    yield sentence, families[module]


def write_sentences(path: Path) -> Path:
    """Write the sentences to a CSV file with the columns `text` and `label`, and return its path.

    Raises:
        StorageError: it cannot be written.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["text", "label"])
    writer.writerows(sentences())
    write_atomically(path, out.getvalue().encode())
    return path


def _docstrings(path: Path) -> Iterator[str]:
    """The documentation of a module, its classes and functions."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # a file of the library that is wrong on purpose
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = ast.get_docstring(node)
            if found:
                yield found


def _cut(text: str) -> Iterator[str]:
    """The sentences of a docstring: of its paragraphs without examples, tables and lists of arguments."""
    for paragraph in re.split(r"\n\s*\n", text):
        if any(_PROMPT.match(line) for line in paragraph.split("\n")):
            continue
        for sentence in _END.split(" ".join(paragraph.split())):
            if sentence[-1:] in ".!?" and _LEAST_WORDS <= len(sentence.split()) <= _MOST_WORDS:
                yield sentence
