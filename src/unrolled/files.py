"""Files: written whole or not at all, and read with their checksums."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from unrolled.errors import DataError, StorageError

__all__ = ["cache_directory", "sha256", "storage_errors", "sync", "unpack", "write_atomically", "write_json"]

_PIECE = 1 << 20


def cache_directory() -> Path:
    """Where prepared data is kept: `$UNROLLED_CACHE`, or `unrolled` in the user's cache directory."""
    chosen = os.environ.get("UNROLLED_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unrolled"


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an `OSError` inside the block (a full disk, a directory that cannot be written) into a `StorageError`.

    Args:
        doing: what was being done and to which path, for the message: "writing runs/a/config.json".
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{doing} failed: {error.strerror or error}",
            where=str(error.filename) if error.filename else None,
            fix="free some space or choose another directory; what was saved before is untouched",
        ) from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make a file, or the entries of a directory, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name beside `path`, sync it, and rename it.

    Whoever reads `path` sees the old content or the new, never a part.

    Raises:
        StorageError: the disk is full or the directory cannot be written.
    """
    with storage_errors(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def unpack(
    archive: Path,
    into: Path,
    keep: Callable[[str], str | None],
    *,
    most: int,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Path]:
    """Unpack files of a zip or tar archive (tar also compressed), whatever its entries claim to be.

    Every entry is looked at, wanted or not: an absolute name, one that climbs (`..`), a link or a device makes the
    whole archive one not to be trusted. Bytes are counted as they are written, not as the archive promises them.

    Args:
        archive: the file.
        into: a directory; nothing is written outside it.
        keep: from the name of an entry to the path below `into` that it gets, or None to leave it out.
        most: bytes that may be written, all files together.
        progress: called with the bytes written so far.

    Returns:
        for every entry that was kept, where it lies.

    Raises:
        DataError: the archive is damaged, holds what it must not, or unpacks to more than `most` bytes.
        StorageError: a file cannot be written.
    """
    found: dict[str, Path] = {}
    written = 0
    try:
        for name, stream in _entries(archive):
            kept = keep(name)
            if kept is None:
                continue
            path = into / _inside(kept, archive)
            if name in found or path in found.values():
                raise _untrusted(archive, f"two entries for {kept}")
            with storage_errors(f"unpacking {archive.name} into {into}"):
                path.parent.mkdir(parents=True, exist_ok=True)
                target = path.open("xb")
            with target:
                while piece := stream.read(_PIECE):
                    written += len(piece)
                    if written > most:
                        problem = f"{archive.name} unpacks to more than it should"
                        raise DataError(problem, expected=f"at most {most:,} bytes", where=str(archive))
                    with storage_errors(f"unpacking {archive.name} into {into}"):
                        target.write(piece)
                    if progress is not None:
                        progress(written)
            found[name] = path
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(archive, error) from error
    except OSError as error:  # gzip's own, and a disk that cannot be read
        raise _damaged(archive, error) from error
    return found


def _entries(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of an archive, after every name before them, theirs included, was looked at."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                name = str(_inside(entry.filename, archive))
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _untrusted(archive, f"{entry.filename} is no regular file")
                if not entry.is_dir():
                    with packed.open(entry) as stream:
                        yield name, stream
        return
    with tarfile.open(archive, "r|*") as rolled:
        for member in rolled:
            name = str(_inside(member.name, archive))
            if not (member.isreg() or member.isdir()):
                raise _untrusted(archive, f"{member.name} is no regular file")
            content = rolled.extractfile(member)
            if content is not None:
                with content:
                    yield name, content


def _inside(name: str, archive: Path) -> PurePosixPath:
    """A name of an archive as a path that stays below where it is put."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise _untrusted(archive, f"the name {name!r}")
    return path


def _untrusted(archive: Path, got: str) -> DataError:
    return DataError(
        f"{archive.name} is not to be trusted: nothing of it was used",
        expected="regular files and directories, with names that stay below the directory they are unpacked in",
        got=got,
        where=str(archive),
        fix="take the archive from another place",
    )


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(
        f"{archive.name} is damaged, or no archive",
        expected="a zip or tar file",
        got=str(error) or type(error).__name__,
        where=str(archive),
        fix="fetch it again",
    )
