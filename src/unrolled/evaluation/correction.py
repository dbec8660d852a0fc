"""Correction by a noisy channel: what was meant is what makes the text and its errors together the likeliest.

For a text w, of all corrections c, p(c | w) is proportional to p(c) p(w | c) (Kernighan, Church & Gale 1990). The
language model gives p(c), in the context of what is before (corrected) and of the runs of characters after it (as they
are). The channel p(w | c) is plain: a word of n letters is written as it was meant with probability 1 - r - g. With r
it is misspelt, by one edit, or, one time in ten, by two, and every one of the 54 n + 25 ways to leave out, exchange,
change or put in one of 26 letters is equally likely. With g the writer slips in grammar (see `grammar`).
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np

from unrolled.data.lexicon import WORD, Lexicon
from unrolled.data.spelling import Spelling
from unrolled.data.vocabulary import IntArray, Vocabulary
from unrolled.errors import ConfigurationError
from unrolled.evaluation.grammar import Slips, confusable
from unrolled.evaluation.reading import Floats, Place, Reader

__all__ = ["Channel", "Corrector", "Edit", "Fragment", "Frequencies", "Judge", "Network", "fragments"]

_TWO = 0.1  # misspelt words that have two errors
_AHEAD = 2  # runs of characters after a word that are read with each of its alternatives
_FAR_AHEAD = 3  # the same where grammar is looked at
_LONGEST = 40  # a run with more characters is no word
_FREQUENT = 4.0  # nats: a known word that costs less is not looked at
_SPELLINGS = 20_000
_WHOLE = re.compile(r"(\s*)(\S+)(?=\s)")


@dataclass(frozen=True)
class Fragment:
    """White space and the run of other characters after it.

    Attributes:
        at: the character of the text at which the run begins.
        space: what stands before it.
        run: may be empty at the end of a text.
    """

    at: int
    space: str
    run: str


@dataclass(frozen=True)
class Edit:
    """One correction.

    Attributes:
        start, end: the characters of the text that are replaced.
        before: what was written.
        after: what is put in its place.
        p: the probability that this was meant, of all alternatives that were compared.
        kind: "spelling" or "grammar".
    """

    start: int
    end: int
    before: str
    after: str
    p: float
    kind: str


@dataclass(frozen=True)
class Channel:
    """How writers err.

    Attributes:
        spelling: r, the probability that a word is misspelt.
        grammar: g, the probability that the writer slips in grammar at it; 0 looks for no such errors.
        threshold: a correction is made where its probability is at least this.
        candidates: how many alternatives of a word are compared in context.
        novelty: nats that a word outside the lexicon costs beside what the judge says. A model that learnt from text
            with errors in it finds them likelier than any true word is that it has not seen.

    Raises:
        ConfigurationError: one of them is out of range.
    """

    spelling: float = 0.02
    grammar: float = 0.0
    threshold: float = 0.5
    candidates: int = 16
    novelty: float = 3.0

    def __post_init__(self) -> None:
        if not (self.spelling > 0 <= self.grammar and self.spelling + self.grammar < 1):
            got = f"spelling {self.spelling}, grammar {self.grammar}"
            raise ConfigurationError("error rates are probabilities that add up to less than 1", got=got)
        if not 0 <= self.novelty < math.inf:
            raise ConfigurationError("a novelty is in nats", expected="at least 0", got=str(self.novelty))
        if not 0 <= self.threshold <= 1 or self.candidates < 1:
            got = f"threshold {self.threshold}, candidates {self.candidates}"
            raise ConfigurationError("a threshold is from 0 to 1, and candidates are at least 1", got=got)

    @property
    def right(self) -> float:
        """ln p of a word written as it was meant."""
        return math.log(1 - self.spelling - self.grammar)

    def misspelt(self, meant: str, edits: int) -> float:
        """ln p of one particular way to misspell a word with so many edits, 1 or 2."""
        ways = math.log(54 * len(meant) + 25)
        return math.log(self.spelling * (1 - _TWO if edits == 1 else _TWO)) - edits * ways


class Judge(Protocol):
    """What says how likely texts are where it has read to; a place is its own affair."""

    def start(self) -> object:
        """Before a text."""

    def read(self, text: str, place: object) -> tuple[float, object]:
        """The nats of a fragment of text, and the place after it."""

    def compare(self, texts: Sequence[str], place: object) -> Floats:
        """The nats of each of several texts, all at one place."""


class Network:
    """A language model as judge.

    What the vocabulary has no symbol for is charged: behind an unknown symbol by `Vocabulary.spell`, elsewhere as a
    symbol that the training text never had.
    """

    def __init__(self, reader: Reader, vocabulary: Vocabulary) -> None:
        self._reader, self._vocabulary = reader, vocabulary
        self._never = math.log(float(vocabulary.counts.sum()) + vocabulary.size + 1)

    def start(self) -> Place:
        return self._reader.start()

    def read(self, text: str, place: object) -> tuple[float, object]:
        assert isinstance(place, Place)
        ids, more = self._encode(text)
        if not len(ids):
            return more, place
        nats, after = self._reader.read(ids[None], place)
        return float(nats.sum()) + more, after

    def compare(self, texts: Sequence[str], place: object) -> Floats:
        assert isinstance(place, Place)
        coded = [self._encode(text) for text in texts]
        found = np.array([more for _, more in coded])
        longest = max(len(ids) for ids, _ in coded)
        if longest:
            padded = np.zeros((len(texts), longest), np.int64)
            for row, (ids, _) in enumerate(coded):
                padded[row, : len(ids)] = ids
            nats, _ = self._reader.read(padded, self._reader.select(place, np.zeros(len(texts), np.int64)))
            lengths = np.array([len(ids) for ids, _ in coded])
            found += np.where(np.arange(longest) < lengths[:, None], nats, 0).sum(1)
        return found

    def _encode(self, text: str) -> tuple[IntArray, float]:
        ids, unknown = self._vocabulary.encode_known(text)
        if not unknown:
            return ids, 0.0
        if self._vocabulary.unknown is None:
            return ids, self._never * len(unknown)
        return ids, float(self._vocabulary.spell([piece.text for piece in unknown]).sum())


class Frequencies:
    """The plain opponent: every word by itself, as frequent as in the training text.

    A word that is not in the lexicon has the share of all such words there, times p of its letters by a model of the
    letters of rare words.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    @cached_property
    def _spelling(self) -> Spelling:
        rare = sorted(self._lexicon.counts, key=lambda word: (self._lexicon.counts[word], word))
        return Spelling(rare[:_SPELLINGS])

    @cached_property
    def _spelt(self) -> Callable[[str], float]:
        """The nats of the letters of a word."""
        return lru_cache(1 << 14)(lambda word: float(self._spelling.nats([word])[0]))

    def start(self) -> None:
        return None

    def read(self, text: str, place: object) -> tuple[float, object]:
        nats = 0.0
        for word in WORD.findall(text):
            nats -= math.log(self._lexicon.p(word))
            if word not in self._lexicon:
                nats += self._spelt(word.lower())
        return nats, None

    def compare(self, texts: Sequence[str], place: object) -> Floats:
        return np.array([self.read(text, place)[0] for text in texts])


def fragments(pieces: Iterable[str]) -> Iterator[Fragment]:
    """A text in pieces, cut after each run of characters that are no white space."""
    at, rest = 0, ""
    for piece in pieces:
        rest, end = rest + piece, 0
        for found in _WHOLE.finditer(rest):
            yield Fragment(at + found.start(2), found.group(1), found.group(2))
            end = found.end()
        at, rest = at + end, rest[end:]
    if rest:
        run = rest.lstrip()
        yield Fragment(at + len(rest) - len(run), rest[: len(rest) - len(run)], run)


class Corrector:
    """Corrects words one after the other, each in the context of the corrected text before it.

    Args:
        judge: how likely texts are.
        lexicon: the words that can be put in the place of others.
        channel: how writers err.
    """

    def __init__(self, judge: Judge, lexicon: Lexicon, channel: Channel | None = None) -> None:
        self._judge, self._lexicon, self._channel = judge, lexicon, channel or Channel()
        self._slips = Slips(self._channel.grammar) if self._channel.grammar else None

    def correct(self, text: Iterable[Fragment]) -> Iterator[tuple[str, Edit | None]]:
        """The fragments of a text corrected, each with what was changed in it, if something was."""
        place, before = self._judge.start(), ""
        ahead: deque[Fragment] = deque()
        far = _FAR_AHEAD if self._slips else _AHEAD
        for fragment in text:
            ahead.append(fragment)
            if len(ahead) > far:
                out, edit, place = self._one(ahead, place, before)
                yield out, edit
                before = _last(out, before)
                ahead.popleft()
        while ahead:
            out, edit, place = self._one(ahead, place, before)
            yield out, edit
            before = _last(out, before)
            ahead.popleft()

    def _one(self, ahead: Sequence[Fragment], place: object, before: str) -> tuple[str, Edit | None, object]:
        """The first of some fragments: its text, its edit, and the place after it; `before` is the run before."""
        here = ahead[0]
        written = here.space + here.run
        nats, after = self._judge.read(written, place)
        known = all(word in self._lexicon for word in WORD.findall(here.run))
        if known and nats < _FREQUENT and not self._slips:
            return written, None, after
        options = self._alternatives(here.run, before)
        if not options:
            return written, None, after
        following = "".join(each.space + each.run for each in list(ahead)[1:])
        texts = [written] + [self._put(here, run) for run in options]
        score = -self._judge.compare([text + following for text in texts], place)
        score += np.array([self._channel.right, *(value for value, _ in options.values())])
        score[0] -= 0.0 if known else self._channel.novelty
        p = np.exp(score - np.logaddexp.reduce(score))
        best = int(p.argmax())
        if not best or p[best] < self._channel.threshold:
            return written, None, after
        run, (_, kind) = list(options.items())[best - 1]
        start, wrong = (here.at, here.run) if run else (here.at - len(here.space), written)
        edit = Edit(start, here.at + len(here.run), wrong, run, float(p[best]), kind)
        return texts[best], edit, self._judge.read(texts[best], place)[1]

    @staticmethod
    def _put(here: Fragment, run: str) -> str:
        # A word that is left out takes the space before it along.
        return here.space + run if run else ""

    def _alternatives(self, run: str, before: str) -> dict[str, tuple[float, str]]:
        """What may have been meant instead of a run of characters after another: ln p of the channel, and the kind of
        error."""
        if len(run) > _LONGEST or "://" in run or "@" in run or any(map(str.isdigit, run)):
            return {}
        found: dict[str, tuple[float, str]] = {}
        for word in WORD.finditer(run):
            written = word.group()
            around = (run[: word.start()], run[word.end() :])
            for meant, (value, kind) in self._meant(written).items():
                found[meant.join(around)] = value, kind
        if self._slips and WORD.match(run):
            found |= {meant: (value, "grammar") for meant, value in self._slips.around(run, before).items()}
        found.pop(run, None)
        return found

    def _meant(self, written: str) -> dict[str, tuple[float, str]]:
        """The words that a writer of this one may have meant, the likeliest by their own frequency."""
        known, channel = written in self._lexicon, self._channel
        ranked: dict[str, tuple[float, float, str]] = {}
        for meant, edits in self._lexicon.near(written, 1 if known or len(written) < 4 else 2).items():
            value = channel.misspelt(meant, edits)
            ranked[self._cased(meant, written)] = value + math.log(self._lexicon.p(meant)), value, "spelling"
        if not known:
            # A space that was left out.
            for at in range(1, len(written)):
                left, right = written[:at], written[at:]
                if left in self._lexicon and right in self._lexicon and (at > 1 or left.lower() in ("a", "i")):
                    value = channel.misspelt(written, 1)
                    prior = math.log(self._lexicon.p(left)) + math.log(self._lexicon.p(right))
                    ranked[f"{left} {right}"] = value + prior, value, "spelling"
        best = sorted(ranked.items(), key=lambda each: (-each[1][0], each[0]))[: channel.candidates]
        found = {text: (value, kind) for text, (_, value, kind) in best}
        if self._slips:
            # Besides the candidates of spelling, which are many more and would crowd them out.
            for meant in confusable(written, self._lexicon):
                text = self._cased(meant, written)
                value, spelt = (
                    self._slips.taken(len(confusable(meant, self._lexicon))),
                    found.get(text, (-math.inf,))[0],
                )
                if value > spelt:
                    found[text] = float(np.logaddexp(value, spelt)), "grammar"
        return found

    def _cased(self, meant: str, written: str) -> str:
        """A word in the letters of another: capitals stay capitals, and names get theirs."""
        if meant in ("i", "I"):
            return "I"
        if len(written) > 1 and written.isupper():
            return meant.upper()
        shown = self._lexicon.shown.get(meant, meant)
        # The second letter too: its capital may have changed places with the first.
        return shown[0].upper() + shown[1:] if any(map(str.isupper, written[:2])) else shown


def _last(out: str, before: str) -> str:
    """The last run of a text that was made, or the one before it where nothing was."""
    runs = out.split()
    return runs[-1] if runs else before
