"""What the text of a run is: the options that decide how it is read, counted and split."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from unrolled.errors import ConfigurationError

__all__ = ["DecodingErrors", "Documents", "Splitter", "TextConfig", "Unit"]

Unit = Literal["char", "byte", "word", "subword"]
Splitter = Literal["spaces", "rules"]
DecodingErrors = Literal["strict", "replace"]
Documents = Literal["carry", "reset"]


@dataclass(frozen=True)
class TextConfig:
    """How a text becomes tokens, and which of them are trained on.

    Attributes:
        unit: what one token is: "char" (a Unicode character), "byte" (a byte of the text in UTF-8), "word" (see
            splitter; a line end is <eos>) or "subword" (bytes, joined pair by pair as they stand together most often).
        min_count: what is seen fewer times than this is folded into one unknown symbol: characters, counted in the
            whole text, where this is above 1; words, counted in the training part. Pairs of subwords that are seen
            fewer times are not joined.
        vocabulary_size: keep only so many words, the most frequent ones, <eos> and <unk> among them, all if not given;
            or join subwords until there are so many, 8192 if not given.
        splitter: how words are cut: "spaces" (by white space alone, for text that was cut into words before) or
            "rules" (punctuation, numbers and English contractions too, marked so that text can be put together again).
        errors: what a byte that is not UTF-8 does: "strict" stops with its offset, "replace" reads it as U+FFFD.
        documents: what happens to the state between two files: "carry" keeps it, "reset" empties it.
        shuffle_block: read the training part in blocks of so many tokens, in a new order each pass, each from an empty
            state; 0 reads it in its own order.
        split: train/valid/test, in percent of all tokens, three numbers that add up to 100, cut in this order.

    Raises:
        ConfigurationError: a value that is none of these.
    """

    unit: Unit = "char"
    min_count: int = 1
    vocabulary_size: int | None = None
    splitter: Splitter = "spaces"
    errors: DecodingErrors = "strict"
    documents: Documents = "carry"
    split: str = "90/5/5"
    shuffle_block: int = 0

    def __post_init__(self) -> None:
        choices = {"unit": Unit, "splitter": Splitter, "errors": DecodingErrors, "documents": Documents}
        for name, kind in choices.items():
            _check_choice(name, getattr(self, name), get_args(kind))
        if not isinstance(self.min_count, int) or isinstance(self.min_count, bool) or self.min_count < 1:
            raise ConfigurationError(
                "min_count is not a count", expected="a whole number from 1 on", got=repr(self.min_count)
            )
        if self.unit == "byte" and self.min_count > 1:
            raise ConfigurationError(
                "min_count folds characters, and with unit 'byte' there are none to fold",
                got=f"min_count {self.min_count}",
                fix="leave min_count at 1, or choose unit 'char'",
            )
        if (
            not isinstance(self.shuffle_block, int)
            or isinstance(self.shuffle_block, bool)
            or not (self.shuffle_block == 0 or self.shuffle_block >= 2)
        ):
            raise ConfigurationError(
                "shuffle_block is out of range",
                expected="0, or a number of tokens from 2 on",
                got=repr(self.shuffle_block),
            )
        _check_words(self)
        _read_split(self.split)

    def ranges(self, tokens: int) -> dict[str, tuple[int, int]]:
        """The half-open token ranges of the three parts of a text of `tokens` tokens.

        Each border is rounded down, so that 90/10/0 cuts where `int(0.9 * tokens)` does.

        >>> TextConfig(split="90/10/0").ranges(15)
        {'train': (0, 13), 'valid': (13, 15), 'test': (15, 15)}
        """
        train, valid, _ = _read_split(self.split)
        first, second = int(tokens * train / 100), int(tokens * (train + valid) / 100)
        return {"train": (0, first), "valid": (first, second), "test": (second, tokens)}


def _check_words(config: TextConfig) -> None:
    """Check the options that only words and subwords have."""
    size, least = config.vocabulary_size, 257 if config.unit == "subword" else 3
    if size is not None and config.unit not in ("word", "subword"):
        raise ConfigurationError(
            "vocabulary_size is for words and subwords",
            got=f"unit {config.unit!r}",
            fix="leave vocabulary_size out, or choose unit 'word' or 'subword'",
        )
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < least):
        raise ConfigurationError(
            "vocabulary_size is out of range",
            expected=f"a whole number from {least} on with unit {config.unit!r}",
            got=repr(size),
        )
    if config.splitter != "spaces" and config.unit != "word":
        raise ConfigurationError(
            "splitter is for words", got=f"unit {config.unit!r}", fix="leave splitter out, or choose unit 'word'"
        )


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(
            f"{name} has no such choice", expected=" or ".join(map(repr, choices)), got=repr(value)
        )


def _read_split(split: object) -> tuple[Fraction, Fraction, Fraction]:
    """The three percentages, exactly: 33.3/33.3/33.4 adds up to 100, which it would not in floating point.

    Raises:
        ConfigurationError: not three numbers, a negative one, no training part, or a sum other than 100.
    """
    wanted = "train/valid/test in percent, such as 90/5/5 or 90/10/0"
    parts = split.split("/") if isinstance(split, str) else []
    try:
        # A fraction would also accept 1e9 and 1_0; a percentage is written with digits and at most one point.
        if len(parts) != 3 or not all(set(part) <= set("0123456789.-") for part in parts):
            raise ValueError
        train, valid, test = (Fraction(part) for part in parts)
    except ValueError:
        raise ConfigurationError("split is not three numbers", expected=wanted, got=repr(split)) from None
    if min(train, valid, test) < 0:
        raise ConfigurationError("split has a negative part", expected=wanted, got=repr(split))
    if train + valid + test != 100:
        total = float(train + valid + test)
        raise ConfigurationError("split does not add up to 100", expected=wanted, got=f"{split!r}, which is {total:g}")
    if train == 0:
        raise ConfigurationError("split leaves nothing to train on", expected=wanted, got=repr(split))
    return train, valid, test
