"""Keeping freed memory: asked for where the C library can, left alone where it cannot."""

from __future__ import annotations

import ctypes

import pytest

from unrolled.training.memory import keep_freed_memory


def test_the_c_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[int, int] = {}

    class Library:
        def __init__(self, name: str | None) -> None:
            self.mallopt = told.__setitem__

    monkeypatch.setattr(ctypes, "CDLL", Library)
    keep_freed_memory()
    assert told == {-4: 0, -1: 2**31 - 1, -2: 64 << 20}


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def missing(name: str | None) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    keep_freed_memory()
