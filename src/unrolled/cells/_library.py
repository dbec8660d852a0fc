"""Finding a cell: by its name, or in a user's own file."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from unrolled.cells._graph import Equations
from unrolled.errors import CellError, nearest

__all__ = ["BUILTIN", "find_cell"]

# Name of the cell -> its module here and its name there; imported when asked for.
BUILTIN: dict[str, tuple[str, str]] = {
    "rnn": ("rnn", "rnn"),
    "rnn-relu": ("rnn", "rnn_relu"),
    "rnn-sigmoid": ("rnn", "rnn_sigmoid"),
    "lstm": ("lstm", "lstm"),
    "lstm-1997": ("lstm_1997", "lstm_1997"),
    "lstm-peephole": ("lstm_peephole", "lstm_peephole"),
    "lstm-coupled": ("lstm_coupled", "lstm_coupled"),
    "gru": ("gru", "gru"),
    "gru-reset-before": ("gru", "gru_reset_before"),
    "mingru": ("mingru", "mingru"),
    "mingru-positive": ("mingru", "mingru_positive"),
    "minlstm": ("minlstm", "minlstm"),
    "minlstm-positive": ("minlstm", "minlstm_positive"),
    "lru": ("lru", "lru"),
    "sru": ("sru", "sru"),
    "qrnn": ("qrnn", "qrnn"),
    "qrnn-ifo": ("qrnn", "qrnn_ifo"),
    "indrnn": ("indrnn", "indrnn"),
}


def find_cell(name: str) -> Equations:
    """The equations of a cell.

    Args:
        name: the name of a built-in cell ("lstm"), or `FILE.py:NAME` for one in a file of the user's own, which is
            run as Python; `:NAME` can be left out where the file holds one cell.

    Raises:
        CellError: there is no such cell or file, or the file or its equations are wrong.
    """
    if name in BUILTIN:
        module, attribute = BUILTIN[name]
        found: Equations = getattr(importlib.import_module(f"unrolled.cells.{module}"), attribute)
        return found
    file, _, attribute = name.rpartition(":") if ":" in name and not name.endswith(".py") else (name, "", "")
    if not file.endswith(".py"):
        raise CellError(f"unknown cell {name!r}", expected="a cell's name, or FILE.py:NAME", fix=nearest(name, BUILTIN))
    cells = {key: value for key, value in vars(_run(Path(file))).items() if isinstance(value, Equations)}
    if not cells:
        raise CellError("the file holds no cell", where=file, fix="write `@cell` above the function of the equations")
    if not attribute and len(cells) == 1:
        return next(iter(cells.values()))
    if attribute not in cells:
        by_name = {cell.name: cell for cell in cells.values()}
        if attribute in by_name:
            return by_name[attribute]
        problem = f"the file holds no cell named {attribute!r}" if attribute else "the file holds several cells"
        raise CellError(problem, where=file, fix=nearest(attribute, cells))
    return cells[attribute]


class _Uncached(importlib.machinery.SourceFileLoader):
    """Python's loader without its cache, which takes an edit of the same size in the same second for no edit."""

    def path_stats(self, path: Any) -> NoReturn:
        raise OSError("not cached")


def _run(path: Path) -> ModuleType:
    """The module in a user's file."""
    if not path.is_file():
        raise CellError("there is no such cell file", where=str(path), got="a path that is not a file")
    name = f"_unrolled_cell_{abs(hash(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Uncached(name, os.fspath(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Its neighbours can be imported, as if Python had been started on the file.
    sys.path.insert(0, os.fspath(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except CellError:
        raise
    except SyntaxError as error:
        where = f"{error.filename or path}:{error.lineno}"
        raise CellError(
            f"the cell file is not Python: {error.msg}", where=where, got=(error.text or "").strip()
        ) from error
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}:{lines[-1]}" if lines else str(path)
        raise CellError(f"the cell file raised {type(error).__name__}: {error}", where=where) from error
    finally:
        sys.path.remove(os.fspath(path.resolve().parent))
        sys.modules.pop(name, None)
    return module
