"""Options of reading series and cutting them into windows; without heavy imports, so that the command line answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from unrolled.errors import ConfigurationError, nearest

__all__ = ["Gaps", "Layout", "Missing", "Repeated", "Scale", "SeriesConfig", "Transform", "names_of"]

Layout = Literal["auto", "wide", "long", "rows"]
Repeated = Literal["error", "first", "last", "mean"]
Gaps = Literal["error", "rows", "fill"]
Missing = Literal["error", "previous"]
Scale = Literal["standard", "seasonal", "none"]
Transform = Literal["none", "log"]


@dataclass(frozen=True)
class SeriesConfig:
    """How series are read, cut in time and scaled. What is None is found in the table, and printed.

    Attributes:
        horizon: steps that are forecast at once; a season if not given.
        window: steps that are looked back on; from horizon, season and the length of the series if not given.
        season: steps after which a series resembles itself; from the step between time stamps (24 of hours, 7 of days,
            5 of working days, 12 of months), else from the autocorrelation of the training part.
        target: the columns to forecast, with commas between them; all numbers but time, id and covariates if not given.
        time: the column of time stamps; found by its name or content if not given.
        time_format: how they are written, as strptime reads it (%d/%m/%Y); ISO 8601 or whole numbers if not given.
        layout: wide (a column a series), long (a column says which series a row is of), rows (a row a series, as the
            M4 competition has them) or auto.
        id: the column that says which series a row is of.
        known: columns that are known ahead for the steps to forecast (prices, holidays), with commas between them.
        past: columns that are known up to now only.
        calendar: what of the calendar the network is told, of minute, hour, weekday, monthday, yearday, month, with
            commas between them.
        split: the parts in time: per cent of the steps (70/10/20) or, where they do not add up to 100, steps
            (8640/2880/2880; what comes after is left out).
        valid_from: the first time stamp of the validation part, in place of split; then test_from too.
        test_from: the first time stamp of the test part.
        test_to: the first time stamp after the test part; its end if not given.
        joint: forecast all columns of a table together, from all of them; else each alone with the same network.
        sort: put rows in the order of their time stamps; otherwise one out of order is an error.
        repeated: what a time stamp that comes twice does: error, first, last or mean (of their numbers).
        gaps: what irregular steps do: error, rows (each row is a step, whatever its time) or fill (the steps that are
            not there are missing values).
        missing: what a missing value does: error, or previous (the network reads the last one before it; no forecast is
            measured by it).
        transform: log forecasts the logarithm, of series above 0.
        scale: standard (mean 0 and standard deviation 1 in the training part, each series for itself), seasonal
            (divided by the mean absolute seasonal difference in the training part) or none.
    """

    horizon: int | None = None
    window: int | None = None
    season: int | None = None
    target: str | None = None
    time: str | None = None
    time_format: str | None = None
    layout: Layout = "auto"
    id: str | None = None
    known: str | None = None
    past: str | None = None
    calendar: str | None = None
    split: str = "70/10/20"
    valid_from: str | None = None
    test_from: str | None = None
    test_to: str | None = None
    joint: bool = False
    sort: bool = False
    repeated: Repeated = "error"
    gaps: Gaps = "error"
    missing: Missing = "error"
    transform: Transform = "none"
    scale: Scale = "standard"

    def __post_init__(self) -> None:
        for name in ("horizon", "window", "season"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is too small", expected="at least 1", got=str(value))
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in get_args(choices):
                raise ConfigurationError(f"{name} has no such choice: {value!r}", fix=nearest(value, get_args(choices)))
        self.shares  # noqa: B018
        if (self.valid_from is None) != (self.test_from is None):
            raise ConfigurationError(
                "valid_from and test_from belong together", fix="give both, or split in place of them"
            )
        if self.test_to is not None and self.test_from is None:
            raise ConfigurationError("test_to is of a split by time stamps", fix="give valid_from and test_from too")
        if self.id is not None and self.layout not in ("auto", "long"):
            raise ConfigurationError("an id column is of a long table", got=f"layout {self.layout}")
        if self.layout == "long" and self.id is None:
            raise ConfigurationError("a long table has a column that says which series a row is of", fix="give --id")

    @property
    def shares(self) -> tuple[int, int, int]:
        """The split as numbers."""
        try:
            found = tuple(int(part) for part in self.split.split("/"))
        except ValueError:
            found = ()
        if len(found) != 3 or min(found) < 0 or found[0] < 1:
            raise ConfigurationError(
                "split is out of range",
                expected="three whole numbers as 70/10/20, the first above 0",
                got=repr(self.split),
            )
        return found[0], found[1], found[2]


_CHOICES: dict[str, Any] = {
    "layout": Layout,
    "repeated": Repeated,
    "gaps": Gaps,
    "missing": Missing,
    "transform": Transform,
    "scale": Scale,
}


def names_of(listed: str | None) -> tuple[str, ...]:
    """The names in a text with commas between them."""
    return tuple(part.strip() for part in listed.split(",") if part.strip()) if listed else ()
