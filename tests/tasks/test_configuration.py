from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest

from unrolled.errors import ConfigurationError
from unrolled.tasks.configuration import LanguageModelConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size is too small"),
        ({"layers": 0}, "layers is too small"),
        ({"embedding_size": -1}, "embedding_size is too small"),
        ({"dropout": 1.0}, "dropout is a probability"),
        ({"dropout": -0.1}, "dropout is a probability"),
        ({"dropout": math.nan}, "dropout is a probability"),
        ({"initial_std": -1.0}, "initial_std is a standard deviation"),
        ({"initial_std": math.nan}, "initial_std is a standard deviation"),
        ({"initial_std": math.inf}, "initial_std is a standard deviation"),
    ],
)
def test_what_makes_no_sense_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LanguageModelConfig(**options)


def test_every_field_is_documented() -> None:
    documented = re.findall(r"^ {8}(\w+): \S", LanguageModelConfig.__doc__ or "", re.MULTILINE)
    assert documented == [field.name for field in dataclasses.fields(LanguageModelConfig)]
