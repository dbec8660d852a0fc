"""How a cell runs over time. `unroll` is the way in; which kernel serves is decided in `dispatch`."""

from __future__ import annotations

from unrolled.kernels.dispatch import KERNELS, choose, unroll

__all__ = ["KERNELS", "choose", "unroll"]
