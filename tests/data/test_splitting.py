from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.splitting import JOINT, cut_pieces, raw_words, split_word

SPACED = st.text("ab.,'-\"(3\n\t \r\x0bé…\u00a0" + JOINT, max_size=60)


@pytest.mark.parametrize(
    ("word", "tokens"),
    [
        ("(don't", ["(￭", "do", "￭n't"]),
        ("Don’t", ["Do", "￭n’t"]),
        ("she's", ["she", "￭'s"]),
        ("'s", ["'s"]),
        ("n't", ["n't"]),
        ('"Hello,"', ['"￭', "Hello", "￭,", '￭"']),
        ("U.S.", ["U.S."]),
        ("U.S.Army", ["U.S.", "￭Army"]),
        ("1,000.50", ["1,000.50"]),
        ("12:30.", ["12:30", "￭."]),
        ("1.5kg", ["1", "￭.￭", "5kg"]),
        ("3rd", ["3rd"]),
        ("so-called", ["so-called"]),
        ("word—word", ["word", "￭—￭", "word"]),
        ("...--!", ["...", "￭--", "￭!"]),
        ("O'Neill", ["O", "￭'￭", "Neill"]),
        ("<unk>,", ["<unk>", "￭,"]),
        ("<eos>", ["<eos>"]),
        ("naïve", ["naïve"]),
    ],
)
def test_the_rules(word: str, tokens: list[str]) -> None:
    assert split_word(word) == tokens


@given(st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp", "Cc", "Cs"]), min_size=1))
def test_the_tokens_of_a_run_are_the_run(word: str) -> None:
    """Every two neighbours carry one mark between them, and nothing is lost but the mark itself."""
    tokens = split_word(word)
    assert "".join(token.strip(JOINT) for token in tokens) == word.replace(JOINT, "\u25a0")
    for first, second in itertools.pairwise(tokens):
        assert first.endswith(JOINT) != second.startswith(JOINT)
    assert not tokens[0].startswith(JOINT)
    assert not tokens[-1].endswith(JOINT)


@given(SPACED)
def test_raw_words_are_what_white_space_of_ascii_leaves(text: str) -> None:
    expected = [word for line in text.split("\n") for word in [*line.encode().split(), b"<eos>"]][:-1]
    assert raw_words(text) == expected


@given(SPACED, st.lists(st.integers(1, 9), max_size=20), st.integers(1, 12))
def test_pieces_follow_from_the_text_alone(text: str, sizes: list[int], size: int) -> None:
    chunks, at = [], 0
    for length in [*sizes, len(text) + 1]:
        chunks.append(text[at : at + length])
        at += length
    pieces = list(cut_pieces(chunks, size))
    assert pieces == list(cut_pieces([text], size))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= size for piece in pieces)


@given(SPACED)
def test_words_are_not_cut(text: str) -> None:
    """Where every word and its white space fits into a piece."""
    pieces = cut_pieces([text], len(text) + 1)
    assert [word for piece in pieces for word in raw_words(piece)] == raw_words(text)
    lines = "".join(word[:3] + "  \n"[len(word) % 3] for word in text.split())
    assert [word for piece in cut_pieces([lines], 7) for word in raw_words(piece)] == raw_words(lines)
