"""Preparation in several processes: pieces of text go out, the runs that they are cut into come back as numbers.

A worker is a Python process of its own that knows nothing but how to cut a piece; what it and its parent say to each
other is lengths, UTF-8 and numbers. No process is forked, so that no thread of a library is cut in half, and the user's
own program is not imported again.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import numpy.typing as npt

from unrolled.data.splitting import raw_words
from unrolled.data.subwords import segments
from unrolled.errors import UnrolledError

__all__ = ["CUTS", "cut_in_processes", "number", "work"]

_PROGRAM = "import sys; from unrolled.data.workers import work; work(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)"
_HEAD = np.dtype("<u8")
_RAW = np.dtype("<u4")
_Tag = TypeVar("_Tag")
_Numbered = tuple[list[bytes], npt.NDArray[np.uint32]]


def _segments(text: str) -> list[bytes]:
    return [segment.encode() for segment in segments(text)]


CUTS: Mapping[str, Callable[[str], list[bytes]]] = {"word": raw_words, "subword": _segments}
"""For each unit, how a piece of text is cut into runs, in UTF-8."""


def number(cut: Callable[[str], list[bytes]], text: str) -> _Numbered:
    """The different runs of a piece, and the (n,) place of each run among them."""
    runs = cut(text)
    places = {run: at for at, run in enumerate(dict.fromkeys(runs))}
    return list(places), np.fromiter(map(places.__getitem__, runs), _RAW, len(runs))


def cut_in_processes(
    unit: str, pieces: Iterable[tuple[_Tag, str]], processes: int
) -> Iterator[tuple[_Tag, list[bytes], npt.NDArray[np.uint32]]]:
    """The runs of pieces of text, in the order of the pieces; see `number`.

    Args:
        unit: how they are cut.
        pieces: each with something to know it by.
        processes: how many cut them; with one, none is started.

    Raises:
        UnrolledError: a worker was ended by someone else.
    """
    if processes <= 1:
        for tag, text in pieces:
            yield tag, *number(CUTS[unit], text)
        return
    workers = [_start(unit) for _ in range(processes)]
    waiting: deque[tuple[_Tag, subprocess.Popen[bytes]]] = deque()
    try:
        for at, (tag, text) in enumerate(pieces):
            worker = workers[at % processes]
            # Each has one piece at a time, so that neither side can wait for the other to read.
            if len(waiting) == processes:
                before, oldest = waiting.popleft()
                yield before, *_receive(oldest)
            _send(worker, text.encode())
            waiting.append((tag, worker))
        while waiting:
            before, oldest = waiting.popleft()
            yield before, *_receive(oldest)
    finally:
        for worker in workers:
            worker.kill()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what could not be sent any more
                        pipe.close()
            worker.wait()


def _start(unit: str) -> subprocess.Popen[bytes]:
    here = str(Path(__file__).parents[2])
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, unit],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        # Ctrl-C is the parent's to answer.
        start_new_session=True,
    )


def _send(worker: subprocess.Popen[bytes], content: bytes) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.write(np.array(len(content), _HEAD).tobytes())
        worker.stdin.write(content)
        worker.stdin.flush()
    except BrokenPipeError:
        raise _ended(worker) from None


def _receive(worker: subprocess.Popen[bytes]) -> _Numbered:
    assert worker.stdout is not None
    head = worker.stdout.read(3 * _HEAD.itemsize)
    if len(head) < 3 * _HEAD.itemsize:
        raise _ended(worker)
    kinds, size, count = np.frombuffer(head, _HEAD).tolist()
    rest = worker.stdout.read(4 * kinds + size + 4 * count)
    if len(rest) < 4 * kinds + size + 4 * count:
        raise _ended(worker)
    ends = (np.cumsum(np.frombuffer(rest, _RAW, kinds), dtype=np.int64) + 4 * kinds).tolist()
    runs = [rest[start:end] for start, end in zip([4 * kinds, *ends], ends, strict=False)]
    return runs, np.frombuffer(rest, _RAW, count, 4 * kinds + size)


def _ended(worker: subprocess.Popen[bytes]) -> UnrolledError:
    return UnrolledError(
        "a process that prepared the text has ended before its time",
        got=f"exit status {worker.wait()} (negative: the signal that ended it, -9 where memory ran out)",
        fix="prepare the text again, with fewer processes if memory is short: --threads 1",
    )


def work(unit: str, given: IO[bytes], taken: IO[bytes]) -> None:
    """What a worker does: it answers pieces until there are no more."""
    while len(head := given.read(_HEAD.itemsize)) == _HEAD.itemsize:
        runs, places = number(CUTS[unit], given.read(int(np.frombuffer(head, _HEAD)[0])).decode())
        blob = b"".join(runs)
        taken.write(np.array([len(runs), len(blob), places.size], _HEAD).tobytes())
        taken.write(np.array([len(run) for run in runs], _RAW).tobytes())
        taken.write(blob)
        taken.write(places.tobytes())
        taken.flush()
