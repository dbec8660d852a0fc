"""CUDA graphs: many launches, recorded once and played again as one.

A step that takes several launches is bound by the time it takes to launch them. A graph is recorded for a chunk of time
steps and not for a sequence, so that it serves sequences of any length and its own copies of all arrays stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

__all__ = ["CHUNK", "Arrays", "recordable", "replay"]

Arrays = dict[str, torch.Tensor]
# Time steps in a graph, and graphs that are kept: the most recently used ones.
CHUNK = 64
_KEPT = 16

_graphs: dict[Hashable, _Graph] = {}


def recordable(array: torch.Tensor) -> bool:
    """Whether work on this tensor can be recorded: on a GPU, where nobody is recording already."""
    return array.is_cuda and not torch.cuda.is_current_stream_capturing()


def replay(key: Hashable, function: Callable[[Arrays], Arrays], arrays: Arrays) -> Arrays:
    """`function(arrays)`, recorded the first time.

    Args:
        key: what the function computes, but for the shapes of its arrays.
        function: it launches the same work each time, and allocates all that it returns.
        arrays: by name.
    """
    shapes = tuple((name, array.shape, array.dtype, array.device) for name, array in arrays.items())
    graph = _graphs.pop((key, shapes), None) or _Graph(function, arrays)
    _graphs[key, shapes] = graph
    while len(_graphs) > _KEPT:
        del _graphs[next(iter(_graphs))]
    return graph(arrays)


class _Graph:
    """One recording, with arrays of its own to read from and to write to."""

    def __init__(self, function: Callable[[Arrays], Arrays], arrays: Arrays) -> None:
        self._given = {name: array.clone(memory_format=torch.contiguous_format) for name, array in arrays.items()}
        # Once outside the recording, on another stream as PyTorch asks: kernels are compiled, workspaces allocated.
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        here = torch.cuda.current_stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            function(self._given)
        here.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads (a loader that pins memory) may call CUDA meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._made = function(self._given)

    def __call__(self, arrays: Arrays) -> Arrays:
        for name, array in arrays.items():
            self._given[name].copy_(array)
        self._graph.replay()
        return {name: array.clone() for name, array in self._made.items()}
