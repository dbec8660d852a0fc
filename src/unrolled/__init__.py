"""Train, run and look inside recurrent neural networks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.cells import cell
    from unrolled.verbs.describing import describe
    from unrolled.verbs.fitting import fit_lm
    from unrolled.verbs.supervised import open_task, train_task
    from unrolled.verbs.training import resume, train_lm
    from unrolled.verbs.using import open_run

__all__ = ["__version__", "cell", "describe", "fit_lm", "open_run", "open_task", "resume", "train_lm", "train_task"]

__version__ = "0.1.0"

# Public name -> module that defines it. It is imported at the name's first use, so that `import unrolled` stays light.
# Each name stands in `__all__` too, and for type checkers in an `if TYPE_CHECKING:` import.
_HOMES: dict[str, str] = {
    "cell": "unrolled.cells",
    "describe": "unrolled.verbs.describing",
    "fit_lm": "unrolled.verbs.fitting",
    "open_run": "unrolled.verbs.using",
    "open_task": "unrolled.verbs.supervised",
    "resume": "unrolled.verbs.training",
    "train_lm": "unrolled.verbs.training",
    "train_task": "unrolled.verbs.supervised",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
