"""Cutting text into words.

White space separates, and a line end is a symbol of its own, `<eos>`. That is all that the splitter "spaces" does: it
is for text that was cut into words before, as the Penn Treebank and WikiText are. The splitter "rules" then cuts each
run of other characters on its own, the first of these that fits at each place, from left to right:

1. `<unk>` stays whole.
2. Single letters with points are one word: U.S., e.g.
3. A number with points, commas or colons inside is one word: 1,000.50, 12:30.
4. What stands before n't is a word, and so are n't, 's, 'm, 'd, 'll, 're, 've (with ' or ’): do|n't, she|'s.
5. Letters, digits and underscores, with hyphens between them, are one word: so-called, 3rd.
6. Anything else is one token, with what repeats it: ( ... -- !!

Where two of the tokens stood together, U+FFED marks the side on which one of them was attached: of the second, if it
is none of 2, 3 and 5, else of the first. So the text can be put together again: ("See the (small) dogs." is cut into
See the (￭ small ￭) dogs ￭. and a comma inside quotes knows its side.) What is lost is which white space there was and
how much of it; U+FFED itself is read as U+25A0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from unrolled.data.vocabulary import UNKNOWN, WHITE_SPACE

__all__ = ["JOINT", "LINE_END", "PIECE", "cut_pieces", "raw_words", "split_word"]

LINE_END = "<eos>"
JOINT = "\uffed"
PIECE = 1 << 20  # characters
_INSTEAD = "\u25a0"
_LINE_END = LINE_END.encode()
_SPACES = re.compile(f"[{WHITE_SPACE.decode()}]")
_TOKEN = re.compile(
    rf"""(?P<whole> {UNKNOWN} | (?:[^\W\d_]\.){{2,}} | \d+(?:[.,:]\d+)+(?!\w) | \w+?(?=n['’]t(?!\w)) )
    | (?: n['’]t | ['’](?:s|m|d|ll|re|ve) )(?!\w)
    | (?P<word> \w+(?:-\w+)* )
    | ([^\w])\3*""",
    re.VERBOSE | re.IGNORECASE,
)


def raw_words(text: str) -> list[bytes]:
    """The runs of characters between white space, in UTF-8, and `<eos>` for each line end.

    >>> raw_words("to be\\nor not ")
    [b'to', b'be', b'<eos>', b'or', b'not']
    """
    return text.encode("utf-8", "surrogatepass").replace(b"\n", b" " + _LINE_END + b" ").split()


def split_word(word: str) -> list[str]:
    """A run without white space, cut by the rules.

    >>> split_word("(don't")
    ['(￭', 'do', "￭n't"]
    """
    if word == LINE_END:
        return [word]
    tokens: list[str] = []
    loose = False  # whether the token before can carry the mark
    for found in _TOKEN.finditer(word.replace(JOINT, _INSTEAD)):
        token = found.group()
        attached = found["whole"] is None and found["word"] is None
        if tokens and loose and not attached:
            tokens[-1] += JOINT
        elif tokens:
            token = JOINT + token
        tokens.append(token)
        loose = attached
    return tokens


def cut_pieces(texts: Iterable[str], size: int = PIECE) -> Iterator[str]:
    """A text that comes in pieces cut anywhere, in pieces of at most `size` characters cut between words.

    Each ends after a line end, or before white space where a line is too long, or anywhere where a word is. Where they
    end follows from the text alone.
    """
    held = ""
    for text in _then_end(texts):
        held = held + text if held else text
        at = 0
        while len(held) - at > size or (not text and at < len(held)):
            end = _border(held, at, size)
            yield held[at:end]
            at = end
        held = held[at:]


def _then_end(texts: Iterable[str]) -> Iterator[str]:
    yield from filter(None, texts)
    yield ""


def _border(text: str, start: int, size: int) -> int:
    """Where a piece that begins at `start` ends."""
    if len(text) - start <= size:
        return len(text)
    line = text.rfind("\n", start, start + size)
    if line >= 0:
        return line + 1
    # The last space that something other than a space stands before, so that a run of spaces is not cut.
    for at in range(start + size - 1, start, -1):
        if _SPACES.match(text[at]) and not _SPACES.match(text[at - 1]):
            return at
    return start + size
