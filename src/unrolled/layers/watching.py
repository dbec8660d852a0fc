"""Watching: every map, gate and state of a running model, as named arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch

from unrolled.errors import ConfigurationError, nearest

__all__ = ["Watch", "current", "watch"]

_watching: ContextVar[Watch | None] = ContextVar("unrolled_watch", default=None)


class Watch:
    """What was seen: time steps of all calls inside the `watch` block, one after the other.

    Names are the layer's path and the name in the cell's equations: "layers.0.f" is a gate, "layers.1.c" a state after
    the step, "layers.0.U.f" the result of the linear map with that matrix.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[torch.Tensor]] = {}
        self._layers: dict[str, object] = {}

    def add(self, layer: object, path: str, values: dict[str, torch.Tensor]) -> None:
        """Add what a layer computed: each value (B, T, H).

        Raises:
            ConfigurationError: another layer of the same path is watched too, so that names would mean two things.
        """
        if self._layers.setdefault(path, layer) is not layer:
            raise ConfigurationError(
                f"two layers of the path {path!r} are watched at once", fix="give each a path, or watch them apart"
            )
        for name, value in values.items():
            self._seen.setdefault(f"{path}.{name}", []).append(value)

    def names(self) -> list[str]:
        """The names seen so far."""
        return list(self._seen)

    def __getitem__(self, name: str) -> torch.Tensor:
        """The values of one name, (B, T, H), T counted over all calls.

        Raises:
            ConfigurationError: nothing of this name was seen.
        """
        if name not in self._seen:
            raise ConfigurationError(
                f"nothing named {name!r} was seen", fix=nearest(name, self._seen) if self._seen else "run a model first"
            )
        return torch.cat(self._seen[name], 1)

    def values(self) -> dict[str, torch.Tensor]:
        """All values by name, each (B, T, H)."""
        return {name: self[name] for name in self._seen}


@contextlib.contextmanager
def watch() -> Iterator[Watch]:
    """Watch every recurrent layer that runs inside the block: in training, scoring and generation alike.

    Values are part of the graph of autograd: a loss can be made of them.
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
