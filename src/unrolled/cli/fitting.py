"""`train lm --model ngram`: parse, fit, print."""

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
    """Fit an n-gram model and print what came of it."""
    from unrolled.verbs.fitting import fit_lm

    with Screen() as screen:
        fitted = fit_lm(paths, train=train, valid=valid, test=test, run=run, listener=screen, **options)
    found = fitted.valid
    if json:
        value = {
            "run": str(fitted.run),
            "task": "lm",
            "model": "ngram",
            "order": fitted.order,
            "ngrams": fitted.ngrams,
            "discounts": fitted.discounts,
            "minutes": fitted.minutes,
            "chosen_on_valid": fitted.chosen,
            "tried": fitted.tried,
            "best_valid_nats_per_token": None if found is None else found.nats_per_token,
            "best_valid_bits_per_character": None if found is None else found.bits_per_character,
            "best_valid_perplexity": None if found is None else found.perplexity,
        }
        print_json(value)
        return
    print(f"\nfitted {fitted.order}-grams, {fitted.ngrams:,} of all orders, in {60 * fitted.minutes:.1f} seconds")
    if found is not None:
        chosen = f"; {' and '.join(fitted.chosen)} chosen on these" if fitted.chosen else ""
        print(
            f"held out: {found.nats_per_token:.4f} nats a symbol, {found.bits_per_character:.3f} bits a character, "
            f"perplexity {found.perplexity:.3f}\n  ({found.tokens:,} symbols{chosen})"
        )
    name = shlex.quote(str(fitted.run))
    print_next(
        fitted.run,
        (f"unrolled evaluate {name} --split test", "its loss on the test part"),
        (f"unrolled sample {name}", "let it write"),
        (f"unrolled evaluate NETWORK --mix {name}", "with a network of the same text, mixed"),
    )
