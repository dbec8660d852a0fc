"""Data: from files of text to vocabularies, token stores and batches.

Everything here is light but the batches, which are tensors: their names bring in torch when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unrolled.data.configuration import DecodingErrors, Documents, TextConfig, Unit
from unrolled.data.decoders import Decoder
from unrolled.data.store import Part, SplitSources, Tokens, TokenStore, prepare
from unrolled.data.subwords import Subwords
from unrolled.data.text import Source, find_sources, read_text
from unrolled.data.vocabulary import UNITS, Bytes, Characters, Unknown, Vocabulary
from unrolled.data.words import Words

if TYPE_CHECKING:
    from unrolled.data.streams import Batch, StreamPosition, Streams, choose_batch, sequential, windows

__all__ = [
    "UNITS",
    "Batch",
    "Bytes",
    "Characters",
    "Decoder",
    "DecodingErrors",
    "Documents",
    "Part",
    "Source",
    "SplitSources",
    "StreamPosition",
    "Streams",
    "Subwords",
    "TextConfig",
    "TokenStore",
    "Tokens",
    "Unit",
    "Unknown",
    "Vocabulary",
    "Words",
    "choose_batch",
    "find_sources",
    "prepare",
    "read_text",
    "sequential",
    "windows",
]

_STREAMS = {"Batch", "StreamPosition", "Streams", "choose_batch", "sequential", "windows"}


def __getattr__(name: str) -> Any:
    if name in _STREAMS:
        from unrolled.data import streams

        return getattr(streams, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
