from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from unrolled.data import standard_library
from unrolled.data.text import find_sources, read_text
from unrolled.errors import StorageError

ROOT = Path(sysconfig.get_paths()["stdlib"])


def test_the_library_is_taken_without_tests_and_packages() -> None:
    names = [path.relative_to(ROOT).as_posix() for path in standard_library.files()]
    assert names == sorted(names)
    assert {"abc.py", "json/decoder.py", "unittest/case.py"} <= set(names)
    parts = {part for name in names for part in name.split("/")}
    assert parts & {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"} == set()
    assert [name for name in names if "sysconfigdata" in name] == []


def test_the_text_is_all_of_it_in_order(tmp_path: Path) -> None:
    path = standard_library.write(tmp_path / "deeper/text.py")
    (source,) = find_sources([str(path)])
    text = "".join(read_text(source))
    assert 5e6 < len(text) < 20e6
    at = 0
    for file in standard_library.files():
        content = file.read_bytes().decode()
        found = text.find(content, at)
        assert found in (at, at + 1), file
        at = found + len(content)
    assert [path.name for path in path.parent.iterdir()] == ["text.py"]


def test_files_that_are_not_utf8_and_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {
        "a.py": b"a",
        "b.py": b"b\xff\n",
        "c.py": b"",
        "d.py": b"d\n",
        "e/f.py": "é".encode(),
        "test/g.py": b"g\n",
    }
    for name, content in contents.items():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path / "library")})
    assert standard_library.write(tmp_path / "text").read_bytes() == "a\nd\né\n".encode()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"writing .*file/text.py failed: "):
        standard_library.write(tmp_path / "file/text.py")
