"""Against loops that follow the definitions, and figures that were published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unrolled.data.series import Series
from unrolled.data.series_configuration import SeriesConfig
from unrolled.data.store import SplitSources
from unrolled.errors import DataError
from unrolled.tasks.forecast.configuration import ForecasterConfig
from unrolled.tasks.forecast.evaluation import verdict
from unrolled.tasks.forecast.kind import Forecasting
from unrolled.tasks.forecast.metrics import interval, mase_scales, measure, pinball
from unrolled.tasks.forecast.opponents import last_value, seasonal_naive
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.windows import Windows


def a_series(values: np.ndarray, name: str = "a") -> Series:
    steps = len(values)
    nothing = np.empty((steps, 0))
    return Series(name, (name,), np.arange(steps), values[:, None], nothing, nothing, np.arange(steps), "x.csv")


def test_measures_follow_their_definitions() -> None:
    generator = np.random.default_rng(0)
    truth, made = generator.normal(5, 2, (5, 3, 1)), generator.normal(5, 2, (5, 3, 1))
    truth[2, 1] = np.nan
    owners = np.array([0, 0, 1, 1, 1])
    series = [a_series(generator.normal(size=20), name) for name in "ab"]
    scales = mase_scales(series, np.array([20, 15]), 4)
    found = measure(truth, made, owners, (truth / 2, made / 2), scales)
    smape: dict[int, list[float]] = {0: [], 1: []}
    mase: dict[int, list[float]] = {0: [], 1: []}
    every = []
    for window in range(5):
        owner = int(owners[window])
        past = series[owner].values[: (20, 15)[owner], 0]
        scale = sum(abs(past[t] - past[t - 4]) for t in range(4, len(past))) / (len(past) - 4)
        for step in range(3):
            y, f = float(truth[window, step, 0]), float(made[window, step, 0])
            if np.isnan(y):
                continue
            every.append(abs(y - f))
            smape[owner].append(200 * abs(y - f) / (abs(y) + abs(f)))
            mase[owner].append(abs(y - f) / scale)
    assert found["mae"] == pytest.approx(np.mean(every))
    assert found["mse"] == pytest.approx(np.mean(np.square(every)))
    assert found["scaled_mae"] == pytest.approx(np.mean(every) / 2)
    assert found["smape"] == pytest.approx(np.mean([np.mean(smape[0]), np.mean(smape[1])]))
    assert found["mase"] == pytest.approx(np.mean([np.mean(mase[0]), np.mean(mase[1])]))


def test_a_constant_series_has_no_mase_and_zeros_no_percentage() -> None:
    scales = mase_scales([a_series(np.zeros(9))], np.array([9]), 1)
    assert np.isnan(scales).all()
    zeros = np.zeros((1, 2, 1))
    found = measure(zeros, zeros, np.array([0]), (zeros, zeros), scales)
    assert (found["mae"], found["smape"], found["mase"], found["mape"]) == (0, 0, None, None)


def test_pinball_by_hand() -> None:
    truth, quantiles = np.array([[[10.0]], [[2.0]]]), np.full((2, 1, 1, 1), 4.0)
    assert pinball(truth, quantiles, [0.9]) == {
        "0.9": {"pinball": pytest.approx((0.9 * 6 + 0.1 * 2) / 2), "below": 0.5}
    }


def test_the_interval_of_a_skill_holds_the_true_one() -> None:
    """Errors of which one is 0.8 of the other on the average: most of 40 intervals hold 0.2, 38 where there is luck."""
    held = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        other = generator.exponential(1.0, 300)
        model = 0.8 * other * generator.uniform(0.5, 1.5, 300)
        skill, low, high = interval(model, other, np.zeros(300, int), np.arange(300), 1, seed=seed)
        assert low <= skill <= high
        held += low <= 0.2 <= high
    assert held >= 35


def test_few_origins_and_many_series_draw_series() -> None:
    generator = np.random.default_rng(0)
    other = generator.uniform(1, 2, 50)
    skill, low, high = interval(other / 2, other, np.arange(50), np.full(50, 7), 48)
    assert (skill, low, high) == pytest.approx((0.5, 0.5, 0.5))
    assert np.isnan(interval(other[:4], other[:4], np.arange(4), np.full(4, 7), 48)[1])
    assert np.isnan(interval(other, np.zeros(50), np.arange(50), np.full(50, 7), 48)[0])


def naive(windows: Windows) -> dict[str, dict[str, float]]:
    rows = np.arange(len(windows))
    truth, scaled = windows.truth(rows), windows.scaled_truth(rows)
    owners = windows.owners
    numbers, scaling = windows.numbers[owners], windows.scaling
    scales = mase_scales(windows.series, windows.ranges[:, 0], windows.season)
    found = {}
    for name, made in (("last", last_value(windows, rows)), ("seasonal", seasonal_naive(windows, rows))):
        in_scale = (made - scaling.centres[numbers][:, None]) / scaling.scales[numbers][:, None]
        found[name] = measure(truth, made, owners, (scaled, in_scale), scales)
    return found


def prepared(sources: SplitSources, config: SeriesConfig) -> Windows:
    part = Forecasting().prepare(sources, {"data": config, "model": ForecasterConfig()}).parts["test"]
    assert isinstance(part, Windows)
    return part


def test_naive_forecasts_of_etth1_as_published(data_directory: Callable[[str], Path]) -> None:
    """Seasonal naive MSE .512 and MAE .433, horizon 96 at the usual borders, in scaled units."""
    path = data_directory("ett") / "ETTh1.csv"
    windows = prepared(SplitSources.find([str(path)]), SeriesConfig(horizon=96, window=96, split="8640/2880/2880"))
    found = naive(windows)["seasonal"]
    assert len(windows) == 7 * (2880 - 96 + 1)
    assert (round(found["scaled_mse"], 3), round(found["scaled_mae"], 3)) == (0.512, 0.433)


def test_naive_forecasts_of_m4_as_published(data_directory: Callable[[str], Path]) -> None:
    """Seasonal naive (sNaive of the competition) of the hourly series: sMAPE 13.912 and MASE 1.193; the season is
    found."""
    train, test = (data_directory("m4") / f"Hourly-{part}.csv.gz" for part in ("train", "test"))
    windows = prepared(SplitSources.find(train=[str(train)], test=[str(test)]), SeriesConfig(horizon=48))
    found = naive(windows)["seasonal"]
    assert (len(windows), windows.season) == (414, 24)
    assert (round(found["smape"], 3), round(found["mase"], 3)) == (13.912, 1.193)


def test_the_last_value_of_the_stock_index_as_published(data_directory: Callable[[str], Path]) -> None:
    """MAPE 0.0067, from October 2010 to September 2016, where Bao et al. 2017 have 0.011 for their network."""
    path = data_directory("stocks_bao2017") / "SP500IndexData-Table1.csv"
    config = SeriesConfig(
        horizon=1, window=5, time="Ntime", target="Close Price", valid_from="2010-07-01", test_from="2010-10-01"
    )
    assert round(naive(prepared(SplitSources.find([str(path)]), config))["last"]["mape"], 2) == 0.67


def test_who_makes_no_error_is_the_one_to_use_instead() -> None:
    perfect = {"mae": None, "low": None, "high": None, "mse": None}
    beaten = {"mae": 0.5, "low": 0.4, "high": 0.6, "mse": None}
    said = verdict({"last value": beaten, "seasonal naive": perfect})
    assert said.endswith("does not beat the seasonal naive forecast: use the seasonal naive forecast instead")


def test_a_covariate_that_is_constant_up_to_rounding_is_only_shifted() -> None:
    one = a_series(np.arange(1.0, 1001.0))
    past = np.full((1000, 1), 0.1)
    assert past.std() > 0  # of rounding
    one = replace(one, past=past)
    assert Scaling.fit([one], np.array([[0, 1000]]), SeriesConfig()).covariate_scales.tolist() == [1.0]


def test_the_logarithm_of_zero_is_an_error_wherever_it_is_taken() -> None:
    one = a_series(np.arange(1.0, 9.0))
    scaling = Scaling.fit([one], np.array([[0, 8]]), SeriesConfig(transform="log"))
    with pytest.raises(DataError, match="above 0"):
        scaling.scaled(0, a_series(np.array([1.0, 0.0, 2.0])))
