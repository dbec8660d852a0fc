"""The network of a classifier, where its sizes are not given: from the data and the budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from unrolled.cells import Equations
from unrolled.data.letter_inputs import LetterInput
from unrolled.data.vocabulary import IntArray
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.classify.examples import Schema

__all__ = ["choose_network"]

_FEW = 1000  # symbols: characters, bytes and letters have fewer, words and subwords more
_SHORT = 50  # symbols of an example on average, of which all n-grams up to 4 are cheap
_STRETCH, _STRETCHES = 6, 1 << 12  # the longest stretch of letters, and how many different ones there may be
_LONG = 150  # time steps of an example on average
_RATE, _LIGHT_RATE, _UNITS = 4e-3, 1e-2, 160  # rates for layers up to this size


def choose_network(
    equations: Equations, config: ClassifierConfig, lengths: IntArray, schema: Schema, work: float
) -> tuple[ClassifierConfig, int, float]:
    """Fill in what is None: sizes and dropout; and the batch and the learning rate.

    They are what was found best on the validation parts of names (characters) and of sentences (words).

    Args:
        equations: the cell.
        config: the network.
        lengths: (n,) time steps of the examples to train on.
        schema: what the data is.
        work: floating-point operations of the budget; infinite where it is in steps or epochs.
    """
    symbols, mean = schema.input.symbols, float(lengths.mean())
    few = symbols is not None and symbols <= _FEW
    light = few and mean <= _SHORT
    hidden = config.hidden_size or (96 if light else 128)
    usual: dict[str, Any] = {
        "hidden_size": hidden,
        "embedding_size": 0 if symbols is None else 64,
        # Vectors of rare words stay near where they start, and should say little.
        "embedding_std": 1.0 if few else 0.1,
        # Where n-grams know most by themselves, the network must not learn by heart what is left for them to learn.
        "dropout": 0.2 if symbols is None else 0.7 if light else 0.5,
        "input_dropout": 0.0 if symbols is None else 0.2 if few else None,
        "word_dropout": 0.1 if symbols is not None and not few else 0.0,
        "ngrams": _longest_ngram(schema, light, config.ngram_places),
    }
    chosen = {name: value for name, value in usual.items() if getattr(config, name) is None}
    batch = min(32 if mean > _LONG else 64, max(8, len(lengths) // 50))
    gated = sum(kind == "hidden matrix" for kind in equations.parameters.values()) != 1
    rate = (_LIGHT_RATE if light else _RATE) * min(1.0, _UNITS / hidden) * (1.0 if gated else 0.3)
    return replace(config, **chosen), batch, float(f"{rate:.2g}")


def _longest_ngram(schema: Schema, light: bool, placed: bool) -> int:
    if placed:
        return 3
    if isinstance(schema.input, LetterInput):
        letters = len(schema.input.alphabet.letters)
        return max(n for n in range(1, _STRETCH + 1) if n == 1 or letters**n <= _STRETCHES)
    return 4 if light else 0
