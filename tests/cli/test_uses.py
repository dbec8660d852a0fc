"""Commands for what a language model is good for."""

from __future__ import annotations

import json
import os
import pty
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Unrolled = Callable[..., Any]


# ---- suggestions


def test_suggestions_for_a_text_and_for_lines(unrolled: Unrolled, trained: Path) -> None:
    result = unrolled("suggest", trained, "the old s", "--count", "2")
    assert result.status == 0
    assert len(result.out.split()) == 4
    lines = unrolled("suggest", trained, "--json", "--count", "2", stdin=b"the old s\nthe \n").out.splitlines()
    first, second = map(json.loads, lines)
    assert first["text"] == "the old s"
    assert [each["word"] for each in first["suggestions"]] == result.out.split()[::2]
    assert all(each["word"] == "s" + each["rest"] for each in first["suggestions"])
    assert second["text"] == "the "
    assert unrolled("suggest", trained, "-", stdin=b"a\nb\n").out.count("\n") == 2


def test_wrong_input_for_suggestions(unrolled: Unrolled, trained: Path) -> None:
    result = unrolled("suggest", trained, stdin=b"abc\n\xff\n")
    assert result.status == 2
    assert "standard input is not UTF-8\n  where: line 2, byte 0" in result.err
    assert unrolled("suggest", trained, "the", "--count", "0").status == 2
    assert unrolled("suggest", "nowhere", "the").status == 2


def test_suggestions_key_by_key(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unrolled.cli import uses
    from unrolled.verbs.suggesting import Suggester
    from unrolled.verbs.using import open_run

    suggester = Suggester(open_run(trained), count=2)
    suggester.suggest("the old ")
    master, slave = pty.openpty()
    seen = b""

    def read() -> None:
        nonlocal seen
        try:
            while piece := os.read(master, 1024):
                seen += piece
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(slave, "r+b", buffering=0) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(sys, "stdout", os.fdopen(os.dup(slave), "w"))
        monkeypatch.setattr(os, "get_terminal_size", lambda: os.terminal_size((80, 24)))

        def press() -> None:
            for key in (b"the olx", b"\x7f", b"\x1b[A", b"\t", b"\x04"):
                time.sleep(0.1)
                os.write(master, key)

        keys = threading.Thread(target=press)
        keys.start()
        uses._type(suggester)
        keys.join()
        sys.stdout.close()
    reader.join()
    os.close(master)
    (best, *_) = suggester.suggest("the ol")
    assert f"the {best.word} " in seen.decode().rpartition("\x1b[0J")[2]


# ---- correction


def test_a_text_is_corrected(unrolled: Unrolled, trained: Path) -> None:
    Path("text").write_text("the olld sea rose,\nadn fell.\n")
    plain = unrolled("correct", trained, "text", "--min-count", "2", "--novelty", "12")
    assert plain.status == 0
    assert plain.out == "the old sea rose,\nand fell.\n"
    found = json.loads(
        unrolled("correct", trained, "-", "--json", "--novelty", "12", stdin=Path("text").read_bytes()).out
    )
    assert found["text"] == plain.out
    assert [(edit["before"], edit["after"]) for edit in found["edits"]] == [("olld", "old"), ("adn", "and")]
    assert all(0.5 <= edit["p"] <= 1 for edit in found["edits"])
    Path("words").write_text("olld adn sea rose fell the\n" * 5)
    assert unrolled("correct", trained, "text", "--words", "words", "--novelty", "12").out == Path("text").read_text()


def test_a_trial_stands_beside_plain_frequencies(unrolled: Unrolled, trained: Path, corpus: Path) -> None:
    rows = json.loads(unrolled("correct", trained, corpus, "--trial", "4", "--json").out)["trial"]
    assert [row["by"] for row in rows] == ["model", "frequency"]
    assert all(row["sentences"] == 4 for row in rows)
    assert "share corrected" in unrolled("correct", trained, corpus, "--trial", "4").out


def test_a_trial_of_grammar(unrolled: Unrolled, trained: Path, corpus: Path) -> None:
    options = ("--trial", "3", "--errors", "grammar", "--grammar", "0.1", "--min-count", "1")
    rows = json.loads(unrolled("correct", trained, corpus, *options, "--json").out)["trial"]
    assert [row["by"] for row in rows] == ["model", "frequency"]
    assert all(sum(row[kind][1] for kind in ("another word", "left out", "put in")) == row["sentences"] for row in rows)
    assert "left out" in unrolled("correct", trained, corpus, *options).out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--trial", "2", "--errors", "grammar"), "a trial of grammar looks for slips"),
        (("--trial", "0"), "a trial needs sentences"),
        (("--trial", "99999"), "the text has too few sentences"),
        (("--spelling", "2"), "error rates are probabilities"),
        (("--words", "nowhere"), "there is no such file or directory"),
        (("--min-count", "99999"), "there are no words to correct with"),
    ],
)
def test_wrong_input_for_correction(
    unrolled: Unrolled, trained: Path, corpus: Path, options: tuple[str, ...], message: str
) -> None:
    result = unrolled("correct", trained, corpus, *options)
    assert result.status == 2
    assert message in result.err
