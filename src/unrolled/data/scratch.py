"""Arrays that are needed for a while: small ones in memory, large ones in files that vanish with their last user."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.errors import ConfigurationError
from unrolled.files import cache_directory, storage_errors

__all__ = ["IN_MEMORY", "Scratch"]

IN_MEMORY = 1 << 28
"""Bytes from which on an array is a file, unless somebody says otherwise."""


class Scratch:
    """Makes arrays to work on.

    A file is removed from its directory as soon as it is mapped, so that nothing is left of it, however the process
    ends; its space is free again when the array is. Its length is reserved at once: a disk that is full is an error
    here, not a crash later.

    Args:
        in_memory: bytes up to which an array lies in memory; 0 puts every one on disk.
        directory: where the files go; `cache_directory()` if not given.

    >>> Scratch().empty(3, np.int64).shape
    (3,)
    """

    def __init__(self, in_memory: int = IN_MEMORY, directory: Path | None = None) -> None:
        if in_memory < 0:
            raise ConfigurationError("in_memory is a number of bytes", expected="at least 0", got=str(in_memory))
        self._in_memory, self._directory = in_memory, directory

    def empty(self, length: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of a length, its content undefined (0 in a file).

        Raises:
            StorageError: the disk is full or the directory cannot be written.
        """
        kind = np.dtype(dtype)
        size = length * kind.itemsize
        if size <= self._in_memory or not size:
            return np.empty(length, kind)
        directory = self._directory or cache_directory()
        with storage_errors(f"reserving {math.ceil(size / 1e6):,} MB in {directory}"):
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory) as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
                # Without its own class, which compiled functions do not take; the map lives as long as the array.
                return np.asarray(np.memmap(file, kind, "r+", shape=(length,)))

    def zeros(self, length: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of zeros; see `empty`."""
        found = self.empty(length, dtype)
        found[:] = 0
        return found
