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
