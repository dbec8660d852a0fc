"""Cells: one short file each, and what follows from its equations.

A cell file imports all it needs from here: `from unrolled.cells import U, W, b, cell, sigmoid, tanh`.
"""

from __future__ import annotations

from unrolled.cells._graph import Equations
from unrolled.cells._library import BUILTIN, find_cell
from unrolled.cells.equations import (
    Parameters,
    U,
    V,
    W,
    a,
    absolute,
    b,
    cell,
    cos,
    d,
    exp,
    log,
    maximum,
    minimum,
    p,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
)
from unrolled.cells.mogrifier import mogrified
from unrolled.cells.printing import as_latex, as_text

__all__ = [
    "BUILTIN",
    "Equations",
    "Parameters",
    "U",
    "V",
    "W",
    "a",
    "absolute",
    "as_latex",
    "as_text",
    "b",
    "cell",
    "cos",
    "d",
    "exp",
    "find_cell",
    "log",
    "maximum",
    "minimum",
    "mogrified",
    "p",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "tanh",
]
