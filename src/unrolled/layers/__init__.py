"""Layers: recurrent stacks, what goes in and what comes out, and watching them."""

from __future__ import annotations

from unrolled.layers.around import ComplexLayer, ResidualBlock, WindowLayer
from unrolled.layers.dropping import Dropout, drop_weights, drop_words
from unrolled.layers.initial import initialise
from unrolled.layers.interop import from_torch, to_torch
from unrolled.layers.ngrams import NGrams
from unrolled.layers.pooling import POOLINGS, AttentionPooling, Pooling
from unrolled.layers.recurrent import LayerStepping, Recurrent, RecurrentLayer, StackState, StackStepping, detach
from unrolled.layers.watching import Watch, watch

__all__ = [
    "POOLINGS",
    "AttentionPooling",
    "ComplexLayer",
    "Dropout",
    "LayerStepping",
    "NGrams",
    "Pooling",
    "Recurrent",
    "RecurrentLayer",
    "ResidualBlock",
    "StackState",
    "StackStepping",
    "Watch",
    "WindowLayer",
    "detach",
    "drop_weights",
    "drop_words",
    "from_torch",
    "initialise",
    "to_torch",
    "watch",
]
