"""Options of next-item prediction; without torch, so that the command line answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

from unrolled.data.configuration import DecodingErrors, TextConfig
from unrolled.errors import ConfigurationError

__all__ = ["DEFAULTS", "EventsConfig", "NextConfig", "SplitBy"]

SplitBy = Literal["time", "chance"]

DEFAULTS: dict[str, Any] = {"minutes": 2.0, "clip_norm": 1.0}
"""Fields of `TrainingConfig` whose defaults are others for this task."""


@dataclass(frozen=True)
class EventsConfig:
    """How sequences of items are read, and which are trained on.

    Attributes:
        sequence: the column that holds a whole sequence, in a table that has a row for each: items with white space
            between, or in JSON lines a list.
        session: the column that says to which session an event belongs, in a table that has a row for each event.
        item: the column of the item, in such a table.
        time: the column of the time, in such a table: numbers, or dates as 2024-05-31T10:00; events are put into its
            order, of equals as they stand in the file; if not given they are in order already.
        separator: what stands between the items of a sequence, in place of white space; "" where each character is one.
        min_count: items that the training part has fewer times are read as the unknown one.
        max_length: longer sessions are cut into stretches of so many events, each of which begins anew.
        split: train/valid/test, in percent of the sessions.
        split_by: "time" gives the earliest sessions to the training part and the latest to the test part, "chance"
            draws; time if there is a column of it, if not given.
        split_seed: of that drawing.
        errors: what a byte that is not UTF-8 does: "strict" stops with its offset, "replace" reads it as U+FFFD.
    """

    sequence: str | None = None
    session: str | None = None
    item: str = "item"
    time: str | None = None
    separator: str | None = None
    min_count: int = 1
    max_length: int = 200
    split: str = "80/10/10"
    split_by: SplitBy | None = None
    split_seed: int = 0
    errors: DecodingErrors = "strict"

    def __post_init__(self) -> None:
        if self.sequence is not None and self.session is not None:
            raise ConfigurationError(
                "sequence and session are two ways to say the same",
                expected="--sequence COLUMN where a row is a whole sequence, --session COLUMN where it is one event",
            )
        if self.time is not None and self.session is None:
            raise ConfigurationError("a time is that of an event", fix="say which column is the --session, too")
        if self.item != EventsConfig.item and self.session is None:
            raise ConfigurationError("a column of items is of a table of events", fix="say which is the --session, too")
        if self.separator is not None and self.session is not None:
            raise ConfigurationError("a separator is of whole sequences", fix="leave out --separator, or --session")
        if self.split_by == "time" and self.time is None:
            raise ConfigurationError("sessions cannot be split by a time that is not there", fix="give --time COLUMN")
        if self.split_by is not None and self.split_by not in get_args(SplitBy):
            raise ConfigurationError("split_by has no such choice", expected="time or chance", got=repr(self.split_by))
        for name, least in (("min_count", 1), ("max_length", 2), ("split_seed", 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name} is too small", expected=f"at least {least}")
        TextConfig(split=self.split, errors=self.errors)  # its own checks of these

    @property
    def shares(self) -> tuple[Fraction, Fraction, Fraction]:
        """Train, valid and test in percent, exactly."""
        train, valid, test = (Fraction(part) for part in self.split.split("/"))
        return train, valid, test


@dataclass(frozen=True)
class NextConfig:
    """The network that predicts the next item. What is None is chosen from the data, and printed.

    Attributes:
        cell: a cell's name (see `unrolled cells`), or FILE.py:NAME for one of your own.
        layers: recurrent layers on top of each other.
        hidden_size: units of every layer.
        embedding_size: numbers that stand for an item.
        dropout: probability with which a unit is dropped before and between layers and before the output.
        tied: let the output layer score items by the vectors that they are read as.
    """

    cell: str = "gru"
    layers: int = 1
    hidden_size: int | None = None
    embedding_size: int | None = None
    dropout: float | None = None
    tied: bool = True

    def __post_init__(self) -> None:
        for name in ("layers", "hidden_size", "embedding_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is out of range", expected="at least 1", got=str(value))
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigurationError("dropout is a probability", expected="at least 0 and below 1")
