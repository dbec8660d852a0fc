"""Compressed files, read as a stream: gzip, bzip2, xz and Zstandard, known by the end of their names.

A file may hold several compressed streams one after the other, as parallel compressors write them. One that ends before
its last stream does is an error, never a shorter text.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import IO, Any

from unrolled.errors import ConfigurationError, DataError

__all__ = ["SUFFIXES", "decompress", "plain_name"]

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
_READ = 1 << 16
_GZIP = zlib.MAX_WBITS | 16
_LONGEST = 1 << 31  # bytes that Zstandard may look back, as `zstd --long=31` makes them


def plain_name(name: str) -> PurePath:
    """The name of a file without the ending that says how it is compressed.

    >>> plain_name("data/a.csv.gz").name, plain_name("a.csv").name
    ('a.csv', 'a.csv')
    """
    path = PurePath(name)
    return path.with_suffix("") if path.suffix in SUFFIXES else path


def decompress(file: IO[bytes], path: Path, size: int) -> Iterator[bytes]:
    """The content of a compressed file in pieces of at most `size`.

    Raises:
        DataError: the file is damaged or cut short, or not compressed as its name says.
        ConfigurationError: a library that is needed is not there.
    """
    begin, limited = _streams(path.suffix)
    stream, fed, waiting = begin(), False, b""
    while True:
        compressed = waiting or file.read(_READ)
        waiting = b""
        if not compressed:
            break
        try:
            if stream.eof:
                if not compressed.strip(b"\0"):
                    continue  # what tapes and some tools pad a file with
                stream, fed = begin(), False
            # What one piece holds may be a thousand times as long: it comes in pieces itself, where that can be said.
            content = stream.decompress(compressed, size) if limited else stream.decompress(compressed)
            fed = True
            while content:
                for at in range(0, len(content), size):
                    yield content[at : at + size]
                content = _more(stream, size) if limited and not stream.eof else b""
        except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError, RuntimeError) as error:
            raise _damaged(path, str(error), file.tell()) from error
        except Exception as error:
            if type(error).__name__ != "ZstdError":  # of a library that may not be there
                raise
            raise _damaged(path, str(error), file.tell()) from error
        waiting = stream.unused_data if stream.eof else b""
    if not stream.eof:
        got = "it ends in the middle of its compressed data" if fed else "nothing"
        raise _damaged(path, got, file.tell())


def _more(stream: Any, size: int) -> bytes:
    """What else comes of what a stream was fed."""
    if isinstance(stream, _Gzip):
        return stream.decompress(b"", size)
    return b"" if stream.needs_input else bytes(stream.decompress(b"", size))


def _streams(suffix: str) -> tuple[Callable[[], Any], bool]:
    """What makes a decompressor, and whether it can be told how much to give at a time."""
    if suffix == ".gz":
        return _Gzip, True
    if suffix == ".bz2":
        return bz2.BZ2Decompressor, True
    if suffix == ".xz":
        return lzma.LZMADecompressor, True
    try:
        import zstandard
    except ImportError:
        raise ConfigurationError(
            "reading .zst needs the library zstandard, which is not installed",
            fix="pip install zstandard, or decompress the file",
        ) from None
    return zstandard.ZstdDecompressor(max_window_size=_LONGEST).decompressobj, False


class _Gzip:
    """`zlib` as `bz2` and `lzma` are used."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)

    def decompress(self, content: bytes, size: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + content, size)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data


def _damaged(path: Path, got: str, offset: int) -> DataError:
    return DataError(
        f"{path.name} is damaged, or not compressed as its name says",
        expected=f"a whole {path.suffix} file",
        got=got,
        where=f"{path}, before byte {offset} of the compressed file",
        fix="fetch or compress it again; `gzip -t`, `bzip2 -t`, `xz -t` or `zstd -t` tell whether it is whole",
    )
