from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.configuration import TextConfig, Unit
from unrolled.data.vocabulary import UNITS
from unrolled.errors import ConfigurationError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"unit": "line"},
            "unit has no such choice\n  expected: 'char' or 'byte' or 'word' or 'subword'",
        ),
        ({"splitter": "regex", "unit": "word"}, "splitter has no such choice\n  expected: 'spaces' or 'rules'"),
        ({"splitter": "rules"}, "splitter is for words\n  got: unit 'char'\n  what to do: leave splitter out"),
        ({"vocabulary_size": 100}, "vocabulary_size is for words and subwords\n  got: unit 'char'"),
        (
            {"vocabulary_size": 256, "unit": "subword"},
            "vocabulary_size is out of .*\n  expected: a whole number from 257",
        ),
        ({"vocabulary_size": 2, "unit": "word"}, "vocabulary_size is out of range\n  expected: a whole number from 3"),
        ({"vocabulary_size": True, "unit": "word"}, "vocabulary_size is out of range"),
        ({"errors": "ignore"}, "errors has no such choice\n  expected: 'strict' or 'replace'\n  got: 'ignore'"),
        ({"documents": None}, "documents has no such choice\n  expected: 'carry' or 'reset'\n  got: None"),
        ({"min_count": 0}, "min_count is not a count\n  expected: a whole number from 1 on\n  got: 0"),
        ({"min_count": True}, "min_count is not a count"),
        ({"min_count": 2.0}, "min_count is not a count"),
        ({"unit": "byte", "min_count": 2}, "min_count folds characters, and with unit 'byte' there are none"),
        ({"shuffle_block": 1}, "shuffle_block is out of range\n  expected: 0, or a number of tokens from 2 on"),
        ({"split": "90/10"}, "split is not three numbers\n  expected: train/valid/test in percent"),
        ({"split": "a/b/c"}, "split is not three numbers"),
        ({"split": "90//10"}, "split is not three numbers"),
        ({"split": "1e1/0/90"}, "split is not three numbers"),
        ({"split": "1_0/0/90"}, "split is not three numbers"),
        ({"split": "nan/50/50"}, "split is not three numbers"),
        ({"split": "90.0.0/5/5"}, "split is not three numbers"),
        ({"split": 90}, "split is not three numbers"),
        ({"split": "110/-5/-5"}, "split has a negative part"),
        ({"split": "90/5/6"}, "split does not add up to 100\n  expected: .*\n  got: '90/5/6', which is 101"),
        ({"split": "0/50/50"}, "split leaves nothing to train on"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TextConfig(**options)


def test_the_units_that_can_be_chosen_are_those_there_are() -> None:
    assert set(get_args(Unit)) == set(UNITS)
    assert {name: unit.unit for name, unit in UNITS.items()} == {name: name for name in UNITS}


def test_every_field_is_documented() -> None:
    documentation = TextConfig.__doc__ or ""
    assert [
        field.name for field in dataclasses.fields(TextConfig) if f"\n        {field.name}: " not in documentation
    ] == []


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 10**12))
def test_split_is_exact_and_covers_the_text(train: int, valid: int, tokens: int) -> None:
    """In tenths of a percent, against exact fractions."""
    train, valid = (train, valid) if train + valid <= 1000 else (1000 - valid + 1, valid - 1)
    tenths = (train, valid, 1000 - train - valid)
    config = TextConfig(split="/".join(f"{part // 10}.{part % 10}" for part in tenths))
    ranges = config.ranges(tokens)
    first, second = int(tokens * Fraction(train, 1000)), int(tokens * Fraction(train + valid, 1000))
    assert ranges == {"train": (0, first), "valid": (first, second), "test": (second, tokens)}


def test_the_split_of_published_figures() -> None:
    """Tiny Shakespeare, 1,115,394 characters, as others cut it: the first int(0.9 * N) to train on."""
    ranges = TextConfig(split="90/10/0").ranges(1_115_394)
    assert ranges == {"train": (0, 1_003_854), "valid": (1_003_854, 1_115_394), "test": (1_115_394, 1_115_394)}
