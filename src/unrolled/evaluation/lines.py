"""Lines of a text and how surprising each is: what finds the odd ones in a log.

A line costs the nats of its symbols, its line end among them. Characters that the model has no symbol for cannot be
left out where odd lines are looked for: each is charged as a symbol that the training text never had, with one added to
every count, -ln 1 / (N + V + 1).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from unrolled.data.vocabulary import IntArray, Vocabulary
from unrolled.errors import ConfigurationError, PromptError, nearest
from unrolled.evaluation.reading import Floats, Place, Reader

__all__ = ["ORDERS", "Found", "Line", "Order", "line_surprises", "most_surprising"]

Order = Literal["surprise", "mean", "peak"]
ORDERS: tuple[Order, ...] = get_args(Order)
# Lines read at a time: at most so many, of so many characters together.
_LINES = 64
_CHARACTERS = 1 << 14


@dataclass(frozen=True)
class Line:
    """One line of a text.

    Attributes:
        number: from 1 on.
        text: the line as it is, with its line end.
        symbols: how many symbols it has for the model.
        nats: what these cost, and its unknown characters.
        mean: nats a symbol, an unknown character counted as one.
        peak: the nats of its most surprising symbol.
        column: the character that symbol begins at, from 1 on.
        unknown: characters that the model has no symbol for.
    """

    number: int
    text: str
    symbols: int
    nats: float
    mean: float
    peak: float
    column: int
    unknown: int = 0


@dataclass(frozen=True)
class Found:
    """One of the most surprising lines, with lines around it.

    Attributes:
        line: itself.
        before: the lines before it, nearest last.
        after: the lines after it.
    """

    line: Line
    before: tuple[str, ...]
    after: tuple[str, ...]


def line_surprises(
    reader: Reader, vocabulary: Vocabulary, pieces: Iterable[str], *, alone: bool = False, strict: bool = False
) -> Iterator[Line]:
    """The lines of a text that comes in pieces, one after the other. Memory holds some lines at a time.

    Args:
        reader: the model.
        vocabulary: its symbols.
        pieces: the text, cut anywhere.
        alone: read every line as if it were the second of a text with an empty first line; otherwise after all lines
            before it.
        strict: refuse characters that the model has no symbol for.

    Raises:
        PromptError: the text has such a character, and `strict` is set.
        DivergenceError: the model gives something that is not a number.
    """
    place = reader.start()
    if alone:
        end = vocabulary.encode_known("\n")[0]
        if len(end):
            _, place = reader.read(end[None], place)
    counts = vocabulary.counts
    never = math.log(float(counts.sum()) + len(counts) + 1)
    for group in _groups(_lines(pieces)):
        found = [_encode(vocabulary, number, text, strict) for number, text in group]
        ids = [symbols for symbols, _ in found]
        if alone:
            nats = _apart(reader, ids, place)
        else:
            nats, place = _together(reader, ids, place)
        for (number, text), (symbols, unknown), costs in zip(group, found, nats, strict=True):
            yield _line(vocabulary, number, text, symbols, unknown, costs, never)


def most_surprising(lines: Iterable[Line], order: Order = "surprise", top: int = 10, context: int = 0) -> list[Found]:
    """The lines that are the most surprising, the most surprising first, equal ones in their order in the text.

    Memory holds these and the lines around them, however many there are.

    Args:
        lines: of a text, in their order.
        order: "surprise" (the nats of a line), "mean" (a symbol) or "peak" (of its most surprising symbol).
        top: how many to find.
        context: how many lines before and after each to give.

    Raises:
        ConfigurationError: no such order, or numbers below what makes sense.
    """
    if order not in ORDERS:
        raise ConfigurationError(f"unknown order {order!r}", fix=nearest(order, ORDERS))
    if top < 1 or context < 0:
        raise ConfigurationError("a number of lines is too small", got=f"top {top}, context {context}")
    heap: list[tuple[float, int, Found]] = []
    before: deque[str] = deque(maxlen=context)
    for line in lines:
        # A line that is found has what follows it given to it as it comes.
        waiting = [at for at, (_, number, _) in enumerate(heap) if line.number + number <= context]
        for at in waiting:
            key, number, found = heap[at]
            heap[at] = key, number, replace(found, after=(*found.after, line.text))
        key = {"surprise": line.nats, "mean": line.mean, "peak": line.peak}[order]
        entry = (key, -line.number, Found(line, tuple(before), ()))
        if len(heap) < top:
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)
        before.append(line.text)
    return [found for _, _, found in sorted(heap, key=lambda entry: entry[:2], reverse=True)]


def _lines(pieces: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The lines of a text in pieces, numbered from 1 on; only a line feed ends one."""
    numbers, rest = itertools.count(1), list[str]()
    for piece in pieces:
        *whole, last = piece.split("\n")
        for part in whole:
            yield next(numbers), "".join([*rest, part, "\n"])
            rest = []
        if last:
            rest.append(last)
    if rest:
        yield next(numbers), "".join(rest)


def _groups(lines: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Some lines at a time."""
    group: list[tuple[int, str]] = []
    size = 0
    for number, text in lines:
        group.append((number, text))
        size += len(text)
        if len(group) == _LINES or size >= _CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _encode(vocabulary: Vocabulary, number: int, text: str, strict: bool) -> tuple[IntArray, int]:
    """The symbols of a line, and how many of its characters there are none for."""
    ids, unknown = vocabulary.encode_known(text)
    if vocabulary.unknown is not None or not unknown:
        return ids, 0
    if strict:
        shown = list(dict.fromkeys(repr(piece.text) for piece in unknown))[:10]
        raise PromptError(
            f"line {number} has characters that the model does not know",
            got=" ".join(shown),
            where=f"line {number}, column {unknown[0].position + 1}",
            fix="leave them out with --skip-unknown, or train with --min-count 2 or --unit byte",
        )
    return ids, len(unknown)


def _together(reader: Reader, ids: list[IntArray], place: Place) -> tuple[list[Floats], Place]:
    """The nats of lines that follow each other."""
    whole = np.concatenate(ids)
    if not len(whole):
        return [np.empty(0) for _ in ids], place
    nats, place = reader.read(whole[None], place)
    return np.split(nats[0], np.cumsum([len(symbols) for symbols in ids])[:-1]), place


def _apart(reader: Reader, ids: list[IntArray], place: Place) -> list[Floats]:
    """The nats of lines that each begin at a place: side by side, padded to the longest."""
    longest = max(map(len, ids))
    if not longest:
        return [np.empty(0) for _ in ids]
    padded = np.zeros((len(ids), longest), np.int64)
    for row, symbols in enumerate(ids):
        padded[row, : len(symbols)] = symbols
    nats, _ = reader.read(padded, reader.select(place, np.zeros(len(ids), np.int64)))
    return [nats[row, : len(symbols)] for row, symbols in enumerate(ids)]


def _line(
    vocabulary: Vocabulary, number: int, text: str, ids: IntArray, unknown: int, nats: Floats, never: float
) -> Line:
    total, count = float(nats.sum()) + unknown * never, len(ids) + unknown
    worst = int(nats.argmax()) if len(nats) else 0
    peak = float(nats[worst]) if len(nats) else 0.0
    column = vocabulary.characters(ids[:worst]) + 1
    if unknown:
        places = vocabulary.find(text)[1]
        if never > peak:
            peak, column = never, int(places[0]) + 1
        else:
            # Of the characters before it some have no symbol.
            for place in places.tolist():
                column += place < column
    return Line(number, text, len(ids), total, total / max(count, 1), peak, column, unknown)
