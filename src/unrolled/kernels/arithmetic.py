"""What generated CPU code calls: elementary functions that LLVM vectorises, bfloat16, calls of C functions by address.

LLVM makes one instruction work on 16 numbers only where a loop has no call in it: the functions here are plain
arithmetic (a polynomial and bit shifts) in float32, and the C library's in float64, which is for checking.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

__all__ = ["FLAGS", "exp", "from_bfloat16", "log", "sigmoid", "softplus", "tanh", "to_bfloat16"]

# Contraction to fused multiply-add, division by reciprocal and reordering of sums are allowed; that nothing is NaN or
# infinite may not be assumed: a diverged net has to say so.
FLAGS = {"contract", "arcp", "nsz", "reassoc", "afn"}

# A loop over units reads and writes a dozen arrays: LLVM gives up checking whether they overlap after 8 pairs.
llvmlite.binding.set_option("unrolled", "--runtime-memory-check-threshold=100000")
llvmlite.binding.set_option("unrolled", "--vectorize-memory-check-threshold=100000")


@intrinsic
def _bits_of(typing: Any, value: Any) -> Any:
    """The bits of a float32 as an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def _float_of(typing: Any, value: Any) -> Any:
    """The float32 with these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


# Inside elementary functions sums keep their order: they are written so that rounding errors cancel.
_exact: Any = njit(fastmath={"contract", "arcp", "nsz"}, error_model="numpy")

_f = np.float32
_LOG2E, _LN2_HIGH, _LN2_LOW = _f(1.44269504088896341), _f(0.693359375), _f(-2.12194440e-4)
_E5, _E4, _E3 = _f(1.9875691500e-4), _f(1.3981999507e-3), _f(8.3334519073e-3)
_E2, _E1, _E0 = _f(4.1665795894e-2), _f(1.6666665459e-1), _f(5.0000001201e-1)
_L8, _L7, _L6 = _f(7.0376836292e-2), _f(-1.1514610310e-1), _f(1.1676998740e-1)
_L5, _L4, _L3 = _f(-1.2420140846e-1), _f(1.4249322787e-1), _f(-1.6668057665e-1)
_L2, _L1, _L0 = _f(2.0000714765e-1), _f(-2.4999993993e-1), _f(3.3333331174e-1)
_N6, _N5, _N4, _N3 = (
    _f(-2.76076847742355e-16),
    _f(2.00018790482477e-13),
    _f(-8.60467152213735e-11),
    _f(5.12229709037114e-8),
)
_N2, _N1, _N0 = _f(1.48572235717979e-5), _f(6.37261928875436e-4), _f(4.89352455891786e-3)
_D3, _D2, _D1, _D0 = _f(1.19825839466702e-6), _f(1.18534705686654e-4), _f(2.26843463243900e-3), _f(4.89352518554385e-3)
_ZERO, _HALF, _ONE, _TWO = _f(0.0), _f(0.5), _f(1.0), _f(2.0)
_LOWEST, _HIGHEST, _INFINITY, _NAN = _f(-87.3), _f(88.7), _f(np.inf), _f(np.nan)
_ROOT_HALF, _TANH_END = _f(0.70710678118654752), _f(7.90531110763549805)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)


@_exact
def _exp32(x: Any) -> Any:
    """e^x within 2 units in the last place, x held between -87.3 and 88.7: the polynomial of Cephes' expf (Moshier)."""
    x = _LOWEST if x < _LOWEST else x
    x = _HIGHEST if x > _HIGHEST else x
    n = np.floor(x * _LOG2E + _HALF)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = ((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0
    return (p * (r * r) + r + _ONE) * _float_of((np.int32(n) + _BIAS) << _MANTISSA)


@_exact
def _log32(x: Any) -> Any:
    """ln x for a normal x: the polynomial of Cephes' logf (Moshier)."""
    bits = _bits_of(x)
    e = _f(((bits >> _MANTISSA) & np.int32(255)) - np.int32(126))
    m = _float_of((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000))
    small = m < _ROOT_HALF
    e = e - _ONE if small else e
    m = m + m - _ONE if small else m - _ONE
    z = m * m
    p = (((((((_L8 * m + _L7) * m + _L6) * m + _L5) * m + _L4) * m + _L3) * m + _L2) * m + _L1) * m + _L0
    y = p * m * z + e * _LN2_LOW - _HALF * z
    return m + y + e * _LN2_HIGH


@_exact
def _tanh32(x: Any) -> Any:
    """tanh x within 3 units in the last place: a quotient of polynomials (of degree 13 and 6, as in Eigen)."""
    held = -_TANH_END if x < -_TANH_END else x
    held = _TANH_END if held > _TANH_END else held
    z = held * held
    above = (((((_N6 * z + _N5) * z + _N4) * z + _N3) * z + _N2) * z + _N1) * z + _N0
    below = ((_D3 * z + _D2) * z + _D1) * z + _D0
    return held * above / below


@_exact
def _softplus32(x: Any) -> Any:
    u = _exp32(-abs(x))
    w = _ONE + u
    # ln(1 + u), with what was lost in forming 1 + u put back.
    return (x if x > _ZERO else _ZERO) + (_log32(w) - ((w - _ONE) - u) / w)


def exp(x: float) -> float:
    """e^x."""
    return math.exp(x)


def log(x: float) -> float:
    """ln x."""
    return math.log(x)


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + math.exp(-x))


def tanh(x: float) -> float:
    """The hyperbolic tangent."""
    return math.tanh(x)


def softplus(x: float) -> float:
    """ln(1 + e^x)."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _either(function: Callable[..., Any], single: Callable[..., Any], double: Callable[..., Any]) -> None:
    """Let compiled code call `function` in float32 as `single`, in float64 as `double`."""

    @overload(function, jit_options={"fastmath": {"contract", "arcp", "nsz"}, "error_model": "numpy"})
    def choose(x: Any) -> Any:
        return single if x == types.float32 else double


def _exp_single(x: Any) -> Any:
    return _INFINITY if x > _HIGHEST else _exp32(x)


def _log_single(x: Any) -> Any:
    y = _log32(x)
    y = -_INFINITY if x == _ZERO else y
    y = _INFINITY if x == _INFINITY else y
    return y if x >= _ZERO else _NAN


def _sigmoid_single(x: Any) -> Any:
    return _ONE / (_ONE + _exp32(-x))


def _tanh_single(x: Any) -> Any:
    return _tanh32(x)


def _softplus_single(x: Any) -> Any:
    return _softplus32(x)


def _exp_double(x: Any) -> Any:
    return np.exp(x)


def _log_double(x: Any) -> Any:
    return np.log(x)


def _sigmoid_double(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def _tanh_double(x: Any) -> Any:
    return np.tanh(x)


def _softplus_double(x: Any) -> Any:
    return max(x, 0.0) + np.log1p(np.exp(-abs(x)))


_either(exp, _exp_single, _exp_double)
_either(log, _log_single, _log_double)
_either(sigmoid, _sigmoid_single, _sigmoid_double)
_either(tanh, _tanh_single, _tanh_double)
_either(softplus, _softplus_single, _softplus_double)


@_exact
def from_bfloat16(bits: Any) -> Any:
    """The float32 of a bfloat16, which comes as the uint16 that holds it."""
    return _float_of(np.int32(bits) << np.int32(16))


@_exact
def to_bfloat16(x: Any) -> Any:
    """The nearest bfloat16 of a float32, as a uint16; halfway to even."""
    bits = _bits_of(x)
    return np.uint16((bits + np.int32(0x7FFF) + ((bits >> np.int32(16)) & np.int32(1))) >> np.int32(16))
