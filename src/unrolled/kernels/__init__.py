"""How a cell runs over time. `unroll` is the way in; which kernel serves is decided in `dispatch`."""

from __future__ import annotations

from unrolled.kernels.dispatch import KERNELS, Kernel, candidates, choose, unroll
from unrolled.kernels.losses import linear_cross_entropy

__all__ = ["KERNELS", "Kernel", "candidates", "choose", "linear_cross_entropy", "unroll"]
