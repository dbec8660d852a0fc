"""How good a corrector is: sentences with one random edit each, and what it makes of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from unrolled.data.lexicon import WORD
from unrolled.errors import DataError
from unrolled.evaluation.correction import Corrector, fragments

__all__ = ["CorrectionScore", "Misspelt", "misspell", "sentences", "try_corrector"]

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_BORDER = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]*[^\W\d_])")
_FEWEST, _MOST = 5, 40


@dataclass(frozen=True)
class Misspelt:
    """A sentence with one error.

    Attributes:
        right: the sentence.
        wrong: with the error.
        at: the character at which the misspelt word begins.
    """

    right: str
    wrong: str
    at: int


@dataclass(frozen=True)
class CorrectionScore:
    """What a corrector made of sentences with one error each.

    Attributes:
        sentences: how many.
        corrected: of their errors, how many were put right.
        changed: how many were changed to something else.
        words: runs of characters with a word in them that were right.
        harmed: how many of these were changed.
    """

    sentences: int
    corrected: int
    changed: int
    words: int
    harmed: int

    @property
    def share_corrected(self) -> float:
        """Of the errors."""
        return self.corrected / self.sentences

    @property
    def share_harmed(self) -> float:
        """Of the words that were right."""
        return self.harmed / self.words if self.words else 0.0


def sentences(pieces: Iterable[str], count: int, seed: int = 0) -> list[str]:
    """Sentences of 5 to 40 words drawn from a text: what stands in one line between full stops and their like.

    Raises:
        DataError: there are fewer.
    """
    found = [
        sentence.strip()
        for line in "".join(pieces).splitlines()
        for sentence in _BORDER.split(line)
        if _FEWEST <= len(sentence.split()) <= _MOST and WORD.search(sentence)
    ]
    if len(found) < count:
        raise DataError("the text has too few sentences", expected=f"{count} of 5 to 40 words", got=str(len(found)))
    return random.Random(seed).sample(found, count)


def misspell(sentence: str, source: random.Random) -> Misspelt:
    """A sentence with one random edit: in a word of at least two letters, each equally likely, a letter is left out,
    two neighbours are exchanged, a letter is changed, or one is put in, each equally likely, at a random place, with a
    random letter from a to z (a capital for a capital).

    Raises:
        DataError: there is no such word.
    """
    words = [word for word in WORD.finditer(sentence) if len(word.group()) > 1]
    if not words:
        raise DataError("a sentence has no word of two letters", got=sentence[:60])
    chosen = source.choice(words)
    word = made = chosen.group()
    while made == word:
        made = _edited(word, source)
    return Misspelt(sentence, sentence[: chosen.start()] + made + sentence[chosen.end() :], chosen.start())


def _edited(word: str, source: random.Random) -> str:
    """A word with one edit, which may have changed nothing."""
    kind, letter = source.randrange(4), source.choice(_ALPHABET)
    at = source.randrange(len(word) - (kind == 1) + (kind == 3))
    left, right = word[:at], word[at:]
    if kind == 0:
        return left + right[1:]
    if kind == 1:
        return left + right[1] + right[0] + right[2:]
    if kind == 2:
        return left + (letter.upper() if right[0].isupper() else letter) + right[1:]
    return left + letter + right


def try_corrector(
    corrector: Corrector, given: Sequence[Misspelt], progress: Callable[[int, int], None] | None = None
) -> CorrectionScore:
    """What a corrector makes of sentences, each for itself."""
    corrected = changed = words = harmed = 0
    for done, each in enumerate(given):
        right, wrong = list(fragments([each.right])), list(fragments([each.wrong]))
        made = [out for out, _ in corrector.correct(wrong)]
        for meant, written, out in zip(right, wrong, made, strict=True):
            if meant.run == written.run:
                words += bool(WORD.search(meant.run))
                harmed += out != meant.space + meant.run
            else:
                corrected += out == meant.space + meant.run
                changed += out not in (meant.space + meant.run, written.space + written.run)
        if progress is not None:
            progress(done + 1, len(given))
    return CorrectionScore(len(given), corrected, changed, words, harmed)
