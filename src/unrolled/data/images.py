"""Pictures as sequences: the idx files of MNIST, read row by row or pixel by pixel.

Axes: n pictures, T time, D numbers a time step.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from unrolled.data.text import Source, find_sources, read_bytes
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError, DataError, nearest

__all__ = [
    "Pictures",
    "Scan",
    "has_magic",
    "labels_beside",
    "permutation",
    "read_idx",
    "read_pictures",
    "scanned",
    "write_idx",
]

Scan = Literal["rows", "pixels", "permuted"]
"""How a picture becomes a sequence: a row a step, a pixel a step, or a pixel a step in an order drawn once."""

_Bytes = npt.NDArray[np.uint8]

# The third byte of an idx file and what its numbers are, big-endian.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 8


@dataclass(frozen=True, eq=False)
class Pictures:
    """n pictures of one size.

    Attributes:
        pixels: (n, height, width) or, in colour, (n, height, width, channels), from 0 to 255.
        labels: (n,) what each shows, None where that is not known.
        source: the file of the pixels.
    """

    pixels: _Bytes
    labels: IntArray | None
    source: Source

    def __len__(self) -> int:
        return len(self.pixels)


def read_idx(source: Source) -> npt.NDArray[np.generic]:
    """The array of an idx file (LeCun, Cortes & Burges, "The MNIST database", file formats), compressed or not.

    Raises:
        DataError: it begins with no magic number of idx, or has fewer or more numbers than its sizes say.
    """
    content = b"".join(read_bytes(source))
    if not _is_magic(content):
        raise DataError(
            "the file is no idx file: it begins with another magic number",
            expected="two zero bytes, a type (08 for bytes), and the number of axes: 00 00 08 03 for pictures",
            got=content[:4].hex(" ") or "nothing",
            where=source.name,
            fix="name the files of MNIST, compressed or not",
        )
    kind, axes = np.dtype(_TYPES[content[2]]), content[3]
    begin = 4 + 4 * axes
    if len(content) < begin:
        raise _wrong_size(source, f"{axes} sizes of four bytes after the magic number", f"{len(content)} bytes in all")
    shape = struct.unpack(f">{axes}I", content[4:begin])
    count = 1
    for size in shape:  # whole numbers without a bound: sizes may claim anything
        count *= size
    if len(content) - begin != count * kind.itemsize:
        expected = f"{count * kind.itemsize:,} bytes for {' x '.join(map(str, shape))} numbers"
        raise _wrong_size(source, expected, f"{len(content) - begin:,} bytes")
    return np.frombuffer(content, kind, offset=begin).reshape(shape)


def has_magic(source: Source) -> bool:
    """Whether a file begins as an idx file does."""
    return _is_magic(next(read_bytes(source), b""))


def _is_magic(content: bytes) -> bool:
    return len(content) >= 4 and content[:2] == b"\0\0" and content[2] in _TYPES and 1 <= content[3] <= _MOST_AXES


def write_idx(path: Path, array: npt.NDArray[np.uint8]) -> None:
    """Write bytes as an idx file, compressed if the name ends with .gz; the same array gives the same file."""
    from unrolled.files import write_atomically

    content = bytes([0, 0, 0x08, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    if path.suffix == ".gz":
        import gzip

        content = gzip.compress(content, mtime=0)
    write_atomically(path, content)


def read_pictures(source: Source, labels: Source | None = None) -> Pictures:
    """Pictures, and what they show.

    Args:
        source: an idx file of bytes with three axes, or four in colour.
        labels: an idx file of one axis: what each picture shows.

    Raises:
        DataError: a file is none of these, there is no pixel, or there are more or fewer labels than pictures.
    """
    pixels = read_idx(source)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or 0 in pixels.shape:
        raise DataError(
            "the file holds no pictures",
            expected="bytes with the axes pictures, height, width (magic number 00 00 08 03), each at least 1",
            got=f"{pixels.dtype.name} of {' x '.join(map(str, pixels.shape))}",
            where=source.name,
            fix="labels are found beside their pictures: name the file of the pictures" if pixels.ndim == 1 else None,
        )
    if labels is None:
        return Pictures(pixels.astype(np.uint8), None, source)
    shown = read_idx(labels)
    if shown.ndim != 1 or shown.dtype.kind not in "iu":
        raise DataError(
            "the file holds no labels",
            expected="whole numbers with one axis (magic number 00 00 08 01)",
            got=f"{shown.dtype.name} of {' x '.join(map(str, shown.shape))}",
            where=labels.name,
        )
    if len(shown) != len(pixels):
        raise DataError(
            "there is not one label a picture",
            expected=f"{len(pixels):,} labels, as many as pictures in {source.name}",
            got=f"{len(shown):,}",
            where=labels.name,
            fix="take both files from the same part: train with train, t10k with t10k",
        )
    return Pictures(pixels.astype(np.uint8), shown.astype(np.int64), source)


def labels_beside(source: Source) -> Source:
    """The file of the labels of a file of pictures: of its name with labels-idx1 for images-idx3, compressed or not.

    Raises:
        DataError: there is none.
    """
    path = source.path.with_name(Path(source.name).name)
    name = path.name
    for images, labels in (("images-idx3", "labels-idx1"), ("images.idx3", "labels.idx1"), ("images", "labels")):
        if images in name:
            plain = name.replace(images, labels).removesuffix(".gz")
            for found in (path.with_name(plain + ".gz"), path.with_name(plain)):
                if found.is_file():
                    return find_sources([str(found)])[0]
            break
    raise DataError(
        "there are no labels beside the pictures",
        expected="train-labels-idx1-ubyte beside train-images-idx3-ubyte, either compressed (.gz) or not",
        where=source.name,
        fix="put both into one directory, under the names they were published with",
    )


def permutation(count: int, seed: int) -> IntArray:
    """(count,) the order in which pixels are read: the same for all pictures, drawn once, of the seed alone."""
    order: IntArray = np.random.default_rng(seed).permutation(count)
    return order


def scanned(pixels: _Bytes, scan: Scan, order: Sequence[int] | IntArray | None = None) -> _Bytes:
    """Pictures as sequences.

    Args:
        pixels: (n, height, width) or (n, height, width, channels).
        scan: how.
        order: of permuted pixels; see `permutation`.

    Returns:
        (n, height, width times channels) row by row; (n, height times width, channels) pixel by pixel, from the top
        left to the right and down.

    Raises:
        ConfigurationError: there is no such way, or the order is not one of so many pixels.

    >>> scanned(np.arange(6, dtype=np.uint8).reshape(1, 2, 3), "permuted", [5, 4, 3, 2, 1, 0])[0, :, 0].tolist()
    [5, 4, 3, 2, 1, 0]
    """
    if scan not in get_args(Scan):
        raise ConfigurationError(f"images has no such choice: {scan!r}", fix=nearest(scan, get_args(Scan)))
    count, height, width, *channels = pixels.shape
    if scan == "rows":
        return pixels.reshape(count, height, width * math.prod(channels))
    single = pixels.reshape(count, height * width, *(channels or [1]))
    if scan == "pixels":
        return single
    if order is None or sorted(order) != list(range(height * width)):
        raise ConfigurationError(
            "the order of the pixels is not one of pictures of this size",
            expected=f"every number from 0 to {height * width - 1} once",
            got="none" if order is None else f"{len(order)} numbers",
        )
    return single[:, np.asarray(order)]


def _wrong_size(source: Source, expected: str, got: str) -> DataError:
    return DataError(
        "the idx file does not hold what its sizes say",
        expected=expected,
        got=got,
        where=source.name,
        fix="fetch it again: it was cut, or changed",
    )
