"""Pictures as a network reads them: row by row or pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from unrolled.data.images import Scan, permutation, scanned
from unrolled.data.inputs import Input, check_values
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.ragged import Ragged
from unrolled.data.vocabulary import IntArray
from unrolled.errors import DataError

__all__ = ["PictureInput"]


@dataclass(frozen=True, eq=False)
class PictureInput(Input):
    """Pictures of one size as sequences of bytes.

    Attributes:
        scan: how they become sequences.
        shape: height, width, channels.
        order: of permuted pixels: for each time step the number of its pixel; empty otherwise.
        mean: of the pixels of the training part, from 0 to 255.
        deviation: theirs, above 0.
    """

    name = "pictures"
    scan: Scan
    shape: tuple[int, int, int]
    order: tuple[int, ...]
    mean: float
    deviation: float

    @classmethod
    def fit(cls, values: Sequence[Any], config: LabelledConfig) -> PictureInput:
        """The input that fits the pictures of a training part.

        Args:
            values: at least one, each (height, width) or (height, width, channels), all of one size.
            config: says how they become sequences, and of what seed the order of permuted pixels follows.
        """
        pictures, scan, seed = values, config.images, config.images_seed
        height, width, *channels = pictures[0].shape
        order: IntArray = permutation(height * width, seed) if scan == "permuted" else np.empty(0, np.int64)
        pixels = sum(picture.size for picture in pictures)
        total = sum(int(picture.sum(dtype=np.int64)) for picture in pictures)
        squares = sum(int(np.square(picture, dtype=np.int64).sum()) for picture in pictures)
        mean = total / pixels
        deviation = max(squares / pixels - mean**2, 0.0) ** 0.5
        shape = (height, width, channels[0] if channels else 1)
        return cls(scan, shape, tuple(order.tolist()), mean, deviation or 1.0)

    @property
    def width(self) -> int:
        _, width, channels = self.shape
        return width * channels if self.scan == "rows" else channels

    @property
    def about(self) -> str:
        height, width, channels = self.shape
        how = {"rows": "row by row", "pixels": "pixel by pixel", "permuted": "pixel by pixel in an order drawn once"}
        return f"pictures of {height} x {width}{' in colour' if channels > 1 else ''}, {how[self.scan]}"

    def encode(self, values: Sequence[Any]) -> Ragged:
        """(T, D) bytes for each picture, not standardised.

        Raises:
            DataError: a value is no picture, or one of another size.
        """
        check_values(values, np.ndarray, "a picture")
        size = self.shape if self.shape[2] > 1 else self.shape[:2]
        for value in values:
            if value.shape != size:
                raise DataError(
                    "the picture has another size than those that were trained on",
                    expected=" x ".join(map(str, size)),
                    got=" x ".join(map(str, value.shape)),
                )
        pixels = np.stack(values) if len(values) else np.empty((0, *size), np.uint8)
        sequences = scanned(pixels, self.scan, self.order)
        count, steps, width = sequences.shape
        return Ragged(sequences.reshape(count * steps, width), np.arange(count + 1, dtype=np.int64) * steps)

    def details(self) -> dict[str, Any]:
        return {
            "scan": self.scan,
            "shape": list(self.shape),
            "order": list(self.order),
            "mean": self.mean,
            "deviation": self.deviation,
        }

    @classmethod
    def build(cls, details: Mapping[str, Any], where: str) -> PictureInput:
        try:
            scan, shape, order = details["scan"], tuple(details["shape"]), tuple(details["order"])
            mean, deviation = float(details["mean"]), float(details["deviation"])
            count = shape[0] * shape[1] if scan == "permuted" else 0
            good = scan in get_args(Scan) and len(shape) == 3 and all(type(size) is int and size > 0 for size in shape)
            if not (good and deviation > 0 and sorted(order) == list(range(count))):
                raise ValueError("a value is out of range")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("not an input of pictures", got=f"{type(error).__name__}: {error}", where=where) from None
        return cls(scan, shape, order, mean, deviation)
