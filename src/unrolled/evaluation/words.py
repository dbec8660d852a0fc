"""Words of a text and how surprising each is, whatever unit the model reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from unrolled.data.vocabulary import WHITE_SPACE, Unknown, Vocabulary
from unrolled.evaluation.scoring import Surprisal

__all__ = ["Word", "word_surprises"]

_SPACE = WHITE_SPACE.decode()
_WORD = re.compile(rf"[^{_SPACE}]+|\n")


@dataclass(frozen=True)
class Word:
    """One word of a text: a run of what is not white space, with the white space before it, or a line end.

    Attributes:
        text: the word alone; a line feed for a line end.
        symbols: how many symbols it has for the model.
        nats: what these cost.
        hidden_nats: what the texts cost that are hidden behind unknown symbols among them; see `Vocabulary.spell`.
    """

    text: str
    symbols: int
    nats: float
    hidden_nats: float = 0.0


def word_surprises(
    vocabulary: Vocabulary, text: str, found: Iterable[Surprisal], unknown: Iterable[Unknown] = ()
) -> Iterator[Word]:
    """The words of a text, one after the other; white space at its end is a word of its own, without a text.

    Args:
        vocabulary: the symbols.
        text: the text.
        found: the surprisal of each of its symbols.
        unknown: what in it is not known, as `Vocabulary.encode_known` gives it.
    """
    folded = list(unknown) if vocabulary.unknown is not None else []
    costs = vocabulary.spell([piece.text for piece in folded]).tolist() if folded else []
    at = position = 0
    for held, symbols, nats in _groups(_texts(vocabulary, text, found)):
        position, spelt = position + len(held), 0.0
        while at < len(folded) and folded[at].position < position:
            spelt, at = spelt + costs[at], at + 1
        yield Word(held.strip(_SPACE) or ("\n" if held.endswith("\n") else ""), symbols, nats, spelt)


def _texts(vocabulary: Vocabulary, text: str, found: Iterable[Surprisal]) -> Iterator[tuple[str, Surprisal]]:
    """The text that each symbol adds: of the text itself, where symbols hide or lose some of it."""
    costs = iter(found)
    if vocabulary.unit == "word":
        at = 0
        for word in _WORD.finditer(text):
            held, at = text[at : word.end()], word.end()
            for symbol in range(len(vocabulary.encode(word.group()))):
                yield "" if symbol else held, next(costs)
    elif vocabulary.unknown is not None:
        yield from zip(text, costs, strict=True)
    else:
        decoder = vocabulary.decoder()
        yield from ((decoder.feed([each.token]), each) for each in costs)


def _groups(found: Iterable[tuple[str, Surprisal]]) -> Iterator[tuple[str, int, float]]:
    """Text, symbols and nats of each word with the white space before it."""
    held, symbols, nats = "", 0, 0.0
    for text, each in found:
        if symbols and (held.endswith("\n") or (text and text[0] in _SPACE and held.strip(_SPACE))):
            yield held, symbols, nats
            held, symbols, nats = "", 0, 0.0
        held, symbols, nats = held + text, symbols + 1, nats + each.nats
    if symbols:
        yield held, symbols, nats
