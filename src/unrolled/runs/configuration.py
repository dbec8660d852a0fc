"""Frozen dataclasses from JSON and back, strictly: a mistyped key or value is an error, never a default.

Understood field types: `bool`, `int`, `float`, `str`, `None`, `Literal`, unions, `tuple`, `list`, `dict[str, ...]`,
other dataclasses, and `Any` for JSON that is passed through.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Optimiser:
...     name: str = "adamw"
...     rate: float = 1e-3
>>> load_section(Optimiser, {"rate": 1}, "config.json")
Optimiser(name='adamw', rate=1.0)
>>> load_section(Optimiser, {"rat": 0.1}, "config.json")
Traceback (most recent call last):
    ...
unrolled.errors.ConfigurationError: unknown key 'rat'
  where: config.json
  expected: a key of Optimiser: name, rate
  what to do: did you mean 'rate'?
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

from unrolled.errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["NON_FINITE", "dump_section", "load_section"]

NON_FINITE: dict[str, bool] = {"non_finite": True}
"""`field(metadata=NON_FINITE)` lets a float be infinite or NaN; in JSON it is "inf", "-inf" or "nan"."""

_SPELT = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}

_Section = TypeVar("_Section", bound="DataclassInstance")


def load_section(cls: type[_Section], value: object, where: str) -> _Section:
    """A dataclass from a JSON object, strictly.

    Args:
        cls: the dataclass. Keys that are missing take its defaults; an int is accepted for a float; nothing else is
            converted, and a bool is not an int.
        value: what `json.loads` returned.
        where: file and section, for the message.

    Raises:
        ConfigurationError: an unknown key (the nearest known one is named), a missing one, or a value of another type.
    """
    return _dataclass(cls, value, _Place(where))


def dump_section(section: DataclassInstance) -> dict[str, Any]:
    """The JSON object from which `load_section` makes `section` again."""
    return {field.name: _dump(getattr(section, field.name)) for field in dataclasses.fields(section) if field.init}


def _dump(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dump_section(value)
    if isinstance(value, dict):
        return {key: _dump(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_dump(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where in a file a value stands, and whether its floats may be other than finite."""

    where: str
    key: str = ""
    non_finite: bool = False

    @property
    def text(self) -> str:
        return f"{self.where}: {self.key}" if self.key else self.where

    def inside(self, key: str, non_finite: bool | None = None) -> _Place:
        return _Place(
            self.where,
            f"{self.key}{'' if key.startswith('[') or not self.key else '.'}{key}",
            self.non_finite if non_finite is None else non_finite,
        )

    def error(self, problem: str, *, expected: str, got: object = None, fix: str | None = None) -> ConfigurationError:
        shown = None if got is None else _shown(got)
        return ConfigurationError(problem, expected=expected, got=shown, where=self.text, fix=fix)

    def mismatch(self, expected: str, value: object, fix: str | None = None) -> ConfigurationError:
        name = repr(self.key) if self.key else "the section"
        got = "null" if value is None else value
        return self.error(f"{name} has a wrong value", expected=expected, got=got, fix=fix)


def _shown(value: object) -> str:
    text = value if value == "null" else json.dumps(value, ensure_ascii=False, default=repr)
    text = str(text)
    return text if len(text) <= 80 else text[:77] + "..."


def _dataclass(cls: type[_Section], value: object, place: _Place) -> _Section:
    if not isinstance(value, dict):
        raise place.mismatch(f"an object with the keys of {cls.__name__}", value)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in value:
        if key not in fields:
            expected = f"a key of {cls.__name__}: {', '.join(fields)}"
            raise place.error(f"unknown key {key!r}", expected=expected, fix=nearest(str(key), fields))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in value:
            raise place.error(f"the key {name!r} is missing", expected=f"every key of {cls.__name__} without a default")
    hints = typing.get_type_hints(cls)
    values = {
        name: _value(hints[name], item, place.inside(name, bool(fields[name].metadata.get("non_finite"))))
        for name, item in value.items()
    }
    try:
        return cls(**values)
    except ConfigurationError as error:  # the class's own check, which knows no file
        where = error.where or place.text
        raise ConfigurationError(
            error.problem, expected=error.expected, got=error.got, where=where, fix=error.fix
        ) from error


def _value(hint: Any, value: object, place: _Place) -> Any:
    """`value` as the type `hint` says, or a `ConfigurationError`."""
    if hint is Any:
        return value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, place)
    origin = typing.get_origin(hint) or hint
    reader = _READERS.get(origin)
    if reader is None:
        raise TypeError(f"{place.key}: a field of type {hint} cannot be read from JSON")
    return reader(hint, value, place)


def _exact(kind: type, name: str) -> Callable[[Any, object, _Place], Any]:
    def read(_hint: Any, value: object, place: _Place) -> Any:
        if type(value) is not kind:  # not isinstance: True is no number
            raise place.mismatch(name, value)
        return value

    return read


def _float(_hint: Any, value: object, place: _Place) -> float:
    expected = "a number" if place.non_finite else "a finite number"
    if place.non_finite and isinstance(value, str) and value in _SPELT:
        return _SPELT[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise place.mismatch(expected, value)
    try:
        number = float(value)
    except OverflowError:
        raise place.mismatch(expected, value) from None
    if not math.isfinite(number) and not place.non_finite:
        raise place.mismatch(expected, value)
    return number


def _literal(hint: Any, value: object, place: _Place) -> Any:
    options = typing.get_args(hint)
    for option in options:
        if type(option) is type(value) and option == value:
            return option
    near = nearest(value, map(str, options)) if isinstance(value, str) else None
    raise place.mismatch("one of " + ", ".join(_shown(option) for option in options), value, near)


def _union(hint: Any, value: object, place: _Place) -> Any:
    members = typing.get_args(hint)
    if value is None and types.NoneType in members:
        return None
    candidates = [member for member in members if member is not types.NoneType]
    if len(candidates) == 1:  # an optional value: its own message is the most exact
        return _value(candidates[0], value, place)
    expected = []
    for candidate in candidates:
        try:
            return _value(candidate, value, place)
        except ConfigurationError as error:
            expected.append(error.expected or "")
    raise place.mismatch(" or ".join([*expected, *(["null"] if types.NoneType in members else [])]), value)


def _tuple(hint: Any, value: object, place: _Place) -> tuple[Any, ...]:
    kinds = typing.get_args(hint)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_list(list[kinds[0]], value, place))  # type: ignore[valid-type]
    if not isinstance(value, list) or len(value) != len(kinds):
        raise place.mismatch(f"a list of {len(kinds)}", value)
    return tuple(
        _value(kind, item, place.inside(f"[{i}]")) for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _list(hint: Any, value: object, place: _Place) -> list[Any]:
    if not isinstance(value, list):
        raise place.mismatch("a list", value)
    (kind,) = typing.get_args(hint) or (Any,)
    return [_value(kind, item, place.inside(f"[{i}]")) for i, item in enumerate(value)]


def _dict(hint: Any, value: object, place: _Place) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise place.mismatch("an object", value)
    _, kind = typing.get_args(hint) or (str, Any)
    return {key: _value(kind, item, place.inside(key)) for key, item in value.items()}


_READERS: dict[Any, Callable[[Any, object, _Place], Any]] = {
    bool: _exact(bool, "true or false"),
    int: _exact(int, "a whole number"),
    str: _exact(str, "a text"),
    types.NoneType: _exact(types.NoneType, "null"),
    float: _float,
    Literal: _literal,
    Union: _union,
    types.UnionType: _union,
    tuple: _tuple,
    list: _list,
    dict: _dict,
}
