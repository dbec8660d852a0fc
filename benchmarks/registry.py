"""What is measured: works, the contenders for each, and where each work is found."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from unrolled.errors import ConfigurationError, nearest

__all__ = ["FAMILIES", "Absent", "Case", "Contender", "Limit", "Results", "Work", "choose", "failure", "peer", "works"]

# The modules of works/, each with a function `works` of its own.
FAMILIES = ("min_char_rnn", "training", "cells", "sequences", "stepping", "scans", "losses", "outputs")

_INSTALL = "pip install -c constraints.txt -e '.[bench]'"

# Outputs and gradients by name: arrays, tensors or numbers.
Results = Mapping[str, Any]


@dataclass(frozen=True)
class Contender:
    """One way to do a work.

    Attributes:
        name: of the library and its mode.
        run: does the `amount` of the case once.
        results: outputs and gradients from the common starting point, under the names that the reference uses.
        amount: how much of the unit a run does, if another amount than the case says.
        reference: what its results are judged by, if it does another work than ours.
    """

    name: str
    run: Callable[[], object]
    results: Callable[[], Results]
    amount: float | None = None
    reference: Callable[[], Results] | None = None


@dataclass(frozen=True)
class Absent:
    """A contender that cannot be measured here.

    Attributes:
        name: of the library.
        why: and what can be done about it.
    """

    name: str
    why: str


@dataclass(frozen=True)
class Limit:
    """What the machine itself allows.

    Attributes:
        figure: in the unit of the work.
        why: what was measured to know it.
    """

    figure: float
    why: str


@dataclass(frozen=True)
class Case:
    """A work, built: what is run, against what it is checked.

    Attributes:
        ours: of `unrolled`.
        peers: the others.
        reference: outputs and gradients in float64.
        tolerance: the largest norm-relative difference of any tensor from the reference.
        amount: how much of the unit a run does.
        limit: measures what the machine allows; None where nothing is known.
        note: what a reader of the figures must know.
        exceptions: tensors that float32 itself cannot hold to the tolerance, with what is allowed instead.
    """

    ours: Contender | Absent
    peers: tuple[Contender | Absent, ...]
    reference: Callable[[], Results]
    tolerance: float
    amount: float = 1.0
    limit: Callable[[], Limit] | None = None
    note: str = ""
    exceptions: Mapping[str, float] = field(default_factory=dict)

    def allowed(self, name: str) -> float:
        """The largest difference of a tensor from the reference."""
        return self.exceptions.get(name, self.tolerance)


@dataclass(frozen=True)
class Work:
    """One line of the table.

    Attributes:
        name: what it is asked for by.
        about: what is done, with sizes.
        unit: of the figures.
        target: the ratio to the best peer that is to be reached.
        threads: processor cores that everybody may use.
        build: makes the case, in a process that has just started.
        measure: "rate", amounts a second (more is better), or "memory", MB beyond what was held before (less is).
    """

    name: str
    about: str
    unit: str
    target: float
    threads: int
    build: Callable[[], Case]
    measure: Literal["rate", "memory"] = "rate"

    def reached(self, ratio: float) -> bool:
        """Whether a ratio is as good as the target."""
        return ratio >= self.target if self.measure == "rate" else ratio <= self.target


def works() -> dict[str, Work]:
    """Every work by its name, in the order of the table."""
    found: dict[str, Work] = {}
    for family in FAMILIES:
        for work in importlib.import_module(f"benchmarks.works.{family}").works():
            if work.name in found:
                raise ValueError(f"two works are called {work.name}")
            found[work.name] = work
    return found


def choose(names: Iterable[str]) -> list[Work]:
    """The works that are called so, or whose names begin so up to a hyphen; all of them if no name is given.

    Raises:
        ConfigurationError: a name that fits no work.
    """
    known = works()
    chosen: dict[str, Work] = {}
    for name in names:
        fitting = {key: work for key, work in known.items() if key == name or key.startswith(f"{name}-")}
        if not fitting:
            raise ConfigurationError(f"there is no work {name!r}", fix=nearest(name, known))
        chosen |= fitting
    return list((chosen or known).values())


def peer(name: str, packages: Iterable[str], build: Callable[[], Contender]) -> Contender | Absent:
    """A contender that needs packages: an `Absent` where one is not installed, with the command that installs it, or
    where the library does not do what is asked of it."""
    lacking = [package for package in packages if importlib.util.find_spec(package) is None]
    if lacking:
        return Absent(name, f"not installed: {', '.join(lacking)}; install with: {_INSTALL}")
    try:
        return build()
    except Exception as error:
        return Absent(name, failure(error))


def failure(error: BaseException) -> str:
    """One line of what went wrong."""
    return f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
