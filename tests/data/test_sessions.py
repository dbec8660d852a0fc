"""Sessions, from tables of every kind, and made ones."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from unrolled.data.made_sessions import make_sessions
from unrolled.data.sessions import read_events, read_sequences, read_unfinished
from unrolled.data.text import find_sources
from unrolled.errors import ConfigurationError, DataError


def write(path: Path, text: str) -> list[object]:
    path.write_text(text)
    return list(find_sources([str(path)]))


def test_a_sequence_a_line(tmp_path: Path) -> None:
    assert read_sequences(write(tmp_path / "a.txt", "shoes  hat\n\nhat\n")).items == [("shoes", "hat"), ("hat",)]
    assert read_sequences(write(tmp_path / "b.txt", "Ada\nBo"), separator="").items == [("A", "d", "a"), ("B", "o")]


def test_a_sequence_a_row(tmp_path: Path) -> None:
    csv = write(tmp_path / "a.csv", 'who,what\n1,"shoes, red hat"\n2,hat\n')
    assert read_sequences(csv, "what", separator=",").items == [("shoes", "red hat"), ("hat",)]
    rows = [{"what": ["shoes", 7]}, {"what": "a b"}, {"what": []}]
    listed = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert read_sequences(listed, "what").items == [("shoes", "7"), ("a", "b")]


def test_an_event_a_row_in_the_order_of_time(tmp_path: Path) -> None:
    rows = "session,time,item\nb,2024-05-02T10:00,x\na,2024-05-01T10:02,second\na,2024-05-01T10:01,first\n"
    rows += "b,2024-05-02T10:00,y\nb,2024-05-02T09:59:59,w\n"
    found = read_events(write(tmp_path / "a.csv", rows), "session", "item", "time")
    assert found.items == [("w", "x", "y"), ("first", "second")]  # of equals as they stand
    assert found.begins[1] < found.begins[0]
    assert found.names == ["b", "a"]
    assert found.select([1]).names == ["a"]
    plain = read_events(write(tmp_path / "a.csv", rows), "session", "item")
    assert plain.items == [("x", "y", "w"), ("second", "first")]
    numbers = [{"session": 1, "item": 5, "time": 2}, {"session": 1, "item": 6, "time": 1.5}]
    listed = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in numbers))
    assert read_events(listed, "session", "item", "time").items == [("6", "5")]


def test_sequences_that_go_on_keep_their_lines(tmp_path: Path) -> None:
    lines = write(tmp_path / "a.txt", "shoes hat\n\nhat\n")
    assert list(read_unfinished(lines)) == [(1, ("shoes", "hat")), (2, ()), (3, ("hat",))]
    rows = write(tmp_path / "a.jsonl", '{"what": ["shoes", 7]}\n\n{"what": []}\n')
    assert list(read_unfinished(rows, "what")) == [(1, ("shoes", "7")), (3, ())]
    with pytest.raises(DataError, match="no column"):
        list(read_unfinished(rows, "which"))


def test_faults_are_told_with_their_line(tmp_path: Path) -> None:
    head = "session,time,item\n"
    for rows, message in (
        ("a,1,x\na,soon,y\n", "time cannot be read"),
        ("a,1,x\na,nan,y\n", "time cannot be read"),
        ("a,1,x\nb,2024-05-01,y\n", "numbers and dates are mixed"),
        ("a,2024-05-01,x\na,7,y\n", "numbers and dates are mixed"),
        ("a,1,x\na,2,\n", "item is missing"),
        ("a,1,x\n,2,y\n", "session is missing"),
        ("a,1,x\na,2\n", "number of fields"),
    ):
        with pytest.raises(DataError, match=message) as raised:
            read_events(write(tmp_path / "a.csv", head + rows), "session", "item", "time")
        assert "line 3" in str(raised.value)
    with pytest.raises(DataError, match="no column"):
        read_events(write(tmp_path / "a.csv", head + "a,1,x\n"), "session", "items")
    with pytest.raises(DataError, match="no sequences"):
        read_sequences(write(tmp_path / "a.txt", "\n \n"))
    with pytest.raises(DataError, match="which column"):
        read_sequences(write(tmp_path / "a.csv", head + "a,1,x\n"))
    with pytest.raises(DataError, match="no sequence"):
        read_sequences(write(tmp_path / "a.jsonl", '{"what": [1.5]}\n'), "what")


def test_made_sessions_are_what_they_are_said_to_be() -> None:
    made = make_sessions(2000, items=50, kinds=5, seed=3)
    assert made.items == make_sessions(2000, items=50, kinds=5, seed=3).items
    assert made.items != make_sessions(2000, items=50, kinds=5, seed=4).items
    assert all(2 <= len(items) <= 40 for items in made.items)
    again = [items[0] in items[2:] for items in made.items if len(items) > 8]
    assert sum(again) > 0.6 * len(again)
    counts = Counter(item for items in made.items for item in items)
    assert len(counts) == 50
    assert made.begins == sorted(made.begins)
    with pytest.raises(ConfigurationError):
        make_sessions(10, items=3, kinds=5)
