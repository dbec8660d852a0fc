"""The options of `train`, made from the configurations: their fields are the options, their docstrings the help."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, field, fields, make_dataclass
from types import MappingProxyType
from typing import Annotated, Any, Optional, get_args, get_type_hints

from cyclopts import Parameter, Token

from unrolled.errors import ConfigurationError
from unrolled.tasks.ngram_configuration import NGramConfig
from unrolled.training.configuration import OF_EXAMPLES
from unrolled.verbs.methods import MethodOptions as _Methods
from unrolled.verbs.options import SECTIONS

__all__ = [
    "MethodOptions",
    "ModelOptions",
    "NGramOptions",
    "TextOptions",
    "TrainingOptions",
    "Whole",
    "check_of_network",
    "given",
    "options_of",
]


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    """A whole number. Cyclopts by itself takes 1.5 for 2."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number") from None


Whole = Annotated[int, Parameter(converter=_whole)]


def _about(section: type[Any]) -> dict[str, str]:
    """The text of every attribute in the docstring of a configuration."""
    _, _, listed = (section.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12,}.*)*)", listed, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def options_of(
    section: type[Any], group: str, defaults: Mapping[str, Any] = MappingProxyType({}), leave_out: Sequence[str] = ()
) -> type[Any]:
    """A dataclass with the fields of a configuration, all of them None until they are given.

    Args:
        section: the configuration.
        group: the heading of its options.
        defaults: those of its fields that have another default here.
        leave_out: fields that are no options here.
    """
    about, hints = _about(section), get_type_hints(section)
    built = []
    for entry in fields(section):
        if entry.name in leave_out:
            continue
        usual = defaults.get(entry.name, entry.default)
        default = "" if usual in (MISSING, None) else f" [default: {usual}]"
        # Typer-style brackets in help would be read as markup.
        parameter = Parameter(help=about[entry.name] + default, group=group, show_default=False)
        kinds = {*get_args(hints[entry.name]), hints[entry.name]} - {type(None)}
        hint = Whole if int in kinds else hints[entry.name]
        built.append((entry.name, Annotated[Optional[hint], parameter], field(default=None)))  # noqa: UP045
    # A class of a module named "types", which `make_dataclass` would say it is, is not taken apart into options.
    return make_dataclass(f"{section.__name__}Options", built, frozen=True, namespace={"__module__": __name__})


TextOptions = options_of(SECTIONS["text"], "Text")
ModelOptions = options_of(SECTIONS["model"], "Network")
TrainingOptions = options_of(SECTIONS["training"], "Training", leave_out=OF_EXAMPLES)
NGramOptions = options_of(NGramConfig, "N-grams (with --model ngram)")


MethodOptions = options_of(_Methods, "Methods")


def given(*options: Any) -> dict[str, Any]:
    """The options that were given, by name."""
    return {name: value for group in options for name, value in asdict(group).items() if value is not None}


def check_of_network(others: Any, what: str = "n-grams", model: str = "ngram") -> None:
    """Raise a `ConfigurationError` where a network is given an option of another model."""
    for name in given(others):
        option = "--" + name.replace("_", "-")
        raise ConfigurationError(f"{option} is an option of {what}", fix=f"add --model {model}, or leave {option} out")
