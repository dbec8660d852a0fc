from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import store as store_module
from unrolled.data.configuration import TextConfig
from unrolled.data.store import PARTS, Part, SplitSources, Tokens, TokenStore, prepare
from unrolled.data.text import CHUNK
from unrolled.errors import ConfigurationError, DataError, StorageError

TEXT = "Es war einmal mitten im Winter, und die Schneeflocken fielen wie Federn vom Himmel — ❄.\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text(TEXT * 10, encoding="utf-8")
    return path


def prepared(*paths: Path, cache: Path | None = None, **options: Any) -> TokenStore:
    return prepare(SplitSources.find([str(path) for path in paths]), TextConfig(**options), cache=cache)


def text_of(store: TokenStore, tokens: Tokens) -> str:
    return store.vocabulary.decode(np.asarray(tokens.ids))


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_a_store_holds_the_text_and_its_split(source: Path, unit: str, tmp_path: Path) -> None:
    store = prepared(source, unit=unit, split="80/15/5", cache=tmp_path)
    text = TEXT * 10
    whole: Any = text if unit == "char" else text.encode()
    ends = [0, int(len(whole) * 0.8), int(len(whole) * 0.95), len(whole)]
    for part, start, end in zip(PARTS, ends, ends[1:], strict=False):
        assert store.vocabulary.encode(text).tolist()[start:end] == store.split(part).ids.tolist()
        assert (
            store.characters(part) == sum((value & 0xC0) != 0x80 for value in whole[start:end])
            if unit == "byte"
            else end - start
        )
    assert store.tokens.dtype == np.uint8
    train = np.bincount(np.asarray(store.split("train").ids), minlength=store.vocabulary.size)
    assert store.vocabulary.counts.tolist() == train.tolist()
    assert store.directory.parent == tmp_path / "tokens"
    assert isinstance(store.split("valid").ids, np.memmap)
    assert not store.tokens.flags.writeable


def test_meta(source: Path, tmp_path: Path) -> None:
    meta = prepared(source, cache=tmp_path).meta
    (entry,) = meta["sources"]
    assert entry["path"] == str(source)
    assert entry["bytes"] == source.stat().st_size
    assert meta["tokens"] == len(TEXT) * 10
    assert meta["options"] == {"unit": "char", "min_count": 1, "errors": "strict", "split": "90/5/5"}


def test_given_parts_follow_each_other(tmp_path: Path) -> None:
    paths = []
    for name, content in {"t1": "abc", "t2": "ab", "v": "cde", "x": "a"}.items():
        paths.append(tmp_path / name)
        paths[-1].write_text(content)
    t1, t2, v, x = map(str, paths)
    config = TextConfig(split="10/80/10")
    store = prepare(SplitSources.find(train=[t1, t2], valid=[v], test=[x]), config, cache=tmp_path)
    assert [text_of(store, store.split(part)) for part in PARTS] == ["abcab", "cde", "a"]
    assert [store.split(part).document_starts.tolist() for part in PARTS] == [[0, 3], [0], [0]]
    assert [store.characters(part) for part in PARTS] == [5, 3, 1]
    assert store.vocabulary.counts.tolist() == [2, 2, 1, 0, 0]
    # The percentages do not matter here.
    assert (
        prepare(SplitSources.find(train=[t1, t2], valid=[v], test=[x]), TextConfig(), cache=tmp_path).meta == store.meta
    )
    assert len(prepare(SplitSources.find(train=[t1]), config, cache=tmp_path).split("valid")) == 0


def test_document_starts_are_relative_to_their_part(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name * 5)
    (tmp_path / "b2.txt").write_bytes(b"\xef\xbb\xbf")  # a byte-order mark, and no text
    store = prepared(tmp_path, split="60/20/20", cache=tmp_path / "cache")
    assert [store.split(part).document_starts.tolist() for part in PARTS] == [[0, 5, 10, 10], [3], []]


def test_a_text_of_many_pieces_and_kinds(tmp_path: Path) -> None:
    """Pieces with and without characters beyond ASCII, and characters cut by the border of a piece."""
    text = (
        "a" * (CHUNK - 1)
        + "é" * CHUNK
        + "b" * (3 * CHUNK)
        + "😀" * 1000
        + "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    )
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    store = prepared(tmp_path / "a.txt", cache=tmp_path, split="50/25/25")
    assert store.tokens.dtype == np.uint16
    assert store.meta["dtype"] == "<u2"
    assert "".join(text_of(store, store.split(part)) for part in PARTS) == text


@pytest.mark.parametrize(("symbols", "dtype"), [(1, "|u1"), (256, "|u1"), (257, "<u2"), (65536, "<u2"), (65537, "<u4")])
def test_the_smallest_type_that_fits(tmp_path: Path, symbols: int, dtype: str) -> None:
    points = [point for point in range(1, symbols + 2050) if not 0xD800 <= point < 0xE000 and point != 0xFEFF][:symbols]
    text = "".join(map(chr, points)) * 2
    (tmp_path / "a.txt").write_bytes(text.encode())
    store = prepared(tmp_path / "a.txt", cache=tmp_path, split="100/0/0")
    assert (store.vocabulary.size, store.meta["dtype"]) == (symbols, dtype)
    assert text_of(store, store.split("train")) == text


def test_rare_characters_are_folded(source: Path, tmp_path: Path) -> None:
    source.write_text("abab" * 10 + "x", encoding="utf-8")
    store = prepared(source, cache=tmp_path, min_count=2, split="50/0/50")
    assert text_of(store, store.split("test"))[-2:] == "b\ufffd"
    assert store.vocabulary.counts.tolist() == [10, 10, 0]


def test_errors_replace(source: Path, tmp_path: Path) -> None:
    source.write_bytes(b"ab\xffab")
    with pytest.raises(DataError, match="byte offset 2"):
        prepared(source, cache=tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []
    store = prepared(source, cache=tmp_path, errors="replace", split="100/0/0")
    assert text_of(store, store.split("train")) == "ab\ufffdab"


def made_anew(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The stores that are written from now on."""
    written: list[Path] = []
    write = store_module._write

    def spy(directory: Path, *rest: Any) -> None:
        written.append(directory)
        write(directory, *rest)

    monkeypatch.setattr(store_module, "_write", spy)
    return written


def test_a_store_is_reused_until_something_changes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = made_anew(monkeypatch)
    first = prepared(source, cache=tmp_path)
    again = prepared(source, cache=tmp_path, documents="reset")
    assert (len(written), again.directory) == (1, first.directory)
    prepared(source, cache=tmp_path, split="80/10/10")
    prepared(source, cache=tmp_path, min_count=2)
    prepared(source, cache=tmp_path, unit="byte")
    prepared(source, cache=tmp_path, errors="replace")
    assert len(written) == 5
    status = source.stat()
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = prepared(source, cache=tmp_path)
    assert (len(written), touched.fingerprint) == (6, first.fingerprint)
    source.write_text(TEXT * 10 + "x", encoding="utf-8")
    assert prepared(source, cache=tmp_path).fingerprint != first.fingerprint
    assert len(written) == 7


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def set_meta(**values: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


DAMAGES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("tokens-00000.bin", cut_short, r"damaged\n  where: .*tokens-00000.bin\n  expected: 880 bytes\n  got: 878 bytes"),
    ("tokens-00000.bin", lambda path: path.write_bytes(b""), r"a shard .* is empty\n  where: .*tokens-00000.bin\n"),
    ("tokens-00000.bin", Path.unlink, "No such file"),
    ("documents.bin", cut_short, "documents.bin\n  expected: 8 bytes\n  got: 6 bytes"),
    ("vocabulary.json", cut_short, "JSONDecodeError"),
    ("vocabulary.json", lambda path: path.write_text("{}"), "not a vocabulary"),
    ("meta.json", cut_short, "JSONDecodeError"),
    ("meta.json", Path.unlink, "No such file"),
    ("meta.json", lambda path: path.write_text("[]"), "TypeError"),
    ("meta.json", lambda path: path.write_bytes(b"\xff"), "UnicodeDecodeError"),
    ("meta.json", set_meta(format=0), "all keys of format 2\n  got: format 0"),
    ("meta.json", set_meta(more=0), "all keys of format 2"),
    ("meta.json", set_meta(dtype="<f8"), "type '<f8'"),
    ("meta.json", set_meta(tokens="880"), "the token store is damaged"),
    ("meta.json", set_meta(shards=[]), r"ValueError: shards of \[\] tokens"),
    ("meta.json", set_meta(shards=[880, 1]), "No such file"),
    ("meta.json", set_meta(shards=[879]), r"a shard .* is damaged"),
    ("meta.json", set_meta(tokens=879), "shards of 879 tokens\n  got: 880"),
    ("meta.json", set_meta(splits={"train": [0, 9], "valid": [8, 9], "test": [9, 880]}), "three splits of all tokens"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_a_damaged_store_is_told_and_made_again(
    source: Path, tmp_path: Path, name: str, damage: Callable[[Path], Any], message: str
) -> None:
    store = prepared(source, cache=tmp_path)
    kept = {path.name: path.read_bytes() for path in store.directory.iterdir() if path.name != "meta.json"}
    damage(store.directory / name)
    with pytest.raises(DataError, match=message):
        TokenStore.open(store.directory)
    again = prepared(source, cache=tmp_path)
    assert kept == {path.name: path.read_bytes() for path in again.directory.iterdir() if path.name != "meta.json"}


def test_sources_can_be_verified(source: Path, tmp_path: Path) -> None:
    store = prepared(source, cache=tmp_path)
    store.verify_sources()
    source.write_text("x")
    with pytest.raises(DataError, match=r"a source of the text has changed .*\n  where: .*a.txt\n  expected: SHA-256"):
        store.verify_sources()
    source.unlink()
    with pytest.raises(DataError, match="a source of the text cannot be read: No such file"):
        store.verify_sources()


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"\xef\xbb\xbf", {}, "no character is left for the vocabulary\n  got: an empty text"),
        (b"\xef\xbb\xbf", {"unit": "byte"}, "no byte is left for the vocabulary"),
        (b"ab", {}, "the training part is too short\n  expected: at least 2 tokens\n  got: 1 of the 2 tokens of"),
        (b"abc", {"min_count": 2}, "the most frequent is seen 1 times\n  what to do: lower --min-count"),
    ],
)
def test_a_text_too_short(source: Path, tmp_path: Path, content: bytes, options: dict[str, Any], message: str) -> None:
    source.write_bytes(content)
    with pytest.raises(DataError, match=message):
        prepared(source, cache=tmp_path, **options)


def test_parts_and_a_text_at_once(source: Path) -> None:
    name = str(source)
    with pytest.raises(ConfigurationError, match="the text is given twice"):
        SplitSources.find([name], valid=[name])
    with pytest.raises(ConfigurationError, match="there is nothing to train on"):
        SplitSources.find(valid=[name])
    with pytest.raises(ConfigurationError, match="there is nothing to train on"):
        SplitSources.find()


def test_a_part_that_does_not_exist(source: Path, tmp_path: Path) -> None:
    part: Any = "dev"
    with pytest.raises(
        ConfigurationError, match="there is no such split\n  expected: train, valid, test\n  got: 'dev'"
    ):
        prepared(source, cache=tmp_path).split(part)


@pytest.mark.parametrize(
    ("unit", "phase"), [("char", "counting"), ("char", "encoding"), ("word", "counting"), ("subword", "counting")]
)
@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"zzz"), Path.unlink, lambda path: path.touch()])
def test_a_source_that_changes_while_it_is_read(
    source: Path, tmp_path: Path, unit: str, phase: str, change: Callable[[Path], Any]
) -> None:
    def meddle(done: int, total: int, now: str) -> None:
        if now == phase and done == total:
            os.utime(source, ns=(0, 0))
            change(source)

    with pytest.raises(DataError, match=r"changed while it was being read|cannot be read"):
        prepare(SplitSources.find([str(source)]), TextConfig(unit=unit), cache=tmp_path, progress=meddle)  # type: ignore[arg-type]
    assert list((tmp_path / "tokens").iterdir()) == []


def test_progress(source: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    source.write_bytes(b"a" * (2 * CHUNK + 1))
    prepare(
        SplitSources.find([str(source)]), TextConfig(), cache=tmp_path, progress=lambda *report: told.append(report)
    )
    sizes = [CHUNK, 2 * CHUNK, 2 * CHUNK + 1]
    assert told == [(done, sizes[-1], phase) for phase in ("counting", "encoding") for done in sizes]


def test_another_process_may_be_first(source: Path, tmp_path: Path) -> None:
    other: list[TokenStore] = []

    def race(done: int, total: int, phase: str) -> None:
        if phase == "encoding" and not other:
            other.append(prepared(source, cache=tmp_path))

    store = prepare(SplitSources.find([str(source)]), TextConfig(), cache=tmp_path, progress=race)
    assert store.meta == other[0].meta
    assert list((tmp_path / "tokens").iterdir()) == [store.directory]


def test_what_was_abandoned_is_removed(source: Path, tmp_path: Path) -> None:
    for name, age in {".writing-old": 25 * 3600, ".writing-young": 60}.items():
        (tmp_path / "tokens" / name).mkdir(parents=True)
        os.utime(tmp_path / "tokens" / name, (time.time() - age,) * 2)
    store = prepared(source, cache=tmp_path)
    assert {path.name for path in (tmp_path / "tokens").iterdir()} == {".writing-young", store.directory.name}


def test_a_full_disk(source: Path, tmp_path: Path) -> None:
    """A limit on the size of a file fails like a full disk; what is half written is removed."""
    source.write_bytes(b"a" * 200_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match=r"preparing .* failed: File too large"):
            prepared(source, cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "tokens").iterdir()) == []


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("abcdef")
    store = prepared(path, cache=tmp_path)
    store.verify_sources()
    assert Path(store.meta["sources"][0]["path"]) == path


@given(st.lists(st.text("ab\n", min_size=1, max_size=9), min_size=1, max_size=5), st.integers(1, 100))
def test_documents_and_parts_of_any_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], train: int
) -> None:
    directory = tmp_path_factory.mktemp("texts")
    paths = [directory / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    total = sum(map(len, texts))
    if total * train // 100 < 2:
        with pytest.raises(DataError, match="training part is too short"):
            prepared(*paths, cache=directory, split=f"{train}/{100 - train}/0")
        return
    store = prepared(*paths, cache=directory, split=f"{train}/{100 - train}/0")
    starts = np.cumsum([0, *map(len, texts[:-1])]).tolist()
    at = 0
    parts: tuple[Part, ...] = PARTS
    for part in parts:
        tokens = store.split(part)
        assert text_of(store, tokens) == "".join(texts)[at : at + len(tokens)]
        assert tokens.document_starts.tolist() == [start - at for start in starts if at <= start < at + len(tokens)]
        at += len(tokens)
    assert at == total
    shutil.rmtree(directory)


MEASURE = """
import sys
from pathlib import Path
from unrolled.data.configuration import TextConfig
from unrolled.data.store import SplitSources, prepare
assert "torch" not in sys.modules
prepare(SplitSources.find([sys.argv[1]]), TextConfig(unit=sys.argv[3]), cache=Path(sys.argv[2]), processes=1)
print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak memory of a process")
@pytest.mark.parametrize(("unit", "sizes"), [("char", (2, 40)), ("word", (4, 24))])
def test_memory_is_flat_however_large_the_text(unit: str, sizes: tuple[int, int], tmp_path: Path) -> None:
    """Peak memory of a process of its own, with characters beyond ASCII."""
    peaks = []
    for megabytes in sizes:
        path = tmp_path / f"{megabytes}.txt"
        path.write_text((TEXT * 1000) * (megabytes * 10**6 // (len(TEXT.encode()) * 1000)), encoding="utf-8")
        command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path), unit]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < 1.1 * peaks[0]
