"""Options of tagging; without torch, so that the command line answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from unrolled.errors import ConfigurationError, nearest

__all__ = ["DEFAULTS", "Decoding", "FileFormat", "TagData", "TaggerConfig", "TaggerOutput"]

FileFormat = Literal["auto", "conllu", "columns", "npz", "csv"]
TaggerOutput = Literal["crf", "linear"]
Decoding = Literal["auto", "free", "constrained"]
DEFAULTS: dict[str, Any] = {"clip_norm": 1.0, "average": "exponential", "average_decay": 0.998}
"""Fields of `TrainingConfig` whose defaults are others for this task."""


@dataclass(frozen=True)
class TagData:
    """How tagged data is read.

    Attributes:
        format: conllu, columns (CoNLL: a word a line), npz or csv (series of vectors with a label a frame), or auto: as
            the files look.
        token_column: the column of the word: its number from 1, from -1 for the last, or in CoNLL-U its name; the
            first, in CoNLL-U form, if not given.
        tag_column: the column of the tag, likewise; the last, in CoNLL-U upos. In CSV the name of the column of labels,
            in NPZ of the array.
        token_prefix: what every word begins with and is cut off, as en: in some multilingual sets.
        series_column: of CSV: the column that says to which series a row belongs; if not given, a file is a series.
        feature_columns: of CSV: the columns of numbers, with commas between them; all others if not given.
        split: train/valid/test in per cent, of sentences (documents where they are marked) drawn by chance; a single
            series is cut in the order of time.
        lower: words are looked up in lower case; their characters keep their case.
        fold_digits: words are looked up with every digit as 0; their characters stay as they are.
        min_count: words seen less often in the training part are not in the vocabulary.
        longest_word: characters of a word that are read, half from its beginning and half from its end.
        window: frames of a piece that a longer series is cut into for training.
    """

    format: FileFormat = "auto"
    token_column: str | None = None
    tag_column: str | None = None
    token_prefix: str | None = None
    series_column: str | None = None
    feature_columns: str | None = None
    split: str = "80/10/10"
    lower: bool = True
    fold_digits: bool = False
    min_count: int = 1
    longest_word: int = 24
    window: int = 400

    def __post_init__(self) -> None:
        _check_choice("format", self.format, FileFormat)
        for name, least in (("min_count", 1), ("longest_word", 2), ("window", 1)):
            _check(name, getattr(self, name), f"at least {least}", getattr(self, name) >= least)
        self.shares  # noqa: B018

    @property
    def shares(self) -> tuple[float, float, float]:
        """The split as numbers."""
        parts = self.split.split("/")
        try:
            shares = [float(part) for part in parts]
            good = len(shares) == 3 and shares[0] > 0 and min(shares) >= 0 and abs(sum(shares) - 100) < 1e-6
        except ValueError:
            good = False
        if not good:
            raise ConfigurationError(
                "split is train/valid/test in per cent", expected="three that make 100, as 80/10/10", got=self.split
            )
        return shares[0], shares[1], shares[2]


@dataclass(frozen=True)
class TaggerConfig:
    """The network of a tagger. What is None is chosen from the data and the budget, and printed.

    Attributes:
        cell: a cell's name (see `unrolled cells`), or FILE.py:NAME for one of your own.
        hidden_size: units of every layer, in each direction; chosen if not given.
        layers: recurrent layers on top of each other.
        bidirectional: read sentences in both directions.
        embedding_size: units of a word's vector; 0 leaves it out, and a word is its characters alone.
        character_size: units of a character's vector; 0 leaves characters out.
        character_hidden: units, in each direction, of the layer that reads a word's characters.
        dropout: probability with which a unit is dropped before each layer and before the output, while training.
        word_dropout: probability with which a word that the training part has once is read as unknown, while training.
        output: crf (the scores of neighbouring tags are learnt) or linear (each tag by itself).
        decoding: constrained (only what BIO or BIOES allows), free, or auto: constrained where tags are one of these.
    """

    cell: str = "lstm"
    hidden_size: int | None = None
    layers: int = 1
    bidirectional: bool = True
    embedding_size: int = 100
    character_size: int = 32
    character_hidden: int = 64
    dropout: float = 0.4
    word_dropout: float = 0.5
    output: TaggerOutput = "crf"
    decoding: Decoding = "auto"

    def __post_init__(self) -> None:
        _check_choice("output", self.output, TaggerOutput)
        _check_choice("decoding", self.decoding, Decoding)
        sizes = {"hidden_size": 1, "layers": 1, "embedding_size": 0, "character_size": 0, "character_hidden": 1}
        for name, least in sizes.items():
            value = getattr(self, name)
            _check(name, value, f"at least {least}", value is None or value >= least)
        for name in ("dropout", "word_dropout"):
            _check(name, getattr(self, name), "at least 0 and below 1", 0 <= getattr(self, name) < 1)
        if not (self.embedding_size or self.character_size):
            raise ConfigurationError(
                "nothing is left of a word to read", got="embedding_size 0 and character_size 0", fix="keep one of them"
            )


def _check(name: str, value: object, expected: str, holds: bool) -> None:
    if not holds:
        raise ConfigurationError(f"{name} is out of range", expected=expected, got=str(value))


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ConfigurationError(f"{name} has no such choice: {value!r}", fix=nearest(value, get_args(choices)))
