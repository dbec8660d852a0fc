from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest

from unrolled.errors import ConfigurationError
from unrolled.runs.configuration import dump_section, load_section
from unrolled.training.configuration import TrainingConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3, "minutes": 1.0}, "the budget is given twice: minutes and steps"),
        ({"steps": 0}, "steps is out of range"),
        ({"minutes": -1.0}, "minutes is out of range"),
        ({"epochs": math.nan}, "epochs is out of range"),
        ({"epochs": math.inf}, "epochs is out of range"),
        ({"learning_rate": math.nan}, "learning_rate is out of range"),
        ({"learning_rate": 0.0}, "learning_rate is out of range"),
        ({"learning_rate": math.inf}, "learning_rate is out of range"),
        ({"optimizer": "adam"}, "optimizer has no such choice: 'adam'"),
        ({"schedule": "linear"}, "schedule has no such choice"),
        ({"precision": "float16"}, "precision has no such choice"),
        ({"reduction": "none"}, "reduction has no such choice"),
        ({"batch": 0}, "batch is out of range"),
        ({"length": 0}, "length is out of range"),
        ({"accumulate": 0}, "accumulate is out of range"),
        ({"validations": -1}, "validations is out of range"),
        ({"valid_limit": 1}, "valid_limit is out of range"),
        ({"threads": 0}, "threads is out of range"),
        ({"keep": 0}, "keep is out of range"),
        ({"patience": -1}, "patience is out of range"),
        ({"checkpoint_every": -1}, "checkpoint_every is out of range"),
        ({"clip_norm": -1.0}, "clip_norm is out of range"),
        ({"clip_value": math.nan}, "clip_value is out of range"),
        ({"weight_decay": -0.1}, "weight_decay is out of range"),
        ({"epsilon": -1e-8}, "epsilon is out of range"),
        ({"final_rate": -0.1}, "final_rate is out of range"),
        ({"warmup": 1.0}, "warmup is out of range"),
        ({"momentum": 1.0}, "momentum is out of range"),
        ({"beta1": -0.1}, "beta1 is out of range"),
        ({"beta2": 1.5}, "beta2 is out of range"),
        ({"smoothing": 1.0}, "smoothing is out of range"),
        ({"seed": -1}, "seed is out of range"),
        ({"seed": 2**32}, "seed is out of range"),
    ],
)
def test_what_makes_no_sense_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        TrainingConfig(**options)


def test_the_nearest_choice_is_named() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'adamw'"):
        TrainingConfig(optimizer="adam")  # type: ignore[arg-type]


def test_it_survives_json() -> None:
    config = TrainingConfig(epochs=1.5, batch=3, learning_rate=0.1, optimizer="sgd", seed=2**32 - 1)
    assert load_section(TrainingConfig, dump_section(config), "here") == config


def test_every_field_is_documented() -> None:
    documented = re.findall(r"^ {8}(\w+): \S", TrainingConfig.__doc__ or "", re.MULTILINE)
    assert documented == [field.name for field in dataclasses.fields(TrainingConfig)]
