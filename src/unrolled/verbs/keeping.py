"""What verbs that fit a model in one go share: sorting flat options, and keeping what was fitted as a run."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from unrolled.errors import ConfigurationError, nearest
from unrolled.runs.configuration import load_section
from unrolled.runs.directory import Run
from unrolled.runs.fitted import save_fitted
from unrolled.runs.logs import Logs
from unrolled.tasks import Fitted

__all__ = ["keep_fitted", "sort_options"]


def sort_options(
    sections: Mapping[str, type[Any]], given: Mapping[str, Any], model: str, fix: str, leave_out: Collection[str] = ()
) -> list[Any]:
    """Sort flat options into configurations; one that is None counts as not given.

    Args:
        sections: the classes of the configurations, by name.
        given: options by name.
        model: what they are options of, for messages: "an n-gram model".
        fix: what to do about one that is none of them.
        leave_out: fields that are no options here.

    Returns:
        the configurations, in the order of the sections.

    Raises:
        ConfigurationError: an unknown option, or a value that is out of range.
    """
    homes = {field.name: name for name, section in sections.items() for field in fields(section)}
    homes = {name: home for name, home in homes.items() if name not in leave_out}
    chosen: dict[str, dict[str, Any]] = {name: {} for name in sections}
    for name, value in given.items():
        if value is None:
            continue
        if name not in homes:
            raise ConfigurationError(
                f"option {name!r} is none of {model}",
                expected=f"one of {', '.join(sorted(homes))}",
                fix=f"{fix}; {nearest(name, homes)}",
            )
        chosen[homes[name]][name] = value
    return [load_section(section, chosen[name], f"options of {name}") for name, section in sections.items()]


def keep_fitted(
    path: Path,
    configuration: Mapping[str, Any],
    vocabulary: Mapping[str, Any],
    model: Fitted,
    *,
    minutes: float,
    loss: float | None,
    best: bool,
) -> None:
    """Keep a fitted model as a run.

    Args:
        path: its directory, which is made.
        configuration: of the run.
        vocabulary: of the run.
        model: what was fitted.
        minutes: that it took.
        loss: on the validation part; None where there is none.
        best: whether something was chosen there.

    Raises:
        StorageError: the disk is full; nothing is left of the run.
    """
    opened = Run.create(path, configuration, vocabulary)
    try:
        with opened.exclusive():
            with Logs(opened) as logs:
                logs.metrics({"event": "fitted", **model.facts(), "minutes": minutes, "valid": loss})
            state = {**model.facts(), "minutes": minutes, "epoch": 1.0, "best": loss}
            save_fitted(opened, model.arrays(), state, best=best)
    except BaseException:
        # Fitting is done again in the time it took; half a run would only be in the way.
        shutil.rmtree(path, ignore_errors=True)
        raise
