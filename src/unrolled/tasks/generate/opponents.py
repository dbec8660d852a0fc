"""The classical opponents of a generator: n-grams of each category, and of all together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data.store import Tokens
from unrolled.data.vocabulary import IntArray
from unrolled.tasks.generate.examples import GroupedExamples, Symbols, summarise
from unrolled.tasks.ngram import NGram
from unrolled.tasks.ngram_counts import Counts

__all__ = ["fit_ngrams", "ngram_report"]

_Floats = npt.NDArray[np.float64]
_LONGEST = 8
_ORDER = 3  # without anything to choose on
_SHARES = tuple(share / 20 for share in range(21))


def fit_ngrams(
    train: GroupedExamples, valid: GroupedExamples, symbols: Symbols, rows: IntArray, chosen_on: IntArray
) -> NGram:
    """Modified Kneser-Ney n-grams of some training examples, of the order that is best on some of the others.

    Every example is a sequence of its own, from the boundary to the boundary.
    """
    counts, best, lowest = Counts(_tokens(train, symbols, rows), symbols.end + 1, documents=True), None, math.inf
    for order in range(1, _LONGEST + 1):
        if order > 1:
            counts.grow()
        model = NGram.of(counts, order)
        if not len(chosen_on):
            if order == _ORDER:
                return model
            continue
        loss = float(-np.log(_likelihoods(model, valid, symbols, chosen_on)).sum())
        if loss < lowest:
            best, lowest = model, loss
    assert best is not None
    return best


def ngram_report(
    parts: dict[str, GroupedExamples], part: str, symbols: Symbols, told: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """N-grams of all examples, of each category, and the two mixed, on a part: each by the names of `summarise`.

    Every order, and the share of each category's own n-grams in the mixture, is chosen on the validation part. Where a
    category has few examples, its own n-grams know little, and the mixture is what is fair to compare with.
    """
    train, valid, examples = parts["train"], parts["valid"], parts[part]
    told = told or (lambda what: None)
    told("fitting n-grams of all categories together")
    together = fit_ngrams(train, valid, symbols, np.arange(len(train.lengths)), np.arange(len(valid.lengths)))
    found = {name: np.zeros(len(examples.lengths)) for name in ("together", "apart", "mixed")}
    for number, name in enumerate(symbols.categories):
        told(f"fitting n-grams of {name}")
        rows, held, asked = (np.flatnonzero(each.categories == number) for each in (train, valid, examples))
        own = fit_ngrams(train, valid, symbols, rows, held) if len(rows) else together
        share = 0.5
        if len(held):
            ours, all_of = (_likelihoods(model, valid, symbols, held) for model in (own, together))
            share = min(_SHARES, key=lambda weight: -float(np.log(weight * ours + (1 - weight) * all_of).sum()))
        if not len(asked):
            continue
        ours, all_of = (_likelihoods(model, examples, symbols, asked) for model in (own, together))
        lengths = examples.lengths[asked]
        for how, p in (("together", all_of), ("apart", ours), ("mixed", share * ours + (1 - share) * all_of)):
            found[how][asked] = _by_example(-np.log(p), lengths)
    reports = {how: summarise(nats, examples, symbols) for how, nats in found.items()}
    return {
        "opponent": "n-grams of each category mixed with those of all, orders and shares chosen on valid",
        **reports["mixed"],
        "unconditional_ngram": reports["together"],
        "ngram_of_each_category": reports["apart"],
    }


def _tokens(examples: GroupedExamples, symbols: Symbols, rows: IntArray) -> Tokens:
    """Some examples, each with the boundary before it, where it begins."""
    edge = np.array([symbols.end], np.int32)
    pieces = [piece for row in rows.tolist() for piece in (edge, examples.sequences[row])]
    lengths = examples.lengths[rows] + 1
    starts = np.cumsum([0, *lengths.tolist()])[:-1].astype(np.int64)
    return Tokens(np.concatenate([np.empty(0, np.int32), *pieces]), starts)


def _likelihoods(model: NGram, examples: GroupedExamples, symbols: Symbols, rows: IntArray) -> _Floats:
    """The probability of every symbol of some examples, one after the other."""
    tokens = _tokens(examples, symbols, rows)
    p = model.text_likelihoods(tokens, documents=True)
    kept: _Floats = np.delete(p, tokens.document_starts)
    return kept


def _by_example(nats: _Floats, lengths: IntArray) -> _Floats:
    ends = np.cumsum(lengths)
    total = np.concatenate([[0.0], np.cumsum(nats)])
    found: _Floats = total[ends] - total[ends - lengths]
    return found
