"""The methods that an evaluation asks for, with their numbers: given, or found on the validation part of the run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unrolled.data.configuration import Documents
from unrolled.data.store import Tokens, TokenStore
from unrolled.data.streams import StreamPosition, Streams, choose_batch
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigurationError
from unrolled.evaluation import STATIC, Methods, Wanted, check_protocol, root_mean_squares, tune
from unrolled.tasks.language_model import LanguageModel
from unrolled.verbs.listening import Listener
from unrolled.verbs.methods import MethodOptions

if TYPE_CHECKING:
    import torch

__all__ = ["choose_methods"]

# The training text is sampled at so many places, so many segments from each on, in so many streams.
_PLACES, _SEGMENTS, _STREAMS = 20, 10, 20


def choose_methods(
    options: MethodOptions,
    model: LanguageModel,
    vocabulary: Vocabulary,
    store: TokenStore,
    documents: Documents,
    protocol: str,
    listener: Listener,
) -> tuple[Methods, list[torch.Tensor] | None, str]:
    """What is done, what it needs to know of the training text, and on what its numbers were found ("" for nothing).

    Raises:
        ConfigurationError: a number is out of range, or is to be found and the run has no validation part.
    """
    segment = options.segment
    if segment is None:
        segment = 5 if vocabulary.unit in ("word", "subword") else 20
    temperature = 1.0 if options.temperature is None else options.temperature
    wanted = Wanted(
        dynamic=options.dynamic,
        segment=segment,
        rate=options.rate,
        decay=options.decay,
        window=options.cache,
        flatness=options.flatness,
        share=options.share,
        temperature=None if isinstance(temperature, str) else temperature,
    )
    # What is wrong is said before anything is read.
    if wanted.first() != STATIC or wanted.given is None:
        check_protocol(protocol)
        if not isinstance(model, LanguageModel):
            raise ConfigurationError(
                "dynamic evaluation, a cache and a temperature are of networks",
                got="a model that was fitted",
                fix="leave them out",
            )
    roots = None
    if options.dynamic == "rms":
        listener.doing("gradients of the training text")
        roots = _roots(model, store.split("train"), segment, documents)
    given = wanted.given
    if given is not None:
        return given, roots, ""
    valid = store.split("valid")
    keep = min(len(valid), options.tune_limit)
    if keep < 2:
        raise ConfigurationError(
            "there is no validation part to find numbers on",
            expected="rate and decay, flatness and share, and a number for temperature",
            fix="give them, or train with another --split",
        )
    starts = valid.document_starts
    limited = Tokens(valid.ids[:keep], starts[starts < keep])
    found = tune(model, limited, wanted, documents=documents, roots=roots, tell=listener.doing)
    return found, roots, f"{keep:,} symbols of valid"


def _roots(model: LanguageModel, train: Tokens, segment: int, documents: Documents) -> list[torch.Tensor]:
    """From segments that lie evenly over the training text."""
    batch = choose_batch(len(train), segment, _STREAMS)
    streams = Streams(train, batch, segment, seed=0, shift=False, documents=documents)
    total = streams.chunks_per_epoch(0)
    starts = sorted({k * total // _PLACES for k in range(_PLACES)})
    places = [(place, place == start) for start in starts for place in range(start, min(start + _SEGMENTS, total))]
    batches = (replace(streams.batch(StreamPosition(0, place)), fresh=fresh) for place, fresh in places)
    return root_mean_squares(model, batches)
