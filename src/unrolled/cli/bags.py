"""`train classify --model bow`: parse, fit, print."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolled.cli.printing import print_json, print_next
from unrolled.cli.screen import Screen

__all__ = ["fit"]


def fit(
    paths: Sequence[str],
    train: Sequence[str],
    valid: Sequence[str],
    test: Sequence[str],
    run: Path | None,
    options: Mapping[str, Any],
    json: bool,
) -> None:
    """Fit a bag of words and print what came of it."""
    from unrolled.verbs.bags import fit_bag

    with Screen() as screen:
        fitted = fit_bag(paths, train=train, valid=valid, test=test, run=run, listener=screen, **options)
    if json:
        print_json(
            {
                "run": str(fitted.run),
                "task": "classify",
                "model": "bow",
                "setting": fitted.setting,
                "ngrams": fitted.ngrams,
                "parameters": fitted.parameters,
                "minutes": fitted.minutes,
                "chosen_on_valid": fitted.chosen,
                "tried": fitted.tried,
                "valid": fitted.valid,
            }
        )
        return
    looked = f", the best of {len(fitted.tried)} settings" if fitted.chosen else ""
    print(f"\nfitted {fitted.about}{looked}\n  {fitted.ngrams:,} n-grams, {60 * fitted.minutes:.1f} seconds")
    if fitted.valid is not None:
        print(f"held out: {fitted.summary}{chr(10) + '  (the setting was chosen on these)' if fitted.chosen else ''}")
    name = shlex.quote(str(fitted.run))
    print_next(
        fitted.run,
        (f"unrolled evaluate {name} --split test", "what it knows of the test part"),
        (f"unrolled predict {name} FILE", "what it says of new texts"),
        (f"unrolled describe {name}", "which n-grams speak for which label"),
    )
