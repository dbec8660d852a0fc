"""How a cell runs over time. `unroll` is the way in; which kernel serves is decided in `dispatch`."""

from __future__ import annotations

from unrolled.kernels.dispatch import KERNELS, Kernel, choose, unroll

__all__ = ["KERNELS", "Kernel", "choose", "unroll"]
