from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import RunError, StorageError
from unrolled.runs import Logs, Run, read_metrics
from unrolled.runs.logs import lengths, truncate_to


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "a", {}, {})


def test_every_line_is_there_at_once(run: Run) -> None:
    with Logs(run) as logs:
        logs.metrics({"step": 1, "loss": 1.5, "text": "☃\n"})
        assert read_metrics(run) == [{"step": 1, "loss": 1.5, "text": "☃\n"}]
        logs.sample("step 1", "to be\nor \ud800")
        assert (run.path / "samples.txt").read_text() == "=== step 1 ===\nto be\nor ?\n\n"
        assert lengths(run) == {name: (run.path / name).stat().st_size for name in ("metrics.jsonl", "samples.txt")}
    with Logs(run) as logs:
        logs.metrics({"step": 2})
    assert [record["step"] for record in read_metrics(run)] == [1, 2]


def test_a_number_that_is_not_finite_becomes_null(run: Run) -> None:
    with Logs(run) as logs:
        logs.metrics({"loss": math.nan, "norms": (1.0, math.inf), "inner": {"x": -math.inf}})
    assert read_metrics(run) == [{"loss": None, "norms": [1.0, None], "inner": {"x": None}}]


def test_no_logs(run: Run) -> None:
    assert read_metrics(run) == []
    assert lengths(run) == {"metrics.jsonl": 0, "samples.txt": 0}
    assert truncate_to(run, lengths(run)) == []


@pytest.mark.parametrize("size", [0, 3, 65535, 65536, 65537, 200_000])
def test_a_torn_last_line_is_not_read_and_is_cut_off_before_the_next(run: Run, size: int) -> None:
    with Logs(run) as logs:
        logs.metrics({"step": 1})
        logs.metrics({"step": 2})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"' + b"x" * size)
    assert read_metrics(run) == [{"step": 1}, {"step": 2}]
    with Logs(run) as logs:
        logs.metrics({"step": 3})
    assert read_metrics(run) == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_a_first_line_that_is_torn(run: Run) -> None:
    (run.path / "metrics.jsonl").write_bytes(b'{"st')
    with Logs(run) as logs:
        logs.metrics({"step": 1})
    assert read_metrics(run) == [{"step": 1}]


@pytest.mark.parametrize("line", ["{", "3", "\udcff"])
def test_a_damaged_line_within(run: Run, line: str) -> None:
    (run.path / "metrics.jsonl").write_bytes(f'{{"step": 1}}\n{line}\n'.encode(errors="surrogateescape"))
    with pytest.raises(RunError, match=r"metrics\.jsonl, line 2"):
        read_metrics(run)


@given(st.lists(st.text(), max_size=5), st.lists(st.text(), max_size=5))
def test_truncating_takes_back_exactly_what_came_after(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], after: list[str]
) -> None:
    run = Run.create(tmp_path_factory.mktemp("runs") / "a", {}, {})
    with Logs(run) as logs:
        for text in before:
            logs.metrics({"text": text})
            logs.sample("before", text)
        recorded = lengths(run)
        contents = [(run.path / name).read_bytes() for name in recorded]
        for text in after:
            logs.metrics({"text": text})
            logs.sample("after", text)
        assert truncate_to(run, recorded) == []
        assert [(run.path / name).read_bytes() for name in recorded] == contents
        logs.metrics({"last": True})
    assert read_metrics(run) == [*({"text": text} for text in before), {"last": True}]


def test_a_log_that_lost_its_tail_is_noted_and_kept(run: Run) -> None:
    with Logs(run) as logs:
        logs.metrics({"step": 1})
        logs.sample("step 1", "text")
    recorded = lengths(run)
    (run.path / "metrics.jsonl").unlink()
    notes = truncate_to(run, recorded)
    assert notes == [
        f"{run.path}/metrics.jsonl has 0 bytes where 12 were recorded: its tail is lost, the run goes on",
    ]


def test_a_full_disk_leaves_no_half_of_a_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with Logs(run) as logs:
        logs.metrics({"step": 1})
        file = logs._metrics._file

        class Full:
            """Takes five bytes, and then no more."""

            written = False

            def fileno(self) -> int:
                return file.fileno()

            def write(self, content: Any) -> int:
                if self.written:
                    raise OSError(errno.ENOSPC, "No space left on device")
                self.written = True
                return file.write(content[:5])

        monkeypatch.setattr(logs._metrics, "_file", Full())
        with pytest.raises(StorageError, match=r"writing .*metrics\.jsonl failed: No space left"):
            logs.metrics({"step": 2})
        monkeypatch.undo()
        assert (run.path / "metrics.jsonl").read_bytes() == b'{"step": 1}\n'
        logs.metrics({"step": 3})
    assert read_metrics(run) == [{"step": 1}, {"step": 3}]


def test_logs_that_cannot_be_opened(run: Run) -> None:
    (run.path / "samples.txt").mkdir()
    with pytest.raises(StorageError, match="opening the logs"):
        Logs(run)
