"""Evaluation: protocols, and scoring a text symbol by symbol."""

from __future__ import annotations

from unrolled.evaluation.likelihood import Likelihood
from unrolled.evaluation.protocols import PROTOCOLS, Evaluation, evaluate
from unrolled.evaluation.scoring import FIRST_SYMBOL, Surprisal, score, surprisals

__all__ = [
    "FIRST_SYMBOL",
    "PROTOCOLS",
    "Evaluation",
    "Likelihood",
    "Surprisal",
    "evaluate",
    "score",
    "surprisals",
]
