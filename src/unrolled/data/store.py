"""The token store: a text as a file of numbers, made by streaming and read by memory map.

A store is a directory:

    tokens-00000.bin  the tokens, in the smallest unsigned integer type that holds the vocabulary, little endian; the
                      next are in tokens-00001.bin and so on, see `shards`
    documents.bin     the token that each source begins at, 64-bit, little endian
    hidden.bin        words only: what hides behind the unknown symbol, see `preparation.HIDDEN`
    vocabulary.json   the vocabulary, with the counts of the training part
    meta.json         format, type and number of tokens, in all and of each shard, splits, characters, sources with the
                      SHA-256 of what they hold, seconds

It lies in the cache under a key made of the paths, sizes and times of its sources and of the options that shape it, so
that the same text is prepared once, and a change of any of these makes another store.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from unrolled.data.configuration import TextConfig
from unrolled.data.preparation import HIDDEN, Parts, Progress, type_for, write_symbols
from unrolled.data.shards import Shards, map_shards, shard_name
from unrolled.data.subword_preparation import write_subwords
from unrolled.data.text import Source, content_of, find_sources
from unrolled.data.vocabulary import IntArray, Vocabulary
from unrolled.data.word_preparation import write_words
from unrolled.errors import ConfigurationError, DataError
from unrolled.files import cache_directory, storage_errors, sync, write_atomically, write_json

__all__ = ["PARTS", "Part", "SplitSources", "TokenStore", "Tokens", "prepare"]

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
_FORMAT = 2
_OLD = 1  # with all its tokens in tokens.bin; it is read as a store of one shard
_KEYS = {"format", "dtype", "tokens", "shards", "splits", "characters", "documents", "options", "sources", "seconds"}
_UNFINISHED = ".writing-"
_ABANDONED = 24 * 3600  # seconds after which a store that nobody finished is removed


@dataclass(frozen=True)
class SplitSources:
    """The files of a text: one list that is cut by percent, or one list a part.

    Attributes:
        text: the files of a text that `TextConfig.split` cuts.
        train, valid, test: the files of each part, where the split is given.

    Raises:
        ConfigurationError: both ways at once, or nothing to train on.
    """

    text: Sequence[Source] = ()
    train: Sequence[Source] = ()
    valid: Sequence[Source] = ()
    test: Sequence[Source] = ()

    def __post_init__(self) -> None:
        given = self.train or self.valid or self.test
        if self.text and given:
            raise ConfigurationError(
                "the text is given twice: as one that is to be split, and as parts",
                fix="give either paths alone, or --train, --valid and --test alone",
            )
        if not (self.text or self.train):
            raise ConfigurationError("there is nothing to train on", fix="give paths, or --train FILE...")

    @classmethod
    def find(
        cls,
        text: Sequence[str] = (),
        *,
        train: Sequence[str] = (),
        valid: Sequence[str] = (),
        test: Sequence[str] = (),
    ) -> SplitSources:
        """The sources of some names; see `find_sources`."""
        return cls(*(find_sources(names) if names else () for names in (text, train, valid, test)))

    @property
    def parts(self) -> list[tuple[str, Source]]:
        """Every source in the order it is stored, with the list that it comes from."""
        named = (("text", self.text), ("train", self.train), ("valid", self.valid), ("test", self.test))
        return [(part, source) for part, sources in named for source in sources]


@dataclass(frozen=True, eq=False)
class Tokens:
    """A stretch of N tokens.

    Attributes:
        ids: (N,) token numbers, mapped from their files: they are read when they are touched. An array where they lie
            in one file.
        document_starts: (D,) the tokens, counted from the stretch's first, at which a document begins, ascending.
        hidden: (K,) of type `preparation.HIDDEN`, the tokens whose text hides behind the unknown symbol, ascending;
            None where the vocabulary alone says what that costs.
    """

    ids: npt.NDArray[Any] | Shards
    document_starts: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    hidden: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.ids)


class TokenStore:
    """A prepared text.

    Attributes:
        directory: where it lies.
        meta: what `meta.json` says.
        vocabulary: its vocabulary, with the counts of the training part.
        tokens: (N,) all tokens, memory-mapped, read only.
    """

    def __init__(
        self,
        directory: Path,
        meta: dict[str, Any],
        vocabulary: Vocabulary,
        tokens: npt.NDArray[Any] | Shards,
        documents: IntArray,
    ) -> None:
        self.directory, self.meta, self.vocabulary, self.tokens = directory, meta, vocabulary, tokens
        self._documents = documents
        self._hidden: npt.NDArray[Any] | None = None
        if "hidden" in meta:
            file = directory / "hidden.bin"
            self._hidden = np.memmap(file, HIDDEN, "r") if meta["hidden"] else np.empty(0, HIDDEN)

    @classmethod
    def open(cls, directory: Path) -> TokenStore:
        """Open a store that was prepared before.

        Raises:
            DataError: a file of it is missing, cut short, or not what it should be.
        """
        try:
            meta = json.loads((directory / "meta.json").read_bytes())
            files = ["tokens.bin"]
            if meta["format"] == _OLD:
                meta |= {"format": _FORMAT, "shards": [meta["tokens"]]}
            else:
                files = [shard_name(number) for number in range(len(meta["shards"]))]
            if meta["format"] != _FORMAT or set(meta) - {"hidden"} != _KEYS:
                raise _damaged(directory / "meta.json", f"all keys of format {_FORMAT}", f"format {meta['format']!r}")
            vocabulary_file = directory / "vocabulary.json"
            vocabulary = Vocabulary.from_json(json.loads(vocabulary_file.read_bytes()), str(vocabulary_file))
            kind = type_for(vocabulary.size)
            if meta["dtype"] != kind.str:
                raise _damaged(directory / "meta.json", f"type {kind.str}", f"type {meta['dtype']!r}")
            tokens = map_shards([directory / name for name in files], kind, meta["shards"])
            if len(tokens) != meta["tokens"]:
                raise _damaged(directory / "meta.json", f"shards of {meta['tokens']} tokens", f"{len(tokens)}")
            sizes = {"documents.bin": 8 * meta["documents"]}
            if "hidden" in meta:
                sizes["hidden.bin"] = meta["hidden"] * HIDDEN.itemsize
            for name, size in sizes.items():
                if (directory / name).stat().st_size != size:
                    raise _damaged(directory / name, f"{size} bytes", f"{(directory / name).stat().st_size} bytes")
            borders = [border for part in PARTS for border in meta["splits"][part]]
            if borders != sorted(borders) or (borders[0], borders[-1]) != (0, meta["tokens"]):
                raise _damaged(directory / "meta.json", "three splits of all tokens, in order", f"borders {borders}")
            documents = np.fromfile(directory / "documents.bin", "<i8")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(directory, "a whole token store", f"{type(error).__name__}: {error}") from error
        return cls(directory, meta, vocabulary, tokens, documents)

    def split(self, part: Part) -> Tokens:
        """One part of the text, which may be empty if the split says so.

        Raises:
            ConfigurationError: there is no such part.
        """
        if part not in PARTS:
            raise ConfigurationError("there is no such split", expected=", ".join(PARTS), got=repr(part))
        start, end = self.meta["splits"][part]
        starts = self._documents[np.searchsorted(self._documents, start) : np.searchsorted(self._documents, end)]
        hidden = self._hidden
        if hidden is not None:
            # By bisection of the file: that of NumPy would copy all the places into memory.
            positions = hidden["position"]
            hidden = hidden[bisect.bisect_left(positions, start) : bisect.bisect_left(positions, end)]
            if start:
                hidden = hidden.copy()
                hidden["position"] -= start
        return Tokens(self.tokens[start:end], starts - start, hidden)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of what the tokens follow from: the content of the sources in their order, and the options.

        Two stores with the same fingerprint hold the same tokens, wherever their files lie.
        """
        content = [(source["part"], source["sha256"]) for source in self.meta["sources"]]
        return hashlib.sha256(json.dumps([self.meta["options"], content], sort_keys=True).encode()).hexdigest()

    def characters(self, part: Part) -> int:
        """How many characters of text a part has."""
        return int(self.meta["characters"][part])

    def verify_sources(self) -> None:
        """Check that the sources are still what was prepared, by their SHA-256.

        Raises:
            DataError: a source is missing or has changed.
        """
        for source in self.meta["sources"]:
            path = Path(source["path"])
            digest = hashlib.sha256()
            try:
                with path.open("rb") as file:
                    for chunk in content_of(file, path):
                        digest.update(chunk)
                found = digest.hexdigest()
            except OSError as error:
                raise DataError(
                    f"a source of the text cannot be read: {error.strerror}",
                    where=source["path"],
                    fix="put it back, or prepare the text anew from what there is",
                ) from error
            if found != source["sha256"]:
                raise DataError(
                    "a source of the text has changed since it was prepared",
                    where=source["path"],
                    expected=f"SHA-256 {source['sha256']}",
                    got=f"SHA-256 {found}",
                    fix="put the old one back, or prepare the text anew",
                )


def prepare(
    sources: SplitSources,
    config: TextConfig,
    *,
    progress: Progress | None = None,
    cache: Path | None = None,
    processes: int | None = None,
) -> TokenStore:
    """Turn a text into a token store, or find the one that was made of it before.

    The text is read in pieces, and memory does not grow with it, save for the different words of a text of words or
    subwords. The vocabulary is that of the whole text for characters, and of the training part for words and subwords;
    its counts are those of the training part. Documents follow each other with nothing between them; one of words ends
    in a line end.

    Args:
        sources: the files.
        config: how they are read and, if they come as one text, split.
        progress: called as `progress(done, total, phase)` in bytes, phase "counting" or "encoding".
        cache: the directory to keep stores in, in place of `cache_directory()`.
        processes: how many cut a large text into words or subwords; one for every core if not given.

    Raises:
        DataError: a source cannot be read, is not UTF-8, or changes meanwhile; a text without a character in it, or
            with fewer than two tokens to train on.
        StorageError: the store cannot be written.
    """
    root = (cache or cache_directory()) / "tokens"
    directory = root / _key(sources.parts, config)
    with contextlib.suppress(DataError):
        return TokenStore.open(directory)
    with storage_errors(f"preparing {directory}"):
        root.mkdir(parents=True, exist_ok=True)
        # What cannot be opened is damaged, or was left by a process that was killed while it wrote.
        shutil.rmtree(directory, ignore_errors=True)
        _remove_abandoned(root)
        temporary = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=root))
        try:
            _write(temporary, sources, config, progress or _silent, processes)
            temporary.chmod(0o755)
            try:
                temporary.rename(directory)
            except OSError:
                # Another process that prepared the same text was first; its store is the same.
                if not directory.exists():
                    raise
            sync(root)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return TokenStore.open(directory)


def _write(
    directory: Path, sources: SplitSources, config: TextConfig, progress: Progress, processes: int | None
) -> None:
    """Write the files of a store into an empty directory."""
    began = time.perf_counter()
    parts = sources.parts
    writers = {"word": write_words, "subword": write_subwords}
    written = writers.get(config.unit, write_symbols)(directory, parts, config, progress, processes)
    documents = np.cumsum([0, *written.lengths[:-1]], dtype="<i8")
    write_atomically(directory / "documents.bin", documents.tobytes())
    write_json(directory / "vocabulary.json", written.vocabulary.to_json())
    meta = {
        "format": _FORMAT,
        "dtype": type_for(written.vocabulary.size).str,
        "tokens": sum(written.lengths),
        "shards": written.shards,
        "splits": written.splits,
        "characters": written.characters,
        "documents": len(documents),
        "options": _options(parts, config),
        "sources": [
            {
                "path": str(source.path),
                "part": part,
                "bytes": source.size,
                "mtime_ns": source.mtime_ns,
                "sha256": digest,
            }
            for (part, source), digest in zip(parts, written.digests, strict=True)
        ],
        "seconds": round(time.perf_counter() - began, 3),
    }
    if written.hidden is not None:
        meta["hidden"] = written.hidden
    # In ASCII: the name of a file need not be UTF-8.
    write_atomically(directory / "meta.json", json.dumps(meta, indent=1).encode("ascii"))


def _damaged(path: Path, expected: str, got: str) -> DataError:
    return DataError(
        "the token store is damaged",
        where=str(path),
        expected=expected,
        got=got,
        fix="remove its directory; it is made again from the text",
    )


def _key(parts: Parts, config: TextConfig) -> str:
    """What a store is called: everything that its content follows from, hashed; the old format has the same names."""
    files = [(part, str(source.path), source.size, source.mtime_ns) for part, source in parts]
    return hashlib.sha256(json.dumps([_OLD, _options(parts, config), files]).encode()).hexdigest()[:32]


def _options(parts: Parts, config: TextConfig) -> dict[str, Any]:
    """The options that shape a store; a split in percent only where the parts are not given."""
    split = config.split if parts[0][0] == "text" else None
    options = {"unit": config.unit, "min_count": config.min_count, "errors": config.errors, "split": split}
    if config.unit in ("word", "subword"):
        options |= {"vocabulary_size": config.vocabulary_size}
    if config.unit == "word":
        options |= {"splitter": config.splitter}
    return options


def _remove_abandoned(root: Path) -> None:
    """Remove what processes that were killed left unfinished, unless it is so young that one may be at it."""
    for path in root.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def _silent(done: int, total: int, phase: str) -> None:
    """Report no progress."""
