"""From a table of series to a forecaster, its report and its forecasts."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.data import example_series
from unrolled.errors import ConfigurationError, DataError, Interrupted
from unrolled.tasks.forecast.evaluation import report_lines
from unrolled.training.events import Event, Stepped
from unrolled.verbs.describing import describe, runs
from unrolled.verbs.forecasting import forecast
from unrolled.verbs.listening import Listener
from unrolled.verbs.supervised import open_task, train_task
from unrolled.verbs.training import resume

_SETTINGS: dict[str, Any] = {
    "hidden_size": 8,
    "batch": 16,
    "precision": "float32",
    "threads": 1,
    "horizon": 6,
    "window": 24,
    "learning_rate": 0.01,
}


def a_table(path: Path, values: np.ndarray, first: str = "2020-01-01T00") -> Path:
    start = np.datetime64(first, "h")
    names = ["time", *(f"v{column}" for column in range(values.shape[1]))]
    rows = [[str(start + step), *row] for step, row in enumerate(values.tolist())]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def waves(steps: int, columns: int = 1, seed: int = 0) -> np.ndarray:
    """Days of hours that each resemble the one before, with what lasts for hours."""
    generator = np.random.default_rng(seed)
    hours = np.arange(steps)[:, None]
    shape = 5 * np.sin(2 * np.pi * (hours + 3 * np.arange(columns)) / 24) + 2 * np.cos(4 * np.pi * hours / 24)
    noise = np.zeros((steps, columns))
    for step in range(1, steps):
        noise[step] = 0.8 * noise[step - 1] + generator.normal(0, 0.5, columns)
    return 20 + shape + noise


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_table(tmp_path_factory.mktemp("table") / "waves.csv", waves(400, 2))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    run = tmp_path_factory.mktemp("runs") / "waves"
    train_task("forecast", table, run=run, steps=40, validations=2, **_SETTINGS)
    return run


class _Stopping(Listener):
    def event(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 17:
            raise KeyboardInterrupt


def _weights(run: Path) -> dict[str, bytes]:
    last = (run / "last").read_text().strip()
    return {path.name: path.read_bytes() for path in (run / "checkpoints" / last).glob("*.safetensors")}


def test_a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not(table: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = {**_SETTINGS, "steps": 30, "dropout": 0.2, "calendar": "hour"}
    train_task("forecast", table, run=whole, **options)
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        train_task("forecast", table, run=parts, checkpoint_every=7, listener=_Stopping(), **options)
    resume(parts)
    assert _weights(whole) == _weights(parts)
    assert (whole / "best").read_text() == (parts / "best").read_text()


@pytest.mark.parametrize("joint", [False, True])
def test_the_test_part_changes_nothing_in_the_model(tmp_path: Path, joint: bool) -> None:
    """Shuffled, or anything else: weights and scalings have the same bits."""
    values = waves(300, 2)
    seen = []
    for index in range(3):
        generator = np.random.default_rng(index)
        if index == 1:
            values[240:] = generator.permutation(values[240:])
        if index == 2:
            values[240:] = generator.normal(1e3, 1e4, values[240:].shape)
        (tmp_path / str(index)).mkdir()
        path = a_table(tmp_path / str(index) / "table.csv", values)
        run = tmp_path / f"run{index}"
        train_task("forecast", path, run=run, steps=6, joint=joint, split="60/20/20", **_SETTINGS)
        vocabulary = json.loads((run / "vocabulary.json").read_text())
        seen.append((_weights(run)["model.safetensors"], vocabulary["scaling"], (run / "best").read_text()))
    assert seen[0] == seen[1] == seen[2]


def test_the_report_has_the_skill_first_and_every_opponent(trained: Path) -> None:
    opened = open_task(trained)
    report = opened.evaluate("test")
    assert list(report)[3:6] == ["skill", "beats_naive", "verdict"]
    assert set(report["skill"]) == {"last value", "seasonal naive", "linear"}
    for name, skill in report["skill"].items():
        other = report["opponents"][name]
        assert skill["mae"] == pytest.approx(1 - report["scaled_mae"] / other["scaled_mae"])
        assert skill["low"] <= skill["mae"] <= skill["high"]
    assert report["beats_naive"]
    assert report["verdict"] == "this forecaster beats the last value and the seasonal naive forecast"
    assert report["windows"] == 2 * (80 - 6 + 1)
    assert 0 < report["quantiles"]["0.1"]["below"] < report["quantiles"]["0.9"]["below"] < 1
    shown = report_lines(report)
    assert shown[0].startswith("skill")
    assert shown[1].strip().startswith("against the last value: +")


def test_a_forecaster_that_does_not_beat_the_naive_one_says_so(tmp_path: Path) -> None:
    """A random walk: nothing is better than its last value."""
    walk = np.random.default_rng(0).normal(size=(400, 1)).cumsum(axis=0)
    options = {**_SETTINGS, "horizon": 2, "window": 4, "linear": False, "normalise": "none", "steps": 3}
    trained = train_task("forecast", a_table(tmp_path / "walk.csv", walk), run=tmp_path / "run", **options)
    report = open_task(tmp_path / "run").evaluate("test")
    assert not report["beats_naive"]
    assert report["verdict"].startswith("this forecaster does not beat the last value")
    assert "does not beat" in trained.summary


def test_a_run_forecasts_without_its_data(trained: Path, table: Path, tmp_path: Path) -> None:
    opened = open_task(trained)
    found = forecast(opened, horizon=15, output=tmp_path / "out.csv", picture=tmp_path / "out.svg")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["series"] for row in rows] == ["v0"] * 15 + ["v1"] * 15
    assert rows[0]["time"] == "2020-01-17 16:00:00"
    assert list(rows[0]) == ["series", "time", "forecast", "q0.1", "q0.9"]
    assert all(float(row["q0.1"]) <= float(row["q0.9"]) for row in rows)
    assert found.beyond
    assert found.drawn == 2
    assert b"<svg" in (tmp_path / "out.svg").read_bytes()[:500]
    # The same from the table itself, whose end it remembered; and of the first steps whatever is asked for.
    again = forecast(opened, str(table), output=tmp_path / "again.csv", picture="")
    assert again.picture is None
    for one, other in zip(found.forecasts, again.forecasts, strict=True):
        np.testing.assert_allclose(one.point[:6], other.point, rtol=1e-6)
        np.testing.assert_allclose(one.quantiles[:6], other.quantiles, rtol=1e-6)
    # Beyond the horizon intervals do not shrink.
    first = found.forecasts[0]
    width = first.quantiles[:, 0, 1] - first.quantiles[:, 0, 0]
    assert (width[6:12] >= width[:6] - 1e-9).all()
    # A forecast is what the model says of the last window.
    (line,) = opened.predict([json.dumps({"series": "v1", "values": first_values(table, 2)})])
    np.testing.assert_allclose(line["forecast"], again.forecasts[1].point[:, 0], rtol=1e-6)


def first_values(table: Path, column: int) -> list[float]:
    with table.open() as file:
        return [float(row[column]) for row in list(csv.reader(file))[1:]]


@pytest.mark.parametrize("options", [{"horizon": 0}, {"picture": "x.gif"}])
def test_what_cannot_be_forecast(trained: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        forecast(open_task(trained), output=tmp_path / "x.csv", **options)
    assert not (tmp_path / "x.csv").exists()


def test_other_tables_that_do_not_fit(trained: Path, tmp_path: Path) -> None:
    opened = open_task(trained)
    short = a_table(tmp_path / "short.csv", waves(10, 2))
    with pytest.raises(DataError, match="shorter than the window"):
        forecast(opened, str(short), output=tmp_path / "x.csv")
    other = a_table(tmp_path / "other.csv", waves(50, 3))
    with pytest.raises(DataError, match="the run knows no series 'v2'"):
        forecast(opened, str(other), output=tmp_path / "x.csv")
    for line, problem in (
        ("3", "no series"),
        ('{"values": [[1, 2], [3, 4]]}', "number of columns"),
        ("{", "no series"),
    ):
        with pytest.raises(DataError, match=problem):
            list(opened.predict([line]))


def test_covariates_known_ahead_are_wanted_ahead(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    example_series.write(path, days=15)
    options = {**_SETTINGS, "known": "temperature,holiday", "past": "plant", "calendar": "hour,weekday", "steps": 5}
    train_task("forecast", path, run=tmp_path / "run", **options)
    opened = open_task(tmp_path / "run")
    with pytest.raises(DataError, match="must be known for all steps that are forecast"):
        forecast(opened, output=tmp_path / "x.csv")
    lines = path.read_text().splitlines()
    rows = [line.split(",") for line in lines[-6:]]
    ahead = [",".join([stamp, "", "", "", temperature, holiday]) for stamp, _, _, _, temperature, holiday in rows]
    (tmp_path / "ahead.csv").write_text("\n".join([*lines[:-6], *ahead]) + "\n")
    found = forecast(opened, str(tmp_path / "ahead.csv"), output=tmp_path / "x.csv", picture="")
    assert [one.name for one in found.forecasts] == ["office", "homes"]
    assert found.forecasts[0].stamps == [f"{row[0]}:00" for row in rows]


def test_series_a_row_in_files_of_their_own(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name, size in (("train", 80), ("test", 6)):
        rows = [["id", *(f"V{step}" for step in range(size))]]
        rows += [[f"S{index}", *(generator.normal(9, 1, size).round(3).tolist())] for index in range(4)]
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    train_task(
        "forecast",
        train=[str(tmp_path / "train.csv")],
        test=[str(tmp_path / "test.csv")],
        run=tmp_path / "run",
        steps=3,
        **_SETTINGS,
    )
    report = open_task(tmp_path / "run").evaluate("test")
    assert (report["windows"], report["series"]) == (4, 4)


def test_on_the_command_line(start: Callable[..., Any], table: Path, tmp_path: Path) -> None:
    options = ["--horizon", "6", "--window", "24", "--steps", "4", "--hidden-size", "8", "--precision", "float32"]
    train = start("train", "forecast", table, "--run", "run", *options, "--json", cwd=tmp_path)
    assert train.wait() == 0, train.stderr
    assert json.loads(train.stdout)["task"] == "forecast"
    assert "400 steps, an hour a step" in train.stderr
    evaluated = start("evaluate", "run", "--split", "test", "--json", cwd=tmp_path)
    assert evaluated.wait() == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["skill"]["last value"]["mae"] > 0
    predicted = start("predict", "run", "--horizon", "9", cwd=tmp_path)
    assert predicted.wait() == 0, predicted.stderr
    assert "2 series, 9 steps" in predicted.stdout
    assert (tmp_path / "run" / "forecast.png").stat().st_size > 1000
    assert len((tmp_path / "run" / "forecast.csv").read_text().splitlines()) == 19
    machine = start("predict", "run", "--horizon", "2", "--json", cwd=tmp_path)
    assert machine.wait() == 0, machine.stderr
    said = json.loads(machine.stdout)
    assert (said["task"], said["picture"], said["beyond"]) == ("forecast", "run/forecast.png", False)
    assert [set(row) for row in said["items"]] == [{"series", "time", "forecast", "q0.1", "q0.9"}] * 4
    assert start("predict", "run", "--format", "csv", cwd=tmp_path).wait() == 2
    wrong = start("train", "forecast", table, "--horizon", "6", "--known", "rain", cwd=tmp_path)
    assert wrong.wait() == 2
    assert "there is no column 'rain'" in wrong.stderr


def test_a_run_is_described_and_evaluated_on_other_tables(trained: Path, tmp_path: Path) -> None:
    found = describe(trained)
    assert (found.cell, found.layers) == ("gru", 1)
    assert found.shapes["recurrent.layers.0.U.n"] == [8, 8]
    other = a_table(tmp_path / "other.csv", waves(100, 2, seed=5), first="2021-01-01T00")
    report = open_task(trained).evaluate_file(str(other))
    assert report["windows"] == 2 * (100 - 24 - 6 + 1)
    assert report["skill"]["last value"]["mae"] > 0
    beside = open_task(trained).opponent("test")
    assert beside["opponent"].startswith("a linear map of 24 steps to 6")
    assert beside["skill"]["linear"]["mae"] == pytest.approx(0, abs=1e-6)


def test_a_series_without_a_name_is_none_of_several(trained: Path) -> None:
    values = waves(30)[:, 0].tolist()
    with pytest.raises(DataError, match="knows no series 'line 1'"):
        list(open_task(trained).predict([json.dumps({"values": values})]))


def test_what_is_too_short_to_evaluate_is_said(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no examples"):
        open_task(trained).evaluate_file(str(a_table(tmp_path / "short.csv", waves(20, 2))))


def test_the_calendar_of_a_line_is_not_made_up(tmp_path: Path) -> None:
    path = a_table(tmp_path / "waves.csv", waves(200))
    train_task("forecast", path, run=tmp_path / "run", steps=1, calendar="hour", **_SETTINGS)
    with pytest.raises(DataError, match="calendar reads tables"):
        list(open_task(tmp_path / "run").predict([json.dumps({"values": waves(30)[:, 0].tolist()})]))


def test_the_linear_map_is_counted_wherever_parameters_are(trained: Path) -> None:
    (listed,) = (summary for summary in runs(trained.parent) if summary.path == trained)
    model = open_task(trained).model
    assert model.size == describe(trained).parameters == listed.parameters
    assert model.size == sum(value.numel() for value in model.state_dict().values())
