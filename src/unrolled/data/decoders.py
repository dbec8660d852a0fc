"""Decoders: token numbers to text, piece by piece."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ByteDecoder", "CharacterDecoder", "Decoder", "Ids"]

Ids = Sequence[int] | npt.NDArray[Any]


class Decoder(ABC):
    """Ids to text, piece by piece: the pieces joined are the text of all the ids."""

    @abstractmethod
    def feed(self, ids: Ids) -> str:
        """The text of some more ids, as far as whole characters go."""

    def finish(self) -> str:
        """What was held back, as U+FFFD, at the end."""
        return ""


class CharacterDecoder(Decoder):
    """Of symbols that are characters."""

    def __init__(self, code_points: npt.NDArray[np.uint32]) -> None:
        self._code_points = code_points

    def feed(self, ids: Ids) -> str:
        return self._code_points[np.asarray(ids, dtype=np.int64)].tobytes().decode("utf-32-le")


class ByteDecoder(Decoder):
    """Of symbols that are bytes: a character is held back until it is whole."""

    def __init__(self, contents: Sequence[bytes]) -> None:
        self._contents = contents
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, ids: Ids) -> str:
        return self._decoder.decode(b"".join([self._contents[at] for at in np.asarray(ids, dtype=np.int64).tolist()]))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)
