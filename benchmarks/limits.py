"""What the machine itself can do: products a second, bytes read a second. Measured, never looked up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit

from benchmarks.registry import Limit

__all__ = ["PRODUCTS", "product_rate", "products_limit", "read_bandwidth", "reading_limit"]

_SECONDS = 0.3
_READ = 2**25  # bytes that one measurement of reading reads at least

Product = Callable[[torch.Tensor, torch.Tensor], Callable[[], object]]


def _plain(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    out = a @ b
    return lambda: torch.mm(a, b, out=out)


def _packed(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    """oneDNN with its weights reordered once; private to PyTorch."""
    weights = torch.ops.mkldnn._reorder_linear_weight(b.t().contiguous(), a.shape[0])
    return lambda: torch.ops.mkldnn._linear_pointwise(a, weights, None, "none", [], "")


def _integers(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    """int8 to int32; private to PyTorch, and for nothing but int8."""
    out = torch._int_mm(a, b)
    return lambda: torch._int_mm(a, b, out=out)


def _numpy(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    left, right = a.numpy(), b.numpy()  # raises in bfloat16, which NumPy does not have
    out = left @ right
    return lambda: np.matmul(left, right, out=out)


PRODUCTS: dict[str, Product] = {
    "torch.mm": _plain,
    "oneDNN packed": _packed,
    "NumPy": _numpy,
    "torch._int_mm": _integers,
}


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
    a, b = (torch.randn(shape).mul(20).to(dtype) for shape in ((rows, inner), (inner, columns)))
    best, name = 0.0, ""
    for candidate, product in PRODUCTS.items():
        if (dtype == torch.int8) != (product is _integers):
            continue
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


@njit(nogil=True, fastmath=True)
def _total(numbers, repeats):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for _ in range(repeats):
        for i in range(numbers.size):
            total += numbers[i]
    return total


def read_bandwidth(size: int, threads: int = 1) -> float:
    """Bytes a second read over and over from a working set of so many bytes, shared out over threads."""
    parts = [np.ones(max(size // 4 // threads, 64), np.float32) for _ in range(threads)]
    repeats = max(1, _READ // max(size, 1))

    def read() -> None:
        others = [pool.submit(_total, part, repeats) for part in parts[1:]]
        _total(parts[0], repeats)
        for other in others:
            other.result()

    with ThreadPoolExecutor(threads) as pool:
        return repeats * sum(part.nbytes for part in parts) / _best_seconds(read)


def reading_limit(size: int, amount: float = 1.0, threads: int = 1) -> Limit:
    """Units a second if `amount` units needed one reading of a working set of `size` bytes and nothing else."""
    rate = read_bandwidth(size, threads)
    return Limit(amount * rate / size, f"reading {size / 1e6:.1f} MB at {rate / 1e9:.0f} GB/s")
