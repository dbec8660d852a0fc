"""Scoring: how surprised a model is by each symbol of a text.

p(x_1 ... x_T) is the product of p(x_t | x_1 ... x_{t-1}) over all t, the first included. A recurrent network that
starts from an empty state has read nothing when x_1 comes, so p(x_1) is the frequency of x_1 in the training text (with
one added to every count): the same distribution that `generate` draws a first symbol from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from unrolled.data.decoders import Ids
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigurationError, DivergenceError, PromptError
from unrolled.evaluation.likelihood import Likelihood
from unrolled.tasks.language_model import LanguageModel

if TYPE_CHECKING:
    from unrolled.decoding.engine import Engine

__all__ = ["FIRST_SYMBOL", "Surprisal", "score", "surprisals"]

FIRST_SYMBOL = "charged with its frequency in the training text"
_CHUNK = 256


@dataclass(frozen=True)
class Surprisal:
    """One symbol of a text.

    Attributes:
        token: its id.
        nats: -ln p of it, given all before it.
        alternatives: the likeliest symbols in its place, ids with their probabilities, likeliest first.
    """

    token: int
    nats: float
    alternatives: tuple[tuple[int, float], ...]


@torch.no_grad()
def surprisals(
    model: LanguageModel,
    vocabulary: Vocabulary,
    ids: Ids,
    *,
    alternatives: int = 0,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Surprisal]:
    """The surprisal of every symbol of a text (T,), one after the other; the text is read in pieces.

    Args:
        model: the model.
        vocabulary: its symbols.
        ids: the text.
        alternatives: how many of the likeliest symbols to give at each place.
        engine: the model's engine, to read the text with it instead.
        progress: called with the symbols read so far and their number.

    Raises:
        PromptError: the text is empty.
        ConfigurationError: `alternatives` is negative.
        DivergenceError: the model gives something that is not a number.
    """
    if alternatives < 0:
        raise ConfigurationError("alternatives are a number of symbols", expected="at least 0", got=str(alternatives))
    tokens = np.asarray(ids, dtype=np.int64)
    if len(tokens) == 0:
        raise PromptError("there is no text to score", expected="at least one character the model knows")
    model.eval()
    first = torch.from_numpy(np.log(vocabulary.unigram())).unsqueeze(0)
    yield from _given(first, tokens[:1], alternatives)
    state: Any = None
    device = next(model.parameters()).device
    for start in range(0, len(tokens) - 1, _CHUNK):
        following = tokens[start + 1 : start + 1 + _CHUNK]
        x = tokens[None, start : start + len(following)]
        if engine is None:
            logits, state = model(torch.from_numpy(x).to(device), state)
        else:
            logits, state = engine.read(x, state)
        yield from _given(torch.log_softmax(logits[0].double(), -1).cpu(), following, alternatives)
        if progress is not None:
            progress(start + len(following) + 1, len(tokens))


def score(
    model: LanguageModel,
    vocabulary: Vocabulary,
    ids: Ids,
    *,
    hidden: Sequence[str] = (),
    extent: tuple[int, int] | None = None,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Likelihood:
    """How likely a text is, all its symbols counted, the first too: `nats` is -ln p(x_1 ... x_T); see `surprisals`.

    `hidden` are the texts behind the unknown symbols, and `extent` the characters and words of the whole, where these
    are more than the symbols say.
    """
    nats, count = 0.0, 0
    for each in surprisals(model, vocabulary, ids, engine=engine, progress=progress):
        nats, count = nats + each.nats, count + 1
    spelt = float(vocabulary.spell(hidden).sum()) if hidden else 0.0
    characters, words = extent or (vocabulary.characters(ids), vocabulary.words(ids))
    return Likelihood(count, characters, nats, words=words, hidden=len(hidden), hidden_nats=spelt)


def _given(log_p: torch.Tensor, tokens: npt.NDArray[np.int64], alternatives: int) -> Iterator[Surprisal]:
    """Surprisals from log-probabilities (T, V) of every symbol at every place."""
    nats = -log_p.gather(1, torch.from_numpy(tokens).unsqueeze(1)).squeeze(1)
    best = log_p.topk(min(alternatives, log_p.shape[1]), -1)
    rows = zip(tokens.tolist(), nats.tolist(), best.indices.tolist(), best.values.exp().tolist(), strict=True)
    for token, surprise, others, weights in rows:
        if not math.isfinite(surprise):
            raise DivergenceError(
                "the model gives probabilities that are not finite numbers",
                fix="its training diverged: use an earlier checkpoint, or train again with a smaller --learning-rate",
            )
        yield Surprisal(token, surprise, tuple(zip(others, weights, strict=True)))
