"""What labelled examples are: the options that decide how they are read, cut into parts and turned into numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from unrolled.data.alphabets import find_alphabet
from unrolled.data.configuration import DecodingErrors, Splitter, TextConfig, Unit
from unrolled.data.images import Scan
from unrolled.errors import ConfigurationError, nearest

__all__ = ["BadRows", "Case", "Cut", "LabelledConfig", "Target"]

Target = Literal["class", "labels", "number"]
BadRows = Literal["stop", "skip"]
Case = Literal["keep", "fold"]
Cut = Literal["end", "start", "middle"]


@dataclass(frozen=True)
class LabelledConfig:
    """How labelled examples are read, and what one of them becomes. What is None is chosen from the training part.

    Attributes:
        text: the column that holds the text, of tables.
        label: the column that holds the label, of tables.
        columns: the names of all columns, with commas between them, of CSV and TSV whose first row is no heading.
        format: how the files hold their examples: csv, tsv or jsonl (a row each), folders (a folder a label, a file
            each), files (a file a label, a line each), first (a line each, its first word the label), or auto: by their
            names and where they lie.
        target: what a label is: class (one of several), labels (any number of several, at once) or number.
        separator: with target labels, what stands between them in a column; in JSON lines a list needs none.
        bad_rows: what a row does that cannot be read, or has no text or no label: "stop" stops with its line, "skip"
            leaves it out, and their number is told.
        errors: what a byte that is not UTF-8 does: "strict" stops with its offset, "replace" reads it as U+FFFD.
        unit: what one token is: "char", "byte", "word" or "subword"; words where the texts have more than a few, else
            characters.
        splitter: how words are cut: "rules" (punctuation, numbers and English contractions too) or "spaces" (by white
            space alone, for text that was cut before); rules if not given.
        case: "fold" reads capitals as small letters, "keep" does not; words are folded if not given, other units not.
        min_count: what is seen fewer times in the training part is read as the unknown symbol; 2 if not given.
        vocabulary_size: keep only so many words, the most frequent; or join subwords until there are so many.
        max_length: longer examples are cut down to so many tokens; if not given, to what 99 of 100 of the training
            part have, or to 100.
        cut: which part of a longer example goes: its "end", its "start", or its "middle", so that half of what is
            kept is from either end.
        split: train/valid/test, in percent of the examples, three numbers that add up to 100; drawn so that every label
            has its share in each.
        split_seed: of that drawing.
        hold_out: percent of the training files that is held out to validate on where --train comes without --valid; of
            the examples that a fold is not tested on.
        folds: cross-validation: so many parts of the examples, each tested on once.
        fold: which of them is tested on, from 1; all, one run after the other, if not given.
        alphabet: dna, rna, protein, or letters: and letters of your own; examples are then sequences over it.
        negatives: shuffled sequences that are made of each one, where all have the same label.
        shuffle: these keep how often every stretch of so many letters stands there.
        images: how pictures are read: rows (a row a time step), pixels (one by one) or permuted (in an order that is
            drawn once).
        images_seed: of that order.
        series: with format series, the column that says which series a row belongs to.
        time: its column of the time, which is left out.
        features: its columns of numbers, with commas between them; all others if not given.
    """

    text: str = "text"
    label: str = "label"
    columns: str | None = None
    format: str = "auto"
    target: Target = "class"
    separator: str = ","
    bad_rows: BadRows = "stop"
    errors: DecodingErrors = "strict"
    unit: Unit | None = None
    splitter: Splitter | None = None
    case: Case | None = None
    min_count: int | None = None
    vocabulary_size: int | None = None
    max_length: int | None = None
    cut: Cut = "end"
    split: str = "80/10/10"
    split_seed: int = 0
    hold_out: float = 10.0
    folds: int | None = None
    fold: int | None = None
    alphabet: str | None = None
    negatives: int = 0
    shuffle: int = 2
    images: Scan = "rows"
    images_seed: int = 0
    series: str = "series"
    time: str = "time"
    features: str | None = None

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in get_args(kind):
                raise ConfigurationError(f"{name} has no such choice: {value!r}", fix=nearest(value, get_args(kind)))
        if self.max_length is not None and self.max_length < 1:
            raise ConfigurationError("max_length is out of range", expected="at least 1", got=str(self.max_length))
        if not 0 <= self.split_seed < 2**32:
            raise ConfigurationError(
                "split_seed is out of range", expected="from 0 to 4294967295", got=str(self.split_seed)
            )
        if not 0 <= self.hold_out < 100:
            raise ConfigurationError("hold_out is a percentage", expected="from 0 to below 100", got=str(self.hold_out))
        for name, least in (("folds", 2), ("fold", 1), ("negatives", 0), ("shuffle", 1), ("images_seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigurationError(f"{name} is out of range", expected=f"at least {least}", got=str(value))
        if self.fold is not None and self.fold > (self.folds or 0):
            expected = f"from 1 to {self.folds}" if self.folds else "the number of folds too (--folds 10)"
            raise ConfigurationError("there is no such fold", expected=expected, got=str(self.fold))
        if self.alphabet is not None:
            find_alphabet(self.alphabet)
        elif self.negatives:
            raise ConfigurationError("negatives are shuffled sequences over an alphabet", fix="add --alphabet dna")
        if self.negatives and self.target != "class":
            raise ConfigurationError("negatives are a class of their own", got=f"target {self.target}")
        if not self.separator:
            raise ConfigurationError("the separator of labels is empty", expected="a sign or more, such as ;")
        if self.splitter is not None and self.unit not in (None, "word"):
            problem = "splitter is for words"
            raise ConfigurationError(problem, got=f"unit {self.unit!r}", fix="leave splitter out, or choose unit word")
        # Its own checks of what both have: the split, counts, sizes.
        TextConfig(
            unit=self.unit or ("word" if self.vocabulary_size is not None else "char"),
            min_count=1 if self.min_count is None else self.min_count,
            vocabulary_size=self.vocabulary_size,
            errors=self.errors,
            split=self.split,
        )

    @property
    def shares(self) -> tuple[Fraction, Fraction, Fraction]:
        """Train, valid and test in percent, exactly."""
        train, valid, test = (Fraction(part) for part in self.split.split("/"))
        return train, valid, test


_CHOICES = {
    "target": Target,
    "bad_rows": BadRows,
    "errors": DecodingErrors,
    "unit": Unit,
    "splitter": Splitter,
    "case": Case,
    "cut": Cut,
    "images": Scan,
}
