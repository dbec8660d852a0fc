"""Sources of text: finding them, and reading them in pieces."""

from __future__ import annotations

import codecs
import contextlib
import glob
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import IO

from unrolled.data.compressed import SUFFIXES, decompress
from unrolled.data.configuration import DecodingErrors
from unrolled.errors import DataError
from unrolled.files import cache_directory, storage_errors

__all__ = ["CHUNK", "Source", "content_of", "decode", "find_sources", "read_bytes", "read_lines", "read_text"]

# Bytes read at a time: large enough that Python costs nothing, small enough that the arrays made of it stay in cache.
CHUNK = 1 << 16
_SNIFFED = 1 << 13


@dataclass(frozen=True)
class Source:
    """A file of text as it was when it was found.

    Attributes:
        path: the file, absolute, with symbolic links followed.
        name: what the user called it, for messages.
        size: its length in bytes.
        mtime_ns: when it was last changed, in nanoseconds since 1970.
    """

    path: Path
    name: str
    size: int
    mtime_ns: int


def find_sources(paths: Sequence[str]) -> list[Source]:
    """The files that some names stand for, in the order given, each file once.

    A file may be compressed (.gz, .bz2, .xz, .zst): it is read as what it holds, and never written out. A name is a
    file, a directory (its files at any depth, sorted by path; hidden ones, empty ones and those that are
    not text are passed over), a glob (`**` for any depth; sorted, with the same passed over), or `-` for standard
    input. Standard input and pipes are first copied to a file in the cache, which is called by its content.

    Raises:
        DataError: a file that is missing, empty or cannot be read; a directory without text; a glob without a match.
        StorageError: standard input cannot be copied.
    """
    found: dict[Path, Source] = {}
    for path in paths:
        for source in _find(path):
            found.setdefault(source.path, source)
    if not found:
        raise DataError("no text was given", fix="name at least one file, directory or glob, or - for standard input")
    return list(found.values())


def read_bytes(source: Source, told: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """The bytes of a source in pieces of at most `CHUNK`; of a compressed file (see `data.compressed`) its content.

    Args:
        source: the file.
        told: called after each piece with how many bytes of the file have been read, compressed or not.

    Raises:
        DataError: it cannot be read any more, or what is compressed is damaged.
    """
    with _reading(source.name), source.path.open("rb") as file:
        for chunk in content_of(file, source.path):
            yield chunk
            if told is not None:
                told(min(file.tell(), source.size))


def content_of(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """The content of an open file in pieces of at most `CHUNK`, decompressed if its name says that it is compressed."""
    if path.suffix in SUFFIXES:
        yield from decompress(file, path, CHUNK)
    else:
        while chunk := file.read(CHUNK):
            yield chunk


def decode(chunks: Iterable[bytes], source: Source, errors: DecodingErrors = "strict") -> Iterator[str]:
    """The text of UTF-8 bytes that come in pieces. A byte-order mark at the start is dropped; line ends are kept.

    Args:
        chunks: the bytes of the whole source, cut anywhere.
        source: what they are, for the message.
        errors: "strict", or "replace" to read what is not UTF-8 as U+FFFD.

    Raises:
        DataError: a byte that is not UTF-8, with its offset in the source.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    offset, started = 0, False
    for chunk in _then_end(chunks):
        # A character that is cut by the border of a piece waits inside the decoder.
        waiting = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise _bad_byte(source, offset - waiting + error.start, error) from None
        offset += len(chunk)
        if text and not started:
            text, started = text.removeprefix("\ufeff"), True
        if text:
            yield text


def read_text(source: Source, errors: DecodingErrors = "strict") -> Iterator[str]:
    """The text of a source in pieces; see `decode`."""
    return decode(read_bytes(source), source, errors)


def read_lines(source: Source, errors: DecodingErrors = "strict") -> Iterator[tuple[int, str]]:
    """The lines of a source with their numbers, from 1, without what ends them: a line feed, with or without a carriage
    return before it; see `decode`."""
    rest: list[str] = []
    number = 0
    for piece in read_text(source, errors):
        # Not `splitlines`, which also cuts where no editor counts a line.
        first, *more = piece.split("\n")
        rest.append(first)
        for following in more:
            number += 1
            yield number, "".join(rest).removesuffix("\r")
            rest = [following]
    if last := "".join(rest):
        yield number + 1, last.removesuffix("\r")


def _find(name: str) -> Iterator[Source]:
    """The sources of one name."""
    if name == "-":
        yield _spool(sys.stdin.buffer, "standard input")
        return
    path = Path(os.path.expanduser(name))  # noqa: PTH111 (the method fails for a user who does not exist)
    with _reading(name):
        if name and path.exists():
            yield from _named(path, name)
        elif glob.has_magic(name):
            yield from _matching(path, name)
        else:
            raise DataError(
                "there is no such file or directory",
                where=name or "an empty name",
                fix="check the path; it is taken relative to the current directory",
            )


def _named(path: Path, name: str) -> Iterator[Source]:
    """The sources of a path that exists: of itself, or of the directory."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        sources = list(_gather(path, name, set()))
        if not sources:
            raise DataError(
                "the directory has no text",
                expected="at least one file with something in it that is not binary; hidden files do not count",
                where=name,
            )
        yield from sources
    elif stat.S_ISREG(mode):
        head = _head(path)
        if not head:
            raise DataError("the file is empty", where=name, fix="leave it out")
        if head[257:262] == b"ustar":
            raise DataError("the file is an archive", got="a tar file", where=name, fix="unpack it first")
        yield _source(path, name)
    else:
        with path.open("rb") as stream:
            yield _spool(stream, name)


def _matching(pattern: Path, name: str) -> Iterator[Source]:
    """The sources that a glob finds. Hidden names are matched only by a pattern that has one."""
    fixed = list(takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    base, wild = Path(*fixed), Path(*pattern.parts[len(fixed) :])
    try:
        # Not `glob.glob`, whose ** follows symbolic links round and round.
        matches = sorted(base.glob(str(wild)))
    except ValueError as error:
        raise DataError(f"not a glob: {error}", where=name) from None
    seen: set[Path] = set()
    sources = [
        source
        for match in matches
        if _has_hidden(wild) or not _has_hidden(match.relative_to(base))
        for source in _gather(match, str(match), seen)
    ]
    if not sources:
        raise DataError("the glob finds no text", where=name, fix="check the path before the first wildcard")
    yield from sources


def _has_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _gather(path: Path, name: str, seen: set[Path]) -> Iterator[Source]:
    """The text files at or below a path, sorted by their paths.

    `seen` are the directories read before, which a symbolic link may lead back to.
    """
    if path.is_dir():
        resolved = path.resolve()
        if resolved in seen:
            return
        seen.add(resolved)
        for entry in sorted(path.iterdir()):
            if not entry.name.startswith("."):
                yield from _gather(entry, f"{name.rstrip('/')}/{entry.name}", seen)
    elif path.is_file() and _is_text(path):
        yield _source(path, name)


def _is_text(path: Path) -> bool:
    """Whether a file has something in it, and no NUL near its start, which no text has."""
    head = _head(path)
    return bool(head) and b"\0" not in head


def _head(path: Path) -> bytes:
    """The first bytes of the content of a file."""
    head = b""
    with path.open("rb") as file:
        for chunk in content_of(file, path):
            head += chunk
            if len(head) >= _SNIFFED:
                break
    return head[:_SNIFFED]


def _source(path: Path, name: str) -> Source:
    status = path.stat()
    return Source(path.resolve(), name, status.st_size, status.st_mtime_ns)


def _spool(stream: IO[bytes], name: str) -> Source:
    """Copy a stream to a file in the cache, called by its SHA-256: a text is read twice, and a stream comes once.

    The same content given again finds its file as it was, and with it whatever was prepared from it.
    """
    directory = cache_directory() / "stdin"
    digest = hashlib.sha256()
    with storage_errors(f"copying {name} to {directory}"):
        directory.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".writing-", dir=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
                size = file.tell()
            if not size:
                raise DataError(f"{name} is empty")
            path = directory / f"{digest.hexdigest()}.txt"
            if not path.exists() or path.stat().st_size != size:
                os.replace(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        return _source(path, name)


def _then_end(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces that are not empty, and an empty one to mark the end."""
    yield from filter(None, chunks)
    yield b""


def _bad_byte(source: Source, offset: int, error: UnicodeDecodeError) -> DataError:
    byte = error.object[error.start]
    return DataError(
        f"{source.name} is not UTF-8",
        where=f"{source.name}, byte offset {offset}",
        expected="text in UTF-8",
        got=f"byte 0x{byte:02x} ({error.reason})",
        fix="convert the file (iconv -f latin1 -t utf-8), or read such bytes as U+FFFD with --errors replace",
    )


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn an `OSError` inside the block into a `DataError` about what was being read."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{name} cannot be read: {error.strerror or error}",
            where=str(error.filename) if error.filename else name,
            fix="check that it is still there and that you may read it",
        ) from error
