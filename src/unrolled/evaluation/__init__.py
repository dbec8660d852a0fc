"""Evaluation: protocols, and scoring a text symbol by symbol."""

from __future__ import annotations

from unrolled.evaluation.cache import Cache
from unrolled.evaluation.dynamic import RULES, Dynamic, root_mean_squares
from unrolled.evaluation.likelihood import Likelihood
from unrolled.evaluation.methods import STATIC, Methods
from unrolled.evaluation.protocols import PROTOCOLS, Evaluation, check_protocol, evaluate
from unrolled.evaluation.scoring import FIRST_SYMBOL, Surprisal, score, surprisals
from unrolled.evaluation.tuning import Wanted, tune

__all__ = [
    "FIRST_SYMBOL",
    "PROTOCOLS",
    "RULES",
    "STATIC",
    "Cache",
    "Dynamic",
    "Evaluation",
    "Likelihood",
    "Methods",
    "Surprisal",
    "Wanted",
    "check_protocol",
    "evaluate",
    "root_mean_squares",
    "score",
    "surprisals",
    "tune",
]
