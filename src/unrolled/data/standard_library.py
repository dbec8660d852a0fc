"""The text that every machine with this package has: the source of Python's own standard library.

It is what the demonstration trains on, about 12 million characters with Python 3.11. Taken are all `*.py` files of the
standard library's directory, sorted by their path, except

- what is not the library: `site-packages`, `dist-packages` and `__pycache__`;
- its tests, which are larger than the library: `test`, `tests` and `idle_test`;
- what describes the machine it was built on: `config-*` and `_sysconfigdata*`;
- files that are not UTF-8.

They follow each other with nothing between them but a line end where a file lacks its last. Characters are kept as
they are: no case is folded and nothing is left out. About a hundred characters beside ASCII's occur, most of them once
or twice (tables of case folding, names of people); whoever does not want a symbol for each folds them by `min_count`.
"""

from __future__ import annotations

import os
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from unrolled.files import storage_errors

__all__ = ["files", "write"]

_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}
_OF_THE_MACHINE = ("config-", "_sysconfigdata")


def files() -> list[Path]:
    """The files of the standard library that are taken, in their order, before it is known which are UTF-8."""
    root = Path(sysconfig.get_paths()["stdlib"])
    taken = [path for path in root.rglob("*.py") if path.is_file() and _is_taken(path.relative_to(root).parts)]
    return sorted(taken, key=lambda path: path.relative_to(root).as_posix())


def write(path: Path) -> Path:
    """Write the text to one file, whole or not at all, and return its path.

    Raises:
        StorageError: the file cannot be written.
    """
    with storage_errors(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for content in _contents():
                    file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return path


def _is_taken(parts: tuple[str, ...]) -> bool:
    return _LEFT_OUT.isdisjoint(parts) and not any(part.startswith(_OF_THE_MACHINE) for part in parts)


def _contents() -> Iterator[bytes]:
    """The bytes of each file that is UTF-8, ending in a line end."""
    for source in files():
        content = source.read_bytes()
        try:
            content.decode()
        except UnicodeDecodeError:
            continue
        yield content if content.endswith(b"\n") or not content else content + b"\n"
