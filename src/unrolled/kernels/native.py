"""Matrix products inside compiled code: PyTorch's own, through the C functions that its ahead-of-time compiler calls.

A loop over time makes one product a step. Called from Python each costs some 10 µs before it begins; called from
compiled code by address, 1 or 2, and without Python's lock, so that every core runs a loop of its own. The weights are
packed once for oneDNN, whose products are the fastest that PyTorch has on a CPU.

These functions are part of no public interface: `available` tries them once and compares the result.
"""

from __future__ import annotations

import ctypes
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["Packed", "array_at", "available", "linear", "multiply", "release"]

_NAMES = (
    "aoti_torch_create_tensor_from_blob_v2",
    "aoti_torch_delete_tensor_object",
    "aoti_torch_get_data_ptr",
    "aoti_torch_cpu__linear_pointwise",
)
# With fewer rows than this, packing the weights costs more than it gains.
_ROWS_TO_PACK_FOR = 2048
# c10::ScalarType, as the shim numbers it.
_DTYPES = {torch.float32: 6, torch.bfloat16: 15}


class Packed:
    """A matrix (n, k) packed for products with (rows, k): what `multiply` takes.

    Attributes:
        arguments: int64, the addresses and numbers that compiled code needs: the four functions, the handle of the
            packed matrix, the dtype's number, n, k.
    """

    def __init__(self, weight: torch.Tensor, rows: int) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)
        addresses = _addresses()
        assert addresses is not None
        handle = _pointer(torch._C._aoti.unsafe_alloc_void_ptr_from_tensor(self._packed))
        weakref.finalize(self, ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(addresses[1]), handle)
        self.arguments: npt.NDArray[np.int64] = np.array(
            [*addresses, handle, _DTYPES[weight.dtype], *weight.shape], dtype=np.int64
        )


def _pointer(capsule: Any) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(get(capsule, None))


@cache
def _addresses() -> tuple[int, ...] | None:
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        path = Path(torch.__file__).parent / "lib" / name
        if path.exists():
            library = ctypes.CDLL(str(path))
            try:
                return tuple(int(ctypes.cast(getattr(library, f), ctypes.c_void_p).value or 0) for f in _NAMES)
            except AttributeError:
                return None
    return None


@intrinsic
def _multiply(typing: Any, arguments: Any, x: Any, rows: Any, slots: Any) -> Any:
    """See `multiply`; 0 where a call failed."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        out = context.make_array(signature.args[3])(context, builder, given[3]).data
        i64, i32, byte = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()

        def argument(index: int) -> Any:
            return builder.load(builder.gep(array.data, [ir.Constant(i64, index)]))

        def function(index: int, kinds: list[Any]) -> Any:
            return builder.inttoptr(argument(index), ir.FunctionType(i32, kinds).as_pointer())

        def local(kind: Any, count: int = 1) -> Any:
            return cgutils.alloca_once(builder, kind, count)

        def slot(where: Any, index: int) -> Any:
            return builder.gep(where, [ir.Constant(i32, index)])

        null = ir.Constant(byte, None)
        sizes, strides, handle, result = local(i64, 2), local(i64, 2), local(byte), local(byte)
        builder.store(given[2], slot(sizes, 0))
        builder.store(argument(7), slot(sizes, 1))
        builder.store(argument(7), slot(strides, 0))
        builder.store(ir.Constant(i64, 1), slot(strides, 1))
        p64 = i64.as_pointer()
        create = function(0, [byte, i64, p64, p64, i64, i32, i32, i32, byte.as_pointer(), i32, byte, i64])
        zero32, zero64 = ir.Constant(i32, 0), ir.Constant(i64, 0)
        dtype = builder.trunc(argument(5), i32)
        data = builder.inttoptr(given[1], byte)
        two = ir.Constant(i64, 2)
        builder.call(create, [data, two, sizes, strides, zero64, dtype, zero32, zero32, handle, zero32, null, zero64])
        name = context.insert_const_string(builder.module, "none")
        algorithm = local(byte)
        builder.store(context.insert_const_string(builder.module, ""), algorithm)
        linear = function(3, [byte, byte, byte, byte, byte, i64, byte, byte.as_pointer()])
        weight = builder.inttoptr(argument(4), byte)
        failed = builder.call(
            linear,
            [builder.load(handle), weight, null, name, null, zero64, builder.bitcast(algorithm, byte), result],
        )
        delete = function(1, [byte])
        builder.call(delete, [builder.load(handle)])
        pointer = local(byte)
        builder.store(null, pointer)
        get = function(2, [byte, byte.as_pointer()])
        with builder.if_then(builder.icmp_signed("==", failed, zero32)):
            builder.call(get, [builder.load(result), pointer])
            builder.store(builder.ptrtoint(builder.load(result), i64), out)
        return builder.ptrtoint(builder.load(pointer), i64)

    return types.int64(arguments, types.int64, types.int64, slots), generate


@njit(cache=True, nogil=True)
def multiply(arguments: Any, x: Any, rows: Any, held: Any) -> Any:
    """x (rows, k) times the packed matrix's transpose.

    Args:
        arguments: of a `Packed`.
        x: the address of the rows, contiguous, in the dtype of the matrix.
        rows: how many.
        held: int64 (1,); a handle is put there which `release` takes when the result is no longer needed.

    Returns:
        the address of the result (rows, n), in the same dtype; 0 if the product failed.
    """
    return _multiply(arguments, x, rows, held)


@intrinsic
def _release(typing: Any, arguments: Any, held: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        out = context.make_array(signature.args[1])(context, builder, given[1]).data
        i64, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        address = builder.load(builder.gep(array.data, [ir.Constant(i64, 1)]))
        function = builder.inttoptr(address, ir.FunctionType(ir.IntType(32), [byte]).as_pointer())
        builder.call(function, [builder.inttoptr(builder.load(out), byte)])
        return context.get_dummy_value()

    return types.void(arguments, held), generate


@njit(cache=True, nogil=True)
def release(arguments: Any, held: Any) -> None:
    """Free the result that `multiply` made."""
    _release(arguments, held)


@intrinsic
def _as_pointer(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.inttoptr(given[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@njit(cache=True, nogil=True)
def array_at(address: Any, rows: Any, columns: Any, like: Any) -> Any:
    """The array (rows, columns) at an address, of the dtype of another."""
    return carray(_as_pointer(address), (rows, columns), like.dtype)


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x (rows, k) times weight (n, k) transposed, without a graph: by the faster of PyTorch's products.

    For many rows in float32 that is oneDNN's, packing included: measured on an AMD EPYC with 8,192 x 512 x 2,048 at 223
    GFLOP/s, where `torch.mm` makes 189. In bfloat16 both are oneDNN's.
    """
    if x.dtype != torch.float32 or len(x) < _ROWS_TO_PACK_FOR or not available(torch.float32):
        return torch.nn.functional.linear(x, weight)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), len(x))
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), packed, None, "none", [], "")  # type: ignore[no-any-return]


@cache
def available(dtype: torch.dtype) -> bool:
    """Whether products of this dtype can be had so, found by making one."""
    if _addresses() is None or dtype not in _DTYPES or not hasattr(torch._C, "_aoti"):
        return False
    try:
        generator = torch.Generator().manual_seed(0)
        x, weight = (torch.randn(shape, generator=generator).to(dtype) for shape in ((8, 16), (24, 16)))
        packed, held = Packed(weight, 8), np.zeros(1, np.int64)
        found = np.empty((8, 24), np.uint16 if dtype == torch.bfloat16 else np.float32)
        if not _try(packed.arguments, x.data_ptr(), 8, held, found):
            return False
    except (RuntimeError, AttributeError, TypeError, ValueError):
        return False
    result = torch.from_numpy(found).view(dtype).double()
    expected = x.double() @ weight.double().t()
    return bool((result - expected).norm() <= 1e-2 * expected.norm())


@njit(cache=True, nogil=True)
def _try(arguments: Any, x: Any, rows: Any, held: Any, out: Any) -> Any:
    address = multiply(arguments, x, rows, held)
    if address != 0:
        out[:] = array_at(address, rows, out.shape[1], out)
        release(arguments, held)
    return address != 0
