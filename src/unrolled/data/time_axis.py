"""Time stamps: reading them, the step between them, the ones that come next, and what the calendar says of them.

A stamp is a whole number: microseconds since 1970 in UTC, or, where a table counts its steps (0, 1, 2, ... or years),
that number itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError, nearest

__all__ = [
    "CALENDAR",
    "Calendar",
    "Step",
    "Unit",
    "calendar_features",
    "check_calendar",
    "find_step",
    "format_stamp",
    "parse_stamp",
]

Unit = Literal["number", "microsecond", "month", "month end", "weekday"]
Calendar = Literal["minute", "hour", "weekday", "monthday", "yearday", "month"]
CALENDAR: tuple[Calendar, ...] = get_args(Calendar)

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_stamp(text: str, form: str | None = None) -> tuple[int, bool]:
    """A stamp from its text.

    ISO 8601 in all its forms ("2016-07-01 00:00:00", "20160701", "2016-07"), with a time zone or without (then taken
    as it is); a whole number, which counts steps; or what `form` says, as `datetime.strptime` reads it.

    Returns:
        the stamp, and whether it is a time (not a number).

    Raises:
        ValueError: the text is neither.
    """
    text = text.strip()
    if form is not None:
        return _microseconds(datetime.strptime(text, form)), True
    if _is_whole(text) and not (len(text) == 8 and "1600" <= text[:4] < "2400" and _is_date(text)):
        return int(text), False
    if len(text) == 7 and text[4] in "-/":
        text = f"{text[:4]}-{text[5:]}-01"
    return _microseconds(datetime.fromisoformat(text.replace("/", "-"))), True


def _is_whole(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _microseconds(moment: datetime) -> int:
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * _SECOND + since.microseconds


def format_stamp(stamp: int, is_time: bool) -> str:
    """A stamp as text: ISO 8601, without a time of day at midnight; a number as it is."""
    if not is_time:
        return str(stamp)
    moment = np.datetime64(int(stamp), "us")
    return str(moment.astype("datetime64[D]" if stamp % _DAY == 0 else "datetime64[s]")).replace("T", " ")


@dataclass(frozen=True)
class Step:
    """From one time step to the next.

    Attributes:
        unit: "microsecond", "month" (the same day of each), "month end" (the last day of each), "weekday" (Monday to
            Friday) or "number".
        count: how many of these.
    """

    unit: Unit
    count: int

    @property
    def is_time(self) -> bool:
        """Whether stamps are times, not numbers."""
        return self.unit != "number"

    def after(self, stamp: int, steps: int) -> IntArray:
        """(steps,) the stamps that follow one."""
        ahead = np.arange(1, steps + 1, dtype=np.int64) * self.count
        if self.unit in ("number", "microsecond"):
            return stamp + ahead
        day, rest = divmod(stamp, _DAY)
        if self.unit == "weekday":
            days = np.busday_offset(np.datetime64(day, "D"), ahead, roll="backward")
            return np.asarray(days.astype(np.int64) * _DAY + rest)
        first = np.datetime64(day, "D")
        month = first.astype("datetime64[M]")
        inside = (first - month.astype("datetime64[D]")).astype(np.int64)
        months = month + ahead
        last = (months + 1).astype("datetime64[D]") - 1
        days = last if self.unit == "month end" else np.minimum(months.astype("datetime64[D]") + inside, last)
        return np.asarray(days.astype(np.int64) * _DAY + rest)

    def season(self) -> int:
        """The usual season of such steps: 24 of an hour, 7 of a day, 12 of a month; 1 where there is none."""
        if self.unit == "weekday":
            return 5
        if self.unit in ("month", "month end"):
            return max(1, 12 // self.count)
        if self.unit == "number":
            return 1
        if self.count < _DAY:
            return _DAY // self.count if _DAY % self.count == 0 else 1
        return {1: 7, 7: 52}.get(self.count // _DAY, 1)

    def about(self) -> str:
        """The step in words."""
        if self.unit == "number":
            return "a row a step" if self.count == 1 else f"numbers {self.count} apart"
        if self.unit == "weekday":
            return "a working day a step"
        if self.unit in ("month", "month end"):
            return {1: "a month a step", 3: "a quarter a step", 12: "a year a step"}.get(
                self.count, f"{self.count} months a step"
            )
        for name, size in (("day", _DAY), ("hour", 3600 * _SECOND), ("minute", 60 * _SECOND), ("second", _SECOND)):
            if self.count % size == 0:
                count = self.count // size
                return f"{'an' if name == 'hour' else 'a'} {name} a step" if count == 1 else f"{count} {name}s a step"
        return f"{self.count} microseconds a step"


def find_step(stamps: IntArray, is_time: bool) -> tuple[Step, int | None]:
    """The step between ascending stamps.

    The most frequent distance is the step. Where no distance is regular, calendar months and working days (with
    holidays left out) are tried.

    Args:
        stamps: (T,) ascending, T at least 1.
        is_time: whether they are times.

    Returns:
        the step, and the first place i at which stamp i + 1 does not follow stamp i by it; None if all do.
    """
    if len(stamps) < 2:
        return (Step("microsecond", _DAY) if is_time else Step("number", 1)), None
    distances = np.diff(stamps)
    if not is_time:
        count = _commonest(distances)
        return Step("number", count), _first(distances != count)
    if (distances == distances[0]).all():
        return Step("microsecond", int(distances[0])), None
    days, rests = np.divmod(stamps, _DAY)
    if (rests == rests[0]).all():
        dates = days.astype("datetime64[D]")
        months = dates.astype("datetime64[M]").astype(np.int64)
        apart = np.diff(months)
        if apart[0] > 0 and (apart == apart[0]).all():
            inside = (dates - dates.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
            if (inside == inside[0]).all():
                return Step("month", int(apart[0])), None
            if (dates + 1 == (dates.astype("datetime64[M]") + 1).astype("datetime64[D]")).all():
                return Step("month end", int(apart[0])), None
        # Trading days: no Saturday or Sunday, and most working days are there.
        if bool(np.is_busday(dates).all()) and len(dates) >= 0.9 * np.busday_count(dates[0], dates[-1] + 1):
            return Step("weekday", 1), None
    count = _commonest(distances)
    return Step("microsecond", count), _first(distances != count)


def _commonest(distances: IntArray) -> int:
    found, counts = np.unique(distances, return_counts=True)
    return int(found[np.argmax(counts)])


def _first(wrong: npt.NDArray[np.bool_]) -> int | None:
    return int(np.argmax(wrong)) if wrong.any() else None


_PERIODS: dict[Calendar, float] = {
    "minute": 60,
    "hour": 24,
    "weekday": 7,
    "monthday": 31,
    "yearday": 366,
    "month": 12,
}


def check_calendar(names: Sequence[str]) -> tuple[Calendar, ...]:
    """The names of calendar features, checked."""
    for name in names:
        if name not in CALENDAR:
            raise ConfigurationError(f"the calendar has no {name!r}", fix=nearest(name, CALENDAR))
    return tuple(names)  # type: ignore[arg-type]


def calendar_features(stamps: IntArray, names: Sequence[Calendar]) -> npt.NDArray[np.float64]:
    """What the calendar says of stamps, (T,) to (T, 2 for each name): sine and cosine of the place in the period.

    They are known ahead, and nothing is fitted to them.
    """
    moments = stamps.astype("datetime64[us]")
    days = moments.astype("datetime64[D]")
    months = moments.astype("datetime64[M]")
    places: dict[Calendar, Any] = {
        "minute": (stamps // (60 * _SECOND)) % 60,
        "hour": (stamps % _DAY) / (3600 * _SECOND),
        "weekday": (stamps // _DAY + 3) % 7,
        "monthday": (days - months.astype("datetime64[D]")).astype(np.int64),
        "yearday": (days - moments.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64),
        "month": months.astype(np.int64) % 12,
    }
    columns = []
    for name in names:
        angle = 2 * math.pi * places[name] / _PERIODS[name]
        columns += [np.sin(angle), np.cos(angle)]
    return np.stack(columns, axis=1) if columns else np.empty((len(stamps), 0))
