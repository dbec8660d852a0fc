"""`data get` and `data list`: the standard corpora, downloaded or taken from a copy, checked, ready to train on."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_args

from unrolled.data.configuration import Unit
from unrolled.data.corpora import CORPORA, Corpus, Member, find_corpus
from unrolled.data.downloads import download, matches
from unrolled.errors import ConfigurationError, DataError, StorageError
from unrolled.files import cache_directory, sha256, storage_errors, unpack, write_json
from unrolled.verbs.listening import Listener

__all__ = ["Fetched", "Listed", "get_corpus", "list_corpora"]

_RECORD = "corpus.json"


@dataclass(frozen=True)
class Fetched:
    """A corpus that is here.

    Attributes:
        corpus: which.
        directory: where.
        files: its files.
        fresh: whether it was fetched now.
    """

    corpus: Corpus
    directory: Path
    files: tuple[Path, ...]
    fresh: bool

    @property
    def arguments(self) -> list[str]:
        """What `unrolled train lm` is given to train on it."""
        unit = ["--unit", self.corpus.unit] if self.corpus.unit in get_args(Unit) else []
        if self.corpus.split is not None:
            return [*map(str, self.files), *unit, "--split", self.corpus.split]
        given: list[str] = []
        for part in ("train", "valid", "test"):
            kept = [PurePosixPath(member.kept) for member in self.corpus.members if member.part == part]
            # Of many files their directory, which holds nothing else.
            given += [f"--{part}", str(self.directory / (kept[0] if len(kept) == 1 else kept[0].parent))]
        return given + unit


@dataclass(frozen=True)
class Listed:
    """One line of the table of corpora.

    Attributes:
        name: of the corpus.
        about: one line.
        download: bytes of the download, about; None where there is none.
        unpacked: bytes of its files, about.
        here: its directory, if it was fetched.
    """

    name: str
    about: str
    download: int | None
    unpacked: int
    here: Path | None


def list_corpora() -> list[Listed]:
    """Every corpus there is, and where it lies if it was fetched."""
    return [
        Listed(
            corpus.name,
            corpus.about,
            corpus.size if corpus.addresses else None,
            corpus.unpacked,
            _directory(corpus) if _present(corpus) is not None else None,
        )
        for corpus in CORPORA.values()
    ]


def get_corpus(
    name: str,
    *,
    source: str | Path | None = None,
    address: str | None = None,
    listener: Listener | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetch a corpus into the cache, unless it is there.

    Args:
        name: of the corpus; see `data.corpora.CORPORA`.
        source: a directory with its archive or its files, or one of these, in place of a download.
        address: where to download it, in place of the addresses that are known.
        listener: hears what happens.
        pause: waits so many seconds between two tries of a download.

    Raises:
        ConfigurationError: there is no such corpus, or it is not to be downloaded.
        DataError: what `source` has is not the corpus.
        DownloadError: no address gave it; what came is kept and gone on with at the next call.
        StorageError: the disk is full.
    """
    corpus, listener = find_corpus(name), listener or Listener()
    if source is not None and address is not None:
        raise ConfigurationError("--from and --address exclude each other", fix="keep one of them")
    found = _present(corpus)
    if found is not None:
        return Fetched(corpus, _directory(corpus), found, fresh=False)
    if source is None and not corpus.addresses:
        raise ConfigurationError(
            f"{name} is not downloaded: its licence does not allow that it is passed on",
            fix=f"unrolled data get {name} --from DIR, where DIR has {_names(corpus.members)}",
        )
    target = _directory(corpus)
    with storage_errors(f"writing to {target.parent}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(corpus, target.parent, downloading=source is None)
        working = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
    try:
        if source is not None:
            origin = str(Path(source).expanduser())
            _take(corpus, Path(origin), working, listener)
        else:
            packed = cache_directory() / "downloads" / name / corpus.file
            addresses: Sequence[str] = corpus.addresses if address is None else (address,)
            origin = _download(corpus, addresses, packed, working, listener, pause)
        _check(corpus, working)
        files = [{"path": member.kept, "bytes": (working / member.kept).stat().st_size} for member in corpus.members]
        write_json(working / _RECORD, {"name": name, "from": origin, "files": files})
        with storage_errors(f"writing {target}"):
            if target.exists():  # what was damaged
                shutil.rmtree(target)
            os.chmod(working, 0o755)
            os.replace(working, target)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    if source is None:
        shutil.rmtree(packed.parent, ignore_errors=True)
    return Fetched(corpus, target, tuple(target / member.kept for member in corpus.members), fresh=True)


def _directory(corpus: Corpus) -> Path:
    return (cache_directory() / "corpora" / corpus.name).resolve()


def _names(members: Sequence[Member]) -> str:
    return ", ".join(member.name for member in members)


def _present(corpus: Corpus) -> tuple[Path, ...] | None:
    """The files of a corpus, if it is there and they have the lengths they were fetched with."""
    directory = _directory(corpus)
    try:
        record = json.loads((directory / _RECORD).read_bytes())
        lengths = {entry["path"]: entry["bytes"] for entry in record["files"]}
        files = tuple(directory / member.kept for member in corpus.members)
        whole = all(
            path.stat().st_size == lengths[member.kept] for path, member in zip(files, corpus.members, strict=True)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if whole else None


def _check_room(corpus: Corpus, directory: Path, *, downloading: bool) -> None:
    needed = corpus.unpacked + (corpus.size if downloading and corpus.packed else 0)
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise StorageError(
            f"there is no room for {corpus.name}",
            expected=f"about {needed / 1e9:.1f} GB free",
            got=f"{free / 1e9:.1f} GB",
            where=str(directory),
            fix="free some space, or set UNROLLED_CACHE to a directory on another disk",
        )


def _download(
    corpus: Corpus,
    addresses: Sequence[str],
    packed: Path,
    working: Path,
    listener: Listener,
    pause: Callable[[float], None],
) -> str:
    """Download a corpus and unpack it: from where it came."""
    assert corpus.digest is not None
    origin = "an earlier download"
    if not (packed.exists() and matches(packed, corpus.digest)):
        listener.doing(f"downloading {corpus.name}, about {corpus.size / 1e6:.0f} MB")
        origin = download(
            addresses,
            packed,
            corpus.digest,
            size=corpus.size,
            progress=lambda done, total: listener.preparing(done, total, f"downloading {corpus.name}"),
            pause=pause,
        )
    _unpack(corpus, packed, working, listener)
    return origin


def _take(corpus: Corpus, source: Path, working: Path, listener: Listener) -> None:
    """Take a corpus from a copy: its archive, or its files as they are once unpacked."""
    if not source.exists():
        raise DataError("there is no such file or directory", where=str(source), fix="check --from")
    packed = source if source.is_file() else source / corpus.file
    if corpus.packed and packed.is_file() and (source.is_dir() or packed.name != corpus.members[0].name):
        if corpus.digest is not None and not matches(packed, corpus.digest):
            raise DataError(
                f"{packed.name} is not the archive of {corpus.name}",
                expected=str(corpus.digest),
                got=f"sha256 {sha256(packed)}, {packed.stat().st_size:,} bytes",
                where=str(packed),
                fix="fetch it again, or give a directory with the files themselves",
            )
        _unpack(corpus, packed, working, listener)
        return
    for member in corpus.members:
        found = source if source.is_file() and len(corpus.members) == 1 else _find(member, source)
        if found is None:
            archive = f"{corpus.file}, or " if corpus.packed else ""
            few = _names(corpus.members[:3]) + (", ..." if len(corpus.members) > 3 else "")
            raise DataError(
                f"{corpus.name} is not there", expected=f"{archive}{few}", got=f"no {member.name}", where=str(source)
            )
        with storage_errors(f"copying {found} to {working}"):
            (working / member.kept).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, working / member.kept)
    if any(member.digest is None for member in corpus.members):
        listener.note(f"no checksums are known of the single files of {corpus.name}: they are taken as they are")


def _find(member: Member, directory: Path) -> Path | None:
    """A file of a corpus below a directory: as in the archive, without its first directory, or by its name alone."""
    name = PurePosixPath(member.name)
    places = (name, PurePosixPath(*name.parts[1:]), PurePosixPath(member.kept), f"data/{name.name}", name.name)
    return next((directory / place for place in places if (directory / place).is_file()), None)


def _unpack(corpus: Corpus, packed: Path, working: Path, listener: Listener) -> None:
    """Unpack the members of a corpus, each to where it is kept."""
    if not corpus.packed:
        with storage_errors(f"copying {packed} to {working}"):
            shutil.copyfile(packed, working / corpus.members[0].kept)
        return
    kept = {member.name: member.kept for member in corpus.members}

    def keep(name: str) -> str | None:
        # Of an archive that anybody may have made, the place of a file in it is not known; its checksum is.
        return kept.get(name if corpus.digest is not None else PurePosixPath(name).name)

    phase = f"unpacking {corpus.name}"
    unpack(
        packed,
        working,
        keep,
        most=2 * corpus.unpacked,
        progress=lambda done: listener.preparing(done, corpus.unpacked, phase),
    )


def _check(corpus: Corpus, working: Path) -> None:
    """That every file is there and, as far as that is known of it, what it should be."""
    for member in corpus.members:
        path = working / member.kept
        if not path.is_file():
            raise DataError(f"{corpus.name} is not whole", expected=f"{member.name} in it", got="no such file")
        lines = None if member.lines is None else _lines(path)
        size = path.stat().st_size
        expected, got = None, ""
        if member.size is not None and size != member.size:
            expected, got = f"{member.size:,} bytes", f"{size:,}"
        elif member.digest is not None and not matches(path, member.digest):
            expected, got = str(member.digest), f"another one, of {size:,} bytes"
        elif lines != member.lines:
            expected, got = f"{member.lines:,} lines", f"{lines:,}"
        if expected is not None:
            raise DataError(
                f"{member.name} is not the one of {corpus.name}",
                expected=expected,
                got=got,
                fix="take the corpus from another place",
            )


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
