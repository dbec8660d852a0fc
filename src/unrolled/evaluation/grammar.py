"""Errors of grammar as minimal edits: a word that is taken for another, a small word too few, and one too many.

What the spelling does not show. Each edit has the probability that a writer makes it (see `Slips`), so that a language
model can say in context whether it is likelier that the sentence was meant so or that the writer slipped.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass

__all__ = ["CONFUSED", "FUNCTION", "Slips", "confusable"]

FUNCTION = (
    *("a", "an", "the", "to", "of", "in", "on", "at", "for", "with", "by", "from", "is", "are", "was", "were", "be"),
    *("been", "has", "have", "had", "do", "does", "did", "will", "would", "and", "that", "it", "as", "not"),
)
"""Small words that are left out, or put in."""

_SETS = (
    "its it's",
    "their there they're",
    "your you're",
    "whose who's",
    "to too two",
    "than then",
    "of off",
    "were where we're",
    "lose loose",
    "affect effect",
    "accept except",
    "advice advise",
    "quite quiet",
    "who whom",
    "which that",
    "passed past",
    "lead led",
    "principal principle",
    "weather whether",
    "threw through",
    "hear here",
    "knew new",
    "know now no",
    "right write",
    "by buy",
    "our are",
    "peace piece",
    "is are was were",
    "am is are",
    "has have had",
    "do does did",
    "this these",
    "that those",
    "doesn't don't didn't",
    "isn't aren't",
    "wasn't weren't",
    "hasn't haven't",
    "much many",
    "less fewer",
    "good well",
    "me I",
    "he him",
    "she her",
    "they them",
    "we us",
    "in on at",
    "for to",
    "a an the",
)

CONFUSED: dict[str, frozenset[str]] = {}
for _set in _SETS:
    for _word in _set.lower().split():
        CONFUSED[_word] = CONFUSED.get(_word, frozenset()) | frozenset(_set.split()) - {_word, _word.upper()}


def confusable(word: str, lexicon: Container[str]) -> frozenset[str]:
    """The words, in small letters but for I, that one may be taken for: of the sets of confusion above, and the word
    with or without the s of agreement, where that is a word of the lexicon.

    >>> [*confusable("walks", {"walk", "walks"})], [*confusable("try", {"tries"})], [*confusable("its", ())]
    (['walk'], ['tries'], ["it's"])
    """
    low = word.lower()
    near = {low + "s", low + "es", low.removesuffix("s"), low.removesuffix("es")}
    if low.endswith("y"):
        near.add(low[:-1] + "ies")
    if low.endswith("ies"):
        near.add(low[:-3] + "y")
    near = {other for other in near if len(other) > 2 and other != low and other in lexicon}
    return CONFUSED.get(low, frozenset()) | frozenset(near if len(low) > 2 else ())


@dataclass(frozen=True)
class Slips:
    """How often writers slip: with probability g at a word, each kind equally often.

    A word is written instead of the one that was meant, each of those that one is taken for being equally likely; a
    small word that was meant is left out; or one is put in that was not meant, each of `FUNCTION` equally likely, where
    also a word written twice counts.

    Attributes:
        rate: g.
    """

    rate: float

    def taken(self, others: int) -> float:
        """ln p of one particular word instead of the one that was meant, which is taken for so many others."""
        return math.log(self.rate / 3 / max(others, 1))

    @property
    def left_out(self) -> float:
        """ln p of leaving out a small word that was meant."""
        return math.log(self.rate / 3)

    @property
    def put_in(self) -> float:
        """ln p of putting in one particular small word."""
        return math.log(self.rate / 3 / len(FUNCTION))

    def around(self, run: str, before: str) -> dict[str, float]:
        """What a run of characters may stand for where a word is too few or too many, with ln p of the slip.

        Args:
            run: as it was written; it is left whole.
            before: the run before it.
        """
        found: dict[str, float] = {}
        if run in FUNCTION or (run.isalpha() and run.lower() == before.lower()):
            found[""] = self.put_in
        if run[:1].islower() or run == "I":
            found |= {f"{word} {run}": self.left_out for word in FUNCTION if word not in (run, before.lower())}
        return found
