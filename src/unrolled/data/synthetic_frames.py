"""Labelled frames made by rules: somebody who rests, walks, runs or climbs stairs, measured at the wrist.

50 frames a second of three accelerations. What is done lasts 1 to 4 seconds, then something else. With a phase φ that
grows by 2π·f/50 a frame (f drawn for each stretch),

    rest     nothing
    walk     sin φ, ½ cos φ, ¼ sin 2φ     f from 1.5 to 2.1 a second
    run      the same                     f from 2.3 to 3.0
    stairs   sin φ, ½ |cos φ|, 0          f from 1.3 to 1.9

times a strength from 0.7 to 1.3 drawn for each stretch, and noise of standard deviation 0.5 on every number. One frame
says nearly nothing; walking and running differ in how fast they repeat alone.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.files import write_atomically

__all__ = ["make", "write"]

_RATE = 50
_NOISE = 0.5
_PACES = {"rest": (1.0, 1.0), "walk": (1.5, 2.1), "run": (2.3, 3.0), "stairs": (1.3, 1.9)}


def make(series: int = 60, frames: int = 1000, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Series one after the other: `x` (N, 3), `y` (N,) texts, `lengths` (n,).

    >>> made = make(2, 100)
    >>> made["x"].shape, made["y"][0].item() in ("rest", "walk", "run", "stairs"), made["lengths"].tolist()
    ((200, 3), True, [100, 100])
    """
    draw = np.random.default_rng(seed)
    names = sorted(_PACES)
    x, y = np.empty((series, frames, 3)), np.empty((series, frames), "U6")
    for one in range(series):
        at, before = 0, -1
        while at < frames:
            kind = int(draw.choice([index for index in range(len(names)) if index != before]))
            length, strength = int(draw.integers(_RATE, 4 * _RATE + 1)), draw.uniform(0.7, 1.3)
            phase = draw.uniform(0, 2 * np.pi) + 2 * np.pi * draw.uniform(*_PACES[names[kind]]) / _RATE * np.arange(
                length
            )
            end = min(frames, at + length)
            x[one, at:end] = strength * _moves(names[kind], phase)[: end - at]
            y[one, at:end] = names[kind]
            at, before = end, kind
    x += _NOISE * draw.standard_normal(x.shape)
    return {"x": x.reshape(-1, 3), "y": y.reshape(-1), "lengths": np.full(series, frames)}


def write(path: str | Path, series: int = 60, frames: int = 1000, seed: int = 0) -> None:
    """Write them as NPZ.

    Raises:
        StorageError: the file cannot be written.
    """
    held = io.BytesIO()
    made = make(series, frames, seed)
    np.savez_compressed(held, x=made["x"], y=made["y"], lengths=made["lengths"])
    write_atomically(Path(path), held.getvalue())


def _moves(kind: str, phase: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(T, 3) without strength and noise."""
    if kind == "rest":
        return np.zeros((len(phase), 3))
    if kind == "stairs":
        return np.stack([np.sin(phase), 0.5 * np.abs(np.cos(phase)), np.zeros(len(phase))], 1)
    return np.stack([np.sin(phase), 0.5 * np.cos(phase), 0.25 * np.sin(2 * phase)], 1)
