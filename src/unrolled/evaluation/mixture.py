"""Mixtures of models: p(w) = sum of weight_i p_i(w), the weights found on held-out text.

Linear interpolation with weights by expectation maximisation: Jelinek and Mercer 1980 (Interpolated estimation of
Markov source parameters from sparse data).

Axes: N symbols of a text, K models, n targets that count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from unrolled.data.configuration import Documents
from unrolled.data.store import Tokens
from unrolled.data.streams import Batch, sequential
from unrolled.data.vocabulary import Floats, Vocabulary
from unrolled.errors import DataError, DivergenceError
from unrolled.evaluation.methods import STATIC, Methods, batches_for, read_evidence
from unrolled.evaluation.protocols import Evaluation, evaluate
from unrolled.tasks.language_model import LanguageModel, streams_for

__all__ = ["evaluate_nats", "find_weights", "mix", "symbol_nats"]

_CHUNK = 256
_ENOUGH = 1e-9  # nats a symbol that a round of EM gains, from which on it is over
_ROUNDS = 1000


def symbol_nats(
    model: LanguageModel,
    tokens: Tokens,
    *,
    documents: Documents = "carry",
    streams: int | None = None,
    methods: Methods = STATIC,
    roots: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """-ln p of every symbol of a text (N,), given those before it; NaN for one that is not predicted.

    Args:
        model: the model.
        tokens: the text.
        documents: what happens to the state between documents.
        streams: parallel streams, each of which begins empty; as many as a long text is read in fast if not given.
        methods: what is done besides reading; see `Methods`.
        roots: see `dynamic.Adapted`.
        progress: called with the symbols read so far and their number.

    Raises:
        DataError: the text has no symbol to predict.
        DivergenceError: the model gives something that is not a number.
    """
    if len(tokens) < 2:
        raise DataError("there is nothing to predict", expected="at least 2 symbols", got=f"{len(tokens)}")
    found = np.full(len(tokens), np.nan)
    # The same batches of the places of the symbols, in place of the symbols themselves, say which is which.
    if methods == STATIC:
        count = streams or streams_for(len(tokens))
        batches: Iterable[Batch] = sequential(tokens, count, _CHUNK, documents)
        places: Iterable[Batch] = sequential(_places(tokens), count, _CHUNK, documents)
        nats = _static(model, batches)
    else:
        _, batches = batches_for(tokens, methods, model.vocabulary_size, documents)
        _, places = batches_for(_places(tokens), methods, model.vocabulary_size, documents)
        share = methods.cache.share if methods.cache else 0.0
        flatnesses = [methods.cache.flatness] if methods.cache else []
        evidence = read_evidence(model, batches, methods, [methods.temperature], flatnesses, roots)
        nats = (each.nats(share=share) for each in evidence)
    done = 0
    for batch, values in zip(places, nats, strict=True):
        at = batch.y if batch.weights is None else batch.y[batch.weights > 0]
        found[at.flatten().numpy()] = values.double().cpu().numpy()
        done += batch.targets
        if progress is not None:
            progress(done, len(tokens) - 1)
    known = ~np.isnan(found)
    if not np.isfinite(found[known]).all() or int(known.sum()) != done:
        raise DivergenceError("the model gives probabilities that are not finite numbers", fix="use another checkpoint")
    return found


def find_weights(nats: Floats) -> Floats:
    """The weights (K,) under which symbols are likeliest, from -ln p by each model (K, n), by expectation maximisation.

    Each round gives a model the mean share that it had in the probability of the symbols; no round is worse than the
    one before, and there is one best mixture. They add up to 1.

    >>> find_weights(-np.log([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9]])).round(4).tolist()
    [0.7083, 0.2917]
    """
    p = np.exp(nats.min(0) - nats)  # in proportion to each symbol's likeliest model: no underflow
    weights = np.full(len(p), 1 / len(p))
    before = -np.inf
    for _ in range(_ROUNDS):
        shares = weights[:, None] * p
        total = shares.sum(0)
        after = float(np.log(total).mean())
        weights = (shares / total).mean(1)
        if after - before < _ENOUGH:
            break
        before = after
    return np.asarray(weights / weights.sum(), np.float64)


def mix(nats: Floats, weights: Floats) -> Floats:
    """-ln of the mixture's probability of each symbol (N,), from -ln p by each model (K, N)."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a weight of 0; a symbol that is not predicted
        return np.asarray(-np.logaddexp.reduce(np.log(weights)[:, None] - nats, axis=0), np.float64)


def evaluate_nats(
    nats: Floats, vocabulary: Vocabulary, tokens: Tokens, *, documents: Documents = "carry", streams: int = 1
) -> Evaluation:
    """What `evaluate` says of a model that gives the symbols of a text these nats (N,).

    `streams` is in how many streams they were read.
    """
    found = evaluate(_Replayed(nats), vocabulary, tokens, documents=documents, streams=1)
    return Evaluation(
        found.tokens,
        found.characters,
        found.nats,
        "carried",
        streams,
        words=found.words,
        hidden=found.hidden,
        hidden_nats=found.hidden_nats,
    )


class _Replayed(LanguageModel):
    """A model that has read its text before: its state is the place in it."""

    def __init__(self, nats: Floats) -> None:
        torch.nn.Module.__init__(self)
        self._nats = torch.from_numpy(nats)

    def losses(self, batch: Batch, state: Any) -> tuple[torch.Tensor, Any]:
        begin = (state or 0) + 1
        nats = self._nats[begin : begin + batch.y.shape[1]][None]
        return nats if batch.weights is None else torch.where(batch.weights > 0, nats, 0.0), begin - 1 + nats.shape[1]


def _places(tokens: Tokens) -> Tokens:
    """A text of which every symbol is its own place."""
    return Tokens(np.arange(len(tokens)), tokens.document_starts)


@torch.no_grad()
def _static(model: LanguageModel, batches: Iterable[Batch]) -> Iterator[torch.Tensor]:
    """Nats of the targets of each batch that count, (n,)."""
    before = model.training
    model.eval()
    state: Any = None
    try:
        for batch in batches:
            nats, state = model.losses(batch, None if batch.fresh else state)
            yield nats.flatten() if batch.weights is None else nats[batch.weights.to(nats.device) > 0]
    finally:
        model.train(before)
