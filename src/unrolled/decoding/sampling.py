"""Sampling: from logits to a distribution to a symbol, and from symbol to symbol to a text."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigurationError, DivergenceError

__all__ = ["Floats", "Sampler", "Steps", "Writes", "choose", "diverged", "generate", "probabilities", "uniforms"]

Floats = npt.NDArray[np.float64]
# Symbols made at once: as many as take no longer than somebody who reads along would notice.
_MOST_AT_ONCE = 256
_SECONDS_AT_ONCE = 0.02


class Steps(Protocol):
    """What can be stepped through."""

    def initial_state(self, batch: int) -> Any:
        """The empty state."""

    def step(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """The symbols (B,) and the state before to the logits (B, V) of the next and the state after."""


@runtime_checkable
class Writes(Protocol):
    """What makes many symbols in one call; see `decoding.engine.Engine`."""

    def initial_state(self, batch: int) -> Any:
        """The empty state."""

    def follow(self, ids: npt.ArrayLike, state: Any) -> Any:
        """The state after symbols (B, T)."""

    def extend(
        self, last: npt.NDArray[np.int64], state: Any, numbers: Floats, sampler: Sampler
    ) -> tuple[npt.NDArray[np.int64], Any]:
        """The symbols (T, B) that uniform numbers (T, B) choose after one more symbol (B,), and the state before the
        last of them is read."""


@dataclass(frozen=True)
class Sampler:
    """How the next symbol is chosen.

    Attributes:
        temperature: logits are divided by it: below 1 bolder, above 1 wilder, 0 always the likeliest.
        top_k: keep only so many of the likeliest symbols; 0 keeps all.
        top_p: keep the likeliest symbols until their probabilities reach this together (Holtzman et al. 2020); 1 keeps
            all. It looks at the distribution that temperature and top_k left.
        seed: of the uniform numbers that choose; the text follows from it.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ConfigurationError("temperature is out of range", expected="at least 0", got=str(self.temperature))
        if self.top_k < 0:
            raise ConfigurationError("top_k is a number of symbols", expected="at least 0", got=str(self.top_k))
        if not 0 < self.top_p <= 1:
            raise ConfigurationError("top_p is a probability", expected="above 0, at most 1", got=str(self.top_p))
        if self.seed < 0:
            raise ConfigurationError("seed is out of range", expected="at least 0", got=str(self.seed))


def probabilities(logits: npt.ArrayLike, sampler: Sampler) -> Floats:
    """The distribution (V,) that is sampled from, of logits (V,), in float64.

    >>> probabilities(np.log([0.5, 0.3, 0.2]), Sampler(top_k=2)).round(3).tolist()
    [0.625, 0.375, 0.0]
    """
    z = np.asarray(logits, dtype=np.float64)
    if sampler.temperature == 0:
        greedy = np.zeros_like(z)
        greedy[int(z.argmax())] = 1.0
        return greedy
    z = (z - z.max()) / sampler.temperature
    p: Floats = np.exp(z)
    if 0 < sampler.top_k < len(p):
        p[np.argsort(-p, kind="stable")[sampler.top_k :]] = 0.0
    p /= p.sum()
    if sampler.top_p < 1:
        order = np.argsort(-p, kind="stable")
        # The symbol that takes the sum past top_p is the last that stays.
        before = np.cumsum(p[order]) - p[order]
        p[order[before >= sampler.top_p]] = 0.0
        p /= p.sum()
    return p


def choose(p: Floats, uniform: float) -> int:
    """The symbol at which the cumulative distribution passes a uniform number from [0, 1)."""
    total = np.cumsum(p)
    return int(np.searchsorted(total, uniform * total[-1], side="right"))


def uniforms(seed: int) -> np.random.Generator:
    """The source of the uniform numbers that choose: one for every symbol, whatever makes the text."""
    return np.random.Generator(np.random.PCG64(seed))


def diverged() -> DivergenceError:
    """The error where a model gives something that is not a number."""
    return DivergenceError(
        "the model gives logits that are not finite numbers",
        fix="its training diverged: use an earlier checkpoint, or train again with a smaller --learning-rate",
    )


def generate(
    model: Steps | Writes,
    vocabulary: Vocabulary,
    *,
    length: int,
    prompt: Sequence[int] = (),
    sampler: Sampler | None = None,
    stop: Sequence[str] = (),
) -> Iterator[str]:
    """Text after a prompt, piece by piece as it is made; memory does not grow with its length.

    Without a prompt, the first symbol is drawn from the frequencies of the training text, which is also what `score`
    charges for a first symbol.

    Args:
        model: what is stepped, or makes many symbols at once: more and more of them, and nothing of what it makes after
            a text to stop at is seen.
        vocabulary: its symbols.
        length: how many symbols to make, at most.
        prompt: the ids that the text goes on from; they are not repeated.
        sampler: how symbols are chosen.
        stop: texts at which generation ends. The one that was reached is not part of what is made, so that a piece is
            held back while it may be the beginning of one.

    Raises:
        DivergenceError: the model gives something that is not a number.
    """
    sampler = sampler or Sampler()
    decoder, tail = vocabulary.decoder(prompt), _Tail(stop)
    options = (vocabulary.unigram(), length, prompt, sampler)
    made = _many_at_once(model, *options) if isinstance(model, Writes) else _one_by_one(model, *options)
    for symbols in made:
        # One by one where there is something to find: the first that is whole counts.
        texts = (decoder.feed([symbol]) for symbol in symbols) if stop else [decoder.feed(symbols)]
        pieces: list[str] = []
        for text in texts:
            pieces += tail.feed(text)
            if tail.reached:
                break
        if pieces:
            yield "".join(pieces)
        if tail.reached:
            return
    yield from tail.feed(decoder.finish())
    if not tail.reached:
        yield from tail.rest()


def _one_by_one(
    model: Steps, first: Floats, length: int, prompt: Sequence[int], sampler: Sampler
) -> Iterator[list[int]]:
    numbers, state = uniforms(sampler.seed), model.initial_state(1)
    logits: Floats = np.log(first)
    for symbol in prompt:
        out, state = model.step(torch.tensor([symbol]), state)
        logits = _row(out)
    for made in range(length):
        symbol = choose(probabilities(logits, sampler), numbers.random())
        yield [symbol]
        if made + 1 < length:
            out, state = model.step(torch.tensor([symbol]), state)
            logits = _row(out)


def _many_at_once(
    model: Writes, first: Floats, length: int, prompt: Sequence[int], sampler: Sampler
) -> Iterator[list[int]]:
    numbers, state, made, count = uniforms(sampler.seed), model.initial_state(1), 0, 1
    if len(prompt):
        state = model.follow([prompt[:-1]], state)
        last = np.array(prompt[-1:], np.int64)
    elif length:
        last = np.array([choose(probabilities(np.log(first), sampler), numbers.random())])
        made = 1
        yield last.tolist()
    while made < length:
        count = min(count, length - made)
        begin = time.monotonic()
        symbols, state = model.extend(last, state, numbers.random(count)[:, None], sampler)
        if time.monotonic() - begin < _SECONDS_AT_ONCE:
            count = min(2 * count, _MOST_AT_ONCE)
        made, last = made + len(symbols), symbols[-1]
        yield symbols[:, 0].tolist()


def _row(logits: torch.Tensor) -> Floats:
    row: Floats = logits[0].double().cpu().numpy()
    if not np.isfinite(row).all():
        raise diverged()
    return row


class _Tail:
    """Holds back the end of a text as long as it may be the beginning of a text to stop at."""

    def __init__(self, stop: Sequence[str]) -> None:
        if not all(stop):
            raise ConfigurationError("a text to stop at is empty", expected="at least one character")
        self._stop = list(stop)
        self._held = ""
        self.reached = False

    def feed(self, text: str) -> Iterator[str]:
        self._held += text
        ends = [self._held.find(stop) for stop in self._stop if stop in self._held]
        if ends:
            self.reached = True
            ready = min(ends)
        else:
            starts = (k for k in range(len(self._held)) if any(s.startswith(self._held[k:]) for s in self._stop))
            ready = next(starts, len(self._held))
        if ready:
            yield self._held[:ready]
        self._held = self._held[ready:]

    def rest(self) -> Iterator[str]:
        if self._held:
            yield self._held
