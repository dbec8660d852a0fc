"""Measuring one work: agreement first, then interleaved runs, then how far the machine's own limit is."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.agreement import worst
from benchmarks.registry import Absent, Case, Contender, Work, failure

__all__ = ["ROUNDS", "Result", "as_json", "available_cores", "conclude", "limit_memory", "pinned", "run", "run_apart"]

ROUNDS = 7
_ROUND_SECONDS = 0.3  # a contender runs at least so long in each round


@dataclass
class Result:
    """What was measured of a work, under the names that `--json` prints.

    Attributes:
        name, about, unit, threads, target, measure: as the work says.
        agrees: whether our outputs and gradients are those of the reference; None where they could not be had.
        ours: our figure, the median; None where it was not measured: what does not agree is not timed.
        peers: the figure of every peer that agrees.
        ratio: ours over the best peer.
        of_limit: the share of what the machine allows that we reach.
        limit: what the machine allows, in the unit; `limit_why` says how that is known.
        reached: whether the ratio is as good as the target.
        best_peer: the peer that the ratio is to.
        spread: the lowest and the highest figure of each contender.
        differences: of each contender from the reference, that of the tensor furthest from it, with its name.
        absent: contenders that could not be measured, and why.
        rounds: how many runs the median is of.
        note: what else is to be known.
    """

    name: str
    about: str
    unit: str
    threads: int
    target: float
    measure: str
    agrees: bool | None = None
    ours: float | None = None
    peers: dict[str, float] = field(default_factory=dict)
    ratio: float | None = None
    of_limit: float | None = None
    limit: float | None = None
    limit_why: str = ""
    reached: bool | None = None
    best_peer: str = ""
    spread: dict[str, list[float]] = field(default_factory=dict)
    differences: dict[str, list[str | float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    note: str = ""

    @classmethod
    def of(cls, work: Work, note: str = "") -> Result:
        """Nothing measured yet."""
        return cls(work.name, work.about, work.unit, work.threads, work.target, work.measure, note=note)


def run(work: Work, rounds: int = ROUNDS) -> Result:
    """Measure a work in this process, with the threads that it has."""
    case = work.build()
    result = Result.of(work, case.note)
    contenders = _agreeing(case, result)
    if result.agrees:
        measure = partial(_rates, case=case) if work.measure == "rate" else _memories
        figures = measure(contenders, rounds=rounds, failed=result.absent)
        result.rounds = rounds
        conclude(result, work, figures, case.ours.name)
        limit = case.limit() if case.limit else None
        if limit and result.ours:
            result.limit, result.limit_why = limit.figure, limit.why
            result.of_limit = result.ours / limit.figure
    return result


def _agreeing(case: Case, result: Result) -> list[Contender]:
    """Those that can run and compute the right thing, ours first; the result is told of the others."""
    reference = case.reference()
    agreeing: list[Contender] = []
    for contender in (case.ours, *case.peers):
        if isinstance(contender, Absent):
            result.absent[contender.name] = contender.why
            continue
        expected = contender.reference() if contender.reference else reference
        try:
            name, difference = worst(contender.results(), expected, case.allowed)
        except (RuntimeError, MemoryError) as error:
            result.absent[contender.name] = failure(error)
            agrees = False
        else:
            result.differences[contender.name] = [name, difference]
            agrees = difference <= case.allowed(name)
            if not agrees:
                facts = f"{name} is {difference:.1e} from the reference, {case.allowed(name):.0e} is allowed"
                result.absent[contender.name] = f"does not agree: {facts}"
        if contender is case.ours:
            result.agrees = agrees
        if agrees:
            agreeing.append(contender)
    return agreeing


def conclude(result: Result, work: Work, figures: Mapping[str, Sequence[float]], ours: str) -> None:
    """Put what the figures of every round say into the result; `ours` is whose are ours."""
    medians = {name: statistics.median(values) for name, values in figures.items() if values}
    result.spread = {name: [min(values), max(values)] for name, values in figures.items() if values}
    result.ours = medians.pop(ours, None)
    result.peers = medians
    if medians and result.ours is not None:
        result.best_peer = (max if work.measure == "rate" else min)(medians, key=lambda name: medians[name])
        result.ratio = result.ours / medians[result.best_peer]
        result.reached = work.reached(result.ratio)


def _rates(contenders: Sequence[Contender], case: Case, rounds: int, failed: dict[str, str]) -> dict[str, list[float]]:
    """Amounts a second of each contender in every round."""
    repeats: dict[str, int] = {}

    def rate(contender: Contender) -> float:
        if contender.name not in repeats:
            # What is compiled or allocated at first use has been by now: the results were checked.
            seconds = _seconds(contender.run)
            if seconds < _ROUND_SECONDS:
                seconds = min(seconds, _seconds(contender.run))
            repeats[contender.name] = max(1, round(_ROUND_SECONDS / seconds))
        n = repeats[contender.name]
        amount = case.amount if contender.amount is None else contender.amount
        return n * amount / _seconds(contender.run, n)

    return _interleaved(contenders, rate, rounds, failed)


def _interleaved(
    contenders: Sequence[Contender], measure: Callable[[Contender], float], rounds: int, failed: dict[str, str]
) -> dict[str, list[float]]:
    """A figure of each contender in every round, the order turned round each time; one that fails is left out."""
    figures: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for turn in range(rounds):
        for contender in contenders if turn % 2 == 0 else contenders[::-1]:
            if contender.name not in failed:
                try:
                    figures[contender.name].append(measure(contender))
                except (RuntimeError, MemoryError) as error:
                    failed[contender.name] = failure(error)
    return {name: values for name, values in figures.items() if name not in failed}


def _seconds(function: Callable[[], object], repeats: int = 1) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        function()
    return time.perf_counter() - begin


def _memories(contenders: Sequence[Contender], rounds: int, failed: dict[str, str]) -> dict[str, list[float]]:
    """MB that a run of each contender holds at its highest, beyond what was held before it."""

    def highest(contender: Contender) -> float:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the highest so far is now the present
        before = _status("VmRSS")
        contender.run()
        return (_status("VmHWM") - before) / 1e6

    return _interleaved(contenders, highest, rounds, failed)


def _status(key: str) -> float:
    """Bytes, from what Linux says of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * float(lines[key].split()[0])


def limit_memory() -> None:
    """Let allocations of this process fail where the machine has no more, so that a contender is told that it cannot,
    and if that does not help let the system end this process before any other."""
    with contextlib.suppress(OSError, ImportError, ValueError):
        import resource

        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        most = int(0.9 * 1024 * int(facts["MemAvailable"].split()[0]))
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
        Path("/proc/self/oom_score_adj").write_text("1000")


def available_cores() -> list[int]:
    """The processor cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[dict[str, str]]:
    """Inside, processes that are started have so many cores; gives the environment that tells libraries the same."""
    number = str(min(threads, len(available_cores())))
    environment = {**os.environ, "OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number, "OPENBLAS_NUM_THREADS": number}
    environment["NUMBA_NUM_THREADS"] = number
    # As the command line sets it: waiting threads of OpenMP would otherwise keep others from a core for a while.
    environment.setdefault("GOMP_SPINCOUNT", "10000")
    if not hasattr(os, "sched_setaffinity"):
        yield environment
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, available_cores()[:threads])
    try:
        yield environment
    finally:
        os.sched_setaffinity(0, before)


def run_apart(work: Work, rounds: int = ROUNDS) -> Result:
    """Measure a work in a process of its own: its threads, its memory, and whatever goes wrong, are its own."""
    command = [sys.executable, "-m", "benchmarks", work.name, "--here", "--json", "--rounds", str(rounds)]
    with pinned(work.threads) as environment:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], env=environment, check=False
        )
    try:
        return Result(**json.loads(done.stdout)[0])
    except (ValueError, IndexError, TypeError):
        result = Result.of(work, f"its process ended with status {done.returncode}")
        result.agrees = False
        return result


def as_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """Plain objects."""
    return [asdict(result) for result in results]
