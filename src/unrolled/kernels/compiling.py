"""Generated source as compiled functions, kept on disk: compiled once on a machine, loaded in milliseconds afterwards.

Numba caches what lies in a file, not what comes from a string, so that generated source is written as a module into the
user's cache directory, under a name that holds its checksum. A change of the source, of what it calls, of Numba or of
the processor is another module: nothing stale is ever loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

from unrolled.errors import StorageError
from unrolled.files import cache_directory, write_atomically

__all__ = ["compiled", "on_compiling"]

_listeners: list[Callable[[str, float | None], None]] = []
_names: dict[str, str] = {}  # what a generated module is, by its name


def on_compiling(listener: Callable[[str, float | None], None]) -> Callable[[], None]:
    """Be told what is compiled: `listener(what, None)` before, `listener(what, seconds)` after; not of what is found
    compiled on disk.

    Returns:
        a function that ends it.
    """
    _listen()
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


@cache
def _listen() -> None:
    """Hear from Numba, once in a process."""
    from numba.core import event

    class Listener(event.Listener):  # type: ignore[misc]
        """Of a function that another one calls nothing is said: it is part of the time of that one."""

        def __init__(self) -> None:
            self._depth, self._begun = 0, 0.0

        def on_start(self, event: event.Event) -> None:
            self._depth += 1
            if self._depth == 1:
                self._begun = time.perf_counter()
                self._tell(event, None)

        def on_end(self, event: event.Event) -> None:
            self._depth -= 1
            if self._depth == 0:
                self._tell(event, time.perf_counter() - self._begun)

        def _tell(self, event: event.Event, seconds: float | None) -> None:
            function = event.data["dispatcher"].py_func
            if function.__module__ in _names:
                for listener in list(_listeners):
                    listener(f"{_names[function.__module__]} ({function.__name__})", seconds)

    event.register("numba:compile", Listener())


@cache
def compiled(what: str, source: str) -> ModuleType:
    """The module with this source.

    Args:
        what: what it is, for the name of the file and for listeners: "lstm, float32". Its functions are compiled at
            their first call.
        source: Python, complete: it imports what it needs from `numba`, `numpy` and `unrolled.kernels.arithmetic`.
            It is written by this package from whitelisted operations; nothing of it comes from a file of a user.
    """
    digest = hashlib.sha256((_base() + source).encode()).hexdigest()[:24]
    slug = "".join(letter if letter.isalnum() else "_" for letter in what).strip("_")
    name = f"unrolled_generated_{slug}_{digest}"
    path = _directory() / f"{name}.py"
    if not path.exists():
        write_atomically(path, source.encode())
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name], _names[name] = module, what
    specification.loader.exec_module(module)
    return module


@cache
def _base() -> str:
    """Everything besides its source that a compiled module depends on."""
    import llvmlite.binding
    import numba

    from unrolled.kernels import arithmetic, native

    versions = [sys.version, numba.__version__, llvmlite.__version__, llvmlite.binding.get_host_cpu_name()]
    called = [Path(str(module.__file__)).read_text() for module in (arithmetic, native)]
    return "\n".join([*versions, *called])


@cache
def _directory() -> Path:
    """Where generated modules lie: the user's cache, or, where that cannot be written, a directory of this process.

    Compiled code is code: a directory that somebody else may write to is not used.
    """
    path = cache_directory() / "kernels"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = path.stat()
        mine = not hasattr(os, "getuid") or (mode.st_uid == os.getuid() and not mode.st_mode & 0o022)
        if mine and os.access(path, os.W_OK):
            return path
    except (OSError, StorageError):
        pass
    return Path(tempfile.mkdtemp(prefix="unrolled-kernels-"))
