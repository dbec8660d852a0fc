"""Numbers of evaluation methods, found on the validation part and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from unrolled.data.configuration import Documents
from unrolled.data.store import Tokens
from unrolled.evaluation.cache import Cache
from unrolled.evaluation.dynamic import Dynamic, Rule
from unrolled.evaluation.methods import Evidence, Methods, batches_for, read_evidence, read_with
from unrolled.tasks.language_model import LanguageModel

__all__ = ["Wanted", "tune"]

# Where the search for a number of dynamic evaluation begins, by its rule, and the first factor it goes on by.
_RATES: dict[Rule, float] = {"sgd": 0.1, "rms": 3e-5}
_DECAYS: dict[Rule, float] = {"sgd": 3e-3, "rms": 3e-4}
_FACTOR = 3.0
_SHARES = (0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4)


@dataclass(frozen=True)
class Wanted:
    """Which methods are wanted; numbers that are None are found.

    Attributes:
        dynamic: the rule, if any.
        segment: symbols of a segment.
        rate: see `Dynamic`.
        decay: see `Dynamic`.
        window: of a cache; None for none.
        flatness: see `Cache`.
        share: see `Cache`.
        temperature: None to find it.
    """

    dynamic: Rule | None = None
    segment: int = 20
    rate: float | None = None
    decay: float | None = None
    window: int | None = None
    flatness: float | None = None
    share: float | None = None
    temperature: float | None = 1.0

    @property
    def given(self) -> Methods | None:
        """The methods where all numbers are given."""
        numbers = [self.rate, self.decay] if self.dynamic else []
        numbers += [self.flatness, self.share] if self.window else []
        return None if None in (*numbers, self.temperature) else self.first()

    def first(self) -> Methods:
        """The methods with numbers to begin with."""
        dynamic = cache = None
        if self.dynamic is not None:
            rate = _RATES.get(self.dynamic, 0.1) if self.rate is None else self.rate
            decay = _DECAYS.get(self.dynamic, 0.0) if self.decay is None else self.decay
            dynamic = Dynamic(self.dynamic, rate, decay, self.segment)
        if self.window is not None:
            flatness, share = 0.3 if self.flatness is None else self.flatness, self.share or 0.0
            cache = Cache(self.window, flatness, share)
        return Methods(dynamic, cache, 1.0 if self.temperature is None else self.temperature)


def tune(
    model: LanguageModel,
    tokens: Tokens,
    wanted: Wanted,
    *,
    documents: Documents = "carry",
    roots: Sequence[torch.Tensor] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Methods:
    """The numbers that suit a text best.

    Rate and decay of dynamic evaluation are found first, one after the other, by going on by a factor of 3 as long as
    the loss falls, then by its root; then temperature, flatness and share together on a grid, and
    on a finer one around the best. All other numbers stay as they are given.

    Args:
        model: it stays as it is.
        tokens: the text, of the validation part.
        wanted: which methods, and what is given of their numbers.
        documents: what happens to the state between documents.
        roots: see `dynamic.Adapted`.
        tell: hears what was found.
    """
    tell = tell or (lambda text: None)
    methods = wanted.first()
    if methods.dynamic is not None:
        methods = replace(
            methods, dynamic=_tune_dynamic(model, tokens, wanted, methods.dynamic, documents, roots, tell)
        )
    if wanted.temperature is not None and (methods.cache is None or None not in (wanted.flatness, wanted.share)):
        return methods
    temperatures = [wanted.temperature] if wanted.temperature else _spread(1.0, 0.05, 8)
    flatnesses = [] if wanted.window is None else [0.03, 0.1, 0.3, 1.0, 3.0]
    flatnesses = flatnesses if wanted.flatness is None or not flatnesses else [wanted.flatness]
    shares = [0.0] if wanted.window is None else _SHARES if wanted.share is None else [wanted.share]
    for steps in (0, 1):
        if steps:
            if wanted.temperature is None:
                temperatures = _spread(methods.temperature, 0.0125, 3)
            if methods.cache is not None and wanted.flatness is None:
                flatnesses = _spread(methods.cache.flatness, math.log(_FACTOR) / 4, 3)
        _, batches = batches_for(tokens, methods, model.vocabulary_size, documents)
        found = _gathered(read_evidence(model, batches, methods, temperatures, flatnesses, roots))
        best = min(
            (float(found.nats(k, c, share).mean()), k, c, share)
            for k in range(len(temperatures))
            for c in range(max(1, len(flatnesses)))
            for share in shares
        )
        cache = None if methods.cache is None else Cache(methods.cache.window, flatnesses[best[2]], best[3])
        methods = Methods(methods.dynamic, cache, temperatures[best[1]])
        tell(f"{'; '.join([methods.name, *methods.details])}: {best[0]:.4f} nats a symbol")
    return methods


def _tune_dynamic(
    model: LanguageModel,
    tokens: Tokens,
    wanted: Wanted,
    first: Dynamic,
    documents: Documents,
    roots: Sequence[torch.Tensor] | None,
    tell: Callable[[str], None],
) -> Dynamic:
    losses: dict[Dynamic, float] = {}

    def loss(dynamic: Dynamic) -> float:
        if dynamic not in losses:
            methods = Methods(dynamic)
            _, batches = batches_for(tokens, methods, model.vocabulary_size, documents)
            nats, targets = read_with(model, batches, methods, roots)
            # What diverges is worse than anything.
            losses[dynamic] = nats / max(targets, 1) if math.isfinite(nats) else math.inf
            tell(f"{'; '.join([methods.name, *methods.details])}: {losses[dynamic]:.4f} nats a symbol")
        return losses[dynamic]

    def climb(best: Dynamic, name: str, factor: float, most: int) -> Dynamic:
        for way in (factor, 1 / factor):
            for _ in range(most):
                value = getattr(best, name) * way
                other = replace(best, **{name: min(value, 1.0) if name == "decay" else value})
                if loss(other) >= loss(best):
                    break
                best = other
        return best

    best = first
    for factor, most in ((_FACTOR, 6), (math.sqrt(_FACTOR), 3)):
        for name, value in (("rate", wanted.rate), ("decay", wanted.decay)):
            if value is None:
                best = climb(best, name, factor, most)
    return best


def _spread(middle: float, step: float, count: int) -> list[float]:
    """Numbers around one, evenly spaced in the logarithm."""
    return [middle * math.exp(step * k) for k in range(-count, count + 1)]


def _gathered(pieces: Iterator[Evidence]) -> Evidence:
    every = list(pieces)
    caches = [piece.cache for piece in every if piece.cache is not None]
    there = [piece.there for piece in every if piece.there is not None]
    return Evidence(
        torch.cat([piece.model for piece in every], 1),
        torch.cat(caches, 1) if caches else None,
        torch.cat(there) if there else None,
    )
