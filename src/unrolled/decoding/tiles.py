"""Products of packed weights with the states of a few streams, as vector instructions: what generated engines call.

Weights are packed in panels of `PANEL` rows. In a panel all rows' weights of one column lie side by side, so that a
product reads them once from front to back, whatever the number of streams: columns come as (K, PANEL) numbers, or, in
int8, as (K / 4, PANEL, 4), for the instruction that multiplies four bytes at once.

LLVM is told which vectors to use and not asked to find them, so that a block of sums stays in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["BLOCK", "PANEL", "double_of", "single_of", "tile_block", "tile_block_int8", "tile_one", "tile_one_int8"]

PANEL = 32
_LANES = 16
_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
_FLOAT = ir.FloatType()
_FLOATS, _INTS = ir.VectorType(_FLOAT, _LANES), ir.VectorType(_I32, _LANES)
_FEATURES = llvmlite.binding.get_host_cpu_features()
# Streams of one block: as many as leave their sums in registers, 32 of 64 bytes or 16 of 32.
BLOCK = 8 if _FEATURES.get("avx512f") else 2
_BYTE_PRODUCTS = bool(_FEATURES.get("avx512vnni") and _FEATURES.get("avx512vl"))


class _Sums:
    """Writes the code of one tile: sums over K of `streams` times PANEL products."""

    def __init__(self, builder: Any, streams: int, chains: int) -> None:
        self.builder, self.streams, self.chains = builder, streams, chains
        self.parts = PANEL // _LANES

    def vector(self, pointer: Any, index: Any, kind: Any, align: int) -> Any:
        """Numbers from `pointer[index]` on as a vector."""
        at = self.builder.gep(pointer, [index])
        return self.builder.load(self.builder.bitcast(at, kind.as_pointer()), align=align)

    def spread(self, scalar: Any, kind: Any) -> Any:
        """A number in all lanes."""
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count)
        return self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

    def over(self, depth: Any, starts: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """Sums of `body(k, sums)` for all k below `depth`: several independent chains, since additions take a while.

        Args:
            depth: how many.
            starts: what the sums begin with.
        """
        builder, zero = self.builder, ir.Constant(starts[0].type, None)
        chains = [starts, *[[zero] * len(starts) for _ in range(self.chains - 1)]]
        whole = builder.and_(depth, _I64(-self.chains))
        flat = self._loop(_I64(0), whole, self.chains, [s for chain in chains for s in chain], body)
        add = builder.add if isinstance(starts[0].type.element, ir.IntType) else builder.fadd
        sums = flat[: len(starts)]
        for chain in range(1, self.chains):
            sums = [add(a, b) for a, b in zip(sums, flat[chain * len(starts) :], strict=False)]
        return sums if self.chains == 1 else self._loop(whole, depth, 1, sums, body)

    def _loop(self, begin: Any, end: Any, step: int, starts: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
        builder = self.builder
        before = builder.block
        inside, after = builder.append_basic_block("tile"), builder.append_basic_block("tiled")
        builder.cbranch(builder.icmp_signed("<", begin, end), inside, after)
        builder.position_at_end(inside)
        k = builder.phi(_I64)
        held = [builder.phi(start.type) for start in starts]
        size, sums = len(starts) // step, []
        for chain in range(step):
            sums += body(builder.add(k, _I64(chain)), held[chain * size : (chain + 1) * size])
        following = builder.add(k, _I64(step))
        for phi, first, last in zip([k, *held], [begin, *starts], [following, *sums], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, inside)
        builder.cbranch(builder.icmp_signed("<", following, end), inside, after)
        builder.position_at_end(after)
        results = []
        for first, last in zip(starts, sums, strict=True):
            result = builder.phi(first.type)
            result.add_incoming(first, before)
            result.add_incoming(last, inside)
            results.append(result)
        return results

    def fetch_ahead(self, weights: Any, index: Any) -> None:
        """Let the weights at an index come nearer while others are used."""
        byte = ir.PointerType(_I8)
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        prefetch = self.builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        pointer = self.builder.bitcast(self.builder.gep(weights, [index]), byte)
        self.builder.call(prefetch, [pointer, _I32(0), _I32(2), _I32(1)])

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c."""
        flags = ("contract",)
        return self.builder.fadd(self.builder.fmul(a, b, flags=flags), c, flags=flags)


@cache
def _tile(streams: int) -> Any:
    """y[s, :PANEL] = sum over k of w[k, :PANEL] * x[s, k], for `streams` streams s; weights float32 or bfloat16.

    A block also asks for the weights at `ahead` and every `pace` further ones, one a k: the next panel, which comes
    from a slower memory than this one (measured on an LSTM of 2x512, 32 streams a core: 1.2 times as fast).
    """
    chains = 4 if streams == 1 else 1

    def tile(
        typing: Any,
        w: Any,
        at: Any,
        depth: Any,
        x: Any,
        xat: Any,
        xs: Any,
        y: Any,
        yat: Any,
        ys: Any,
        ahead: Any,
        pace: Any,
    ) -> Any:
        integer = types.intp

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, at, depth, _, xat, xs, _, yat, ys, ahead, pace = arguments
            pw, px, py = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 3, 6))
            code = _Sums(builder, streams, chains)
            half = signature.args[0].dtype == types.uint16
            bases = [builder.add(xat, builder.mul(xs, _I64(s))) for s in range(streams)]

            def body(k: Any, sums: list[Any]) -> list[Any]:
                place, rows = builder.add(at, builder.mul(k, _I64(PANEL))), []
                if streams > 1:
                    code.fetch_ahead(pw, builder.add(ahead, builder.mul(k, pace)))
                for part in range(code.parts):
                    index = builder.add(place, _I64(part * _LANES))
                    if half:
                        bits = builder.zext(code.vector(pw, index, ir.VectorType(_I16, _LANES), 2), _INTS)
                        bits = builder.shl(bits, ir.Constant(_INTS, [16] * _LANES))
                        rows.append(builder.bitcast(bits, _FLOATS))
                    else:
                        rows.append(code.vector(pw, index, _FLOATS, 4))
                found = []
                for s in range(streams):
                    value = code.spread(builder.load(builder.gep(px, [builder.add(bases[s], k)])), _FLOATS)
                    found += [code.multiply_add(row, value, sums[s * code.parts + p]) for p, row in enumerate(rows)]
                return found

            sums = code.over(depth, [ir.Constant(_FLOATS, None)] * (streams * code.parts), body)
            for s in range(streams):
                for part in range(code.parts):
                    index = builder.add(builder.add(yat, builder.mul(ys, _I64(s))), _I64(part * _LANES))
                    pointer = builder.bitcast(builder.gep(py, [index]), _FLOATS.as_pointer())
                    builder.store(sums[s * code.parts + part], pointer, align=4)
            return context.get_dummy_value()

        integers = (integer, integer)
        return types.void(w, *integers, x, *integers, y, *integers, *integers), generate

    return intrinsic(tile)


def _byte_products(code: _Sums, total: Any, activations: Any, weights: Any) -> Any:
    """total + the sums of four products of bytes, unsigned with signed, in each lane of 32 bits."""
    builder = code.builder
    if _BYTE_PRODUCTS:
        kind = ir.FunctionType(_INTS, [_INTS, _INTS, _INTS])
        name = "llvm.x86.avx512.vpdpbusd.512"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [total, activations, weights])
    for byte in range(4):
        up, down = ir.Constant(_INTS, [24 - 8 * byte] * _LANES), ir.Constant(_INTS, [24] * _LANES)
        signed = builder.ashr(builder.shl(weights, up), down)
        unsigned = builder.lshr(builder.shl(activations, up), down)
        total = builder.add(total, builder.mul(signed, unsigned))
    return total


@cache
def _tile_int8(streams: int) -> Any:
    """y[s, :PANEL] = scale[:PANEL] * level[s] * (offset[:PANEL] + sum over k of w[k, :PANEL] . x[s, k]), of four bytes
    a k, for `streams` streams s."""
    chains = 4 if streams == 1 else 1

    def tile(
        typing: Any,
        w: Any,
        at: Any,
        depth: Any,
        x: Any,
        xat: Any,
        xs: Any,
        y: Any,
        yat: Any,
        ys: Any,
        ahead: Any,
        pace: Any,
        scale: Any,
        offset: Any,
        row: Any,
        level: Any,
        first: Any,
    ) -> Any:
        integer = types.intp

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, at, depth, _, xat, xs, _, yat, ys, ahead, pace, _, _, row, _, first = arguments
            pw, px, py, pscale, poffset, plevel = (
                context.make_array(signature.args[i])(context, builder, arguments[i]).data
                for i in (0, 3, 6, 11, 12, 14)
            )
            code = _Sums(builder, streams, chains)
            bases = [builder.add(xat, builder.mul(xs, _I64(s))) for s in range(streams)]

            def body(k: Any, sums: list[Any]) -> list[Any]:
                place = builder.add(at, builder.mul(k, _I64(4 * PANEL)))
                if streams > 1:
                    code.fetch_ahead(pw, builder.add(ahead, builder.mul(k, pace)))
                rows = [
                    code.vector(pw, builder.add(place, _I64(4 * part * _LANES)), _INTS, 1) for part in range(code.parts)
                ]
                found = []
                for s in range(streams):
                    index = builder.add(bases[s], builder.mul(k, _I64(4)))
                    four = builder.load(builder.bitcast(builder.gep(px, [index]), _I32.as_pointer()), align=1)
                    value = code.spread(four, _INTS)
                    found += [_byte_products(code, sums[s * code.parts + p], value, w) for p, w in enumerate(rows)]
                return found

            rows = [builder.add(row, _I64(part * _LANES)) for part in range(code.parts)]
            sums = code.over(depth, [code.vector(poffset, r, _INTS, 4) for r in rows] * streams, body)
            scales = [code.vector(pscale, r, _FLOATS, 4) for r in rows]
            for s in range(streams):
                one = code.spread(builder.load(builder.gep(plevel, [builder.add(first, _I64(s))])), _FLOATS)
                for part in range(code.parts):
                    value = builder.sitofp(sums[s * code.parts + part], _FLOATS)
                    value = builder.fmul(value, builder.fmul(scales[part], one))
                    index = builder.add(builder.add(yat, builder.mul(ys, _I64(s))), _I64(part * _LANES))
                    pointer = builder.bitcast(builder.gep(py, [index]), _FLOATS.as_pointer())
                    builder.store(value, pointer, align=4)
            return context.get_dummy_value()

        integers = (integer, integer)
        more = (scale, offset, integer, level, integer)
        return types.void(w, *integers, x, *integers, y, *integers, *integers, *more), generate

    return intrinsic(tile)


tile_one, tile_block = _tile(1), _tile(BLOCK)
tile_one_int8, tile_block_int8 = _tile_int8(1), _tile_int8(BLOCK)


def _reinterpreted(into: Any, of: Any, kind: Any) -> Any:
    def reinterpret(typing: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], kind)

        return into(of), generate

    return intrinsic(reinterpret)


# The float64 with the bits of an int64, the float32 with those of an int32.
double_of = _reinterpreted(types.float64, types.int64, ir.DoubleType())
single_of = _reinterpreted(types.float32, types.int32, _FLOAT)
