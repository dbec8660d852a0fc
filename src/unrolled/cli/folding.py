"""`train classify --folds`: a run for each fold, and what they come to together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from unrolled.cli.printing import print_json
from unrolled.cli.screen import Screen
from unrolled.cli.supervised import FileOptions
from unrolled.errors import ConfigurationError

__all__ = ["fold_task"]

_SHOWN = ("accuracy", "macro_f1", "roc_area", "mae", "r2")


def fold_task(task: str, paths: Sequence[str], files: FileOptions, options: dict[str, Any], json: bool) -> None:
    """Train and test a model for each fold, told of as they are done."""
    from unrolled.verbs.crossvalidating import cross_validate

    if not paths or files.train or files.valid or files.test:
        raise ConfigurationError(
            "folds are made of all examples together", fix="give the files without --train, --valid and --test"
        )

    def told(fold: int, report: Mapping[str, Any]) -> None:
        if not json:
            print(f"fold {fold}: {_line(report)}, {report['examples']:,} examples")

    folds = options.pop("folds")
    with Screen() as screen:
        found = cross_validate(task, paths, folds=folds, run=files.run, listener=screen, each=told, **options)
    if json:
        print_json({**asdict(found), "run": str(found.run)})
        return
    print(f"\n{folds} folds, mean and standard deviation between them:")
    for name in _SHOWN:
        if name in found.means:
            mean = found.means[name]
            print(f"  {name:<10} {mean['mean']:.4f} ± {mean['deviation']:.4f}; of all examples {mean['pooled']:.4f}")
    print(f"a run for each fold is in {found.run}")


def _line(report: Mapping[str, Any]) -> str:
    """The metrics of one fold."""
    return ", ".join(f"{name} {report[name]:.4f}" for name in _SHOWN if isinstance(report.get(name), int | float))
