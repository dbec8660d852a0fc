"""Protocols: how much of the text before a symbol the model may use when it is asked for that symbol."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch

from unrolled.data.configuration import Documents
from unrolled.data.store import Tokens
from unrolled.data.streams import Batch, sequential, windows
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigurationError, DataError, DivergenceError, nearest
from unrolled.evaluation.likelihood import Likelihood
from unrolled.evaluation.methods import STATIC, Methods, batches_for, read_with
from unrolled.tasks.language_model import LanguageModel, read, streams_for

__all__ = ["PROTOCOLS", "Evaluation", "Protocol", "check_protocol", "evaluate"]

Protocol = Literal["carried", "windows"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
_CHUNK = 256


@dataclass(frozen=True)
class Evaluation(Likelihood):
    """How likely a text is to a model; the first symbol of the text (and of each document that begins empty) is not
    predicted.

    Attributes:
        protocol: "carried": every symbol is predicted from all before it, in parallel streams that each begin empty;
            "windows": from those before it in its window, each window beginning empty.
        detail: number of streams, or length of a window in symbols.
        methods: what was done besides reading.
    """

    protocol: Protocol
    detail: int
    methods: Methods = field(default=STATIC, kw_only=True)


def evaluate(
    model: LanguageModel,
    vocabulary: Vocabulary,
    tokens: Tokens,
    protocol: Protocol = "carried",
    *,
    window: int = 128,
    documents: Documents = "carry",
    streams: int | None = None,
    methods: Methods = STATIC,
    roots: Sequence[torch.Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
    share: Callable[[int], tuple[int, int]] | None = None,
    add: Callable[[list[float]], list[float]] | None = None,
) -> Evaluation:
    """The loss of a text.

    Args:
        model: the model.
        vocabulary: its symbols.
        tokens: the text.
        protocol: what the model may use; see `Evaluation`.
        window: symbols of a window.
        documents: what happens to the state between documents.
        streams: parallel streams of "carried"; as many as a long text is read in fast if not given.
        methods: what is done besides reading, with the protocol "carried".
        roots: see `dynamic.Adapted`.
        progress: called with the symbols read so far and their number.
        share: where several processes evaluate together, from the number of streams to the half-open range of those
            that this one reads; only with the protocol "carried" and without methods.
        add: from numbers of this process to their sums over all.

    Raises:
        DataError: the text has no symbol to predict.
        ConfigurationError: there is no such protocol, or methods do not go with it.
        DivergenceError: the model gives something that is not a number.
    """
    if protocol not in PROTOCOLS:
        raise ConfigurationError(f"unknown protocol {protocol!r}", fix=nearest(protocol, PROTOCOLS))
    if window < 1:
        raise ConfigurationError("a window is too short", expected="at least 1 symbol", got=str(window))
    if len(tokens) < 2:
        raise DataError("there is nothing to predict", expected="at least 2 symbols", got=f"{len(tokens)}")
    streams = streams or streams_for(len(tokens))
    if methods != STATIC:
        check_protocol(protocol)
        streams, batches = batches_for(tokens, methods, model.vocabulary_size, documents)
    elif protocol == "carried":
        batches = sequential(tokens, streams, _CHUNK, documents, share)
    else:
        batches = windows(tokens, window, max(1, 16 * _CHUNK // window), documents)
    counted = _Counted(vocabulary, progress, len(tokens) - 1)
    if methods == STATIC:
        nats, targets = read(model, counted.through(batches))
    else:
        nats, targets = read_with(model, counted.through(batches), methods, roots)
    if add is not None:
        nats, *counts = add([nats, targets, counted.characters, counted.words, counted.unknown])
        targets, counted.characters, counted.words, counted.unknown = map(int, counts)
    if not targets:
        raise DataError("there is nothing to predict", expected="a document of at least 2 symbols")
    if not math.isfinite(nats):
        raise DivergenceError(
            "the model gives probabilities that are not finite numbers",
            fix="a smaller --rate of dynamic evaluation"
            if methods.dynamic
            else "its training diverged: use an earlier checkpoint, or train again with a smaller --learning-rate",
        )
    detail = streams if protocol == "carried" else window
    hidden, hidden_nats, characters, words = _hidden(vocabulary, tokens, documents, counted.unknown)
    return Evaluation(
        targets,
        counted.characters + characters,
        nats,
        protocol,
        detail,
        words=counted.words + words,
        hidden=hidden,
        hidden_nats=hidden_nats,
        methods=methods,
    )


def check_protocol(protocol: str) -> None:
    """Refuse a protocol under which nothing can be done besides reading (`ConfigurationError`)."""
    if protocol != "carried":
        raise ConfigurationError(
            f"dynamic evaluation, a cache and a temperature do not go with {protocol}",
            expected="protocol carried",
            fix="what is learnt or kept of a text serves the rest of it: leave --protocol out",
        )


def _hidden(vocabulary: Vocabulary, tokens: Tokens, documents: Documents, unknown: int) -> tuple[int, float, int, int]:
    """What hides behind the unknown symbols among the targets: how many, their nats by the back-off, and the
    characters and words they have beyond those counted for the symbol."""
    if tokens.hidden is None:
        return unknown, unknown * float(vocabulary.spell(["\ufffd"])[0]) if unknown else 0.0, 0, 0
    never = np.r_[0, tokens.document_starts if documents == "reset" else []]
    found = tokens.hidden[~np.isin(tokens.hidden["position"], never)]
    return len(found), float(found["nats"].sum()), int(found["characters"].sum()), int(found["words"].sum())


class _Counted:
    """Counts the characters and words that targets stand for, and unknown symbols, as batches pass by."""

    def __init__(self, vocabulary: Vocabulary, progress: Callable[[int, int], None] | None, total: int) -> None:
        self._vocabulary, self._progress, self._total = vocabulary, progress, total
        self.characters = self.words = self.unknown = self._done = 0

    def through(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            counting = slice(None) if batch.weights is None else batch.weights > 0
            y, x = batch.y[counting].numpy(), batch.x[counting].numpy()
            self.characters += self._vocabulary.characters(y, x)
            self.words += self._vocabulary.words(y, x)
            self.unknown += 0 if self._vocabulary.unknown is None else int((y == self._vocabulary.unknown).sum())
            self._done += y.size
            if self._progress is not None:
                self._progress(self._done, self._total)
