"""From the options of a model to its output layer."""

from __future__ import annotations

import numpy.typing as npt

from unrolled.layers.outputs import (
    AdaptiveSoftmax,
    FullSoftmax,
    MixtureOfSoftmaxes,
    OutputLayer,
    SampledSoftmax,
    choose_cutoffs,
)
from unrolled.tasks.configuration import LanguageModelConfig

__all__ = ["build_output"]


def build_output(
    config: LanguageModelConfig, hidden: int, size: int, counts: npt.ArrayLike | None = None
) -> OutputLayer:
    """The output layer that the options say.

    Args:
        config: the options.
        hidden: H.
        size: V.
        counts: (V,) how often each symbol is seen; by default symbols are taken to be sorted, and, where cut-offs are
            to be chosen, as frequent as Zipf's law says.

    Raises:
        ConfigurationError: cut-offs beyond the vocabulary.
    """
    if config.output == "adaptive":
        cutoffs = config.ends
        if config.cutoffs is None:
            zipf = [size // (rank + 1) for rank in range(size)]
            cutoffs = choose_cutoffs(zipf if counts is None else counts, hidden, config.divisor)
        return AdaptiveSoftmax(hidden, size, cutoffs, config.divisor, counts)
    if config.output == "sampled":
        return SampledSoftmax(hidden, size, config.samples, counts)
    if config.output == "mixture":
        return MixtureOfSoftmaxes(hidden, size, config.experts)
    return FullSoftmax(hidden, size)
