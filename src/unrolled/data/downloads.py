"""Downloads: resumed where they broke off, believed only when their checksum is right.

A file is written to `NAME.part`, with what the server said of it in `NAME.part.json`; whoever asks for it again, after
a dropped connection or on another day, asks the server for the rest alone, and only if the file has not changed there
(RFC 9110, `Range` with `If-Range`). Nothing a server says of lengths is believed: the checksum decides.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unrolled import __version__
from unrolled.data.corpora import Digest
from unrolled.errors import ConfigurationError, DownloadError
from unrolled.files import storage_errors, write_json

__all__ = ["Download", "download", "matches"]

_PIECE = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte
_FRUITLESS = 4  # tries in a row that bring nothing
_TRIES = 100  # of one address
_FIX = "--address URL asks another place, --from DIR takes a copy you have"
_WORTH_A_TRY = {408, 425, 429, 500, 502, 503, 504}  # states of a server that pass

_Progress = Callable[[int, int], None]


def matches(path: Path, digest: Digest) -> bool:
    """Whether a file has a checksum."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: _function(digest)).hexdigest() == digest.hexadecimal


def _function(digest: Digest) -> hashlib._Hash:
    return hashlib.new(digest.kind, usedforsecurity=False)


def download(
    addresses: Sequence[str],
    path: Path,
    digest: Digest,
    *,
    size: int,
    progress: _Progress | None = None,
    pause: Callable[[float], None] = time.sleep,
    timeout: float = _TIMEOUT,
) -> str:
    """Download a file.

    Args:
        addresses: of http or https; the next is asked where one fails.
        path: where the file goes, once it is whole and right.
        digest: its checksum.
        size: bytes that it has, about; a server that sends more than twice as many is not listened to.
        progress: called with the bytes there are and the bytes there will be, as far as the server says.
        pause: waits so many seconds between two tries.
        timeout: seconds without a byte after which a connection is given up.

    Returns:
        the address that had it.

    Raises:
        DownloadError: none of the addresses gave the file; what had come of it is kept, unless it was wrong.
        ConfigurationError: an address is not of http or https.
        StorageError: the file cannot be written.
    """
    for address in addresses:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("this is no address", expected="http://... or https://...", got=address)
    with storage_errors(f"writing to {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    with _alone(path):
        for address in addresses:
            try:
                Download(address, path, digest, size, progress, pause, timeout).run()
                return address
            except DownloadError as error:
                failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise DownloadError(
        f"{path.name} could not be downloaded from any of its {len(failures)} addresses",
        got="; ".join(f"{error.where}: {error.problem if error.expected else error.got}" for error in failures),
        fix=failures[-1].fix,
    )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two that write to one file would spoil it. The lock ends with the process."""
    with storage_errors(f"writing to {path.parent}"):
        descriptor = os.open(path.parent / f".{path.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(
                f"{path.name} is being downloaded by another process", where=str(path.parent), fix="wait for that one"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


class _Passing(Exception):
    """Something that may be better at the next try."""


class Download:
    """One file from one address. See `download`."""

    def __init__(
        self,
        address: str,
        path: Path,
        digest: Digest,
        size: int,
        progress: _Progress | None,
        pause: Callable[[float], None],
        timeout: float,
    ) -> None:
        self.address, self.path, self.digest, self.size, self.most = address, path, digest, size, 2 * size
        self._part, self._notes = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
        self._progress, self._pause, self._timeout = progress, pause, timeout

    def run(self) -> None:
        """Try until the file is whole, then check it; what came in several pieces gets a second chance as one."""
        resumed = self._size() > 0
        pieces = self._gather()
        if (resumed or pieces > 1) and not matches(self._part, self.digest):
            self._forget()
            pieces = self._gather()
        if not matches(self._part, self.digest):
            wrong = self._wrong(pieces)
            self._forget()
            raise wrong
        with storage_errors(f"writing {self.path}"):
            os.replace(self._part, self.path)
            self._notes.unlink(missing_ok=True)

    def _gather(self) -> int:
        """Ask until all has come that the server has: in how many pieces it came."""
        fruitless = pieces = 0
        problem = ""
        for _ in range(_TRIES):
            before = self._size()
            try:
                pieces += 1
                self._ask()
                return pieces
            except _Passing as error:
                problem = str(error)
            fruitless = 0 if self._size() > before else fruitless + 1
            if fruitless and self._size() and matches(self._part, self.digest):
                return pieces  # only the length that was promised is wrong
            if fruitless == _FRUITLESS:
                break
            self._pause(0.5 * 2.0**fruitless)
        had = self._size()
        raise DownloadError(
            f"{self.path.name} could not be downloaded",
            got=f"{problem}, {fruitless} times in a row" if fruitless == _FRUITLESS else f"{problem}, again and again",
            where=self.address,
            fix=(f"try again: the {had:,} bytes that came are kept, and the rest is asked for; " if had else "") + _FIX,
        )

    def _ask(self) -> None:
        """One request, and all that comes of it.

        Raises:
            _Passing: something went wrong that may go well another time.
            DownloadError: the server will not give the file.
        """
        have, notes = self._size(), self._read_notes()
        headers = {"User-Agent": f"unrolled/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if notes.get("validator"):
                headers["If-Range"] = notes["validator"]
        request = urllib.request.Request(self.address, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                self._take(answer, have)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error, have)
        except urllib.error.URLError as error:
            raise _Passing(str(getattr(error.reason, "strerror", None) or error.reason)) from None
        except http.client.IncompleteRead:
            raise _Passing("the connection broke off") from None
        except (http.client.HTTPException, OSError) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise _Passing(f"the connection failed: {said}") from None

    def _refused(self, error: urllib.error.HTTPError, have: int) -> None:
        """What an error of the server means."""
        if error.code == 416 and have:
            # There is nothing beyond what we have: then we have all, or it is no part of this file.
            if matches(self._part, self.digest):
                return
            self._forget()
            raise _Passing("the server has no such part of the file")
        if error.code in _WORTH_A_TRY:
            raise _Passing(f"the server answers {error.code} {error.reason}")
        raise DownloadError(
            f"{self.path.name} could not be downloaded",
            got=f"the server answers {error.code} {error.reason}",
            where=self.address,
            fix=_FIX,
        )

    def _take(self, answer: http.client.HTTPResponse, have: int) -> None:
        """Write down what comes, from the byte on that the server says it is."""
        begin, total = 0, _number(answer.headers.get("Content-Length"))
        if answer.status == 206:
            said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range") or "")
            if said is None or int(said[1]) != have:
                self._forget()
                raise _Passing("the server sends another part of the file than it was asked for")
            begin, total = have, _number(said[3])
        elif answer.status != 200:
            raise _Passing(f"the server answers {answer.status}")
        if total is not None and total > self.most:
            raise self._too_much(f"{total:,}")
        if not begin:
            tag = answer.headers.get("ETag") or ""
            validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified")
            self._forget()
            write_json(self._notes, {"address": self.address, "validator": validator})
        with storage_errors(f"writing {self._part}"):
            file = self._part.open("ab")
        with file:
            done = begin
            while piece := answer.read1(_PIECE):
                done += len(piece)
                if done > self.most:
                    raise self._too_much(f"more than {done:,}")
                with storage_errors(f"writing {self._part}"):
                    file.write(piece)
                    file.flush()
                if self._progress is not None:
                    self._progress(done, total or self.size)
        if total is not None and done < total:
            raise _Passing(f"the connection ended after {done:,} of {total:,} bytes")

    def _too_much(self, got: str) -> DownloadError:
        self._forget()
        return DownloadError(
            f"{self.path.name} is larger than it can be: it was given up",
            expected=f"at most {self.most:,} bytes",
            got=f"{got} bytes",
            where=self.address,
            fix=_FIX,
        )

    def _wrong(self, pieces: int) -> DownloadError:
        """The error about a file with another checksum."""
        size = self._size()
        with self._part.open("rb") as file:
            head = file.read(1024).lstrip().lower()
            file.seek(0)
            found = hashlib.file_digest(file, lambda: _function(self.digest)).hexdigest()
        page = ", which is a web page" if head.startswith((b"<!doctype html", b"<html")) else ""
        return DownloadError(
            f"what came as {self.path.name} is not that file{page}: it was thrown away",
            expected=str(self.digest),
            got=f"{self.digest.kind} {found}, {size:,} bytes{f' in {pieces} pieces' if pieces > 1 else ''}",
            where=self.address,
            fix=_FIX,
        )

    def _size(self) -> int:
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0

    def _read_notes(self) -> dict[str, str]:
        """What the server said of the part that is there, if it was this one."""
        try:
            notes = json.loads(self._notes.read_text())
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) and notes.get("address") == self.address else {}

    def _forget(self) -> None:
        with storage_errors(f"writing {self._part}"):
            self._part.unlink(missing_ok=True)
            self._notes.unlink(missing_ok=True)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isascii() and text.strip().isdigit() else None
