"""`data get` and `data list`."""

from __future__ import annotations

import hashlib
import http.server
import json
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unrolled.data.corpora import CORPORA, Corpus, Digest, Member
from unrolled.verbs.corpora import get_corpus

Unrolled = Callable[..., Any]
PARTS = {"train": b"a b\n" * 300, "valid": b"b a\n" * 60, "test": b"b b\n" * 60}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `content`; as long as `held` is set it stands still half way."""

    content = b""
    held = threading.Event()
    ranges: list[str | None]

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}")
        self.send_header("Content-Length", str(len(self.content) - begin))
        self.end_headers()
        middle = max(begin, len(self.content) // 2)
        self.wfile.write(self.content[begin:middle])
        while self.held.is_set():
            time.sleep(0.01)
        self.wfile.write(self.content[middle:])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], str]]:
    """A function from what a server has to its address."""
    Handler.ranges = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *details: None  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def begin(content: bytes) -> str:
        Handler.content = content
        return f"http://127.0.0.1:{server.server_port}/file"

    yield begin
    Handler.held.clear()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Corpus, Path]:
    """A corpus of three small files, and its archive."""
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in PARTS.items():
            archive.writestr(f"small/{part}.txt", content)
        archive.writestr("small/README", "not wanted")
    members = tuple(Member(f"small/{part}.txt", f"{part}.txt", part, lines=PARTS[part].count(10)) for part in PARTS)  # type: ignore[arg-type]
    digest = Digest("sha256", hashlib.sha256(path.read_bytes()).hexdigest())
    corpus = Corpus("small", "for tests", ("http://127.0.0.1:9/",), "small.zip", digest, 2000, 2000, members, "char")
    monkeypatch.setitem(CORPORA, "small", corpus)
    return corpus, path


def test_a_corpus_comes_from_a_server(
    unrolled: Unrolled, small: tuple[Corpus, Path], serve: Callable[[bytes], str]
) -> None:
    address = serve(small[1].read_bytes())
    done = unrolled("data", "get", "small", "--address", address)
    assert done.status == 0
    command = done.out.splitlines()[-1].split()
    assert command[:3] == ["unrolled", "train", "lm"]
    assert [Path(command[command.index(f"--{part}") + 1]).read_bytes() for part in PARTS] == [*PARTS.values()]
    cache = small[1].parent / "cache"
    assert not list((cache / "downloads").iterdir())  # the archive is not kept
    assert {path.name for path in (cache / "corpora" / "small").iterdir()} == {
        *(f"{p}.txt" for p in PARTS),
        "corpus.json",
    }
    again = unrolled("data", "get", "small")  # its own address has nobody at it
    assert "(it was there)" in again.out
    assert len(Handler.ranges) == 1


def test_what_was_harmed_is_fetched_again(unrolled: Unrolled, small: tuple[Corpus, Path]) -> None:
    first = json.loads(unrolled("data", "get", "small", "--from", small[1], "--json").out)
    assert first["fresh"] is True
    assert [*first["files"].values()] == [*map(len, PARTS.values())]
    Path(first["directory"], "valid.txt").unlink()
    assert [row["directory"] for row in json.loads(unrolled("data", "list", "--json").out)["corpora"]][-1] is None
    assert json.loads(unrolled("data", "get", "small", "--from", small[1].parent, "--json").out) == first
    assert [row["directory"] for row in json.loads(unrolled("data", "list", "--json").out)["corpora"]][-1]


def test_the_files_themselves_will_do(unrolled: Unrolled, small: tuple[Corpus, Path], tmp_path: Path) -> None:
    for part, content in PARTS.items():
        (tmp_path / f"{part}.txt").write_bytes(content)
    small[1].unlink()
    done = unrolled("data", "get", "small", "--from", tmp_path)
    assert done.status == 0
    assert "no checksums are known of the single files" in done.err


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is not the archive of small"),
        (lambda path: path.unlink(), "small is not there"),
        (lambda path: (path.unlink(), path.parent.joinpath("train.txt").write_text("x")), "no small/valid.txt"),
    ],
)
def test_a_wrong_copy(
    unrolled: Unrolled, small: tuple[Corpus, Path], harm: Callable[[Path], Any], problem: str
) -> None:
    harm(small[1])
    done = unrolled("data", "get", "small", "--from", small[1].parent)
    assert done.status == 2
    assert problem in done.err
    assert [*(small[1].parent / "cache" / "corpora").iterdir()] == []


def test_files_of_another_version(
    unrolled: Unrolled, small: tuple[Corpus, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    members = (*small[0].members[:2], replace(small[0].members[2], lines=7))
    monkeypatch.setitem(CORPORA, "small", replace(small[0], members=members))
    done = unrolled("data", "get", "small", "--from", small[1])
    assert done.status == 2
    assert "expected: 7 lines" in done.err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("text9",), 2, "did you mean 'text8'?"),
        (("penn-treebank",), 2, "unrolled data get penn-treebank --from DIR"),
        (("penn-treebank", "--address", "http://127.0.0.1:9/"), 2, "its licence does not allow"),
        (("text8", "--from", "nowhere"), 2, "no such file or directory"),
        (("text8", "--from", ".", "--address", "http://127.0.0.1:9/"), 2, "exclude each other"),
        (("text8", "--address", "file:///etc/passwd"), 2, "this is no address"),
    ],
)
def test_what_cannot_be_got(unrolled: Unrolled, arguments: tuple[str, ...], status: int, said: str) -> None:
    done = unrolled("data", "get", *arguments)
    assert done.status == status
    assert said in done.err


def test_no_room(unrolled: Unrolled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2_000_000_000}))
    done = unrolled("data", "get", "one-billion-words")
    assert done.status == 1
    assert "expected: about 6.0 GB free" in done.err


def test_nobody_answers(small: tuple[Corpus, Path]) -> None:
    from unrolled.errors import DownloadError

    with pytest.raises(DownloadError, match="Connection refused"):
        get_corpus("small", pause=lambda seconds: None)


def test_the_list_names_every_corpus(unrolled: Unrolled) -> None:
    shown = unrolled("data", "list").out
    assert all(name in shown for name in CORPORA)


def test_penn_treebank_from_its_zip(
    unrolled: Unrolled, data_directory: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    done = json.loads(unrolled("data", "get", "penn-treebank", "--from", data_directory("ptb"), "--json").out)
    assert {Path(path).name: size for path, size in done["files"].items()} == {
        "ptb.train.txt": 5_101_618,
        "ptb.valid.txt": 399_782,
        "ptb.test.txt": 449_945,
    }


def test_a_download_that_was_killed_is_gone_on_with(
    start: Callable[..., Any], serve: Callable[[bytes], str], data_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    content = (data_directory("tinyshakespeare") / "input.txt").read_bytes()
    command = ("data", "get", "tinyshakespeare", "--address", serve(content))
    environment = {"UNROLLED_CACHE": str(tmp_path)}
    part = tmp_path / "downloads" / "tinyshakespeare" / "input.txt.part"
    Handler.held.set()
    process = start(*command, environment=environment)
    begun = time.monotonic()
    while not (part.exists() and part.stat().st_size == len(content) // 2):
        assert time.monotonic() - begun < 60
        time.sleep(0.01)
    process.kill(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    Handler.held.clear()
    assert start(*command, environment=environment).wait() == 0
    assert Handler.ranges == [None, f"bytes={len(content) // 2}-"]
    assert (tmp_path / "corpora" / "tinyshakespeare" / "input.txt").read_bytes() == content
