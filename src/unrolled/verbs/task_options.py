"""Options of the tasks that learn from examples: sorted into sections, with what is usual where none are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from unrolled.errors import ConfigurationError, nearest
from unrolled.runs.configuration import load_section
from unrolled.tasks.kinds import Kind
from unrolled.training.configuration import OF_STREAMS, TrainingConfig
from unrolled.verbs.origins import Origin

__all__ = ["following", "read_task_options"]


def following(kind: Kind, origin: Origin, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is usual where training starts from a language model's weights.

    Raises:
        ConfigurationError: something else is given of what must be as it is there.
    """
    implied = kind.follow(origin.model, origin.vocabulary)
    for name, value in implied.items():
        if given.get(name) not in (None, value):
            raise ConfigurationError(
                f"{name} is that of the language model from whose weights training starts",
                expected="none" if value is None else str(value).lower(),
                got=str(given[name]).lower(),
                where=f"--from {origin.path}",
                fix=f"leave {name} out",
            )
    return {**kind.finetuning, **implied}


def read_task_options(
    kind: Kind, given: Mapping[str, Any], usual: Mapping[str, Any]
) -> tuple[dict[str, Any], TrainingConfig]:
    """Sort flat options into the sections of a task and the configuration of training; `usual` wins over defaults."""
    classes: dict[str, type[Any]] = {**kind.sections, "training": TrainingConfig}
    homes = {field.name: name for name, section in classes.items() for field in fields(section)}
    for name in OF_STREAMS:
        homes.pop(name, None)
    chosen = {name: value for name, value in given.items() if value is not None}
    unknown = [name for name in chosen if name not in homes]
    if unknown:
        raise ConfigurationError(f"unknown option {unknown[0]!r} of {kind.name}", fix=nearest(unknown[0], homes))
    defaults = dict(kind.defaults)
    if {"minutes", "epochs", "steps"} & chosen.keys():
        defaults = {name: value for name, value in defaults.items() if name not in ("minutes", "epochs", "steps")}
    sections: dict[str, dict[str, Any]] = {name: {} for name in classes}
    for name, value in {**defaults, **usual, **chosen}.items():
        sections[homes[name]][name] = value
    built = {name: load_section(section, sections[name], f"options of {name}") for name, section in classes.items()}
    training = built.pop("training")
    return built, training
