"""`evaluate --baseline` and `--mix`, `score --mix`: the work is that of `verbs.comparing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unrolled.cli.printing import print_compared
from unrolled.errors import ConfigurationError

__all__ = ["compared", "score_compared"]


def compared(
    model: Any,
    split: Any,
    protocol: str,
    window: int | None,
    baseline: Any,
    mix: Sequence[str],
    methods: Mapping[str, Any],
    json: bool,
) -> None:
    """Evaluate a run with others beside it, and print both."""
    from unrolled.verbs.comparing import compare

    if protocol != "carried" or window is not None:
        problem = "others stand beside a run with all that was read before"
        raise ConfigurationError(problem, expected="--protocol carried", fix="leave out --window and --protocol")
    print_compared(compare(model, split, mixed_with=mix, baseline=baseline, **methods), json)


def score_compared(
    model: Any, text: str, name: str, mix: Sequence[str], skip_unknown: bool, each: Any, sort: Any, json: bool
) -> None:
    """Score a text with a run and others mixed with it, and print all."""
    from unrolled.verbs.comparing import score_mixed

    if each is not None or sort is not None:
        raise ConfigurationError("a mixture scores a text as a whole", fix="leave out --each and --sort, or --mix")
    print_compared(score_mixed(model, text, name, mixed_with=mix, skip_unknown=skip_unknown), json)
