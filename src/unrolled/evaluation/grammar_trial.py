"""How good a corrector is at grammar: sentences with one slip each, and the same sentences untouched."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

from unrolled.data.lexicon import WORD
from unrolled.evaluation.correction import Corrector, Fragment, fragments
from unrolled.evaluation.grammar import FUNCTION, confusable

__all__ = ["KINDS", "GrammarScore", "Slipped", "slip", "try_grammar"]

KINDS = ("another word", "left out", "put in")


@dataclass(frozen=True)
class Slipped:
    """A sentence with one slip.

    Attributes:
        right: the sentence.
        wrong: with the slip.
        kind: one of `KINDS`.
    """

    right: str
    wrong: str
    kind: str


@dataclass(frozen=True)
class GrammarScore:
    """What a corrector made of sentences with one slip each, and of the same ones without.

    Attributes:
        sentences: how many.
        corrected: of those with a slip, how many became the sentence that was meant.
        changed: how many became something else.
        harmed: of those without, how many were changed.
        corrected_of: of each kind of slip, how many were put right, and how many there were.
    """

    sentences: int
    corrected: int
    changed: int
    harmed: int
    corrected_of: dict[str, tuple[int, int]] = field(default_factory=dict)


def slip(sentence: str, source: random.Random, lexicon: Container[str]) -> Slipped | None:
    """A sentence with one slip of a kind that is drawn among those that it allows; None where it allows none.

    Another word: a word that is taken for others (see `grammar.confusable`) is one of them. Left out: a small word,
    not the first. Put in: a small word, or the same word again, before one that is not the first.
    """
    found = list(fragments([sentence]))
    made = {
        "another word": [
            (at, other)
            for at, each in enumerate(found)
            if WORD.fullmatch(each.run)
            for other in sorted(confusable(each.run, lexicon))
        ],
        "left out": [(at, "") for at, each in enumerate(found) if at and each.run in FUNCTION],
        "put in": [
            (at, f"{source.choice((*FUNCTION, each.run))} {each.run}")
            for at, each in enumerate(found)
            if at and each.run.isalpha() and each.run.islower()
        ],
    }
    kinds = [kind for kind in KINDS if made[kind]]
    if not kinds:
        return None
    kind = source.choice(kinds)
    places = sorted({at for at, _ in made[kind]})
    at = source.choice(places)
    word = source.choice([word for place, word in made[kind] if place == at])
    if found[at].run[:1].isupper() and word:
        word = word[0].upper() + word[1:]
    changed = Fragment(found[at].at, found[at].space if word else "", word)
    wrong = "".join(each.space + each.run for each in [*found[:at], changed, *found[at + 1 :]])
    return Slipped(sentence, wrong, kind) if wrong != sentence else None


def try_grammar(
    corrector: Corrector, given: Sequence[Slipped], progress: Callable[[int, int], None] | None = None
) -> GrammarScore:
    """What a corrector makes of sentences, each for itself, with their slips and without."""
    corrected = changed = harmed = 0
    of = dict.fromkeys(KINDS, (0, 0))
    for done, each in enumerate(given):
        made, kept = (
            "".join(out for out, _ in corrector.correct(fragments([text]))) for text in (each.wrong, each.right)
        )
        good, total = of[each.kind]
        of[each.kind] = good + (made == each.right), total + 1
        corrected += made == each.right
        changed += made not in (each.right, each.wrong)
        harmed += kept != each.right
        if progress is not None:
            progress(done + 1, len(given))
    return GrammarScore(len(given), corrected, changed, harmed, of)
