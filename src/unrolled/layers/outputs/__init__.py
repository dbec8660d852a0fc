"""Output layers: from what the recurrent layers say to a distribution over V symbols.

Each is one file with its idea; `OutputLayer` is all that a model knows of them.
"""

from __future__ import annotations

from unrolled.layers.outputs.adaptive import AdaptiveSoftmax
from unrolled.layers.outputs.adaptive_input import AdaptiveInput
from unrolled.layers.outputs.contract import OutputLayer, ranks_of
from unrolled.layers.outputs.cutoffs import choose_cutoffs
from unrolled.layers.outputs.full import FullSoftmax
from unrolled.layers.outputs.mixture import MixtureOfSoftmaxes
from unrolled.layers.outputs.sampled import SampledSoftmax

__all__ = [
    "AdaptiveInput",
    "AdaptiveSoftmax",
    "FullSoftmax",
    "MixtureOfSoftmaxes",
    "OutputLayer",
    "SampledSoftmax",
    "choose_cutoffs",
    "ranks_of",
]
