"""Words that are taken for each other: what a writer may have meant where the spelling is right."""

from __future__ import annotations

from collections.abc import Container

__all__ = ["ARTICLES", "CONFUSED", "confusable"]

ARTICLES = ("a", "an", "the")

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
