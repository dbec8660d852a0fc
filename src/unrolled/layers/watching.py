"""Watching: every map, gate and state of a running model, as named arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch

__all__ = ["Watch", "current", "watch"]

_watching: ContextVar[Watch | None] = ContextVar("unrolled_watch", default=None)


class Watch:
    """What was seen: time steps of all calls inside the `watch` block, one after the other.

    Names are the layer's path and the name in the cell's equations: "layers.0.f" is a gate, "layers.1.c" a state after
    the step, "layers.0.U.f" the result of the linear map with that matrix. A name met twice in a step (the same cell
    run in two places without paths of their own) is an error of the caller, and is not hidden.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[torch.Tensor]] = {}

    def add(self, path: str, values: dict[str, torch.Tensor]) -> None:
        """Add what a layer computed: each value (B, T, H)."""
        for name, value in values.items():
            self._seen.setdefault(f"{path}.{name}", []).append(value)

    def names(self) -> list[str]:
        """The names seen so far."""
        return list(self._seen)

    def __getitem__(self, name: str) -> torch.Tensor:
        """The values of one name, (B, T, H), T counted over all calls."""
        return torch.cat(self._seen[name], 1)

    def values(self) -> dict[str, torch.Tensor]:
        """All values by name, each (B, T, H)."""
        return {name: self[name] for name in self._seen}


@contextlib.contextmanager
def watch() -> Iterator[Watch]:
    """Watch every recurrent layer that runs inside the block: in training, scoring and generation alike.

    Values keep their place in the graph of autograd, so that their gradients can be asked for.
    """
    seen = Watch()
    token = _watching.set(seen)
    try:
        yield seen
    finally:
        _watching.reset(token)


def current() -> Watch | None:
    """Who is watching, if anybody."""
    return _watching.get()
