"""What the machine itself can do: products a second, bytes read a second. Measured, never looked up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
import torch

from benchmarks.registry import Limit

__all__ = ["PRODUCTS", "product_rate", "products_limit", "read_bandwidth", "reading_limit"]

_SECONDS = 0.3

Product = Callable[[torch.Tensor, torch.Tensor], Callable[[], object]]


def _plain(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    out = a @ b
    return lambda: torch.mm(a, b, out=out)


def _packed(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    """oneDNN with its weights reordered once; private to PyTorch."""
    weights = torch.ops.mkldnn._reorder_linear_weight(b.t().contiguous(), a.shape[0])
    return lambda: torch.ops.mkldnn._linear_pointwise(a, weights, None, "none", [], "")


def _numpy(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    left, right = a.numpy(), b.numpy()  # raises in bfloat16, which NumPy does not have
    out = left @ right
    return lambda: np.matmul(left, right, out=out)


PRODUCTS: dict[str, Product] = {"torch.mm": _plain, "oneDNN packed": _packed, "NumPy": _numpy}


def _best_seconds(function: Callable[[], object]) -> float:
    function()
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        begin = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - begin)
    return best


def product_rate(rows: int, inner: int, columns: int, dtype: torch.dtype) -> tuple[float, str]:
    """Floating-point operations a second of (rows × inner) · (inner × columns) by the best product there is."""
    a, b = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    best, name = 0.0, ""
    for candidate, product in PRODUCTS.items():
        try:
            with torch.no_grad():
                rate = 2 * rows * inner * columns / _best_seconds(product(a, b))
        except (RuntimeError, TypeError, AttributeError):
            continue  # a product that this machine or this PyTorch does not have
        if rate > best:
            best, name = rate, candidate
    return best, name


def products_limit(flop: float, shapes: Iterable[tuple[int, int, int]], dtype: torch.dtype) -> Limit:
    """Units a second if a unit were its `flop` floating-point operations of products and nothing else.

    The rate is the highest that any product reaches at any of the shapes that the work has.
    """
    found = [(*product_rate(*shape, dtype), shape) for shape in shapes]
    rate, name, shape = max(found)
    size = " × ".join(map(str, shape))
    return Limit(rate / flop, f"{name} at {size} in {str(dtype).removeprefix('torch.')}: {rate / 1e9:.0f} GFLOP/s")


def read_bandwidth(size: int) -> float:
    """Bytes a second read from a working set of so many bytes, by the better of a dot product and a sum."""
    array = np.ones(max(size // 4, 1024), np.float32)
    tensor = torch.from_numpy(array)
    candidates: list[Callable[[], object]] = [lambda: np.dot(array, array), tensor.sum]
    return array.nbytes / min(_best_seconds(candidate) for candidate in candidates)


def reading_limit(size: int, amount: float = 1.0) -> Limit:
    """Units a second if `amount` units needed one reading of a working set of `size` bytes and nothing else."""
    rate = read_bandwidth(size)
    return Limit(amount * rate / size, f"reading {size / 1e6:.1f} MB at {rate / 1e9:.0f} GB/s")
