"""Making sequences of a category, symbol by symbol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from unrolled.decoding.sampling import Floats, Sampler, choose, diverged, probabilities, uniforms
from unrolled.errors import ConfigurationError, PromptError
from unrolled.tasks.generate.examples import Symbols
from unrolled.tasks.generate.model import Generator

__all__ = ["Written", "write"]


@dataclass(frozen=True)
class Written:
    """A sequence that was made.

    Attributes:
        category: of it; empty where the model is unconditional.
        text: with the prompt.
        ended: whether it ended by itself, and not at the longest length.
        nats: -ln p of what was made, by the model itself at temperature 1, the end included where it ended.
    """

    category: str
    text: str
    ended: bool
    nats: float


def write(
    model: Generator,
    symbols: Symbols,
    category: str | None = None,
    *,
    prompt: str = "",
    length: int = 500,
    sampler: Sampler | None = None,
) -> Written:
    """Make a sequence.

    The unknown symbol is never made. The same seed gives the same sequence; memory does not grow with its length.

    Args:
        model: the generator.
        symbols: its symbols and categories.
        category: of the sequence; drawn by how frequent each is in the training part if not given.
        prompt: what the sequence begins with.
        length: symbols to make, at most.
        sampler: how symbols are chosen.

    Raises:
        ConfigurationError: there is no such category, the model knows none, or a length below 0.
        PromptError: the prompt has something that the model does not know.
        DivergenceError: the model gives something that is not a number.
    """
    sampler = sampler or Sampler()
    if length < 0:
        raise ConfigurationError("length is a number of symbols", expected="at least 0", got=str(length))
    numbers, vocabulary = uniforms(sampler.seed), symbols.vocabulary
    if category is not None and not model.config.conditional:
        raise ConfigurationError(
            "the model is unconditional: it makes sequences of no category in particular", fix="leave the category out"
        )
    if category is None:
        shares: Floats = np.array(symbols.counts, np.float64) / sum(symbols.counts)
        category = symbols.categories[choose(shares, numbers.random())]
    ids, unknown = vocabulary.encode_known(prompt)
    if unknown:
        raise PromptError(
            "the model does not know all of the prompt",
            got=", ".join(dict.fromkeys(repr(each.text) for each in unknown)),
            fix="use symbols of its training part",
        )
    steps, kind = model.stepping(), torch.tensor([symbols.number(category)], device=model.device)
    state = steps.initial_state(kind)
    made, ended, nats, row = ids.tolist(), False, 0.0, np.empty(0)
    for symbol in [symbols.end, *made]:
        out, state = steps.step(torch.tensor([symbol], device=model.device), kind, state)
        row = out[0].double().cpu().numpy()
    for _ in range(length):
        if not np.isfinite(row).all():
            raise diverged()
        if vocabulary.unknown is not None:
            row[vocabulary.unknown] = -np.inf
        symbol = choose(probabilities(row, sampler), numbers.random())
        nats -= float(row[symbol] - np.logaddexp.reduce(row))
        if symbol == symbols.end:
            ended = True
            break
        made.append(symbol)
        out, state = steps.step(torch.tensor([symbol], device=model.device), kind, state)
        row = out[0].double().cpu().numpy()
    return Written(category if model.config.conditional else "", vocabulary.decode(made), ended, nats)
