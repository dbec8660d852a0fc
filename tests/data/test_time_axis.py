from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.time_axis import Step, calendar_features, check_calendar, find_step, format_stamp, parse_stamp
from unrolled.errors import ConfigurationError


def stamp(text: str) -> int:
    return parse_stamp(text)[0]


@pytest.mark.parametrize(
    ("text", "form", "shown"),
    [
        ("2016-07-01 00:00:00", None, "2016-07-01"),
        ("2016-07-01T13:30", None, "2016-07-01 13:30:00"),
        ("2016/07/01 01:00", None, "2016-07-01 01:00:00"),
        ("20080701", None, "2008-07-01"),
        ("2008-07", None, "2008-07-01"),
        ("01.07.2008", "%d.%m.%Y", "2008-07-01"),
        ("2020-06-01T00:00:00+02:00", None, "2020-05-31 22:00:00"),
        ("1990", None, "1990"),
        ("-3", None, "-3"),
        ("12345678", None, "12345678"),
    ],
)
def test_what_is_read_as_a_stamp_and_written_again(text: str, form: str | None, shown: str) -> None:
    assert format_stamp(*parse_stamp(text, form)) == shown


@pytest.mark.parametrize("text", ["", "H1", "1.5", "2016-13-01", "13/25/2008"])
def test_what_is_no_stamp(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_stamp(text)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), st.integers(1, 10_000), st.integers(2, 30))
def test_a_regular_step_is_found_and_goes_on(first: datetime, minutes: int, count: int) -> None:
    moments = [first + index * timedelta(minutes=minutes) for index in range(count + 3)]
    stamps = np.array([parse_stamp(moment.isoformat())[0] for moment in moments])
    step, wrong = find_step(stamps[:count], True)
    assert wrong is None
    assert step.after(int(stamps[count - 1]), 3).tolist() == stamps[count:].tolist()


@pytest.mark.parametrize(
    ("shown", "then", "season", "about"),
    [
        (["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"], ["2020-05-31", "2020-06-30"], 12, "a month a step"),
        (["2021-02-28", "2021-03-28", "2021-04-28"], ["2021-05-28", "2021-06-28"], 12, "a month a step"),
        (["2020-01-15", "2020-02-15", "2020-03-15"], ["2020-04-15", "2020-05-15"], 12, "a month a step"),
        (["2019-10-01", "2020-01-01", "2020-04-01"], ["2020-07-01", "2020-10-01"], 4, "a quarter a step"),
        (["2018-02-01", "2019-02-01", "2020-02-01", "2021-02-01"], ["2022-02-01", "2023-02-01"], 1, "a year a step"),
        (["2020-01-01", "2020-01-02", "2020-01-03"], ["2020-01-04", "2020-01-05"], 7, "a day a step"),
        (["2020-01-01", "2020-01-08", "2020-01-15"], ["2020-01-22", "2020-01-29"], 52, "7 days a step"),
        (["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"], ["2020-01-08", "2020-01-09"], 5, "a working day a"),
        (["2020-01-01 00:00", "2020-01-01 00:15"], ["2020-01-01 00:30:00", "2020-01-01 00:45:00"], 96, "15 minutes a"),
        (["2020-01-01 23:00", "2020-01-02 00:00"], ["2020-01-02 01:00:00", "2020-01-02 02:00:00"], 24, "an hour a"),
        (["5", "7", "9"], ["11", "13"], 1, "numbers 2 apart"),
    ],
)
def test_steps_of_the_calendar(shown: list[str], then: list[str], season: int, about: str) -> None:
    stamps = np.array([stamp(text) for text in shown])
    is_time = parse_stamp(shown[0])[1]
    step, wrong = find_step(stamps, is_time)
    assert wrong is None
    assert [format_stamp(int(value), is_time) for value in step.after(int(stamps[-1]), 2)] == then
    assert step.season() == season
    assert step.about().startswith(about)


def test_trading_days_with_holidays_are_working_days() -> None:
    days = np.arange("2020-01-01", "2020-12-31", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    days = np.delete(days, [10, 100, 200])  # holidays
    step, wrong = find_step(days.astype("datetime64[us]").astype(np.int64), True)
    assert (step, wrong) == (Step("weekday", 1), None)


def test_the_first_gap_is_named() -> None:
    stamps = np.array([stamp(f"2020-01-{day:02d} 06:00") for day in (1, 2, 3, 5, 6, 12)])
    assert find_step(stamps, True) == (Step("microsecond", 86_400_000_000), 2)


def test_one_stamp_has_a_step_too() -> None:
    assert find_step(np.array([5]), False) == (Step("number", 1), None)
    assert find_step(np.array([stamp("2020-01-01")]), True)[0].about() == "a day a step"


def test_the_calendar_is_that_of_the_standard_library() -> None:
    moments = [datetime(2015, 12, 30, 22, 45) + index * timedelta(hours=31, minutes=7) for index in range(400)]
    stamps = np.array([parse_stamp(moment.isoformat())[0] for moment in moments])
    found = calendar_features(stamps, check_calendar(["hour", "weekday", "month", "yearday"]))
    hours = np.array([moment.hour + moment.minute / 60 for moment in moments])
    places = [
        (hours, 24),
        ([moment.weekday() for moment in moments], 7),
        ([moment.month - 1 for moment in moments], 12),
        ([moment.timetuple().tm_yday - 1 for moment in moments], 366),
    ]
    for column, (place, period) in enumerate(places):
        angle = 2 * np.pi * np.asarray(place) / period
        np.testing.assert_allclose(found[:, 2 * column], np.sin(angle), atol=1e-9)
        np.testing.assert_allclose(found[:, 2 * column + 1], np.cos(angle), atol=1e-9)


def test_an_unknown_part_of_the_calendar_is_named() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'weekday'"):
        check_calendar(["weekdays"])
