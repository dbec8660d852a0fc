"""`demo images`: handwritten digits read row by row, from what comes with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unrolled.data.images import Scan, write_idx
from unrolled.errors import ConfigurationError
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import demo_places
from unrolled.verbs.supervised import TrainedTask, train_task

__all__ = ["demo_images", "write_digits"]

_BRIGHTEST = 16  # what scikit-learn's pixels count up to


def write_digits(directory: Path) -> Path:
    """Write scikit-learn's 1,797 digits of 8 x 8 pixels as idx files, as MNIST has them, and return the pictures' path.

    The pixels, from 0 to 16 there, become 0 to 255. They are part of the test set of Alpaydin & Kaynak's "Optical
    recognition of handwritten digits", UCI 1998.

    Raises:
        ConfigurationError: scikit-learn is not installed.
        StorageError: the files cannot be written.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ConfigurationError("the digits come with scikit-learn", fix="pip install scikit-learn") from None
    digits = load_digits()
    images = directory / "digits-images-idx3-ubyte.gz"
    write_idx(images, np.round(digits.images * (255 / _BRIGHTEST)).astype(np.uint8))
    write_idx(directory / "digits-labels-idx1-ubyte.gz", digits.target.astype(np.uint8))
    return images


def demo_images(
    run: str | Path | None = None, *, minutes: float = 0.5, images: Scan = "rows", listener: Listener | None = None
) -> TrainedTask:
    """Train a classifier of handwritten digits that are read as sequences.

    The pictures are written beside the run, into the directory `<run>-digits`.

    Args:
        run: the directory of the run; `runs/demo-images` or the next free name if not given.
        minutes: of training.
        images: how a picture is read; see `data.images`.
        listener: hears what happens.
    """
    path, directory = demo_places(run, "demo-images", "-digits", minutes)
    written = write_digits(directory)
    return train_task("classify", [str(written)], run=path, images=images, minutes=minutes, listener=listener)
