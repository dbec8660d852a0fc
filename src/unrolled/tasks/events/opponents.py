"""What a network has to beat: popularity, a Markov chain, and Markov chains of higher order that back off.

All three are n-gram models with interpolated modified Kneser-Ney smoothing (see `tasks.ngram`), begun anew with each
session: of order 1, of order 2, and of the order that does best on the validation part. So each gives every item a
probability, and all stand on the same events.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from unrolled.data.ragged import Ragged
from unrolled.tasks.events.ranking import Ranks, ranks_of
from unrolled.tasks.ngram import NGram

__all__ = ["Opponents"]

_HIGHEST = 6
_WITHOUT_VALIDATION = 3


class Opponents:
    """The three, fitted when they are first asked for.

    Args:
        train: the sessions to count; 0 is the unknown item.
        valid: those that the order is chosen on; may be empty.
        items: V, with the unknown one.
    """

    def __init__(self, train: Ragged, valid: Ragged, items: int) -> None:
        self._train, self._valid, self._items = train, valid, items
        self._models: dict[str, NGram] = {}

    @property
    def models(self) -> dict[str, NGram]:
        """By name."""
        if not self._models:
            chains = self._fit()
            self._models = {"popularity": chains[0], "Markov chain": chains[1]}
            order = _WITHOUT_VALIDATION
            if len(self._valid):
                losses = {model.order: _nats(model, self._valid) for model in chains[1:]}
                order = min(losses, key=lambda each: losses[each])
            self._models[f"back-off, {order - 1} event{'' if order == 2 else 's'}"] = chains[order - 1]
        return self._models

    def _fit(self) -> list[NGram]:
        from unrolled.data.store import Tokens
        from unrolled.tasks.ngram_counts import Counts

        tokens = Tokens(self._train.values.astype(np.int64), self._train.starts[:-1])
        counts = Counts(tokens, self._items, documents=True)
        found = []
        for order in range(1, (_HIGHEST if len(self._valid) else _WITHOUT_VALIDATION) + 1):
            if order > 1:
                counts.grow()
            found.append(NGram.of(counts, order))
        return found

    def ranks(self, sessions: Ragged, told: Callable[[int, int], None] | None = None) -> dict[str, Ranks]:
        """Of each, what it says of all events but the first of each session."""
        found = {}
        for number, (name, model) in enumerate(self.models.items()):
            if told is not None:
                told(number, len(self.models))
            found[name] = _ranks(model, sessions)
        return found


def _ranks(model: NGram, sessions: Ragged) -> Ranks:
    """What a model says of all events but the first of each session."""
    ranks, nats = [], []
    for at in range(len(sessions)):
        session = np.asarray(sessions[at], np.int64)
        said = _distributions(model, session)
        items = session[1:]
        known = items > 0
        ranks.append(np.where(known, ranks_of(said, items), np.inf))
        likely = said[np.arange(len(items)), items]
        nats.append(np.where(known, -np.log(np.where(known, likely, 1.0)), np.inf))
    empty = np.empty(0)
    return Ranks(np.concatenate([empty, *ranks]), np.concatenate([empty, *nats]))


def _distributions(model: NGram, session: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(T - 1, V) what is said after each event of a session but the last; the unknown item has no share."""
    found = np.empty((max(len(session) - 1, 0), model.size))
    state, begins = model.initial_state(1)[0], np.ones(1, np.bool_)
    for at in range(len(found)):
        model.look(session[at : at + 1], state, begins)
        begins[0] = False
        found[at] = model.probabilities(state)
    found[:, 0] = 0
    found /= found.sum(1, keepdims=True)
    return found


def _nats(model: NGram, sessions: Ragged) -> float:
    """Nats an event, of events whose item is known, but the first of each session."""
    values = np.asarray(sessions.values, np.int64)
    begins = np.zeros(len(values), np.bool_)
    begins[sessions.starts[:-1]] = True
    p = model.likelihoods(values, model.initial_state(1)[0], begins)
    return -float(np.log(p[~begins & (values > 0)]).mean())
