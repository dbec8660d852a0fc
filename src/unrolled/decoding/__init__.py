"""Decoding: anything that steps through time, over `initial_state` and `step`."""

from __future__ import annotations

from unrolled.decoding.sampling import Sampler, Steps, generate, probabilities

__all__ = ["Sampler", "Steps", "generate", "probabilities"]
