"""Spans in sequences of tags: BIO, BIOES and the like.

A tag is O, outside of any span, or a prefix and a type, as B-LOC:

    BIO    B begins a span, I goes on with it (Ramshaw & Marcus 1995, as of CoNLL-2002)
    IOB1   I begins a span too; B only where one of the same type ends right before (as of CoNLL-2003)
    BIOES  E ends a span, S is one of a single word; L and U are read as these

Sequences that these do not allow are read as the script `conlleval` of the shared tasks does (Tjong Kim Sang &
De Meulder 2003): an I that follows O, or a tag of another type, begins a span.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["OUTSIDE", "Scheme", "Span", "allowed_pairs", "find_scheme", "find_spans", "split_tag"]

Scheme = Literal["bio", "iob1", "bioes"]
Span = tuple[int, int, str]
"""Where it begins, where it has ended, and its type."""

OUTSIDE = "O"
_SAME = {"L": "E", "U": "S"}


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag; a tag outside of spans has the prefix O and no type.

    >>> split_tag("B-LOC"), split_tag("U-PER-2"), split_tag("O")
    (('B', 'LOC'), ('S', 'PER-2'), ('O', ''))
    """
    prefix, _, kind = tag.partition("-")
    return _SAME.get(prefix, prefix), kind


def find_spans(tags: Iterable[str]) -> list[Span]:
    """The spans of a sequence, as `conlleval` finds them.

    >>> find_spans(["I-LOC", "I-LOC", "I-PER", "O", "B-PER", "B-PER"])
    [(0, 2, 'LOC'), (2, 3, 'PER'), (4, 5, 'PER'), (5, 6, 'PER')]
    """
    found: list[Span] = []
    begun: int | None = None
    before, kind_before, place = OUTSIDE, "", -1
    for place, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        if begun is not None and _ends(before, kind_before, prefix, kind):
            found.append((begun, place, kind_before))
            begun = None
        if begun is None and prefix != OUTSIDE:
            begun = place
        before, kind_before = prefix, kind
    if begun is not None:
        found.append((begun, place + 1, kind_before))
    return found


def _ends(before: str, kind_before: str, prefix: str, kind: str) -> bool:
    """Whether a span that the tag before is part of ends before this tag."""
    return before in ("E", "S") or prefix in ("O", "B", "S") or kind_before != kind


def find_scheme(sequences: Iterable[Sequence[str]]) -> Scheme | None:
    """The scheme that tags of the training part follow; None where they are no spans."""
    begins = begins_inside = outside = 0
    letters: set[str] = set()
    for tags in sequences:
        before = (OUTSIDE, "")
        for tag in tags:
            prefix, kind = split_tag(tag)
            if not (tag == OUTSIDE or (prefix in ("B", "I", "E", "S") and kind)):
                return None
            letters.add(prefix)
            outside += prefix == OUTSIDE
            if before[1] != kind:
                begins += prefix == "B"
                begins_inside += prefix == "I"
            before = (prefix, kind)
    if not letters & {"B", "I"} or not (outside or len(letters) > 1):
        return None
    if letters & {"E", "S"}:
        return "bioes"
    return "iob1" if begins_inside and not begins else "bio"


def allowed_pairs(tags: Sequence[str], scheme: Scheme | None) -> npt.NDArray[np.bool_]:
    """(C + 1, C + 1) which tag (row) may stand before which (column); the last row is what may begin a sequence, the
    last column what may end one. IOB1 allows nearly all, and is not restrained."""
    cut = [*map(split_tag, tags), (OUTSIDE, "")]
    if scheme in (None, "iob1"):
        return np.ones((len(cut), len(cut)), np.bool_)
    whole = scheme == "bioes"
    return np.array([[_may_follow(before, after, whole) for after in cut] for before in cut])


def _may_follow(before: tuple[str, str], after: tuple[str, str], whole: bool) -> bool:
    """Whether one tag may stand before another; `whole`: whether spans have ends that are marked."""
    inside = before[0] in ("B", "I")
    if after[0] in ("I", "E"):
        return inside and before[1] == after[1]
    return not (whole and inside)
