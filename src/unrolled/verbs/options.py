"""The options of `train`, given flat as on the command line, and put where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from unrolled.data.configuration import TextConfig
from unrolled.errors import ConfigurationError, nearest
from unrolled.runs.configuration import load_section
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.training.configuration import TrainingConfig
from unrolled.verbs.recipes import RECIPES

__all__ = ["SECTIONS", "read_options"]

SECTIONS: dict[str, type[Any]] = {"text": TextConfig, "model": LanguageModelConfig, "training": TrainingConfig}


def read_options(
    given: Mapping[str, Any], recipe: str | None = None, inherited: Mapping[str, Any] | None = None
) -> tuple[TextConfig, LanguageModelConfig, TrainingConfig, dict[str, Any]]:
    """Sort flat options into the configurations of text, model and training.

    Args:
        given: options by name; one that is None counts as not given.
        recipe: the name of a recipe; what is given wins over it.
        inherited: options of the run that training starts from; recipe and what is given win over them.

    Returns:
        the three configurations, and what the recipe says that belongs to none of them.

    Raises:
        ConfigurationError: an unknown recipe or option, or a value that is out of range.
    """
    if recipe is not None and recipe not in RECIPES:
        raise ConfigurationError(f"unknown recipe {recipe!r}", fix=nearest(recipe, RECIPES))
    chosen = {name: value for name, value in given.items() if value is not None}
    budgets = {"minutes", "epochs", "steps"}
    follow = dict(RECIPES[recipe]) if recipe else {}
    if budgets & chosen.keys():
        follow = {name: value for name, value in follow.items() if name not in budgets}
    options = {**(inherited or {}), **follow, **chosen}
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    homes = {field.name: name for name, section in SECTIONS.items() for field in fields(section)}
    rest: dict[str, Any] = {}
    for name, value in options.items():
        if name in homes:
            sections[homes[name]][name] = value
        elif name in follow and name not in chosen:
            rest[name] = value
        else:
            raise ConfigurationError(f"unknown option {name!r}", fix=nearest(name, homes))
    built = [load_section(section, sections[name], f"options of {name}") for name, section in SECTIONS.items()]
    return built[0], built[1], built[2], rest
