from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from unrolled import files
from unrolled.errors import StorageError


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    files.write_atomically(path, b"old")
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644
    assert files.sha256(path) == hashlib.sha256(b"new").hexdigest()


@pytest.mark.parametrize("failing", ["fsync", "chmod", "replace"])
def test_a_failure_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    files.write_atomically(path, b"old")
    monkeypatch.setattr(os, failing, full)
    with pytest.raises(StorageError, match=f"writing {path} failed: No space left on device") as caught:
        files.write_atomically(path, b"new")
    assert caught.value.exit_status == 1
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="writing"):
        files.write_atomically(tmp_path / "file" / "below", b"")


def test_json_is_readable_by_people(tmp_path: Path) -> None:
    files.write_json(tmp_path / "file.json", {"text": "☃"})
    content = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert "☃" in content
    assert content.endswith("}\n")
    assert json.loads(content) == {"text": "☃"}


def test_where_prepared_data_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", "/mine")
    assert files.cache_directory() == Path("/mine")
    monkeypatch.delenv("UNROLLED_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert files.cache_directory() == Path("/xdg/unrolled")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert files.cache_directory() == Path("/home/me/.cache/unrolled")
