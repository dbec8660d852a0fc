from __future__ import annotations

import gzip
import struct
from pathlib import Path

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as some
import numpy as np
import pytest

from unrolled.data.images import labels_beside, permutation, read_idx, read_pictures, scanned, write_idx
from unrolled.data.text import Source, find_sources
from unrolled.errors import ConfigurationError, DataError


def source(path: Path) -> Source:
    return find_sources([str(path)])[0]


@hypothesis.given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, max_side=5)), some.booleans())
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], max_examples=30)
def test_what_is_written_is_read(tmp_path, array, compressed):
    path = tmp_path / ("a-idx.gz" if compressed else "a-idx")
    write_idx(path, array)
    content = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    assert content[:4] == bytes([0, 0, 8, array.ndim])
    assert struct.unpack(f">{array.ndim}I", content[4 : 4 + 4 * array.ndim]) == array.shape
    np.testing.assert_array_equal(read_idx(source(path)), array)


def test_numbers_of_more_than_a_byte_are_big_endian(tmp_path):
    (tmp_path / "a").write_bytes(bytes([0, 0, 0x0C, 1]) + struct.pack(">I", 2) + struct.pack(">ii", -5, 1 << 20))
    assert read_idx(source(tmp_path / "a")).tolist() == [-5, 1 << 20]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\0\1\x08\x01" + b"\0" * 8, "another magic number"),
        (b"\0\0\x07\x01\0\0\0\x01a", "another magic number"),
        (b"\0\0\x08\x00", "another magic number"),
        (b"\0\0\x08\x09" + b"\0\0\0\1" * 9 + b"a", "another magic number"),
        (b"\x89PNG", "another magic number"),
        (b"\0\0\x08", "another magic number"),
        (b"\0\0\x08\x03\0\0\0\x01", "what its sizes say"),
        (b"\0\0\x08\x01\0\0\0\x04abc", "what its sizes say"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "what its sizes say"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"abc", "what its sizes say"),
    ],
)
def test_a_file_that_is_none_or_has_another_size(tmp_path, content, problem):
    (tmp_path / "a-idx").write_bytes(content)
    with pytest.raises(DataError, match=problem) as raised:
        read_idx(source(tmp_path / "a-idx"))
    assert "a-idx" in str(raised.value)


def test_a_file_that_was_cut_while_compressed(tmp_path):
    path = tmp_path / "a.gz"
    write_idx(path, np.random.default_rng(0).integers(0, 256, (50, 9, 9)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="is damaged"):
        read_idx(source(path))


def test_labels_are_found_beside_and_counted(tmp_path):
    images, labels = tmp_path / "train-images-idx3-ubyte.gz", tmp_path / "train-labels-idx1-ubyte"
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
    write_idx(images, pixels)
    with pytest.raises(DataError, match="no labels beside"):
        labels_beside(source(images))
    write_idx(labels, np.array([7, 0, 7], np.uint8))
    found = read_pictures(source(images), labels_beside(source(images)))
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.labels is not None
    assert found.labels.tolist() == [7, 0, 7]
    write_idx(labels, np.array([7, 0], np.uint8))
    with pytest.raises(DataError, match="not one label a picture") as raised:
        read_pictures(source(images), source(labels))
    assert "3 labels" in str(raised.value)
    with pytest.raises(DataError, match="holds no pictures"):
        read_pictures(source(labels))
    with pytest.raises(DataError, match="holds no labels"):
        read_pictures(source(images), source(images))


def test_ways_through_a_picture():
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    np.testing.assert_array_equal(scanned(pixels, "rows")[0], pixels[0])
    assert scanned(pixels, "pixels")[0, :, 0].tolist() == list(range(12))
    order = permutation(12, 3)
    assert sorted(order) == list(range(12))
    assert order.tolist() == permutation(12, 3).tolist() != permutation(12, 4).tolist()
    assert scanned(pixels, "permuted", order)[0, :, 0].tolist() == order.tolist()
    colour = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    assert scanned(colour, "rows").shape == (1, 2, 12)
    assert scanned(colour, "pixels")[0, 1].tolist() == [3, 4, 5]


def test_an_order_of_another_size_or_a_way_that_is_none():
    pixels = np.zeros((1, 2, 2), np.uint8)
    for order in (None, [0, 1, 2], [0, 1, 2, 2]):
        with pytest.raises(ConfigurationError, match="order of the pixels"):
            scanned(pixels, "permuted", order)
    with pytest.raises(ConfigurationError, match="did you mean 'pixels'"):
        scanned(pixels, "pixel")  # type: ignore[arg-type]


def test_the_files_of_mnist(data_directory):
    path = data_directory("mnist") / "t10k-images-idx3-ubyte.gz"
    found = read_pictures(source(path), labels_beside(source(path)))
    assert found.pixels.shape == (10_000, 28, 28)
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
