from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.compressed import SUFFIXES, decompress
from unrolled.data.configuration import TextConfig
from unrolled.data.store import SplitSources, prepare
from unrolled.data.text import CHUNK, find_sources, read_bytes, read_text
from unrolled.errors import ConfigurationError, DataError

zstandard = pytest.importorskip("zstandard")

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: bytes(zstandard.ZstdCompressor().compress(content)),
}
ALL = pytest.mark.parametrize("suffix", SUFFIXES)
SOME = random.Random(0).randbytes(300_000) + b"a" * 1_000_000


def read(content: bytes, suffix: str, size: int = 1 << 16) -> list[bytes]:
    return list(decompress(io.BytesIO(content), Path(f"a{suffix}"), size))


def test_every_suffix_is_tested() -> None:
    assert set(COMPRESS) == set(SUFFIXES)


@given(st.sampled_from(SUFFIXES), st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.integers(1, 60))
def test_what_was_compressed_comes_back(suffix: str, parts: list[bytes], size: int) -> None:
    """Of one stream or several, in pieces that are not too long."""
    found = read(b"".join(map(COMPRESS[suffix], parts)), suffix, size)
    assert b"".join(found) == b"".join(parts)
    assert all(0 < len(piece) <= size for piece in found)


@ALL
def test_a_long_content_comes_in_pieces(suffix: str) -> None:
    found = read(COMPRESS[suffix](SOME) + COMPRESS[suffix](SOME), suffix)
    assert b"".join(found) == SOME * 2
    assert max(map(len, found)) <= 1 << 16


@ALL
def test_nul_after_the_last_stream_is_passed_over(suffix: str) -> None:
    assert b"".join(read(COMPRESS[suffix](b"abc") + bytes(100), suffix)) == b"abc"


@ALL
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9999])
def test_a_file_that_is_cut_short(suffix: str, share: float) -> None:
    whole = COMPRESS[suffix](SOME)
    with pytest.raises(DataError, match=rf"a\{suffix} is damaged.*\n.*\n  expected: a whole \{suffix} file"):
        read(whole[: int(len(whole) * share)], suffix)
    with pytest.raises(DataError, match="is damaged"):
        read(whole + whole[:-1], suffix)


@ALL
@pytest.mark.parametrize("content", [b"just text\n" * 100, b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd\xff"])
def test_a_file_that_is_something_else(suffix: str, content: bytes) -> None:
    with pytest.raises(DataError, match="is damaged, or not compressed as its name says"):
        read(content, suffix)
    with pytest.raises(DataError, match="is damaged"):
        read(COMPRESS[suffix](b"abc") + content, suffix)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_a_byte_that_is_wrong(suffix: str) -> None:
    whole = bytearray(COMPRESS[suffix](SOME))
    whole[len(whole) // 2] ^= 0x55
    with pytest.raises(DataError, match="is damaged"):
        read(bytes(whole), suffix)


def test_a_bomb_is_read_in_pieces() -> None:
    """A hundred megabytes of nothing; only a little is held at a time."""
    packer, packed = zlib.compressobj(9, wbits=31), b""
    for _ in range(100):
        packed += packer.compress(bytes(1 << 20))
    packed += packer.flush()
    pieces = decompress(io.BytesIO(packed), Path("a.gz"), 1 << 16)
    assert max(map(len, pieces)) <= 1 << 16


def test_zstandard_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigurationError, match="pip install zstandard"):
        read(COMPRESS[".zst"](b"abc"), ".zst")


TEXT = "Es war einmal — mitten im Winter.\n" * 5000


@ALL
def test_a_compressed_text_is_the_text(tmp_path: Path, suffix: str) -> None:
    plain, packed = tmp_path / "a.txt", tmp_path / f"a.txt{suffix}"
    plain.write_text(TEXT, encoding="utf-8", newline="")
    packed.write_bytes(COMPRESS[suffix](TEXT.encode()))
    told: list[tuple[int, int, str]] = []

    def store(path: Path) -> Any:
        sources = SplitSources.find([str(path)])
        return prepare(sources, TextConfig(), cache=tmp_path, progress=lambda *report: told.append(report))

    first = store(plain)
    told.clear()
    second = store(packed)
    assert second.fingerprint == first.fingerprint
    assert second.tokens.tolist() == first.tokens.tolist()
    second.verify_sources()
    size = packed.stat().st_size
    assert {total for _, total, _ in told} == {size}
    assert told[-1] == (size, size, "encoding")
    assert [done for done, _, phase in told if phase == "counting"][-1] == size


def test_directories_and_globs_find_compressed_text(tmp_path: Path) -> None:
    for name, content in {"a.txt": b"a\n", "b.txt.gz": gzip.compress(b"b\n"), "c.gz": gzip.compress(b"c\0")}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "d.txt.xz").write_bytes(lzma.compress(b""))
    found = find_sources([str(tmp_path)])
    assert [(source.path.name, "".join(read_text(source))) for source in found] == [
        ("a.txt", "a\n"),
        ("b.txt.gz", "b\n"),
    ]
    assert [source.path.name for source in find_sources([f"{tmp_path}/*.gz"])] == ["b.txt.gz"]


def test_what_is_wrong_with_a_compressed_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    for content, message in (
        (gzip.compress(b""), "the file is empty"),
        (b"not gzip", "a.txt.gz is damaged"),
        (gzip.compress(bytes(257) + b"ustar" + bytes(250)), "the file is an archive"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            find_sources([str(path)])
    path.write_bytes(gzip.compress(b"a" * CHUNK + b"\xff"))
    (source,) = find_sources([str(path)])
    with pytest.raises(DataError, match=f"byte offset {CHUNK}"):
        list(read_text(source))
    whole = gzip.compress(SOME)
    path.write_bytes(whole[: len(whole) - 9])
    (source,) = find_sources([str(path)])
    with pytest.raises(DataError, match=r"a.txt.gz is damaged.*\n  where: .*before byte \d+"):
        list(read_bytes(source))
