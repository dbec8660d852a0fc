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
from typing import IO

import numpy as np
import numpy.typing as npt

from unrolled.data.configuration import TextConfig
from unrolled.data.preparation import Parts, Progress, hashed, read_parts
from unrolled.data.splitting import cut_pieces
from unrolled.data.text import decode
from unrolled.data.vocabulary import IntArray
from unrolled.data.workers import cut_in_processes

__all__ = ["RAW", "Numbers", "count_numbers", "expand", "number_runs", "numbers_in", "pieces_of", "synced"]

RAW = np.dtype("<u4")
Numbers = npt.NDArray[np.uint32]
_PIECE = 1 << 18  # numbers handled at a time
_LARGE = 1 << 24  # bytes from which on processes are started to cut a text


class _Runs(dict[bytes, int]):
    """Runs to numbers; one that was not met before gets the next."""

    def __missing__(self, run: bytes) -> int:
        number = self[run] = len(self)
        return number


def number_runs(
    scratch: Path, parts: Parts, config: TextConfig, progress: Progress, processes: int | None = None
) -> tuple[list[str], list[int], list[str]]:
    """Write the runs of a text as numbers of type `RAW`; a source of words that does not end in a line end gets one.

    Args:
        scratch: the file that they are written to.
        parts: the sources.
        config: the unit, and how bytes are read.
        progress: told of the bytes read.
        processes: how many cut the text, where it is large; one for every core if not given.

    Returns:
        the different runs in their order, how many runs each source has, and the SHA-256 of each source.
    """
    large = sum(source.size for _, source in parts) >= _LARGE
    processes = (processes or _cores()) if large else 1
    runs, lengths, digests = _Runs(), [0] * len(parts), []

    def pieces() -> Iterator[tuple[int, str]]:
        for at, (source, chunks) in enumerate(read_parts(parts, "counting", progress)):
            digest, last = hashlib.sha256(), "\n"
            for piece in cut_pieces(decode(hashed(chunks, digest), source, config.errors)):
                last = piece[-1]
                yield at, piece
            if last != "\n" and config.unit == "word":
                yield at, "\n"
            digests.append(digest.hexdigest())

    with scratch.open("wb") as file:
        for at, found, places in cut_in_processes(config.unit, pieces(), processes):
            numbers = np.fromiter(map(runs.__getitem__, found), RAW, len(found))
            file.write(numbers[places].data)
            lengths[at] += places.size
    return [run.decode() for run in runs], lengths, digests


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
                held = numbers(at.start, at.stop)
                size = sizes[held]
                ends = np.cumsum(size)
                places = np.arange(ends[-1]) + np.repeat(starts[held] - (ends - size), size)
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
            counts += np.bincount(numbers(at.start, at.stop), minlength=size)
    return counts


@contextlib.contextmanager
def numbers_in(scratch: Path) -> Iterator[Callable[[int, int], Numbers]]:
    """A function that reads a range of the numbers of a file.

    They are not mapped: what is read once from a map stays counted as memory of the process until that runs short.
    """
    with scratch.open("rb") as file:

        def read(start: int, stop: int) -> Numbers:
            file.seek(start * RAW.itemsize)
            return np.fromfile(file, RAW, stop - start)

        yield read


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
