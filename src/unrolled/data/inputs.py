"""What is labelled, as a network reads it: a registry of inputs.

An input is fitted to the training part (its vocabulary, its scalings), is kept in the run as JSON, and turns what a
format reads into sequences: of ids (T,) where it has symbols, else of vectors (T, D). To add one, derive from `Input`
and name it in `INPUTS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from unrolled.data.labelled_configuration import Cut, LabelledConfig
from unrolled.data.ragged import Ragged
from unrolled.errors import ConfigurationError, DataError, nearest

__all__ = ["INPUTS", "Input", "check_options", "check_values", "cut_down", "find_input", "read_input"]

INPUTS: dict[str, str] = {
    "letters": "unrolled.data.letter_inputs:LetterInput",
    "pictures": "unrolled.data.picture_inputs:PictureInput",
    "text": "unrolled.data.text_inputs:TextInput",
    "vectors": "unrolled.data.vector_inputs:VectorInput",
}
"""Where each is, by its name."""

_ABOUT = {
    "letters": "sequences over an alphabet (--alphabet)",
    "pictures": "pictures (idx files)",
    "text": "texts",
    "vectors": "series of vectors",
}


class Input(ABC):
    """What is labelled, as a network reads it.

    Attributes:
        name: what a run calls it.
    """

    name: ClassVar[str]

    @property
    def symbols(self) -> int | None:
        """V, where it gives ids; None where it gives vectors."""
        return None

    @property
    def width(self) -> int | None:
        """D, where it gives vectors (T, D) of numbers; None where it gives ids."""
        return None

    @property
    @abstractmethod
    def about(self) -> str:
        """What it is, in a line: "4,000 words"."""

    @property
    def unknown(self) -> int | None:
        """The id that stands for all symbols that are not known, if there is one."""
        return None

    @classmethod
    @abstractmethod
    def fit(cls, values: Sequence[Any], config: LabelledConfig) -> Input:
        """The input that fits what a format read of the training part."""

    def chosen(self, config: LabelledConfig) -> LabelledConfig:
        """The options with what was chosen filled in: what a run's configuration says of them."""
        return config

    @abstractmethod
    def encode(self, values: Sequence[Any]) -> Ragged:
        """Sequences of at least one time step, of what a format read; an empty text becomes one unknown symbol.

        Raises:
            DataError: a value is none that such an input reads.
        """

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """All that was fitted, as JSON."""

    @classmethod
    @abstractmethod
    def build(cls, details: Mapping[str, Any], where: str) -> Input:
        """What `details` said, again.

        Raises:
            DataError: it is something else.
        """

    def to_json(self) -> dict[str, Any]:
        """The input as JSON; `read_input` reads it back."""
        return {"kind": self.name, **self.details()}


def find_input(name: str) -> type[Input]:
    """The input of a name.

    Raises:
        DataError: there is none.
    """
    if name not in INPUTS:
        raise DataError(f"there is no input {name!r}", fix=nearest(name, INPUTS))
    module, _, attribute = INPUTS[name].partition(":")
    found: type[Input] = getattr(import_module(module), attribute)
    return found


def read_input(value: object, where: str) -> Input:
    """An input from what `Input.to_json` gave.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise DataError("not an input", expected="an object with a kind", got=type(value).__name__, where=where)
    details = {key: part for key, part in value.items() if key != "kind"}
    return find_input(value["kind"]).build(details, where)


def check_options(options: Any, homes: Mapping[str, str], found: str) -> None:
    """Whether options that are not as usual are for what is read.

    Args:
        options: a configuration.
        homes: of some of its fields, which input each is for.
        found: the input that is read.

    Raises:
        ConfigurationError: one is for another, and would say nothing.
    """
    usual = type(options)()
    for name, home in homes.items():
        if getattr(options, name) != getattr(usual, name) and home != found:
            option = "--" + name.replace("_", "-")
            raise ConfigurationError(f"{option} is for {_ABOUT[home]}", got=found, fix=f"leave out {option}")


def check_values(values: Sequence[Any], kind: type, expected: str) -> None:
    """Raise a `DataError` for the first value that is not what is read: a text, an array."""
    for value in values:
        if not isinstance(value, kind):
            raise DataError(
                "the input is of another kind than what the model reads",
                expected=expected,
                got=type(value).__name__,
                fix="name files such as those that were trained on, or say their --format",
            )


def cut_down(values: Any, length: int | None, cut: Cut) -> Any:
    """An array (T, ...) cut down to so many time steps: without its end, its start or its middle.

    >>> cut_down(np.arange(6), 3, "middle").tolist()
    [0, 1, 5]
    """
    if length is None or len(values) <= length:
        return values
    if cut == "end":
        return values[:length]
    if cut == "start":
        return values[len(values) - length :]
    head = length - length // 2
    return np.concatenate([values[:head], values[len(values) - length // 2 :]])
