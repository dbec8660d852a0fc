"""Archives that climb, lie, or are broken."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from unrolled.errors import DataError
from unrolled.files import unpack

Maker = Callable[..., Path]


def make_zip(path: Path, entries: dict[str, bytes], mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path: Path, entries: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content) if kind == tarfile.REGTYPE else 0, kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return path


both = pytest.mark.parametrize("make", [make_zip, make_tar])


@both
def test_what_is_kept_is_there(make: Maker, tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    archive = make(tmp_path / "a", {"./top/one.txt": content, "top/two.txt": b"2", "top/deep/three.txt": b""})
    seen: list[int] = []
    wanted = {"top/one.txt": "one.txt", "top/deep/three.txt": "sub/three.txt"}
    found = unpack(archive, tmp_path / "into", wanted.get, most=len(content), progress=seen.append)
    assert found == {name: tmp_path / "into" / kept for name, kept in wanted.items()}
    assert (tmp_path / "into" / "one.txt").read_bytes() == content
    assert (tmp_path / "into" / "sub" / "three.txt").read_bytes() == b""
    assert sum(path.is_file() for path in (tmp_path / "into").rglob("*")) == 2
    assert seen[-1] == len(content)


@both
@pytest.mark.parametrize("name", ["/etc/passwd", "../out", "a/../../out", "a\\..\\out"])
def test_a_name_that_climbs(make: Maker, tmp_path: Path, name: str) -> None:
    archive = make(tmp_path / "a", {name: b"x", "good": b"y"})
    with pytest.raises(DataError, match="not to be trusted"):
        unpack(archive, tmp_path / "into", lambda entry: entry, most=100)
    assert not (tmp_path / "out").exists()


def test_a_link_or_a_device(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with pytest.raises(DataError, match="is no regular file"):
            unpack(make_tar(tmp_path / "a", {"x": b""}, kind), tmp_path / "into", str, most=100)
    with pytest.raises(DataError, match="is no regular file"):
        unpack(make_zip(tmp_path / "b", {"x": b"/etc/passwd"}, stat.S_IFLNK), tmp_path / "into", str, most=100)
    assert not (tmp_path / "into" / "x").exists()


@both
def test_more_than_it_should_be(make: Maker, tmp_path: Path) -> None:
    """A small archive of a large file: not more than allowed is ever written."""
    archive = make(tmp_path / "a", {"x": bytes(50_000_000)})
    assert archive.stat().st_size < 100_000
    with pytest.raises(DataError, match="unpacks to more than it should"):
        unpack(archive, tmp_path / "into", str, most=3_000_000)
    assert (tmp_path / "into" / "x").stat().st_size <= 3_000_000


@both
def test_two_entries_for_one_place(make: Maker, tmp_path: Path) -> None:
    archive = make(tmp_path / "a", {"a/x": b"1", "b/x": b"2"})
    with pytest.raises(DataError, match="not to be trusted"):
        unpack(archive, tmp_path / "into", lambda name: "x", most=100)


@both
@pytest.mark.parametrize("cut", [0, 10, 0.5, -30])
def test_a_damaged_archive(make: Maker, tmp_path: Path, cut: float) -> None:
    archive = make(tmp_path / "a", {"x": bytes(range(256)) * 100})
    content = archive.read_bytes()
    archive.write_bytes(content[: int(cut if isinstance(cut, int) else cut * len(content))])
    with pytest.raises(DataError, match="is damaged, or no archive"):
        unpack(archive, tmp_path / "into", str, most=10**6)


def test_a_flipped_byte(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"x": bytes(range(256)) * 100})
    content = bytearray(archive.read_bytes())
    content[100] ^= 255
    archive.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        unpack(archive, tmp_path / "into", str, most=10**6)


def test_an_archive_with_a_password(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"x": b"secret"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        unpack(archive, tmp_path / "into", str, most=100)
