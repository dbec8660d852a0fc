from __future__ import annotations

from pathlib import Path

import pytest

from unrolled.data.python_tokens import tag_source, write


def tags(source: str) -> dict[str, str]:
    """The tag of each name; of a name that stands twice the last."""
    return {word: tag for line in tag_source(source) for word, tag in line if word.isidentifier()}


def test_what_names_are() -> None:
    found = tags(
        "from os import path\n"
        "class Box(list):\n"
        "    def grow(self, by=one, *rest):\n"
        "        self.size = by.real + len(rest)\n"
        "        for index, item in self.items(key=by): print(index)\n"
        "        ä = 'ö'; über.maß(ä)\n"
    )
    assert found == {
        **{"from": "keyword", "import": "keyword", "os": "module", "path": "module"},
        **{"class": "keyword", "Box": "class", "list": "name", "def": "keyword", "grow": "function"},
        **{"self": "name", "by": "name", "one": "name", "rest": "name", "size": "attribute", "real": "attribute"},
        **{"len": "call", "for": "keyword", "in": "keyword", "index": "name", "item": "target", "items": "method"},
        **{"key": "argument", "print": "call", "ä": "name", "über": "name", "maß": "method"},
    }
    (line,) = tag_source("def f(a, b=1): pass")
    assert [tag for _, tag in line] == [
        *("keyword", "function", "operator", "parameter", "operator", "parameter"),
        *("operator", "number", "operator", "operator", "keyword"),
    ]


def test_strings_stay_on_their_line_and_comments_are_left_out() -> None:
    (line,) = tag_source("x = '''a\n\tb''' # why\n")
    assert line == [("x", "target"), ("=", "operator"), ("'''a  b'''", "string")]
    ((*_, (long, _)),) = tag_source("x = " + repr("y" * 100))
    assert len(long) == 24


def test_no_program() -> None:
    with pytest.raises(SyntaxError):
        tag_source("def def")


def test_the_same_lines_each_time(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, words=3000).read_text() for name in "ab")
    assert first == second
    words = [line.split("\t") for line in first.split("\n") if "\t" in line]
    assert len(words) >= 3000
    assert all(len(word) == 2 and word[0] and word[1].isalpha() for word in words)
