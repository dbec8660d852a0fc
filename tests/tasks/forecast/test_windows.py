from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.series import Series
from unrolled.data.series_configuration import SeriesConfig
from unrolled.data.store import SplitSources
from unrolled.errors import ConfigurationError, DataError
from unrolled.tasks.forecast.configuration import ForecasterConfig
from unrolled.tasks.forecast.cutting import find_season
from unrolled.tasks.forecast.kind import Forecasting
from unrolled.tasks.forecast.opponents import fit_linear, last_value, seasonal_naive
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.windows import Windows
from unrolled.tasks.kinds import Prepared


def a_series(values: np.ndarray, name: str = "a") -> Series:
    steps = len(values)
    nothing = np.empty((steps, 0))
    columns = tuple(f"{name}{column}" for column in range(values.shape[1]))
    return Series(name, columns, np.arange(steps), values, nothing, nothing, np.arange(steps) + 2, "x.csv")


def windows_of(series: list[Series], ranges: list[tuple[int, int]], window: int, horizon: int) -> Windows:
    config = SeriesConfig(season=2)
    within = np.array(ranges, np.int64)
    scaling = Scaling.fit(series, np.array([(0, len(one)) for one in series]), config)
    return Windows(series, within, window, horizon, 2, scaling, np.arange(len(series)), ())


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=3),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_windows_are_all_there_are(sizes: list[tuple[int, int, int]], window: int, horizon: int) -> None:
    series, ranges, due = [], [], []
    for index, (size, first, second) in enumerate(sizes):
        values = np.random.default_rng(index).normal(size=(size, 1))
        begin, end = sorted((min(first, size), min(second, size)))
        series.append(a_series(values, str(index)))
        ranges.append((begin, end))
        for origin in range(size):
            if origin - window >= 0 and origin >= begin and origin + horizon <= end:
                due.append((index, values[origin - window : origin], values[origin : origin + horizon]))
    windows = windows_of(series, ranges, window, horizon)
    assert len(windows) == len(windows.lengths) == len(due)
    if not due:
        return
    rows = np.arange(len(due))
    batch = windows.batch(rows)
    restored = windows.scaling.restored(windows.numbers[windows.owners], batch.x.double().numpy())
    for row, (owner, before, after) in enumerate(due):
        assert windows.owners[row] == batch.series[row] == owner
        np.testing.assert_allclose(restored[row], before, atol=1e-5)
        np.testing.assert_array_equal(windows.truth(rows)[row], after)


def test_naive_forecasts_by_hand() -> None:
    windows = windows_of([a_series(np.arange(10.0)[:, None] ** 2)], [(4, 10)], 3, 3)
    rows = np.arange(len(windows))
    assert last_value(windows, rows)[0].ravel().tolist() == [9, 9, 9]  # 9 is the last before step 4
    assert seasonal_naive(windows, rows)[0].ravel().tolist() == [4, 9, 4]


def test_a_missing_value_is_read_as_the_previous_and_is_no_target() -> None:
    values = np.array([1.0, 2, np.nan, 4, 5, np.nan, 7])[:, None]
    windows = windows_of([a_series(values)], [(0, 7)], 3, 2)
    batch = windows.batch(np.arange(len(windows)))
    restored = windows.scaling.restored(np.zeros(3, np.int64), batch.x.double().numpy())
    np.testing.assert_allclose(restored[0].ravel(), [1, 2, 2], rtol=1e-6)
    assert batch.there is not None
    assert batch.there[..., 0].tolist() == [[True, True], [True, False], [False, True]]


def test_the_linear_forecast_finds_a_linear_series() -> None:
    """A sum of two sines follows exactly from four values before (Prony)."""
    times = np.arange(200)
    values = np.sin(times * 0.3) + 0.5 * np.sin(times * 1.1 + 1)
    series = [a_series(values[:, None])]
    train, valid, test = (windows_of(series, [part], 12, 5) for part in ((0, 120), (120, 160), (160, 200)))
    linear = fit_linear(train, valid)
    rows = np.arange(len(test))
    np.testing.assert_allclose(linear.forecast(test, rows), test.truth(rows), atol=1e-4)
    with pytest.raises(DataError, match="no window"):
        fit_linear(windows_of(series, [(0, 3)], 12, 5), valid)


def table(path: Path, values: np.ndarray, names: str = "ab") -> SplitSources:
    start = np.datetime64("2020-01-01T00", "h")
    rows = [f"{start + step},{','.join(map(repr, row.tolist()))}" for step, row in enumerate(values)]
    path.write_text("\n".join([",".join(["time", *names[: values.shape[1]]]), *rows]) + "\n")
    return SplitSources.find([str(path)])


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Prepared]:
    def from_values(values: np.ndarray, **options: Any) -> Prepared:
        sources = table(tmp_path / "table.csv", values)
        sections = {"data": SeriesConfig(**options), "model": ForecasterConfig()}
        return Forecasting().prepare(sources, sections)

    return from_values


def part(prepared: Prepared, name: Any) -> Windows:
    found = prepared.parts[name]
    assert isinstance(found, Windows)
    return found


@pytest.mark.parametrize("joint", [False, True])
def test_nothing_of_the_test_part_is_seen(prepare: Callable[..., Prepared], joint: bool) -> None:
    """Whatever comes after the validation part may be anything: scaling and training batches stay the same."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(200, 2))
    options = {"horizon": 4, "window": 8, "joint": joint, "calendar": "hour"}
    before = prepare(values, **options)
    values[180:] = generator.permutation(values[180:]) * 1e6
    values[180] = 17.0
    after = prepare(values, split="70/20/10", **options)
    before = prepare(np.concatenate((values[:180], np.zeros((20, 2)))), split="70/20/10", **options)
    assert before.vocabulary["scaling"] == after.vocabulary["scaling"]
    for name in ("train", "valid"):
        first, second = part(before, name), part(after, name)
        rows = np.arange(len(first))
        assert len(first) == len(second) > 0
        one, other = first.batch(rows), second.batch(rows)
        assert all(getattr(one, what).equal(getattr(other, what)) for what in ("x", "y", "known", "series"))


def test_parts_follow_each_other_without_common_targets(prepare: Callable[..., Prepared]) -> None:
    values = np.arange(400.0).reshape(200, 2)
    prepared = prepare(values, horizon=4, window=8)
    seen = [set(part(prepared, name).truth(np.arange(len(part(prepared, name)))).ravel()) for name in prepared.parts]
    assert max(seen[0]) < min(seen[1]) <= max(seen[1]) < min(seen[2])
    assert set().union(*seen) == set(values[8:].ravel())


def test_scaling_is_that_of_the_training_part(prepare: Callable[..., Prepared]) -> None:
    values = np.random.default_rng(0).normal(3, 5, (100, 2))
    scaling = Scaling.from_json(prepare(values, horizon=2, window=4).vocabulary["scaling"])
    np.testing.assert_allclose(scaling.centres.ravel(), values[:70].mean(0))
    np.testing.assert_allclose(scaling.scales.ravel(), values[:70].std(0))
    seasonal = Scaling.from_json(prepare(values, horizon=2, window=4, season=3, scale="seasonal").vocabulary["scaling"])
    np.testing.assert_allclose(seasonal.scales.ravel(), np.abs(values[3:70] - values[:67]).mean(0))


def test_a_logarithm_there_and_back(prepare: Callable[..., Prepared]) -> None:
    values = np.exp(np.random.default_rng(0).normal(size=(100, 1)))
    windows = part(prepare(values, horizon=2, window=4, transform="log"), "train")
    rows = np.arange(len(windows))
    made = windows.scaling.restored(windows.owners, windows.batch(rows).y.double().numpy())
    np.testing.assert_allclose(made, windows.truth(rows), rtol=1e-5)
    values[50] = 0
    with pytest.raises(DataError, match="above 0") as caught:
        prepare(values, horizon=2, window=4, transform="log")
    assert "line 52" in str(caught.value)


def test_a_constant_series_is_scaled_by_one_and_told(prepare: Callable[..., Prepared]) -> None:
    values = np.stack((np.full(100, 0.1), np.arange(100.0)), axis=1)
    prepared = prepare(values, horizon=2, window=4)
    assert "1 series constant in the training part, scaled by 1: 'a'" in prepared.facts["treated"]
    assert np.isfinite(part(prepared, "test").batch(np.arange(5)).x.numpy()).all()


def test_a_series_that_is_too_short(prepare: Callable[..., Prepared], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no series is as long as a window and its horizon") as caught:
        prepare(np.ones((20, 1)), horizon=8, window=16)
    assert "14 in the longest, 'a', of its 20" in str(caught.value)
    with pytest.raises(DataError, match="the valid part is shorter"):
        prepare(np.ones((60, 1)), horizon=8, window=16)
    path = tmp_path / "rows.csv"
    path.write_text("id,x1,x2\n" + "s1," + ",".join(map(str, range(2))) + "\n")
    lines = [f"{name}," + ",".join(map(str, range(size))) for name, size in (("s1", 100), ("s2", 12))]
    path.write_text("id," + ",".join(f"x{step}" for step in range(100)) + "\n" + "\n".join(lines) + "\n")
    sections = {"data": SeriesConfig(horizon=4, window=12), "model": ForecasterConfig()}
    prepared = Forecasting().prepare(SplitSources.find([str(path)]), sections)
    assert "1 of 2 series are too short to train on and are left out: 's2'" in prepared.facts["treated"]


def test_splits_by_steps_and_by_stamps(prepare: Callable[..., Prepared]) -> None:
    values = np.arange(100.0)[:, None]
    for split in (
        {"split": "60/20/10"},
        {"valid_from": "2020-01-03 12:00", "test_from": "2020-01-04 08:00", "test_to": "2020-01-04 18:00"},
    ):
        prepared = prepare(values, horizon=1, window=1, **split)
        ends = [part(prepared, name).truth(np.arange(len(part(prepared, name)))).max() for name in prepared.parts]
        assert ends == [59, 79, 89]
    with pytest.raises(ConfigurationError, match="more steps than there are"):
        prepare(values, horizon=1, window=1, split="90/20/10")
    with pytest.raises(ConfigurationError, match="out of order"):
        prepare(values, horizon=1, window=1, valid_from="2020-01-03", test_from="2020-01-02")
    with pytest.raises(ConfigurationError, match="no time stamp"):
        prepare(values, horizon=1, window=1, valid_from="soon", test_from="2020-01-02")


@pytest.mark.parametrize(
    ("steps", "horizon", "window"), [(17420, None, 336), (17420, 96, 384), (900, 24, 210), (30, 2, 7)]
)
def test_what_is_not_given_follows_from_the_series(
    prepare: Callable[..., Prepared], steps: int, horizon: int | None, window: int
) -> None:
    found = part(prepare(np.random.default_rng(0).normal(size=(steps, 1)), horizon=horizon), "train")
    assert (found.window, found.horizon, found.season) == (window, horizon or 24, 24)


@pytest.mark.parametrize("period", [1, 7, 12, 24])
def test_the_season_is_found(period: int) -> None:
    generator = np.random.default_rng(0)
    cycle = generator.normal(size=period)
    series = [
        a_series((np.tile(cycle, 300 // period + 1)[:300] + generator.normal(0, 0.2, 300).cumsum() * 0.3)[:, None])
    ]
    assert find_season(series, np.array([300])) == period


def test_columns_of_a_table_without_time_are_cut_at_the_same_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{step},{step if step >= 40 else ''},{step if step >= 80 else ''}" for step in range(100)]
    path.write_text("\n".join(["a,b,c", *rows]) + "\n")
    sections = {"data": SeriesConfig(horizon=2, window=3), "model": ForecasterConfig()}
    prepared = Forecasting().prepare(SplitSources.find([str(path)]), sections)
    found = part(prepared, "train")
    last = [found.truth(np.flatnonzero(found.owners == owner)).max() for owner in range(2)]
    assert last == [69, 69]
    assert "1 series begin after the training part and are left out: 'c'" in prepared.facts["treated"]


def test_a_calendar_wants_time_stamps(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("v,w\n" + "1,2\n" * 30)
    sections = {"data": SeriesConfig(horizon=1, window=2, calendar="hour"), "model": ForecasterConfig()}
    with pytest.raises(DataError, match="wants time stamps"):
        Forecasting().prepare(SplitSources.find([str(path)]), sections)
