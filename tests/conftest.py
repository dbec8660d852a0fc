"""What every test shares: real data where there is any, one thread, a cache of its own, and how Hypothesis draws;
a text and a run trained on it, and processes of their own for the command line."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A slow moment of the machine is no failure. On a server the examples are the same each time.
hypothesis.settings.register_profile("unrolled", deadline=None)
hypothesis.settings.register_profile("unrolled-ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("unrolled-ci" if os.environ.get("CI") else "unrolled")


@pytest.fixture(scope="session", autouse=True)
def threads() -> Iterator[int]:
    """The number of threads PyTorch uses: `$UNROLLED_TEST_THREADS`, 1 if not set, PyTorch's own choice if 0."""
    import torch

    chosen = int(os.environ.get("UNROLLED_TEST_THREADS", "1"))
    with pytest.MonkeyPatch.context() as patch:
        if chosen:
            torch.set_num_threads(chosen)
            patch.setattr(os, "sched_getaffinity", lambda process: set(range(chosen)), raising=False)
        yield torch.get_num_threads()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache directory of the test run's own, so that no test finds or leaves anything in the user's."""
    path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLLED_CACHE", str(path))
        yield path


@pytest.fixture(scope="session")
def data_directory() -> Callable[[str], Path]:
    """A function from the name of a data set to its directory in `$UNROLLED_DATA`; the test is skipped without it."""

    def find(name: str) -> Path:
        root = os.environ.get("UNROLLED_DATA")
        if not root:
            pytest.skip("wants real data: UNROLLED_DATA does not name a directory of it")
        path = Path(root) / name
        if not path.is_dir():
            pytest.skip(f"wants real data: there is no {path}")
        return path

    return find


WORDS = ("the", "old", "sea", "rose", "and", "fell", "under", "a", "pale", "moon", "while", "ships", "slept")


@pytest.fixture(scope="session")
def make_text() -> Callable[[int, int], str]:
    """A function from a number of characters and a seed to that much text of words, sentences and lines."""

    def make(length: int, seed: int = 0) -> str:
        source, text = random.Random(seed), ""
        while len(text) < length:
            text += source.choice(WORDS) + source.choice((" ", " ", " ", ", ", ".\n"))
        return text[:length]

    return make


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, make_text: Callable[[int, int], str]) -> Path:
    """A file of 6,000 characters; not to be changed."""
    path = tmp_path_factory.mktemp("corpus") / "sea.txt"
    path.write_text(make_text(6000, 0))
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A run of an LSTM on `corpus`; not to be changed (copy it)."""
    from unrolled import train_lm

    options: dict[str, Any] = {"hidden_size": 16, "layers": 1, "batch": 4, "length": 16, "learning_rate": 0.02}
    path = tmp_path_factory.mktemp("runs") / "trained"
    train_lm([str(corpus)], run=path, steps=60, threads=1, precision="float32", sample_every=0, **options)
    return path


@dataclass(frozen=True)
class Started:
    """A command line that runs in a process of its own.

    Attributes:
        pid: the process.
        directory: where its standard output and error go, into files.
    """

    pid: int
    directory: Path
    _ask: Callable[[dict[str, Any]], int]

    def wait(self) -> int:
        """Its exit status; negative where a signal ended it."""
        return self._ask({"wait": self.pid})

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @property
    def stdout(self) -> str:
        return (self.directory / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.directory / "stderr").read_text()


# Imports once what takes seconds, and forks for every command. A child is a process like any other: it can be killed,
# interrupted and limited without harm to anyone else.
SERVER = """
import json, os, resource, signal, sys
import torch._dynamo  # which PyTorch imports with the first optimizer
import unrolled.cli.app, unrolled.cli.commands, unrolled.verbs.training, unrolled.verbs.using
from unrolled.cli import main

os.sched_getaffinity = lambda process: {0}  # one thread, here too
requests, answers, running = os.fdopen(int(sys.argv[1])), os.fdopen(int(sys.argv[2]), "w"), set()
for line in requests:
    asked = json.loads(line)
    if "wait" in asked:
        answer = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
        running.remove(asked["wait"])
    else:
        answer = os.fork()
        if not answer:
            for number, (name, mode) in enumerate(asked["files"]):
                os.dup2(os.open(name, mode, 0o644), number)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if asked["file_size"]:
                resource.setrlimit(resource.RLIMIT_FSIZE, (asked["file_size"], asked["file_size"]))
            os.environ.update(asked["environment"])
            os.chdir(asked["cwd"])
            status = 99
            try:
                main(asked["arguments"])
            except SystemExit as done:
                status = done.code
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        running.add(answer)
    print(answer, file=answers, flush=True)
for left in running:  # by a test that failed
    os.kill(left, signal.SIGKILL)
"""


@pytest.fixture(scope="session")
def server(cache: Path) -> Iterator[Callable[[dict[str, Any]], int]]:
    """Asks the process that forks."""
    ask_read, ask_write = os.pipe()
    answer_read, answer_write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(ask_read), str(answer_write)],
        pass_fds=(ask_read, answer_write),
        stdin=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    os.close(ask_read)
    os.close(answer_write)
    with os.fdopen(ask_write, "w") as requests, os.fdopen(answer_read) as answers:

        def ask(request: dict[str, Any]) -> int:
            print(json.dumps(request), file=requests, flush=True)
            return int(answers.readline())

        yield ask
    process.wait()


@pytest.fixture
def start(server: Callable[[dict[str, Any]], int], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Started]:
    """Starts `unrolled` with some arguments in a process of its own.

    Further arguments: `cwd`; `stdin`, a file; `terminal`, the path of one, for standard error; `file_size`, the most
    bytes that a file may come to have; `environment`, variables.
    """

    def begin(*arguments: str | Path, cwd: Path | None = None, stdin: Path | None = None, **more: Any) -> Started:
        directory = tmp_path_factory.mktemp("process")
        write = os.O_WRONLY | os.O_CREAT
        files = [
            (str(stdin or os.devnull), os.O_RDONLY),
            (str(directory / "stdout"), write),
            (str(more.get("terminal", directory / "stderr")), write),
        ]
        request = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd or directory),
            "files": files,
            "file_size": more.get("file_size"),
            "environment": more.get("environment", {}),
        }
        return Started(server(request), directory, server)

    return begin
