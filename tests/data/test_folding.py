from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.folding import fold
from unrolled.errors import ConfigurationError


def letters(text: str) -> str:
    return "".join(fold([text]))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("", ""),
        (" \n12!", ""),
        ("Don't stop -- NOW.", "don t stop now"),
        ("Crème Brûlée, 3€", "creme brulee"),
        ("Straße ﬁn ½x²", "strasse fin x"),
        ("snake_case", "snake case"),
        ("Ελλάς και Мир", "ελλασ και мир"),
    ],
)
def test_what_is_left_of_a_text(text: str, folded: str) -> None:
    assert letters(text) == folded


@given(st.text(max_size=40), st.integers(0, 40))
def test_letters_and_single_spaces_however_the_text_is_cut(text: str, at: int) -> None:
    found = letters(text)
    assert all(c.isalpha() or c == " " for c in found)
    assert "  " not in found
    assert found == found.strip()
    assert letters(found) == found
    assert "".join(fold([text[:at], text[at:]])) == found
    assert "".join(fold(text)) == found


def test_nothing_folded_and_no_such_folding() -> None:
    assert list(fold(["A", "b"], "none")) == ["A", "b"]
    with pytest.raises(ConfigurationError, match="unknown folding 'leters'"):
        fold([], "leters")  # type: ignore[arg-type]
