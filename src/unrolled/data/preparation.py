"""Preparation: from files of text to the files of a token store. Here: of characters and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.data.configuration import TextConfig
from unrolled.data.shards import ShardWriter, read_shards
from unrolled.data.text import Source, decode, read_bytes
from unrolled.data.vocabulary import UNITS, IntArray, Vocabulary
from unrolled.errors import DataError, PromptError

__all__ = [
    "HIDDEN",
    "Parts",
    "Progress",
    "Written",
    "changed",
    "check_unchanged",
    "hashed",
    "read_parts",
    "splits_of",
    "type_for",
    "write_symbols",
]

Progress = Callable[[int, int, str], None]
Parts = Sequence[tuple[str, Source]]

HIDDEN = np.dtype([("position", "<i8"), ("nats", "<f8"), ("characters", "<i4"), ("words", "<i4")])
"""A token whose text hides behind the unknown symbol: where it stands; what that text costs by the back-off, in nats;
how many characters and words it and the space around it have beyond those the vocabulary counts for the symbol."""


@dataclass(frozen=True, eq=False)
class Written:
    """What preparing a text came to.

    Attributes:
        vocabulary: its symbols, with the counts of the training part.
        lengths: tokens of each source.
        digests: the SHA-256 of each source.
        splits: the half-open token range of each part.
        characters: of text, of each part.
        shards: tokens of each shard.
        hidden: records of `hidden.bin`; None where there is no such file.
    """

    vocabulary: Vocabulary
    lengths: list[int]
    digests: list[str]
    splits: dict[str, tuple[int, int]]
    characters: dict[str, int]
    shards: list[int]
    hidden: int | None = None


def write_symbols(
    directory: Path, parts: Parts, config: TextConfig, progress: Progress, processes: int | None = None
) -> Written:
    """Write the shards of a text of characters or bytes, which is read twice: to count, and to write.

    One process does both as fast as files are read: `processes` is for units whose text is cut.

    Raises:
        DataError: see `store.prepare`.
    """
    vocabulary, digests = _count(parts, config, progress)
    kind, total = type_for(vocabulary.size), int(vocabulary.counts.sum())
    with ShardWriter(directory, kind) as writer:
        lengths = _encode(writer, parts, vocabulary, config, progress)
    check_unchanged([source for _, source in parts], sum(lengths) == total)
    splits = splits_of(parts, lengths, config)
    counts = {part: _count_range(directory, kind, *splits[part], vocabulary.size) for part in ("valid", "test")}
    counts["train"] = vocabulary.counts - counts["valid"] - counts["test"]
    characters = {part: int(counts[part] @ vocabulary.symbol_characters) for part in splits}
    return Written(vocabulary.with_counts(counts["train"]), lengths, digests, splits, characters, writer.lengths)


def _count(parts: Parts, config: TextConfig, progress: Progress) -> tuple[Vocabulary, list[str]]:
    """The first reading: the vocabulary of all the text, and the SHA-256 of each source."""
    digests: list[str] = []

    def texts() -> Iterator[str]:
        for source, chunks in read_parts(parts, "counting", progress):
            digest = hashlib.sha256()
            yield from decode(hashed(chunks, digest), source, config.errors)
            digests.append(digest.hexdigest())

    return UNITS[config.unit].count(texts(), config.min_count), digests


def _encode(
    writer: ShardWriter, parts: Parts, vocabulary: Vocabulary, config: TextConfig, progress: Progress
) -> list[int]:
    """The second reading: write the tokens, and return how many each source has."""
    lengths = []
    for source, chunks in read_parts(parts, "encoding", progress):
        length = 0
        for text in decode(chunks, source, config.errors):
            try:
                ids = vocabulary.encode(text)
            except PromptError:
                raise changed(source) from None
            writer.write(ids)
            length += ids.size
        lengths.append(length)
    return lengths


def read_parts(parts: Parts, phase: str, progress: Progress) -> Iterator[tuple[Source, Iterator[bytes]]]:
    """Every source with its bytes in pieces, progress being told after each piece."""
    done, total = 0, sum(source.size for _, source in parts)

    def follow(source: Source) -> Iterator[bytes]:
        nonlocal done
        before = done

        def told(read: int) -> None:
            nonlocal done
            done = before + read
            progress(done, total, phase)

        yield from read_bytes(source, told)

    for _, source in parts:
        yield source, follow(source)


def hashed(chunks: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    """The same pieces, each put into the digest as it passes by."""
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def splits_of(parts: Parts, lengths: list[int], config: TextConfig) -> dict[str, tuple[int, int]]:
    """The half-open token range of each part.

    Raises:
        DataError: fewer than two tokens to train on, of which one could not be predicted from the other.
    """
    total = sum(lengths)
    if parts[0][0] == "text":
        splits = config.ranges(total)
    else:
        splits, start = {}, 0
        for part in ("train", "valid", "test"):
            end = start + sum(n for (name, _), n in zip(parts, lengths, strict=True) if name == part)
            splits[part], start = (start, end), end
    length = splits["train"][1]
    if length < 2:
        raise DataError(
            "the training part is too short",
            expected="at least 2 tokens",
            got=f"{length} of the {total} tokens of {parts[0][1].name}",
            fix="give more text, or a larger first part of --split",
        )
    return splits


def _count_range(directory: Path, kind: np.dtype[Any], start: int, end: int, size: int) -> IntArray:
    """(V,) how often each symbol stands in a range of the tokens, read back in pieces."""
    counts = np.zeros(size, np.int64)
    for ids in read_shards(directory, kind, start, end):
        counts += np.bincount(ids, minlength=size)
    return counts


def check_unchanged(sources: Sequence[Source], same_length: bool) -> None:
    """Raise a `DataError` if a source is no longer what it was when it was found."""
    for source in sources:
        try:
            status = source.path.stat()
        except OSError:
            raise changed(source) from None
        if (status.st_size, status.st_mtime_ns) != (source.size, source.mtime_ns):
            raise changed(source)
    if not same_length:
        raise changed(sources[0])


def changed(source: Source) -> DataError:
    """The error where a source is no longer what it was when it was found."""
    return DataError(
        "the text changed while it was being read",
        where=source.name,
        fix="wait until nothing writes to it, and try again",
    )


def type_for(size: int) -> np.dtype[Any]:
    """The smallest type that holds every id of a vocabulary of so many symbols."""
    return np.min_scalar_type(size - 1).newbyteorder("<")
