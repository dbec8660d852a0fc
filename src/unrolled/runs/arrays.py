"""Arrays as a safetensors file that need not fit in memory: written in pieces, read by memory map.

The format (https://huggingface.co/docs/safetensors): eight bytes of length, a JSON header of that length with the type,
shape and place of each array, and the arrays.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from unrolled.errors import RunError
from unrolled.runs.manifest import FileRecord

__all__ = ["map_arrays", "write_arrays"]

_TYPES = {"I32": "<i4", "I64": "<i8", "F64": "<f8"}
_PIECE = 1 << 22  # entries of an array that are written at once


def write_arrays(file: IO[bytes], arrays: Mapping[str, npt.NDArray[Any]]) -> FileRecord:
    """Write arrays of int32, int64 and float64 as a safetensors file: its length and checksum."""
    names = {np.dtype(kind): name for name, kind in _TYPES.items()}
    header, at = {}, 0
    for name, array in arrays.items():
        kind = array.dtype.newbyteorder("<")
        header[name] = {"dtype": names[kind], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)  # so that what follows is aligned
    digest = hashlib.sha256()
    length = 0

    def put(content: bytes | memoryview) -> None:
        nonlocal length
        digest.update(content)
        length += len(content)
        file.write(content)

    put(len(encoded).to_bytes(8, "little") + encoded)
    for array in arrays.values():
        flat = array.reshape(-1)
        for begin in range(0, len(flat), _PIECE):
            piece = np.ascontiguousarray(flat[begin : begin + _PIECE], array.dtype.newbyteorder("<"))
            put(piece.data.cast("B"))
    return FileRecord(length, digest.hexdigest())


def map_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a safetensors file that `write_arrays` wrote, read only, each read from disk where it is touched.

    Raises:
        RunError: the file cannot be read, or its header does not describe it.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            if not 0 < length <= size - 8:
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        # One map for all: a file is opened once, and what is not touched costs nothing.
        content = np.memmap(path, np.uint8, "r", offset=0)
        found = {}
        for name, entry in header.items():
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            kind, shape = np.dtype(_TYPES[entry["dtype"]]), tuple(entry["shape"])
            if not 8 + length <= begin <= end <= size or end - begin != kind.itemsize * math.prod(shape):
                raise ValueError(f"{name} does not lie where it is said to")
            found[name] = np.asarray(content[begin:end]).view(kind).reshape(shape)
        return found
    except OSError as error:
        raise RunError(f"{path.name} cannot be read: {error.strerror or error}", where=str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path.name} is not a file of arrays: {error}", where=str(path)) from error
