from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.data.series import Panel, units
from unrolled.data.series_configuration import SeriesConfig
from unrolled.data.series_reading import read_parts, read_series
from unrolled.data.store import SplitSources
from unrolled.data.text import find_sources
from unrolled.errors import ConfigurationError, DataError

HOURLY = ["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00", "2020-01-01 03:00"]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Panel]:
    """From the lines of a table and options to the series."""

    def from_lines(lines: list[str], name: str = "table.csv", **options: Any) -> Panel:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        future = options.pop("future", False)
        return read_series(find_sources([str(path)]), SeriesConfig(**options), future=future)

    return from_lines


def test_a_wide_table(read: Callable[..., Panel]) -> None:
    panel = read(["date,a,b,note", *(f"{time},{index},{index * 10},x" for index, time in enumerate(HOURLY))])
    (one,) = panel.series
    assert one.columns == ("a", "b")
    assert one.values.tolist() == [[0, 0], [1, 10], [2, 20], [3, 30]]
    assert panel.step.about() == "an hour a step"
    assert [alone.name for alone in units(panel, joint=False)] == ["a", "b"]
    assert units(panel, joint=True)[0].values.shape == (4, 2)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters(read: Callable[..., Panel], delimiter: str) -> None:
    panel = read([delimiter.join(fields) for fields in (["t", "v"], ["20200101", "1.5"], ["20200102", "2e3"])])
    assert panel.series[0].values.ravel().tolist() == [1.5, 2000]


def test_a_long_table_and_covariates(read: Callable[..., Panel]) -> None:
    lines = ["day,shop,sales,price,visitors"]
    for day in (1, 2, 3):
        lines += [f"2020-01-0{day},{shop},{day + 10 * place},{day / 2},{day * 7}" for place, shop in enumerate("ab")]
    panel = read(lines, id="shop", known="price", past="visitors")
    first, second = panel.series
    assert (first.name, second.name) == ("a", "b")
    assert second.values.ravel().tolist() == [11, 12, 13]
    assert second.known.ravel().tolist() == [0.5, 1, 1.5]
    assert second.past.ravel().tolist() == [7, 14, 21]


def test_a_series_a_row_as_the_m4_competition_has_them(read: Callable[..., Panel]) -> None:
    panel = read(['"V1","V2","V3","V4"', '"H1","1","2","3"', '"H2","4","5",'])
    assert [one.values.ravel().tolist() for one in panel.series] == [[1, 2, 3], [4, 5]]
    assert panel.counted


def test_rows_ahead_have_covariates_only(read: Callable[..., Panel]) -> None:
    lines = ["t,v,price", "1,5,2", "2,6,2", "3,,9", "4,,9"]
    (one,) = read(lines, known="price", future=True).series
    assert len(one) == 2
    assert one.known.ravel().tolist() == [2, 2, 9, 9]


def test_parts_in_files_follow_each_other(tmp_path: Path) -> None:
    for name, days in (("a", (1, 2, 3)), ("b", (4, 5))):
        text = "".join(f"2020-01-0{day},{day}\n" for day in days)
        with gzip.open(tmp_path / f"{name}.csv.gz", "wt") as file:
            file.write("day,v\n" + text)
    train, test = (str(tmp_path / f"{name}.csv.gz") for name in "ab")
    panel, begins = read_parts(SplitSources.find(train=[train], test=[test]), SeriesConfig())
    assert panel.series[0].values.ravel().tolist() == [1, 2, 3, 4, 5]
    assert begins["series"]["test"] == panel.series[0].stamps[3]
    with pytest.raises(DataError, match="the test part begins before the part before it has ended"):
        read_parts(SplitSources.find(train=[test], test=[train]), SeriesConfig())


@pytest.mark.parametrize(
    ("rows", "options", "problem", "where"),
    [
        (["2020-01-02,1", "2020-01-01,2"], {}, "out of order", "line 3"),
        (["2020-01-01,1", "2020-01-01,2"], {}, "comes twice", "line 2 and line 3"),
        (["2020-01-01,1", "2020-01-02,2", "2020-01-03,2", "2020-01-05,3"], {}, "irregular", "line 5"),
        (["2020-01-01,1", "2020-01-02,", "2020-01-03,2"], {}, "1 of 3 values are missing", "line 3"),
        (["2020-01-01,1", "2020-01-02,x"], {"target": "v"}, "text where a number should be", "line 3"),
        (["2020-01-01,1", "2020-01-02,inf"], {"target": "v"}, "infinite", "line 3"),
        (["2020-01-01,1", "2020-01-02"], {"target": "v"}, "another number of fields", "line 3"),
        (["2020-01-01,1", "tomorrow,2"], {"time": "t"}, "no time stamp", "line 3"),
        (["2020-01-01,1", "7,2"], {"time": "t"}, "both times and numbers", "line 3"),
        (["2020-01-01,1"], {"target": "w"}, "no column 'w'", "line 1"),
        (["2020-01-01,a"], {}, "no column of numbers", "line 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    read: Callable[..., Panel], rows: list[str], options: dict[str, Any], problem: str, where: str
) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        read(["t,v", *rows], **options)
    assert where in str(caught.value)


def test_what_is_treated_when_asked(read: Callable[..., Panel]) -> None:
    unsorted = read(["t,v", "2020-01-02,1", "2020-01-01,2"], sort=True)
    assert unsorted.series[0].values.ravel().tolist() == [2, 1]
    twice = ["t,v", "2020-01-01,1", "2020-01-01,2", "2020-01-02,5"]
    for repeated, first in (("first", 1), ("last", 2), ("mean", 1.5)):
        assert read(twice, repeated=repeated).series[0].values.ravel().tolist() == [first, 5]
    gaps = ["t,v", *(f"2020-01-0{day},{day}" for day in (1, 2, 3, 5))]
    filled = read(gaps, gaps="fill", missing="previous")
    np.testing.assert_array_equal(filled.series[0].values.ravel(), [1, 2, 3, np.nan, 5])
    assert len(filled.notes) == 2
    assert read(gaps, gaps="rows").series[0].values.ravel().tolist() == [1, 2, 3, 5]
    with pytest.raises(DataError, match="missing"):
        read(gaps, gaps="fill")


def test_a_stamp_between_two_steps_cannot_be_filled(read: Callable[..., Panel]) -> None:
    lines = ["t,v", "2020-01-01,1", "2020-01-02,1", "2020-01-03,2", "2020-01-03 12:00,2"]
    with pytest.raises(DataError, match="between two steps"):
        read(lines, gaps="fill")


def test_a_column_that_begins_later_begins_there(read: Callable[..., Panel]) -> None:
    panel = read(["t,a,b", "1,1,", "2,2,", "3,3,7"])
    assert [one.values.ravel().tolist() for one in units(panel, joint=False)] == [[1, 2, 3], [7]]


def test_a_table_without_time_counts_its_rows(read: Callable[..., Panel]) -> None:
    panel = read(["a,b", "1,2", "3,4"])
    assert panel.counted
    assert panel.notes == ["no column of time stamps was found: each row is a step"]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["t,v"], "no rows"),
        (["1,2", "3,4"], "numbers where the names of the columns should be"),
        (["t,v,v", "1,2,3"], "two columns are called 'v'"),
        (["t,v", '1,"2'], "cannot be read as a table"),
    ],
)
def test_what_is_no_table(read: Callable[..., Panel], lines: list[str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read(lines)


def test_options_that_do_not_go_together() -> None:
    for wrong in (
        {"split": "70/30"},
        {"split": "0/50/50"},
        {"horizon": 0},
        {"valid_from": "2020"},
        {"test_to": "2020"},
        {"layout": "long"},
        {"layout": "rows", "id": "x"},
        {"missing": "drop"},
    ):
        with pytest.raises(ConfigurationError):
            SeriesConfig(**wrong)  # type: ignore[arg-type]


def test_a_column_cannot_be_two_things(read: Callable[..., Panel]) -> None:
    with pytest.raises(ConfigurationError, match="named for two things"):
        read(["t,v,w", "1,2,3"], target="v", known="v")
