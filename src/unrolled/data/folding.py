"""Folding: a text without its typography, so that nothing but its letters can tell where it came from."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from unrolled.errors import ConfigurationError, nearest

__all__ = ["FOLDS", "Fold", "fold"]

Fold = Literal["none", "letters"]
FOLDS: tuple[Fold, ...] = get_args(Fold)
_OTHERS = re.compile(r"[\W\d_]+")


def fold(pieces: Iterable[str], how: Fold = "letters") -> Iterator[str]:
    """A text that comes in pieces, folded, in pieces.

    "letters" keeps letters and single spaces: compatibility forms are taken apart (Unicode's NFKD), accents are
    dropped, letters are lowered (case-folded: ß is ss), and every run of anything else, line ends too, is one space.
    None is left at the beginning or at the end. "none" changes nothing.

    >>> "".join(fold(["Enter ROMEO:\\n  It's 3 o'cl", "ock, na", "i\u0308ve fool!"]))
    'enter romeo it s o clock naive fool'

    Raises:
        ConfigurationError: there is no such folding.
    """
    if how not in FOLDS:
        raise ConfigurationError(f"unknown folding {how!r}", fix=nearest(how, FOLDS))
    return _letters(pieces) if how == "letters" else iter(pieces)


def _letters(pieces: Iterable[str]) -> Iterator[str]:
    # A space waits until a letter follows it: a run of what is no letter may go on in the next piece.
    waiting, begun = False, False
    for piece in pieces:
        text = _OTHERS.sub(" ", _plain(piece))
        if not text:
            continue
        waiting |= text[0] == " "
        words = text.strip(" ")
        if words:
            yield (" " if waiting and begun else "") + words
            waiting, begun = text[-1] == " ", True


def _plain(text: str) -> str:
    """Letters without accents and without case."""
    if text.isascii():
        return text.lower()
    # Folding case may bring back a form that is taken apart (U+0345 and its like), so that it is done twice.
    for _ in range(2):
        text = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c if c.isalpha() else " " for c in text if not unicodedata.category(c).startswith("M"))
