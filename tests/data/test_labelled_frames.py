"""Series of vectors with a label a frame, in NPZ and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.data.labelled_frames import read_csv_series, read_npz_series
from unrolled.data.text import Source, find_sources
from unrolled.errors import ConfigurationError, DataError


def npz(tmp_path: Path, **arrays: Any) -> Source:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    return find_sources([str(path)])[0]


def csv(tmp_path: Path, text: str) -> Source:
    path = tmp_path / "a.csv"
    path.write_text(text)
    return find_sources([str(path)])[0]


X = np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": X, "y": [0, 1, 1, 0, 1, 0]}, ["011010"]),
        ({"x": X, "y": list("aabbab"), "lengths": [1, 2, 3]}, ["a", "ab", "bab"]),
        ({"x": X.reshape(2, 3, 2), "y": [list("aab"), list("bab")]}, ["aab", "bab"]),
        ({"x": X.reshape(2, 3, 2), "y": [list("aab"), list("bab")], "lengths": [3, 1]}, ["aab", "b"]),
        ({"x": X.astype(np.int32), "y": [True] * 5 + [False]}, ["TrueTrueTrueTrueTrueFalse"]),
    ],
)
def test_npz(tmp_path: Path, arrays: dict[str, Any], expected: list[str]) -> None:
    found = read_npz_series(npz(tmp_path, **arrays))
    assert ["".join(one.labels) for one in found] == expected
    assert [one.x.shape for one in found] == [(len(one.labels), 2) for one in found]
    assert found[0].x[0].tolist() == [0, 1]


WRONG_ARRAYS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no x": ({"y": [1]}, "no array 'x'", ""),
    "no y": ({"x": X, "z": [1]}, "no array 'y'", ""),
    "a flat x": ({"x": X[0], "y": [1, 2]}, "wrong shape", "(2,)"),
    "texts in x": ({"x": [["a"]], "y": [1]}, "wrong shape or type", ""),
    "objects": ({"x": X, "y": np.array([None] * 6)}, "cannot be read as NPZ", ""),
    "a short y": ({"x": X, "y": [1, 2]}, "does not fit x", "(2,)"),
    "broken labels": ({"x": X, "y": [0.5] * 6}, "does not fit x", "float64"),
    "lengths": ({"x": X, "y": [1] * 6, "lengths": [2, 3]}, "lengths do not fit", "sum to 6"),
    "a length of 0": ({"x": X, "y": [1] * 6, "lengths": [6, 0]}, "lengths do not fit", ""),
    "lengths beyond": ({"x": X[None], "y": [[1] * 6], "lengths": [7]}, "lengths do not fit", "from 1 to 6"),
    "not finite": (
        {"x": np.where(X == 7, np.nan, X), "y": [1] * 6, "lengths": [2, 4]},
        "not a finite number",
        "series 1, frame 1, input 1",
    ),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_npz_that_is_wrong(tmp_path: Path, case: str) -> None:
    arrays, problem, said = WRONG_ARRAYS[case]
    with pytest.raises(DataError, match=problem) as caught:
        read_npz_series(npz(tmp_path, **arrays))
    assert said in str(caught.value)
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize("keep", [3, 100, -30])
def test_npz_that_is_cut_off(tmp_path: Path, keep: int) -> None:
    source = npz(tmp_path, x=X, y=[1] * 6)
    source.path.write_bytes(source.path.read_bytes()[:keep])
    with pytest.raises(DataError, match="cannot be read as NPZ"):
        read_npz_series(source)


TABLE = "who,a,label,b\nann,1,up,2\nann,3,down,4\nbob,5,up,6\n"


def test_csv(tmp_path: Path) -> None:
    first, second = read_csv_series(csv(tmp_path, TABLE), "label", "who")
    assert (first.x.tolist(), first.labels, first.columns) == ([[1, 2], [3, 4]], ("up", "down"), ("a", "b"))
    assert (second.x.tolist(), second.where.endswith("line 4")) == ([[5, 6]], True)
    (only,) = read_csv_series(csv(tmp_path, TABLE), "label", columns=["b"])
    assert only.x.tolist() == [[2], [4], [6]]
    without = TABLE.replace("label", "c").replace("up", "0").replace("down", "1")
    (only, _) = read_csv_series(csv(tmp_path, without), "label", "who", ["a"], labelled=False)
    assert (only.x.tolist(), only.labels) == ([[1], [3]], ())


WRONG_TABLES = {
    "a text": (TABLE.replace("4", "four"), "label", "who", "not a finite number", "line 3, column 'b'"),
    "nothing": (TABLE.replace("4", ""), "label", "who", "not a finite number", "line 3, column 'b'"),
    "no number": (TABLE.replace("4", "nan"), "label", "who", "not a finite number", "line 3, column 'b'"),
    "no label": (TABLE.replace("down", ""), "label", "who", "label is missing", "line 3"),
    "a column that is not there": (TABLE, "lable", None, "no column 'lable'|finite", "a.csv"),
    "a row cut off": (TABLE[:-5], "label", "who", "another number of fields", "line 4"),
    "series in pieces": (TABLE + "ann,1,up,2\n", "label", "who", "goes on after", "line 5"),
    "a heading alone": ("a,label\n", "label", None, "no rows", "a.csv"),
    "labels alone": ("label\nup\n", "label", None, "no column of numbers", "a.csv"),
}


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_csv_that_is_wrong(tmp_path: Path, case: str) -> None:
    text, label, series, problem, said = WRONG_TABLES[case]
    with pytest.raises(DataError, match=problem) as caught:
        list(read_csv_series(csv(tmp_path, text), label, series))
    assert said in str(caught.value)


def test_csv_without_a_column_of_labels(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="column of labels is not said"):
        list(read_csv_series(csv(tmp_path, TABLE), None))
