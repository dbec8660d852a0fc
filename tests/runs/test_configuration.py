from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import ConfigurationError
from unrolled.runs.configuration import NON_FINITE, dump_section, load_section


@dataclass(frozen=True)
class Schedule:
    name: Literal["cosine", "constant"] = "cosine"
    warmup: int = 0


@dataclass(frozen=True)
class Section:
    cell: str
    rate: float = 1e-3
    layers: int = 1
    residual: bool = False
    minutes: float | None = None
    steps: int | Literal["all"] = "all"
    worst: float = field(default=math.inf, metadata=NON_FINITE)
    betas: tuple[float, float] = (0.9, 0.999)
    widths: tuple[int, ...] = ()
    names: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    schedule: Schedule = Schedule()
    plan: Schedule | None = None
    measured: Any = None
    derived: int = field(default=0, init=False)


@dataclass(frozen=True)
class Checked:
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ConfigurationError("the rate is not positive", got=str(self.rate))


finite = st.floats(allow_nan=False, allow_infinity=False)
schedules = st.builds(Schedule, name=st.sampled_from(["cosine", "constant"]), warmup=st.integers())
sections = st.builds(
    Section,
    cell=st.text(),
    rate=finite,
    layers=st.integers(),
    residual=st.booleans(),
    minutes=st.none() | finite,
    steps=st.just("all") | st.integers(),
    worst=st.floats(allow_nan=False),
    betas=st.tuples(finite, finite),
    widths=st.lists(st.integers()).map(tuple),
    names=st.lists(st.text()),
    weights=st.dictionaries(st.text(), finite),
    schedule=schedules,
    plan=st.none() | schedules,
    measured=st.recursive(st.none() | st.booleans() | finite | st.text(), lambda inner: st.lists(inner)),
)


@given(sections)
def test_round_trip_through_json(section: Section) -> None:
    text = json.dumps(dump_section(section), allow_nan=False)
    assert load_section(Section, json.loads(text), "config.json") == section


def test_nan_where_the_class_allows_it() -> None:
    dumped = dump_section(Section("lstm", worst=math.nan))
    assert dumped["worst"] == "nan"
    assert math.isnan(load_section(Section, dumped, "config.json").worst)


def test_missing_keys_take_the_defaults() -> None:
    assert load_section(Section, {"cell": "gru"}, "config.json") == Section("gru")


def test_an_int_is_taken_for_a_float_and_becomes_one() -> None:
    loaded = load_section(Section, {"cell": "gru", "rate": 1}, "config.json")
    assert isinstance(loaded.rate, float)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"rat": 1.0}, ["unknown key 'rat'", "did you mean 'rate'?"]),
        ({"zzzzzz": 1.0}, ["unknown key 'zzzzzz'", "choose one of: betas, cell"]),
        ({"derived": 1}, ["unknown key 'derived'"]),
        ({"rate": "0.1"}, ["'rate'", "a finite number", '"0.1"', "config.json: rate"]),
        ({"rate": True}, ["'rate'", "a finite number", "true"]),
        ({"rate": None}, ["'rate'", "got: null"]),
        ({"rate": math.nan}, ["'rate'", "a finite number", "NaN"]),
        ({"rate": math.inf}, ["a finite number", "Infinity"]),
        ({"rate": "inf"}, ["a finite number"]),
        ({"rate": 10**400}, ["a finite number", "..."]),
        ({"worst": "infinite"}, ["'worst'", "a number"]),
        ({"layers": True}, ["'layers'", "a whole number", "true"]),
        ({"layers": 2.0}, ["a whole number", "2.0"]),
        ({"residual": 1}, ["true or false", "got: 1"]),
        ({"cell": 3}, ["a text", "got: 3"]),
        ({"minutes": "2"}, ["'minutes'", "a finite number"]),
        ({"steps": "al"}, ["'steps'", 'a whole number or one of "all"']),
        ({"betas": [0.9]}, ["'betas'", "a list of 2", "[0.9]"]),
        ({"betas": [0.9, "x"]}, ["'betas[1]'", "config.json: betas[1]"]),
        ({"widths": [1, 2.5]}, ["'widths[1]'", "a whole number"]),
        ({"widths": 3}, ["a list"]),
        ({"names": "abc"}, ["a list"]),
        ({"weights": []}, ["an object"]),
        ({"weights": {"a": "b"}}, ["'weights.a'"]),
        ({"schedule": {"name": "cosin"}}, ["'schedule.name'", '"cosine", "constant"', "did you mean 'cosine'?"]),
        ({"schedule": {"warmpu": 1}}, ["unknown key 'warmpu'", "did you mean 'warmup'?", "config.json: schedule"]),
        ({"schedule": None}, ["'schedule'", "an object with the keys of Schedule"]),
        ({"plan": 3}, ["'plan'", "an object with the keys of Schedule"]),
    ],
)
def test_a_wrong_value_is_an_error_that_says_which(changes: dict[str, Any], facts: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_section(Section, {"cell": "lstm", **changes}, "config.json")
    for fact in facts:
        assert fact in str(caught.value)


def test_a_missing_key_without_a_default() -> None:
    with pytest.raises(ConfigurationError, match="the key 'cell' is missing"):
        load_section(Section, {}, "config.json")


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_the_section_itself_must_be_an_object(value: object) -> None:
    with pytest.raises(ConfigurationError, match="the section has a wrong value"):
        load_section(Section, value, "config.json")


def test_the_error_of_a_check_of_the_class_gets_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"the rate is not positive\n  where: config.json: train"):
        load_section(Checked, {"rate": 0}, "config.json: train")


def test_a_field_type_that_json_does_not_have_is_a_mistake_of_the_program() -> None:
    unsupported = dataclasses.make_dataclass("Unsupported", [("z", complex)], frozen=True)
    with pytest.raises(TypeError, match="z: a field of type"):
        load_section(unsupported, {"z": 1}, "config.json")


def test_reading_configuration_and_runs_needs_no_torch() -> None:
    code = "import sys, unrolled.runs as runs; runs.list_runs(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
