"""Downloads from a server on this machine that does everything wrong that servers do."""

from __future__ import annotations

import hashlib
import http.server
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unrolled.data.corpora import Digest
from unrolled.data.downloads import download, matches
from unrolled.errors import ConfigurationError, DownloadError, StorageError

CONTENT = random.Random(5).randbytes(300_001)
DIGEST = Digest("sha256", hashlib.sha256(CONTENT).hexdigest())

Answer = Callable[["Server", Any], None]


class Server:
    """Answers each request with the next of some ways to answer, and the rest with the last."""

    def __init__(self) -> None:
        self.content, self.tag = CONTENT, '"one"'
        self.answers: list[Answer] = []
        self.asked: list[dict[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append(dict(self.headers))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else (*outer.answers, well)[0]
                self.close_connection = True
                answer(outer, self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    def address(self, name: str = "corpus.bin") -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{name}"


def head(handler: Any, status: int, **headers: object) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()


def begin_of(server: Server, handler: Any) -> int:
    """The byte that is asked for, if the file is still the one that was begun."""
    same = handler.headers.get("If-Range") in (None, server.tag)
    asked = handler.headers.get("Range", "")
    return int(asked.removeprefix("bytes=").rstrip("-")) if asked and same else 0


def well(server: Server, handler: Any, until: int | None = None, length: int | None = None) -> None:
    begin, total = begin_of(server, handler), len(server.content)
    if begin >= total:
        head(handler, 416, Content_Range=f"bytes */{total}", Content_Length=0)
        return
    rest = server.content[begin:]
    if begin:
        headers = {"Content_Range": f"bytes {begin}-{total - 1}/{total}"}
        head(handler, 206, Content_Length=len(rest), ETag=server.tag, **headers)
    else:
        head(handler, 200, Content_Length=total if length is None else length, ETag=server.tag)
    handler.wfile.write(rest if until is None else rest[:until])


def drop_after(count: int) -> Answer:
    return lambda server, handler: well(server, handler, until=count)


def reset_after(count: int) -> Answer:
    def answer(server: Server, handler: Any) -> None:
        well(server, handler, until=count)
        handler.wfile.flush()
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        handler.connection.close()

    return answer


def status(number: int) -> Answer:
    return lambda server, handler: head(handler, number, Content_Length=0)


def ignore_ranges(server: Server, handler: Any) -> None:
    head(handler, 200, Content_Length=len(server.content))
    handler.wfile.write(server.content)


def another_part(server: Server, handler: Any) -> None:
    total = len(server.content)
    head(handler, 206, Content_Range=f"bytes 7-{total - 1}/{total}", Content_Length=total - 7)
    handler.wfile.write(server.content[7:])


def say_more(server: Server, handler: Any) -> None:
    well(server, handler, length=len(server.content) + 1000)


def say_less(server: Server, handler: Any) -> None:
    well(server, handler, length=len(server.content) - 1000)


def say_nothing(server: Server, handler: Any) -> None:
    head(handler, 200)
    handler.wfile.write(server.content)


def garble(server: Server, handler: Any) -> None:
    handler.wfile.write(b"this is not HTTP\r\n\r\n")


def stall(server: Server, handler: Any) -> None:
    well(server, handler, until=1000)
    handler.wfile.flush()
    handler.connection.settimeout(5)
    handler.connection.recv(1)  # until the other end hangs up


def login(server: Server, handler: Any) -> None:
    page = b"<!DOCTYPE html><html>Please log in to the network</html>"
    head(handler, 200, Content_Length=len(page))
    handler.wfile.write(page)


def endless(server: Server, handler: Any) -> None:
    head(handler, 200)
    while True:
        handler.wfile.write(bytes(1 << 16))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.http.handle_error = lambda *details: None  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Callable[..., bytes]:
    """Downloads what the server has, after it was told how to answer."""

    def run(*answers: Answer, addresses: list[str] | None = None, size: int = 200_000, **more: Any) -> bytes:
        server.answers, server.asked = list(answers), []
        path = tmp_path / "here" / "corpus.bin"
        more = {"pause": lambda seconds: None, "timeout": 5.0, **more}
        download(addresses or [server.address()], path, DIGEST, size=size, **more)
        assert sorted(entry.name for entry in path.parent.iterdir()) == [".corpus.bin.lock", "corpus.bin"]
        return path.read_bytes()

    return run


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([], 1),
        ([drop_after(100_000), drop_after(1), drop_after(150_000), well], 4),
        ([reset_after(100_000), well], 2),
        ([drop_after(100_000), ignore_ranges], 2),
        ([drop_after(100_000), another_part, well], 3),
        ([status(503), status(429), status(500), well], 4),
        ([garble, drop_after(9), well], 3),
        ([say_nothing], 1),
        ([say_more], 2),
        ([say_more, ignore_ranges], 2),
        ([drop_after(70_000), status(416), well], 3),
        ([drop_after(70_000), login, well], 3),
    ],
)
def test_what_arrives_is_the_file(
    server: Server, fetch: Callable[..., bytes], answers: list[Answer], requests: int
) -> None:
    assert fetch(*answers) == CONTENT
    assert len(server.asked) == requests


def test_only_the_rest_is_asked_for(server: Server, fetch: Callable[..., bytes]) -> None:
    seen: list[tuple[int, int]] = []
    assert fetch(drop_after(100_000), well, progress=lambda done, total: seen.append((done, total))) == CONTENT
    assert "Range" not in server.asked[0]
    assert (server.asked[1]["Range"], server.asked[1]["If-Range"]) == ("bytes=100000-", '"one"')
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_server_that_is_slow_to_recover_is_waited_for(server: Server, fetch: Callable[..., bytes]) -> None:
    waited: list[float] = []
    assert fetch(status(503), status(503), status(503), well, pause=waited.append) == CONTENT
    assert waited == [1, 2, 4]


def test_a_connection_without_a_byte_is_given_up(server: Server, fetch: Callable[..., bytes]) -> None:
    assert fetch(stall, well, timeout=0.1) == CONTENT
    assert server.asked[1]["Range"] == "bytes=1000-"


def test_what_came_on_another_day_is_gone_on_with(server: Server, fetch: Callable[..., bytes]) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(drop_after(100_000), status(503))
    assert caught.value.got == "the server answers 503 Service Unavailable, 4 times in a row"
    assert "the 100,000 bytes that came are kept" in str(caught.value.fix)
    assert fetch() == CONTENT
    assert [asked["Range"] for asked in server.asked] == ["bytes=100000-"]


def test_a_file_that_changed_meanwhile_is_begun_again(server: Server, fetch: Callable[..., bytes]) -> None:
    server.content, server.tag = bytes(len(CONTENT)), '"zero"'
    with pytest.raises(DownloadError):
        fetch(drop_after(100_000), status(503))
    server.content, server.tag = CONTENT, '"one"'
    assert fetch() == CONTENT
    assert [asked["If-Range"] for asked in server.asked] == ['"zero"']


def test_a_file_that_changed_unnoticed_gets_a_second_chance(server: Server, fetch: Callable[..., bytes]) -> None:
    server.content = bytes(len(CONTENT))
    with pytest.raises(DownloadError):
        fetch(drop_after(100_000), status(503))
    server.content = CONTENT
    assert fetch() == CONTENT  # the halves do not fit, and all is asked for once more
    assert ["Range" in asked for asked in server.asked] == [True, False]


@pytest.mark.parametrize(
    ("answer", "problem", "got"),
    [
        (say_less, "is not that file", "299,001 bytes"),
        (login, "which is a web page", "56 bytes"),
        (status(404), "could not be downloaded", "the server answers 404 Not Found"),
        (status(403), "could not be downloaded", "the server answers 403 Forbidden"),
        (drop_after(0), "could not be downloaded", "ended after 0 of 300,001 bytes, 4 times in a row"),
        (garble, "could not be downloaded", "the connection failed"),
        (endless, "larger than it can be", "more than"),
    ],
)
def test_what_is_wrong_is_said_and_not_kept(
    server: Server, fetch: Callable[..., bytes], tmp_path: Path, answer: Answer, problem: str, got: str
) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(answer)
    assert problem in caught.value.problem
    assert got in str(caught.value.got)
    assert caught.value.where == server.address()
    assert "--from DIR" in str(caught.value.fix)
    assert not (tmp_path / "here" / "corpus.bin").exists()
    left = tmp_path / "here" / "corpus.bin.part"
    assert not left.exists() or left.stat().st_size == 0


def test_a_promise_of_too_much_is_not_listened_to(server: Server, fetch: Callable[..., bytes]) -> None:
    with pytest.raises(DownloadError, match="larger than it can be") as caught:
        fetch(well, size=100_000)
    assert (caught.value.expected, caught.value.got) == ("at most 200,000 bytes", "300,001 bytes")


def test_the_next_address_is_asked(server: Server, fetch: Callable[..., bytes]) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/corpus.bin"
    closed.close()
    assert fetch(addresses=[nobody, server.address()]) == CONTENT
    assert fetch(login, well, addresses=[server.address("a"), server.address("b")]) == CONTENT
    with pytest.raises(DownloadError) as caught:
        fetch(login, addresses=[nobody, server.address()])
    assert "any of its 2 addresses" in caught.value.problem
    assert "Connection refused, 4 times in a row" in str(caught.value.got)
    assert "which is a web page" in str(caught.value.got)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/a", "corpus.bin", "http://", ""])
def test_only_the_web_is_asked(fetch: Callable[..., bytes], address: str) -> None:
    with pytest.raises(ConfigurationError, match="this is no address"):
        fetch(addresses=[address])


def test_two_at_once_do_not_spoil_it(server: Server, fetch: Callable[..., bytes]) -> None:
    met: list[DownloadError] = []

    def meanwhile(serving: Server, handler: Any) -> None:
        with pytest.raises(DownloadError) as caught:
            fetch()
        met.append(caught.value)
        serving.answers = []
        well(serving, handler)

    assert fetch(meanwhile) == CONTENT
    assert "being downloaded by another process" in met[0].problem


def test_a_directory_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        download([server.address()], tmp_path / "file" / "corpus.bin", DIGEST, size=10)


def test_checksums(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert matches(tmp_path / "a", Digest("md5", "900150983cd24fb0d6963f7d28e17f72"))  # RFC 1321, A.5
    assert not matches(tmp_path / "a", Digest("md5", "00" * 16))
