"""Whether two computations agree: the norm of the difference over the norm of the reference, a tensor at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.registry import Results

__all__ = ["TOLERANCES", "difference", "worst"]

# What a precision may cost, as the design has it; int8 is judged by the loss alone.
TOLERANCES = {"float64": 1e-10, "float32": 1e-5, "bfloat16": 2e-2, "int8": 5e-3}


def _array(value: Any) -> npt.NDArray[np.float64]:
    if isinstance(value, torch.Tensor):
        value = value.detach().double().cpu().numpy()
    return np.asarray(value, np.float64)


def difference(given: Any, reference: Any) -> float:
    """‖given − reference‖ / ‖reference‖; infinite where shapes differ or something is not finite."""
    a, b = _array(given), _array(reference)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    norm = float(np.linalg.norm(b))
    distance = float(np.linalg.norm(a - b))
    return distance / norm if norm else (0.0 if distance == 0 else float("inf"))


def worst(given: Results, reference: Results, allowed: Callable[[str], float]) -> tuple[str, float]:
    """The tensor that is furthest from the reference for what is allowed of it, and how far.

    One that is missing is infinitely far.
    """
    found = {
        name: difference(given[name], value) if name in given else float("inf") for name, value in reference.items()
    }
    return max(found.items(), key=lambda pair: pair[1] / allowed(pair[0]))
