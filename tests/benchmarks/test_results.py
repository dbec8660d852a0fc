"""The file of results, the tables, and the command line around them."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from benchmarks import __main__ as program
from benchmarks import machine, results
from benchmarks.runner import Result
from unrolled.errors import DataError


def result(name: str = "train-a", **more: Any) -> Result:
    facts: dict[str, Any] = {
        "about": "training a", "unit": "char/s", "threads": 2, "target": 1.5, "measure": "rate", "agrees": True,
        "ours": 20_000.0, "peers": {"nn.LSTM": 10_000.0, "JAX": 5000.0}, "best_peer": "nn.LSTM", "ratio": 2.0,
        "of_limit": 0.25, "limit": 80_000.0, "limit_why": "products", "reached": True, "rounds": 7,
    }  # fmt: skip
    return Result(name, **(facts | more))


def shown(table: Table) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path, now = tmp_path / "deep" / "results.json", datetime.now().astimezone()
    both = [result(), result("train-b", agrees=None, ours=None, ratio=None)]
    results.save(path, both, now)
    content = results.load(path)
    assert content["works"] == both
    assert content["date"] == now.isoformat(timespec="seconds")
    assert content["machine"]["cores"] >= 1
    assert content["machine"]["versions"]["torch"]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    for number, text in enumerate(
        ("{}", "not JSON", '{"format": 99, "works": []}', '{"format": 1, "works": [{"a": 1}]}')
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        with pytest.raises(DataError, match="holds no results"):
            results.load(path)
    with pytest.raises(DataError, match="holds no results"):
        results.load(tmp_path / "none.json")


def test_the_file_is_named_after_the_time_and_the_processor() -> None:
    described = {"processor": "AMD EPYC(TM) 9R14 CPU @ 2.60GHz", "cores": 2}
    assert machine.slug(described) == "amd-epyc-9r14-2-cores"
    path = results.default_path(described, datetime(2026, 11, 21, 1, 2))
    assert path.name == "2026-11-21-0102-amd-epyc-9r14-2-cores.json"


def test_the_table_says_what_was_reached() -> None:
    memory = result("softmax", measure="memory", target=0.1, ratio=0.2, reached=False, of_limit=None, limit=None)
    absent = result("lengths", agrees=None, ours=None, peers={}, best_peer="", ratio=None, reached=None, of_limit=None)
    text = shown(results.table([result(), memory, absent, result("bad", agrees=False)]))
    lines = [line.split() for line in text.splitlines()]
    assert lines[1] == ["train-a", "yes", "20,000", "char/s", "10,000", "nn.LSTM", "2.00", "≥", "1.5", "yes", "25%"]
    assert lines[2][-6:] == ["nn.LSTM", "0.20", "≤", "0.1", "no", "–"]
    assert lines[3][:3] == ["lengths", "–", "–"]
    assert lines[4][1] == "NO"


def test_remarks_tell_what_the_table_has_no_room_for() -> None:
    (line,) = results.remarks([result(absent={"ORT": "not installed"}, note="a note")])
    assert line == "train-a: JAX 5,000; ORT: not installed; limit 80,000: products; a note"


def test_two_runs_side_by_side() -> None:
    text = shown(results.comparison([result(), result("gone")], [result(ours=30_000.0, ratio=2.5), result("new")]))
    assert "gone" not in text
    assert "new" not in text
    words = text.splitlines()[1].split()
    assert words == ["train-a", "20,000", "30,000", "char/s", "2.00", "2.50", "+25.0%"]


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(program, "run_apart", lambda work, rounds: result(work.name, rounds=rounds))
    earlier, later = tmp_path / "earlier.json", tmp_path / "later.json"
    assert program.main(["softmax-10000", "--json", "--out", str(earlier)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [work["name"] for work in printed] == ["softmax-10000", "softmax-10000-memory"]
    assert [work.name for work in results.load(earlier)["works"]] == ["softmax-10000", "softmax-10000-memory"]
    assert program.main(["softmax-10000", "--quick", "--out", str(later), "--compare", str(earlier)]) == 0
    text = capsys.readouterr().out
    assert "change of ratio" in text
    assert "no figure for anyone to rely on" in text


def test_disagreement_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "run_apart", lambda work, rounds: result(work.name, agrees=False))
    assert program.main(["min-char-rnn-float32", "--out", str(tmp_path / "out.json")]) == 1


def test_a_wrong_name_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["trian-lstm"]) == 2
    assert "there is no work 'trian-lstm'" in capsys.readouterr().err
    assert program.main(["--list"]) == 0
    assert "train-lstm-2x512-float32" in capsys.readouterr().out
