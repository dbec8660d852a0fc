"""Options of generation; without torch, so that the command line answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unrolled.data.configuration import DecodingErrors, Splitter, Unit
from unrolled.data.labelled_configuration import BadRows, LabelledConfig
from unrolled.errors import ConfigurationError

__all__ = ["DEFAULTS", "GeneratorConfig", "GroupedConfig"]

DEFAULTS: dict[str, Any] = {
    "minutes": 2.0,
    "clip_norm": 1.0,
    "warmup": 0.02,
    "average": "exponential",
    "average_decay": 0.998,
}
"""Fields of `TrainingConfig` whose defaults are others for this task."""


@dataclass(frozen=True)
class GroupedConfig:
    """How sequences with a category are read, and which are trained on.

    Attributes:
        by: the column of the category, of tables; of other formats the folder or file that an example is in.
        text: the column of the sequence, of tables.
        columns: the names of all columns, with commas between them, of CSV and TSV whose first row is no heading.
        format: how the files hold their examples: csv, tsv or jsonl (a row each), folders (a folder a category, a file
            each), files (a file a category, a line each), first (a line each, its first word the category), or auto.
        bad_rows: what a row does that cannot be read, or has no text or no category: "stop" stops with its line, "skip"
            leaves it out, and their number is told.
        errors: what a byte that is not UTF-8 does: "strict" stops with its offset, "replace" reads it as U+FFFD.
        unit: what one symbol is: char, byte, word or subword.
        splitter: how words are cut: rules or spaces; rules if not given.
        min_count: what is seen fewer times in the training part is read as the unknown symbol, which is never
            generated.
        vocabulary_size: keep only so many words, the most frequent; or join subwords until there are so many.
        max_length: of longer examples only so many symbols are read, and no end is learnt from them; if not given, as
            many as 99 of 100 of the training part have, or 100.
        split: train/valid/test in percent of the examples; drawn so that every category has its share in each.
        split_seed: of that drawing.
        hold_out: percent of the training files that is held out to validate on where --train comes without --valid.
    """

    by: str = "label"
    text: str = "text"
    columns: str | None = None
    format: str = "auto"
    bad_rows: BadRows = "stop"
    errors: DecodingErrors = "strict"
    unit: Unit = "char"
    splitter: Splitter | None = None
    min_count: int | None = None
    vocabulary_size: int | None = None
    max_length: int | None = None
    split: str = "80/10/10"
    split_seed: int = 0
    hold_out: float = 10.0

    def __post_init__(self) -> None:
        self.labelled()

    def labelled(self) -> LabelledConfig:
        """The same as options of labelled examples, whose label is the category.

        Raises:
            ConfigurationError: an option is out of range.
        """
        return LabelledConfig(
            text=self.text,
            label=self.by,
            columns=self.columns,
            format=self.format,
            bad_rows=self.bad_rows,
            errors=self.errors,
            unit=self.unit,
            splitter=self.splitter,
            case="keep",
            min_count=self.min_count,
            vocabulary_size=self.vocabulary_size,
            max_length=self.max_length,
            split=self.split,
            split_seed=self.split_seed,
            hold_out=self.hold_out,
        )


@dataclass(frozen=True)
class GeneratorConfig:
    """The network of a generator. What is None is chosen from the data and printed.

    Attributes:
        cell: the name of a built-in cell, or FILE.py:NAME for one of your own.
        layers: L recurrent layers, one on top of the other.
        hidden_size: H units of each layer.
        embedding_size: E numbers that stand for a symbol.
        category_size: numbers that stand for a category; as many as there are categories, at most 32, if not given.
        conditional: let the category enter at all; without it, this is the unconditional opponent.
        dropout: share of the units dropped between layers and before the output, while training.
    """

    cell: str = "lstm"
    layers: int = 1
    hidden_size: int | None = None
    embedding_size: int | None = None
    category_size: int | None = None
    conditional: bool = True
    dropout: float | None = None

    def __post_init__(self) -> None:
        for name in ("layers", "hidden_size", "embedding_size", "category_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is out of range", expected="at least 1", got=str(value))
        if self.dropout is not None and not 0 <= self.dropout < 1:
            expected = "at least 0 and below 1"
            raise ConfigurationError("dropout is out of range", expected=expected, got=str(self.dropout))
