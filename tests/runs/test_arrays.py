from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from unrolled.errors import RunError
from unrolled.runs.arrays import map_arrays, write_arrays

ARRAYS = {
    "words": np.arange(7, dtype=np.int32),
    "empty": np.empty(0, np.int64),
    "table": np.arange(6, dtype=np.int64).reshape(2, 3) - 3,
    "rates": np.linspace(0, 1, 5),
}


def test_what_is_written_is_a_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        record = write_arrays(file, ARRAYS)
    content = path.read_bytes()
    assert (record.length, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    for found in (safetensors.numpy.load(content), map_arrays(path)):
        assert set(found) == set(ARRAYS)
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)
    with pytest.raises(ValueError, match="read-only"):
        map_arrays(path)["words"][0] = 1


def test_a_strided_array_is_written_as_it_looks(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        write_arrays(file, {"a": np.arange(10)[::2], "b": np.arange(6).reshape(2, 3).T})
    found = map_arrays(tmp_path / "file")
    assert found["a"].tolist() == [0, 2, 4, 6, 8]
    assert found["b"].tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("content", [b"", b"12345678", b"\x02" + 7 * b"\0" + b"[]", b"\xff" * 20, b"\x10" + 7 * b"\0"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RunError, match="is not a file of arrays"):
        map_arrays(tmp_path / "file")


def test_an_array_beyond_the_end_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        write_arrays(file, ARRAYS)
    content = (tmp_path / "file").read_bytes()
    (tmp_path / "cut").write_bytes(content[:-8])
    with pytest.raises(RunError, match="does not lie where it is said to"):
        map_arrays(tmp_path / "cut")
    with pytest.raises(RunError, match="cannot be read"):
        map_arrays(tmp_path / "missing")
