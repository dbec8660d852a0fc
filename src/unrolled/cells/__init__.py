"""Cells: one short file each, and what follows from its equations."""

from __future__ import annotations

from unrolled.cells._graph import Equations
from unrolled.cells._library import BUILTIN, find_cell
from unrolled.cells.equations import cell
from unrolled.cells.printing import as_latex, as_text

__all__ = ["BUILTIN", "Equations", "as_latex", "as_text", "cell", "find_cell"]
