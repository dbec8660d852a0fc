"""Small matrix products inside compiled code, where a call of a library would cost more than the product.

One tile is a few rows of the result by a few vectors of it, held in registers while the sum is formed; LLVM makes of
vectors of 64 bytes what the processor has. All matrices are parts of flat arrays whose rows are whole vectors long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from unrolled.kernels.arithmetic import FLAGS

__all__ = ["PADDED", "product"]

PADDED = 16  # the length of a row is a multiple of this: a vector of float32, two of float64
_BYTES = 64

_compiled: Callable[[Callable[..., Any]], Any] = njit(fastmath=FLAGS, error_model="numpy")
_intrinsic: Callable[[Callable[..., Any]], Any] = intrinsic


def _stripe(rows: int, widest: int) -> Any:
    """A function for so many rows of a result, and up to `widest` vectors of each."""

    @_intrinsic
    def stripe(
        typing: Any, c: Any, c0: Any, ldc: Any, a: Any, a0: Any, am: Any, ak: Any, b: Any, b0: Any, ldb: Any,
        depth: Any, width: Any, add: Any,
    ) -> Any:  # fmt: skip
        index = types.int64
        signature = types.void(c, index, index, a, index, index, index, b, index, index, index, index, types.boolean)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            # One copy of the tiles: LLVM would write them out at each of a dozen products.
            builder.function.attributes.add("noinline")
            numbers = dict(zip(("c0", "ldc", "a0", "am", "ak", "b0", "ldb", "depth", "width", "add"), [
                arguments[k] for k in (1, 2, 4, 5, 6, 8, 9, 10, 11, 12)], strict=True))  # fmt: skip
            data = [context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 3, 7)]
            _stripe_of(context, builder, signature.args[0].dtype, data, numbers, rows, widest)
            return context.get_dummy_value()

        return signature, generate

    return stripe


def _stripe_of(
    context: Any, builder: Any, dtype: Any, data: list[Any], numbers: dict[str, Any], rows: int, widest: int
) -> None:
    """The code of a stripe: one loop for each width."""
    end = builder.append_basic_block("end")
    switch = builder.switch(numbers["width"], end)
    for width in range(1, widest + 1):
        block = builder.append_basic_block(f"width{width}")
        switch.add_case(width, block)
        builder.position_at_end(block)
        _tile(context, builder, dtype, data, numbers, rows, width)
        builder.branch(end)
    builder.position_at_end(end)


def _tile(
    context: Any, builder: Any, dtype: Any, data: list[Any], numbers: dict[str, Any], rows: int, width: int
) -> None:
    """rows x width vectors of C: the sum over k of A[m, k] B[k], added to C where that is asked for."""
    c, a, b = data
    element = context.get_value_type(dtype)
    size = context.get_abi_sizeof(element)
    lanes = _BYTES // size
    vector, whole = ir.VectorType(element, lanes), ir.IntType(64)
    zero = ir.Constant(vector, [0.0] * lanes)

    def constant(value: int) -> Any:
        return ir.Constant(whole, value)

    def place(base: Any, offset: Any, column: int = 0) -> Any:
        pointer = builder.gep(base, [builder.add(offset, constant(column * lanes))])
        return builder.bitcast(pointer, vector.as_pointer())

    def load(pointer: Any) -> Any:
        value = builder.load(pointer, typ=vector)
        value.align = size
        return value

    sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(width)] for _ in range(rows)]
    with cgutils.for_range(builder, numbers["depth"]) as loop:
        at = builder.add(numbers["b0"], builder.mul(loop.index, numbers["ldb"]))
        parts = [load(place(b, at, column)) for column in range(width)]
        begin = builder.add(numbers["a0"], builder.mul(loop.index, numbers["ak"]))
        for row in range(rows):
            offset = builder.add(begin, builder.mul(numbers["am"], constant(row)))
            single = builder.load(builder.gep(a, [offset]), typ=element)
            lane = builder.insert_element(ir.Constant(vector, ir.Undefined), single, ir.Constant(ir.IntType(32), 0))
            every = builder.shuffle_vector(
                lane, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            )
            for column in range(width):
                held = builder.load(sums[row][column], typ=vector)
                grown = builder.fmul(every, parts[column], flags=("contract",))
                builder.store(builder.fadd(held, grown, flags=("contract",)), sums[row][column])
    for row in range(rows):
        at = builder.add(numbers["c0"], builder.mul(numbers["ldc"], constant(row)))
        for column in range(width):
            pointer = place(c, at, column)
            # What is not added to may be anything, NaN too: it is left out, not multiplied by zero.
            before = builder.select(numbers["add"], load(pointer), zero)
            builder.store(builder.fadd(before, builder.load(sums[row][column], typ=vector)), pointer).align = size


_one, _two, _four = _stripe(1, 8), _stripe(2, 4), _stripe(4, 4)


@_compiled
def product(
    c: Any, c0: int, ldc: int, a: Any, a0: int, am: int, ak: int, b: Any, b0: int, ldb: int, m: int, n: int, k: int,
    add: bool,
) -> None:  # fmt: skip
    """C = A B, or C += A B: C (m, n), A (m, k), B (k, n).

    Args:
        c: flat; row i of C begins at `c0 + i * ldc`.
        a: flat; A[i, j] is at `a0 + i * am + j * ak`.
        b: flat; row j of B begins at `b0 + j * ldb`.
        n: a multiple of `PADDED`, and so are rows of B and C in memory.
        add: whether to add to what C holds, which is otherwise not looked at.
    """
    lanes = _BYTES // c.itemsize
    row = 0
    while row < m:
        rows = 4 if m - row >= 4 else 2 if m - row >= 2 else 1
        column, end = 0, n // lanes
        while column < end:
            width = min(end - column, 8 if rows == 1 else 4)
            to, begin, of = c0 + row * ldc + column * lanes, a0 + row * am, b0 + column * lanes
            if rows == 4:
                _four(c, to, ldc, a, begin, am, ak, b, of, ldb, k, width, add)
            elif rows == 2:
                _two(c, to, ldc, a, begin, am, ak, b, of, ldb, k, width, add)
            else:
                _one(c, to, ldc, a, begin, am, ak, b, of, ldb, k, width, add)
            column += width
        row += rows
