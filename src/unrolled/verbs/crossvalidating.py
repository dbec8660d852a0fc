"""Cross-validation: one run a fold, each tested on the examples that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.data.store import SplitSources
from unrolled.errors import ConfigurationError
from unrolled.files import write_json
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import listed, place_run, stem
from unrolled.verbs.supervised import open_task, train_task

__all__ = ["Folded", "cross_validate", "mean_report"]

_REPORT = "folds.json"


@dataclass(frozen=True)
class Folded:
    """What a cross-validation came to.

    Attributes:
        task: its name.
        run: the directory that holds a run for each fold.
        folds: what `evaluate` says of the test part of each.
        means: by metric, mean and standard deviation over folds; see `mean_report`.
    """

    task: str
    run: Path
    folds: list[dict[str, Any]]
    means: dict[str, dict[str, float]]


def cross_validate(
    task: str,
    paths: Sequence[str],
    *,
    folds: int,
    run: str | Path | None = None,
    listener: Listener | None = None,
    each: Callable[[int, Mapping[str, Any]], None] | None = None,
    **options: Any,
) -> Folded:
    """Train a model for every fold and test it on that; see `data.folds`.

    A budget is that of one fold. Runs lie in `run/fold-01` and so on, and what was found in `run/folds.json`.

    Args:
        task: its name, as `train_task` has it.
        paths: the files.
        folds: how many, at least 2.
        run: the directory; `runs/` and a name made from the data if not given.
        listener: hears what happens.
        each: is told of each fold that is done, by its number from 1, what was found.
        options: as for `train_task`.

    Raises:
        InputError: as for `train_task`.
    """
    if folds < 2:
        raise ConfigurationError("a cross-validation has at least two folds", got=str(folds))
    names = listed(paths)
    root = place_run(run, f"{stem(names, SplitSources.find(names))}-{task}-folds")
    reports = []
    for fold in range(1, folds + 1):
        path = root / f"fold-{fold:0{len(str(folds))}d}"
        train_task(task, names, run=path, listener=listener, folds=folds, fold=fold, **options)
        device, threads = options.get("device") or "auto", options.get("threads")
        report = open_task(path, device=device, threads=threads, listener=listener).evaluate("test")
        reports.append(report)
        if each is not None:
            each(fold, report)
    found = Folded(task, root, reports, mean_report(reports))
    write_json(root / _REPORT, {"task": task, "folds": reports, "means": found.means})
    return found


def mean_report(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Of every metric that is a number in all reports `mean`, `deviation` (between folds) and `pooled`: the mean over
    all examples, which of the accuracy is the share of all that are right.

    >>> mean_report([{"accuracy": 1.0, "examples": 1}, {"accuracy": 0.5, "examples": 3}])["accuracy"]
    {'mean': 0.75, 'deviation': 0.3535533905932738, 'pooled': 0.625}
    """
    found: dict[str, dict[str, float]] = {}
    sizes = [int(report["examples"]) for report in reports]
    for name, first in reports[0].items():
        values = [report.get(name) for report in reports]
        numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if name in ("examples", "checkpoint") or len(numbers) < len(values) or not isinstance(first, int | float):
            continue
        mean = sum(numbers) / len(numbers)
        spread = math.sqrt(sum((value - mean) ** 2 for value in numbers) / max(1, len(numbers) - 1))
        pooled = sum(value * size for value, size in zip(numbers, sizes, strict=True)) / sum(sizes)
        found[name] = {"mean": mean, "deviation": spread, "pooled": pooled}
    return found
