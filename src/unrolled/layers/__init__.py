"""Layers: recurrent stacks, what goes in and what comes out, and watching them."""

from __future__ import annotations

from unrolled.layers.initial import initialise
from unrolled.layers.interop import from_torch, to_torch
from unrolled.layers.recurrent import (
    Dropout,
    LayerStepping,
    Recurrent,
    RecurrentLayer,
    StackState,
    StackStepping,
    detach,
)
from unrolled.layers.watching import Watch, watch

__all__ = [
    "Dropout",
    "LayerStepping",
    "Recurrent",
    "RecurrentLayer",
    "StackState",
    "StackStepping",
    "Watch",
    "detach",
    "from_torch",
    "initialise",
    "to_torch",
    "watch",
]
