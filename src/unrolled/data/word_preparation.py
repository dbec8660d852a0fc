"""Preparation of a text of words: from files to the files of a token store.

The text is read once. Its runs of characters are written as numbers in the order in which they are first met, to a file
that goes away again; what follows looks at numbers only: cutting runs by the rules (once for each different run),
finding the borders of the parts, counting the training part, choosing the vocabulary, and writing the tokens.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from unrolled.data.configuration import TextConfig
from unrolled.data.preparation import (
    HIDDEN,
    Parts,
    Progress,
    Written,
    check_unchanged,
    hashed,
    read_parts,
    splits_of,
    type_for,
)
from unrolled.data.splitting import LINE_END, cut_pieces, raw_words, split_word
from unrolled.data.text import decode
from unrolled.data.vocabulary import UNKNOWN, IntArray
from unrolled.data.words import Joints, Words

__all__ = ["write_words"]

_PIECE = 1 << 20  # tokens handled at a time
_RAW = np.dtype("<u4")

_Raw = npt.NDArray[np.uint32]


class _Runs(dict[bytes, int]):
    """Runs of characters to numbers; one that was not met before gets the next."""

    def __missing__(self, run: bytes) -> int:
        number = self[run] = len(self)
        return number


def write_words(directory: Path, parts: Parts, config: TextConfig, progress: Progress) -> Written:
    """Write `tokens.bin` and `hidden.bin` of a text of words.

    Memory grows with the number of different runs of characters, some 200 bytes each, and not with the text.

    Raises:
        DataError: see `store.prepare`.
    """
    scratch = directory / "words.tmp"
    runs, lengths, digests = _number(scratch, parts, config, progress)
    check_unchanged([source for _, source in parts], True)
    words = [run.decode("utf-8", "surrogatepass") for run in runs]
    del runs
    if config.splitter == "rules":
        words, lengths = _split(scratch, words, lengths)
    splits = splits_of(parts, lengths, config)
    ids = np.memmap(scratch, _RAW, "r") if sum(lengths) else np.empty(0, _RAW)
    counts = np.zeros(len(words), np.int64)
    for at in _pieces(*splits["train"]):
        counts += np.bincount(ids[at], minlength=len(words))
    vocabulary = Words.choose(words, counts, config.min_count, config.vocabulary_size, config.splitter)
    known = _Known.of(words, vocabulary)
    characters, hidden = {}, 0
    with (directory / "tokens.bin").open("wb") as tokens_file, (directory / "hidden.bin").open("wb") as hidden_file:
        done, size = 0, sum(source.size for _, source in parts)
        for part, (start, end) in splits.items():
            characters[part] = 0
            for at in _pieces(start, end):
                hidden += known.write(ids, at, start, tokens_file, hidden_file)
                characters[part] += known.characters(ids, at, start)
                done += at.stop - at.start
                progress(size * done // sum(lengths), size, "encoding")
        for file in (tokens_file, hidden_file):
            file.flush()
            os.fsync(file.fileno())
    del ids
    scratch.unlink()
    return Written(vocabulary, lengths, digests, splits, characters, hidden)


def _pieces(start: int, end: int) -> Iterator[slice]:
    for at in range(start, end, _PIECE):
        yield slice(at, min(at + _PIECE, end))


def _number(scratch: Path, parts: Parts, config: TextConfig, progress: Progress) -> tuple[_Runs, list[int], list[str]]:
    """Write the runs of a text as numbers: the runs, how many each source has, and the SHA-256 of each source."""
    runs, lengths, digests = _Runs(), [], []
    with scratch.open("wb") as file:
        for source, chunks in read_parts(parts, "counting", progress):
            digest, length, last = hashlib.sha256(), 0, "\n"
            for piece in cut_pieces(decode(hashed(chunks, digest), source, config.errors)):
                raw, last = raw_words(piece), piece[-1]
                file.write(np.fromiter(map(runs.__getitem__, raw), _RAW, len(raw)).data)
                length += len(raw)
            if last != "\n":
                file.write(np.array([runs[LINE_END.encode()]], _RAW).data)
                length += 1
            lengths.append(length)
            digests.append(digest.hexdigest())
    return runs, lengths, digests


def _split(scratch: Path, runs: list[str], lengths: list[int]) -> tuple[list[str], list[int]]:
    """Put the words that the rules cut runs into in the place of the runs: the words, how many each source has."""
    numbers: dict[str, int] = {}
    cut = [[numbers.setdefault(word, len(numbers)) for word in split_word(run)] for run in runs]
    sizes = np.array([len(words) for words in cut], np.int64)
    starts = np.cumsum(sizes) - sizes
    flat = np.array([number for words in cut for number in words], _RAW)
    ids = np.memmap(scratch, _RAW, "r") if sum(lengths) else np.empty(0, _RAW)
    new, begin = [], 0
    target = scratch.with_suffix(".cut.tmp")
    with target.open("wb") as file:
        for length in lengths:
            total = 0
            for at in _pieces(begin, begin + length):
                size, start = sizes[ids[at]], starts[ids[at]]
                ends = np.cumsum(size)
                places = np.arange(ends[-1]) + np.repeat(start - (ends - size), size)
                file.write(flat[places].data)
                total += places.size
            new.append(total)
            begin += length
    del ids
    target.replace(scratch)
    return list(numbers), new


@dataclass(frozen=True, eq=False)
class _Known:
    """What the N different words of a text are to a vocabulary.

    Attributes:
        ids: (N,) the id of each.
        hides: (N,) whether that is the unknown symbol and hides something.
        nats: (N,) what its text costs by the back-off; 0 where nothing hides.
        own: the joints of the words.
        shown: the joints of the symbols that they become.
    """

    ids: npt.NDArray[Any]
    hides: npt.NDArray[np.bool_]
    nats: npt.NDArray[np.float64]
    own: Joints
    shown: Joints

    @classmethod
    def of(cls, words: list[str], vocabulary: Words) -> _Known:
        known = {word: at for at, word in enumerate(vocabulary.symbols)}
        assert vocabulary.unknown is not None
        ids = np.array([known.get(word, vocabulary.unknown) for word in words], np.int64)
        hides = ids == vocabulary.unknown
        if UNKNOWN in known and UNKNOWN in words:
            hides[words.index(UNKNOWN)] = False
        nats = np.zeros(len(words))
        nats[hides] = vocabulary.spell([words[at] for at in np.flatnonzero(hides).tolist()])
        own, symbols = Joints.of(words, vocabulary.splitter), vocabulary.joints
        shown = Joints(symbols.lengths[ids], symbols.left[ids], symbols.right[ids], symbols.ends[ids])
        return cls(ids.astype(type_for(vocabulary.size)), hides, nats, own, shown)

    def characters(self, words: _Raw, at: slice, start: int) -> int:
        """Characters of the text of some words, the first of the part being the first of a text."""
        return int(self.own.characters(*_with_before(words, at, start)).sum())

    def write(self, words: _Raw, at: slice, start: int, tokens: IO[bytes], hidden: IO[bytes]) -> int:
        """Write the tokens of some words, and the records of what is hidden; returns their number."""
        tokens.write(self.ids[words[at]].data)
        places = at.start + np.flatnonzero(self.hides[words[at]])
        if not places.size:
            return 0
        records = np.zeros(places.size, HIDDEN)
        records["position"] = places
        records["nats"] = self.nats[words[places]]
        for name in ("characters", "words"):
            records[name] = self._beyond(name, words, places, start)
            # The space after a hidden word is told by the next, and counted here unless that hides something too.
            following = places + 1 < len(words)
            following[following] &= ~self.hides[words[places[following] + 1]]
            records[name][following] += self._beyond(name, words, places[following] + 1, start)
        hidden.write(records.data)
        return int(records.size)

    def _beyond(self, name: str, words: _Raw, places: IntArray, start: int) -> IntArray:
        """What words have beyond what is counted for their symbols: characters, or words."""
        y, x = words[places].astype(np.int64), np.where(places > start, words[places - 1].astype(np.int64), -1)
        found: IntArray = getattr(self.own, name)(y, x) - getattr(self.shown, name)(y, x)
        return found


def _with_before(words: _Raw, at: slice, start: int) -> tuple[IntArray, IntArray]:
    """Some words, and the one before each; -1 before the first of the part."""
    if at.start > start:
        both = words[at.start - 1 : at.stop].astype(np.int64)
        return both[1:], both[:-1]
    y = words[at].astype(np.int64)
    return y, np.r_[-1, y[:-1]]
