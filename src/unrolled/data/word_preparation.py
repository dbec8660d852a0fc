"""Preparation of a text of words: from files to the files of a token store.

The text is read once. Its runs of characters are written as numbers in the order in which they are first met, to a file
that goes away again; what follows looks at numbers only: cutting runs by the rules (once for each different run),
finding the borders of the parts, counting the training part, choosing the vocabulary, and writing the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data.configuration import TextConfig
from unrolled.data.numbering import Numbers, count_numbers, expand, number_runs, numbers_in, pieces_of, synced
from unrolled.data.preparation import HIDDEN, Parts, Progress, Written, check_unchanged, splits_of, type_for
from unrolled.data.shards import ShardWriter
from unrolled.data.splitting import split_word
from unrolled.data.vocabulary import UNKNOWN, IntArray
from unrolled.data.words import Joints, Words

__all__ = ["write_words"]


def write_words(
    directory: Path, parts: Parts, config: TextConfig, progress: Progress, processes: int | None = None
) -> Written:
    """Write the shards and `hidden.bin` of a text of words.

    Memory grows with the number of different runs of characters, some 200 bytes each, and not with the text.

    Raises:
        DataError: see `store.prepare`.
    """
    scratch = directory / "words.tmp"
    words, lengths, digests = number_runs(scratch, parts, config, progress, processes)
    check_unchanged([source for _, source in parts], True)
    if config.splitter == "rules":
        numbers: dict[str, int] = {}
        cut = [[numbers.setdefault(word, len(numbers)) for word in split_word(run)] for run in words]
        words, lengths = list(numbers), expand(scratch, cut, lengths)
        del cut
    splits, total = splits_of(parts, lengths, config), sum(lengths)
    counts = count_numbers(scratch, *splits["train"], len(words))
    vocabulary = Words.choose(words, counts, config.min_count, config.vocabulary_size, config.splitter)
    known = _Known.of(words, vocabulary)
    characters, hidden, done, size = {}, 0, 0, sum(source.size for _, source in parts)
    with (
        ShardWriter(directory, known.ids.dtype) as tokens,
        synced(directory / "hidden.bin") as hidden_file,
        numbers_in(scratch) as numbers_at,
    ):
        for part, (start, end) in splits.items():
            characters[part] = 0
            for at in pieces_of(start, end):
                # With the words on either side, which say what white space there is.
                first = max(at.start - 1, 0)
                held, here = numbers_at(first, min(at.stop + 1, total)), slice(at.start - first, at.stop - first)
                tokens.write(known.ids[held[here]])
                found = known.hidden(held, here, start - first)
                found["position"] += first
                hidden_file.write(found.data)
                hidden += found.size
                characters[part] += known.characters(held, here, start - first)
                done += at.stop - at.start
                progress(size * done // total, size, "encoding")
    scratch.unlink()
    return Written(vocabulary, lengths, digests, splits, characters, tokens.lengths, hidden)


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

    def characters(self, words: Numbers, at: slice, start: int) -> int:
        """Characters of the text of some words, the first of the part being the first of a text."""
        return int(self.own.characters(*_with_before(words, at, start)).sum())

    def hidden(self, words: Numbers, at: slice, start: int) -> npt.NDArray[Any]:
        """The records of what some words hide, of type `HIDDEN`; their part begins at `start`."""
        places = at.start + np.flatnonzero(self.hides[words[at]])
        records = np.zeros(places.size, HIDDEN)
        records["position"] = places
        records["nats"] = self.nats[words[places]]
        for name in ("characters", "words"):
            records[name] = self._beyond(name, words, places, start)
            # The space after a hidden word is told by the next, and counted here unless that hides something too.
            following = places + 1 < len(words)
            following[following] &= ~self.hides[words[places[following] + 1]]
            records[name][following] += self._beyond(name, words, places[following] + 1, start)
        return records

    def _beyond(self, name: str, words: Numbers, places: IntArray, start: int) -> IntArray:
        """What words have beyond what is counted for their symbols: characters, or words."""
        y, x = words[places].astype(np.int64), np.where(places > start, words[places - 1].astype(np.int64), -1)
        found: IntArray = getattr(self.own, name)(y, x) - getattr(self.shown, name)(y, x)
        return found


def _with_before(words: Numbers, at: slice, start: int) -> tuple[IntArray, IntArray]:
    """Some words, and the one before each; -1 before the first of the part."""
    if at.start > start:
        both = words[at.start - 1 : at.stop].astype(np.int64)
        return both[1:], both[:-1]
    y = words[at].astype(np.int64)
    return y, np.r_[-1, y[:-1]]
