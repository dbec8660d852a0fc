from __future__ import annotations

import io
import os
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import text as text_module
from unrolled.data.text import Source, decode, find_sources, read_text
from unrolled.errors import DataError, StorageError

SOURCE = Source(Path("/none/a.txt"), "a.txt", 0, 0)


def cut(content: bytes, borders: list[int]) -> list[bytes]:
    edges = [0, *sorted(border % (len(content) + 1) for border in borders), len(content)]
    return [content[first:last] for first, last in pairwise(edges)]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers(0), max_size=6), st.booleans())
def test_text_is_read_the_same_wherever_it_is_cut(text: str, borders: list[int], mark: bool) -> None:
    content = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    expected = text if mark else text.removeprefix("\ufeff")
    assert "".join(decode(cut(content, borders), SOURCE)) == expected


@given(st.binary(max_size=40), st.lists(st.integers(0), max_size=6))
def test_a_bad_byte_is_found_at_its_offset_wherever_the_text_is_cut(content: bytes, borders: list[int]) -> None:
    chunks = cut(content, borders)
    replaced = content.decode("utf-8", "replace").removeprefix("\ufeff")
    assert "".join(decode(chunks, SOURCE, "replace")) == replaced
    try:
        content.decode()
        bad = None
    except UnicodeDecodeError as error:
        bad = error.start
    if bad is None:
        assert "".join(decode(chunks, SOURCE)) == replaced
        return
    with pytest.raises(DataError) as caught:
        list(decode(chunks, SOURCE))
    assert caught.value.where == f"a.txt, byte offset {bad}"


@pytest.mark.parametrize("before", [0, 1, text_module.CHUNK - 1, text_module.CHUNK, 2 * text_module.CHUNK - 2])
def test_the_message_for_a_bad_byte_at_the_border_of_a_piece(tmp_path: Path, before: int) -> None:
    """E2 82 starts a character of three bytes; the x after it is what makes it bad, perhaps in the next piece."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"a" * before + b"\xe2\x82x" + b"b" * text_module.CHUNK)
    (source,) = find_sources([str(path)])
    with pytest.raises(DataError) as caught:
        list(read_text(source))
    assert str(caught.value).splitlines() == [
        f"{path} is not UTF-8",
        f"  where: {path}, byte offset {before}",
        "  expected: text in UTF-8",
        "  got: byte 0xe2 (invalid continuation byte)",
        "  what to do: convert the file (iconv -f latin1 -t utf-8), or read such bytes as U+FFFD with --errors replace",
    ]
    assert "".join(read_text(source, "replace")) == "a" * before + "\ufffdx" + "b" * text_module.CHUNK


def test_line_ends_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\rc\n")
    assert "".join(read_text(find_sources([str(tmp_path)])[0])) == "a\r\nb\rc\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with text at two depths, and all that is to be passed over."""
    for name, content in {
        "b.txt": b"b",
        "a/z.py": b"z",
        "a/empty.py": b"",
        "a/.hidden/h.txt": b"h",
        ".hidden.txt": b"h",
        "a.txt": b"a",
        "picture.png": b"\x89PNG\0\0",
        "late.txt": b"x" * 8192 + b"\0",
    }.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "tree/a/up").symlink_to(tmp_path / "tree")
    (tmp_path / "tree/a/self").symlink_to(tmp_path / "tree/a/self")
    (tmp_path / "tree/broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "tree/same.txt").symlink_to(tmp_path / "tree/b.txt")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "tree"


def names(*paths: str) -> list[str]:
    return [source.name for source in find_sources(paths)]


def test_a_directory_is_read_in_the_order_of_its_paths(tree: Path) -> None:
    assert names("tree") == names("tree/") == ["tree/a/z.py", "tree/a.txt", "tree/b.txt", "tree/late.txt"]
    assert find_sources(["tree"])[0].path == tree / "a/z.py"


def test_names_keep_their_order_and_each_file_is_taken_once(tree: Path) -> None:
    assert names("tree/b.txt", "tree", "./tree/b.txt", "tree/same.txt") == [
        "tree/b.txt",
        "tree/a/z.py",
        "tree/a.txt",
        "tree/late.txt",
    ]


def test_what_is_named_is_taken_hidden_or_not(tree: Path) -> None:
    assert names("tree/.hidden.txt", "tree/a/.hidden") == ["tree/.hidden.txt", "tree/a/.hidden/h.txt"]
    assert names("tree/picture.png") == ["tree/picture.png"]


def test_globs(tree: Path) -> None:
    assert names("tree/*.txt") == ["tree/a.txt", "tree/b.txt", "tree/late.txt"]
    assert names("tree/**/*.py") == ["tree/a/z.py"]
    every = {source.path for source in find_sources(["tree"])}
    assert {source.path for source in find_sources(["tree/*"])} == every
    assert {source.path for source in find_sources(["tree/**"])} == every
    assert names("tree/.*.txt", "tree/a/.*/*") == ["tree/.hidden.txt", "tree/a/.hidden/h.txt"]
    assert [source.path for source in find_sources([f"{tree}/a*.txt"])] == [tree / "a.txt"]
    (tree / "[1].txt").write_bytes(b"1")
    assert names("tree/[1].txt") == ["tree/[1].txt"]


def test_home(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    assert [source.path for source in find_sources(["~/a.txt", "~/b*.txt"])] == [tree / "a.txt", tree / "b.txt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tree/none.txt", "there is no such file or directory\n  where: tree/none.txt\n  what to do: check the path"),
        ("", "there is no such file or directory\n  where: an empty name"),
        ("~nobody-of-that-name/a", "there is no such file or directory"),
        ("tree/a/empty.py", "the file is empty\n  where: tree/a/empty.py"),
        ("tree/*.md", r"the glob finds no text\n  where: tree/\*.md"),
        ("tree/a/e*.py", "the glob finds no text"),
        ("tree/a.txt/b", "there is no such file or directory"),
        ("x" * 5000, "cannot be read: File name too long"),
    ],
)
def test_a_name_that_gives_no_text(tree: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_sources([name])


def test_a_directory_without_text(tree: Path) -> None:
    (tree / "none/deeper").mkdir(parents=True)
    (tree / "none/deeper/binary").write_bytes(b"\0")
    with pytest.raises(DataError, match="the directory has no text\n  where: tree/none\n  expected: at least one file"):
        find_sources(["tree/none"])


def test_no_names_at_all() -> None:
    with pytest.raises(DataError, match="no text was given"):
        find_sources([])


def test_a_file_that_went_away(tree: Path) -> None:
    (source,) = find_sources(["tree/a.txt"])
    source.path.unlink()
    with pytest.raises(DataError, match=r"tree/a\.txt cannot be read: No such file"):
        list(read_text(source))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(tree: Path) -> None:
    (tree / "a.txt").chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        find_sources(["tree"])


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input_is_kept_by_its_content(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    feed(monkeypatch, b"to be" * 100_000)
    (first,) = find_sources(["-"])
    feed(monkeypatch, b"to be" * 100_000)
    (again,) = find_sources(["-"])
    feed(monkeypatch, b"not to be")
    (other,) = find_sources(["-"])
    assert first == again
    assert first.path.parent == (cache / "stdin").resolve()
    assert "".join(read_text(first)) == "to be" * 100_000
    assert "".join(read_text(other)) == "not to be"
    assert [path.name for path in (cache / "stdin").iterdir() if path.suffix != ".txt"] == []


def test_standard_input_may_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"")
    with pytest.raises(DataError, match="standard input is empty"):
        find_sources(["-"])


def test_standard_input_that_cannot_be_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "file"))
    feed(monkeypatch, b"text")
    with pytest.raises(StorageError, match=r"copying standard input to .*/file/stdin failed"):
        find_sources(["-"])


def test_a_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"through a pipe",))
    writer.start()
    (source,) = find_sources([str(pipe)])
    writer.join()
    assert (source.name, "".join(read_text(source))) == (str(pipe), "through a pipe")
