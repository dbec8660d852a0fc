from __future__ import annotations

import contextlib
import gzip
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as some
import numpy as np
import pytest

from unrolled.data.frames import Frames, read_frames
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.text import find_sources
from unrolled.data.vector_inputs import VectorInput
from unrolled.errors import DataError


def read(path: Path, **options: Any) -> Frames:
    return read_frames(find_sources([str(path)])[0], **options)


def test_npz_of_one_length(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    np.savez(tmp_path / "a.npz", x=x, y=np.array(["u", "v", "u", "v"]))
    found = read(tmp_path / "a.npz")
    assert (found.labels, found.columns, found.series.lengths.tolist()) == (list("uvuv"), ["0", "1", "2"], [5] * 4)
    np.testing.assert_array_equal(found.series[2], x[2].astype(np.float32))
    np.testing.assert_array_equal(found.named(1)["2"], x[1, :, 2].astype(np.float32))


def test_npz_of_one_number_a_step_and_without_labels(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(6).reshape(2, 3))
    found = read(tmp_path / "a.npz")
    assert (found.labels, found.series[1].tolist()) == (["", ""], [[3], [4], [5]])


def test_npz_of_several_lengths_with_names_and_whole_labels(tmp_path):
    x = np.arange(10.0).reshape(5, 2)
    np.savez(tmp_path / "a.npz", x=x, lengths=[2, 3], y=np.array([1.0, 2.0]), columns=["left", "right"])
    found = read(tmp_path / "a.npz")
    assert (found.labels, found.columns, found.series[1].tolist()) == (["1", "2"], ["left", "right"], x[2:].tolist())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"z": np.zeros(3)}, "has no series"),
        ({"x": np.array(["a"])}, "has no series"),
        ({"x": np.zeros((2, 0, 3))}, "do not fit together"),
        ({"x": np.zeros((2, 2, 2, 2))}, "do not fit together"),
        ({"x": np.zeros((5, 2)), "lengths": [2, 2]}, "do not fit together"),
        ({"x": np.zeros((5, 2)), "lengths": [5, 0]}, "do not fit together"),
        ({"x": np.zeros((5, 2)), "lengths": [2.5, 2.5]}, "do not fit together"),
        ({"x": np.zeros((5, 2)), "y": [1, 2]}, "do not fit together"),
        ({"x": np.zeros((5, 2)), "columns": ["a", "b"]}, "do not fit together"),
        ({"x": np.array([[1.0, np.inf]])}, "no number"),
        ({"x": np.array([{}], dtype=object)}, "cannot be read as NPZ"),
    ],
)
def test_npz_that_is_not_as_it_should_be(tmp_path, content, problem):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(DataError, match=problem) as raised:
        read(tmp_path / "a.npz")
    assert "a.npz" in str(raised.value)


def test_npz_that_is_cut(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((9, 9, 9)))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:300])
    with pytest.raises(DataError, match="cannot be read as NPZ"):
        read(tmp_path / "a.npz")


TABLE = "series,time,label,a,b\np,1,up,1,2\np,2,up,3,\nq,1,down,5,-1e3\n"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_table_with_a_row_a_time_step(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(TABLE.encode()) if name.endswith("gz") else TABLE.encode())
    found = read(tmp_path / name, skip="time")
    assert (found.labels, found.names, found.columns, found.lines) == (["up", "down"], ["p", "q"], ["a", "b"], [2, 4])
    assert found.series[0][:, 0].tolist() == [1, 3]
    assert found.series[0][0].tolist() == [1, 2]
    assert np.isnan(found.series[0][1, 1])
    assert read(tmp_path / name, features=["b"]).series[1].tolist() == [[-1000]]


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        (TABLE + "p,3,up,1,1\n", "goes on after another began", 5),
        (TABLE + "q,3,up,1,1\n", "label changes", 5),
        (TABLE + "q,3,down,x,1\n", "no number", 5),
        (TABLE + "q,3,down,inf,1\n", "no number", 5),
        (TABLE + "q,3,down,1\n", "another number of fields", 5),
        ("time,a\n1,2\n", "no column 'series'", 2),
        ("series,label\np,up\n", "no column of numbers", 2),
    ],
)
def test_tables_that_are_not_as_they_should_be(tmp_path, text, problem, line):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=problem) as raised:
        read(tmp_path / "t.csv", skip="time")
    assert f"t.csv, line {line}" in str(raised.value)


TS = """# from an archive
@problemName two
@timeStamps false
@univariate false
@classLabel true up down
@data
1,2,3:4,5,6:up

7,?:8,9:down
"""


def test_a_ts_file(tmp_path):
    (tmp_path / "a.ts").write_text(TS)
    found = read(tmp_path / "a.ts")
    assert (found.labels, found.series.lengths.tolist(), found.lines) == (["up", "down"], [3, 2], [7, 9])
    assert found.series[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert np.isnan(found.series[1][1, 0])
    (tmp_path / "b.ts").write_text("@classLabel false\n@data\n1,2\n")
    assert (read(tmp_path / "b.ts").labels, read(tmp_path / "b.ts").series[0].tolist()) == ([""], [[1], [2]])


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        (TS + "1,2:3:up\n", "different lengths", 10),
        (TS + "1,2:up\n", "another number of dimensions", 10),
        (TS + "1,2:3,x:up\n", "no number", 10),
        (TS + "1,2:3,4\n", "no label", 10),
        ("@timestamps true\n@data\n(1,2)\n", "time stamps", 1),
        ("1,2:up\n", "not of a .ts file", 1),
    ],
)
def test_ts_files_that_are_not_as_they_should_be(tmp_path, text, problem, line):
    (tmp_path / "a.ts").write_text(text)
    with pytest.raises(DataError, match=problem) as raised:
        read(tmp_path / "a.ts")
    assert f"a.ts, line {line}" in str(raised.value)


def test_a_ts_file_without_series(tmp_path):
    (tmp_path / "a.ts").write_text("@data\n")
    with pytest.raises(DataError, match="no series"):
        read(tmp_path / "a.ts")


def structured(values: np.ndarray[Any, Any], names: str) -> np.ndarray[Any, Any]:
    rows = [tuple(row) for row in values]
    return np.array(rows, [(name, np.float32) for name in names])


SERIES = arrays.arrays(
    np.float32, some.tuples(some.integers(1, 5), some.just(2)), elements=some.floats(-9, 9, width=32)
)


@hypothesis.given(some.lists(SERIES, min_size=1, max_size=4))
def test_standardised_on_what_is_trained_on(values):
    series = [structured(one, "ab") for one in values]
    found = VectorInput.fit(series, LabelledConfig())
    whole = np.concatenate(values).astype(np.float64)
    np.testing.assert_allclose(found.means, whole.mean(0), atol=1e-6)
    again = VectorInput.build(found.details(), "a run")
    encoded = again.encode(series)
    assert encoded.lengths.tolist() == [len(one) for one in values]
    for column in range(2):
        deviation = whole[:, column].std()
        scaled = encoded.values[:, column].astype(np.float64)
        if deviation > 1e-4:
            np.testing.assert_allclose(scaled, (whole[:, column] - whole[:, column].mean()) / deviation, atol=1e-4)
            assert abs(scaled.std() - 1) < 1e-3
        elif deviation == 0:
            np.testing.assert_allclose(scaled, 0, atol=1e-5)


def test_missing_values_are_the_mean_and_columns_are_found_by_name():
    one = structured(np.array([[1.0, 10.0], [np.nan, 30.0], [3.0, 20.0]]), "ab")
    found = VectorInput.fit([one], LabelledConfig())
    assert found.means == (2.0, 20.0)
    assert found.encode([one])[0][1, 0] == 0
    other = structured(np.array([[30.0, 1.0]]), "ba")
    np.testing.assert_allclose(found.encode([other])[0], [[-1, 10 / np.std([10, 30, 20])]], rtol=1e-6)
    with pytest.raises(DataError, match="other columns") as raised:
        found.encode([structured(np.zeros((1, 2)), "ac")])
    assert "look at 'c'" in str(raised.value)
    with pytest.raises(DataError, match="no value in the training part"):
        VectorInput.fit([structured(np.array([[np.nan, 1.0]]), "ab")], LabelledConfig())
    with pytest.raises(DataError, match="not an input of vectors"):
        VectorInput.build({"columns": ["a"], "means": [0.0], "deviations": [0.0]}, "a run")


def test_whichever_byte_of_an_archive_is_wrong_no_other_error_comes(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(4, 30, 2)), y=np.arange(4))
    whole = path.read_bytes()
    for at in range(30, 90):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with contextlib.suppress(DataError):
            read(path)
