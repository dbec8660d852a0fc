from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from unrolled.data import numbering, workers
from unrolled.data.configuration import TextConfig
from unrolled.data.store import SplitSources, prepare
from unrolled.errors import UnrolledError

PIECES = [(at, f"piece {at} of the sea\nwith \x00 and é and {'word ' * at}\n") for at in range(9)]


@pytest.mark.parametrize("unit", ["word", "subword"])
def test_processes_cut_as_one_does(unit: str, capfd: pytest.CaptureFixture[str]) -> None:
    alone = list(workers.cut_in_processes(unit, PIECES, 1))
    shared = list(workers.cut_in_processes(unit, PIECES, 3))
    for (tag, text), (found_tag, runs, places), (_, own_runs, own_places) in zip(PIECES, shared, alone, strict=True):
        assert found_tag == tag
        assert (runs, places.tolist()) == (own_runs, own_places.tolist())
        assert [runs[at] for at in places.tolist()] == workers.CUTS[unit](text)
    assert capfd.readouterr() == ("", "")  # a worker says nothing to the user


@pytest.mark.parametrize("unit", ["word", "subword"])
def test_a_store_does_not_depend_on_processes(unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    for at in range(3):
        (tmp_path / f"{at}.txt").write_text(f"file {at} of the old sea" + " and the pale moon\n" * 500)
        paths.append(str(tmp_path / f"{at}.txt"))
    stores = []
    for processes in (1, 3):
        monkeypatch.setattr(numbering, "_LARGE", 0)
        monkeypatch.setattr(numbering, "_cores", lambda processes=processes: processes)
        cache = tmp_path / str(processes)
        stores.append(prepare(SplitSources.find(paths), TextConfig(unit=unit), cache=cache))  # type: ignore[arg-type]
    first, second = stores
    np.testing.assert_array_equal(first.tokens, second.tokens)
    assert first.vocabulary.to_json() == second.vocabulary.to_json()
    assert {**first.meta, "seconds": 0} == {**second.meta, "seconds": 0}


def test_a_worker_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = workers._start
    monkeypatch.setattr(workers, "_start", lambda unit: started.append(start(unit)) or started[-1])

    def pieces() -> Iterator[tuple[int, str]]:
        for at in range(100):
            if at == 3:
                os.kill(started[1].pid, signal.SIGKILL)
            yield at, "a b c " * 1000

    with pytest.raises(UnrolledError, match=r"a process that prepared the text has ended.*\n  got: exit status -9"):
        list(workers.cut_in_processes("word", pieces(), 2))
    assert all(worker.returncode is not None for worker in started)


def test_an_error_in_the_text_ends_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = workers._start
    monkeypatch.setattr(workers, "_start", lambda unit: started.append(start(unit)) or started[-1])

    def pieces() -> Iterator[tuple[int, str]]:
        yield 0, "a b"
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        list(workers.cut_in_processes("word", pieces(), 2))
    assert all(worker.returncode is not None for worker in started)
