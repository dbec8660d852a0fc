"""Beam search: the likeliest ways to go on, over `initial_state` and `step`.

Axes: B beams, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from unrolled.decoding.sampling import Floats, Steps, diverged
from unrolled.errors import ConfigurationError

__all__ = ["Allowed", "Branches", "Hypothesis", "beam_search"]

_Flags = npt.NDArray[np.bool_]
Allowed = Callable[[tuple[int, ...]], "_Flags | None"]


class Branches(Steps, Protocol):
    """What can be stepped through, and gone on from in several ways."""

    def select(self, state: Any, rows: npt.ArrayLike) -> Any:
        """The state of some of the streams, in a new order, each as often as it is named."""


@dataclass(frozen=True)
class Hypothesis:
    """One way to go on.

    Attributes:
        tokens: its symbols, without the one that ends it.
        log_p: ln p of them given what was before, and of being ended by any of the symbols that end, where it is.
        ended: whether it is; otherwise it is as long as was asked for.
    """

    tokens: tuple[int, ...]
    log_p: float
    ended: bool


def beam_search(
    model: Branches,
    following: Floats,
    state: Any,
    *,
    width: int,
    length: int,
    ends: _Flags | None = None,
    allowed: Allowed | None = None,
    empty: bool = True,
    count: int | None = None,
) -> list[Hypothesis]:
    """The likeliest of the ways to go on, likeliest first: of those that end, and of those of the whole length.

    Of all prefixes of one length the `width` likeliest are kept (Lowerre 1976). With a width of V^(length-1) nothing is
    lost and the answer is exact; so it is, with any width, for one symbol. It stops early when nothing can come among
    the likeliest any more: a longer way is never likelier than its beginning.

    Args:
        model: what is stepped.
        following: (V,) ln p of the first symbol.
        state: of one stream, before that symbol.
        width: how many prefixes are kept.
        length: how many symbols at most.
        ends: (V,) the symbols that end a way, their probabilities added up: the next word is the same, whatever follows
            it. None if not given.
        allowed: from the symbols of a way to those that may be next (V,), or `None` for all.
        empty: whether a way may end before its first symbol.
        count: how many to find; `width` if not given.

    Raises:
        ConfigurationError: a width or length below 1.
        DivergenceError: the model gives something that is not a number.
    """
    if min(width, length, 1 if count is None else count) < 1:
        got = f"width {width}, length {length}, count {count}"
        raise ConfigurationError("a beam needs a width, a length and a count from 1 on", got=got)
    wanted = width if count is None else count
    going = np.ones(len(following), np.bool_) if ends is None else ~ends
    done: list[Hypothesis] = []
    beams: list[tuple[int, ...]] = [()]
    scores: Floats = np.zeros(1)
    log_p: Floats = np.asarray(following, np.float64)[None]
    for made in range(length):
        if np.isnan(log_p).any():
            raise diverged()
        if ends is not None and (made or empty):
            ended = scores + np.logaddexp.reduce(log_p[:, ends], axis=1, initial=-np.inf)
            done += [
                Hypothesis(beam, float(score), True)
                for beam, score in zip(beams, ended, strict=True)
                if np.isfinite(score) and _may_end(beam, allowed, ends)
            ]
        total = np.where(going, scores[:, None] + log_p, -np.inf)
        for row, beam in enumerate(beams):
            mask = None if allowed is None else allowed(beam)
            if mask is not None:
                total[row, ~mask] = -np.inf
        flat = total.reshape(-1)
        keep = max(width, wanted) if made + 1 == length else width
        best = _largest(flat, keep)
        best = best[np.isfinite(flat[best])]
        rows, symbols = best // len(following), best % len(following)
        beams = [(*beams[row], int(symbol)) for row, symbol in zip(rows, symbols, strict=True)]
        scores = flat[best]
        done = sorted(done, key=lambda way: -way.log_p)[:wanted]
        if not beams or made + 1 == length or (len(done) == wanted and done[-1].log_p >= scores[0]):
            break
        out, state = model.step(torch.from_numpy(symbols), model.select(state, rows))
        log_p = torch.log_softmax(out.double().cpu(), -1).numpy()
    if beams and len(beams[0]) == length:
        done += [Hypothesis(beam, float(score), False) for beam, score in zip(beams, scores, strict=True)]
    return sorted(done, key=lambda way: -way.log_p)[:wanted]


def _may_end(beam: tuple[int, ...], allowed: Allowed | None, ends: _Flags) -> bool:
    mask = None if allowed is None else allowed(beam)
    return mask is None or bool((mask & ends).any())


def _largest(values: Floats, count: int) -> npt.NDArray[np.int64]:
    """The places of the largest values, largest first; of equal ones the first."""
    places = np.sort(np.argpartition(-values, count - 1)[:count]) if count < len(values) else np.arange(len(values))
    found: npt.NDArray[np.int64] = places[np.argsort(-values[places], kind="stable")]
    return found
