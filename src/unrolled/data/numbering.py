"""Numbering: a text as a file of numbers, one for each run of its characters, in the order in which runs are first met.

What a run is, a unit says: a word, or a segment that is cut into subwords. The text is read once; what follows looks at
numbers, and at each different run once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from unrolled.data.configuration import TextConfig
from unrolled.data.preparation import Parts, Progress, hashed, read_parts
from unrolled.data.splitting import cut_pieces
from unrolled.data.text import decode
from unrolled.data.vocabulary import IntArray

__all__ = ["RAW", "Numbers", "count_numbers", "expand", "number_runs", "numbers_in", "pieces_of", "synced"]

RAW = np.dtype("<u4")
Numbers = npt.NDArray[np.uint32]
_PIECE = 1 << 20  # numbers handled at a time


class _Runs(dict[Any, int]):
    """Runs to numbers; one that was not met before gets the next."""

    def __missing__(self, run: Any) -> int:
        number = self[run] = len(self)
        return number


def number_runs(
    scratch: Path,
    parts: Parts,
    config: TextConfig,
    progress: Progress,
    cut: Callable[[str], Sequence[Any]],
    ending: Any = None,
) -> tuple[list[Any], list[int], list[str]]:
    """Write the runs of a text as numbers of type `RAW`.

    Args:
        scratch: the file that they are written to.
        parts: the sources.
        config: how bytes are read.
        progress: told of the bytes read.
        cut: from a piece of text, cut as `splitting.cut_pieces` cuts, to its runs.
        ending: the run that is added where a source does not end in a line end.

    Returns:
        the different runs in their order, how many runs each source has, and the SHA-256 of each source.
    """
    runs, lengths, digests = _Runs(), [], []
    with scratch.open("wb") as file:
        for source, chunks in read_parts(parts, "counting", progress):
            digest, length, last = hashlib.sha256(), 0, "\n"
            for piece in cut_pieces(decode(hashed(chunks, digest), source, config.errors)):
                found, last = cut(piece), piece[-1]
                file.write(np.fromiter(map(runs.__getitem__, found), RAW, len(found)).data)
                length += len(found)
            if last != "\n" and ending is not None:
                file.write(np.array([runs[ending]], RAW).data)
                length += 1
            lengths.append(length)
            digests.append(digest.hexdigest())
    return list(runs), lengths, digests


def expand(scratch: Path, cut: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[int]:
    """Put several numbers in the place of each, in a file of numbers.

    Args:
        scratch: the file.
        cut: for each number what takes its place.
        lengths: how many numbers each source has.

    Returns:
        how many each source has now.
    """
    sizes = np.array([len(numbers) for numbers in cut], np.int64)
    starts = np.cumsum(sizes) - sizes
    flat = np.fromiter((number for numbers in cut for number in numbers), RAW, int(sizes.sum()))
    new, begin = [], 0
    target = scratch.with_suffix(".new.tmp")
    with target.open("wb") as file, numbers_in(scratch) as numbers:
        for length in lengths:
            total = 0
            for at in pieces_of(begin, begin + length):
                size = sizes[numbers[at]]
                ends = np.cumsum(size)
                places = np.arange(ends[-1]) + np.repeat(starts[numbers[at]] - (ends - size), size)
                file.write(flat[places].data)
                total += places.size
            new.append(total)
            begin += length
    target.replace(scratch)
    return new


def count_numbers(scratch: Path, start: int, end: int, size: int) -> IntArray:
    """(N,) how often each of N numbers stands in a range of a file of numbers."""
    counts = np.zeros(size, np.int64)
    with numbers_in(scratch) as numbers:
        for at in pieces_of(start, end):
            counts += np.bincount(numbers[at], minlength=size)
    return counts


@contextlib.contextmanager
def numbers_in(scratch: Path) -> Iterator[Numbers]:
    """The numbers of a file, mapped."""
    yield np.memmap(scratch, RAW, "r") if scratch.stat().st_size else np.empty(0, RAW)


@contextlib.contextmanager
def synced(path: Path) -> Iterator[IO[bytes]]:
    """A new file that survives a loss of power once it is whole."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def pieces_of(start: int, end: int, size: int = _PIECE) -> Iterator[slice]:
    """A range in pieces."""
    for at in range(start, end, size):
        yield slice(at, min(at + size, end))
