"""Rows of tables, against Python's own readers, and what is wrong with them."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.tables import Row, read_rows
from unrolled.data.text import find_sources
from unrolled.errors import ConfigurationError, DataError

_FIELDS = st.text(st.characters(exclude_characters="\r\x00", exclude_categories=["Cs"]), max_size=8)


def _rows(path: Path, **options: Any) -> list[Row]:
    return list(read_rows(find_sources([str(path)])[0], **options))


@given(st.lists(st.tuples(_FIELDS, _FIELDS), max_size=6))
def test_csv_of_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    path, file = tmp_path_factory.mktemp("csv") / "a.csv", io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerow(["text", "label"])
    writer.writerows(pairs)
    path.write_text(file.getvalue(), encoding="utf-8", newline="")
    assert [(row.get("text"), row.get("label")) for row in _rows(path)] == pairs


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.one_of(_FIELDS, st.integers(), st.none())), max_size=5))
def test_json_lines_come_back_compressed_or_not(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("jsonl")
    content = "\n\n".join(json.dumps(value, ensure_ascii=False) for value in [*values, {"last": 1}]).encode()
    (folder / "a.jsonl").write_bytes(content)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(content))
    assert [row.values for row in _rows(folder / "a.jsonl")] == [*values, {"last": 1}]
    assert [row.values for row in _rows(folder / "b.jsonl.gz")] == [*values, {"last": 1}]


def test_each_row_knows_its_line_though_fields_have_several(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"one\ntwo",1\n\nthree,2\n')
    assert [(row.line, row.get("label")) for row in _rows(path)] == [(2, "1"), (5, "2")]


def test_tabs_keep_quotation_marks(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('he said "no"\t1\n')
    assert _rows(path, columns=["text", "label"])[0].values == {"text": 'he said "no"', "label": "1"}


@pytest.mark.parametrize(
    ("name", "content", "line", "problem"),
    [
        ("a.csv", "text,label\na,1\nb\n", 3, "another number of fields"),
        ("a.csv", 'text,label\na,1\n"b,2\nc,3\n', 3, "cannot be read as CSV"),
        ("a.csv", "text,text\na,1\n", 1, "two columns are called 'text'"),
        ("a.tsv", "text\tlabel\na\t1\t2\n", 2, "another number of fields"),
        ("a.jsonl", '{"a": 1}\n\n{"a": \n', 3, "not JSON"),
        ("a.jsonl", '{"a": 1}\n[1]\n', 2, "not a JSON object"),
    ],
)
def test_a_malformed_row_is_named_with_file_and_line(
    tmp_path: Path, name: str, content: str, line: int, problem: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=problem) as caught:
        _rows(path)
    assert caught.value.where == f"{path}, line {line}"


def test_what_is_asked_for_and_not_there_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,1\n")
    with pytest.raises(DataError, match="did you mean 'label'"):
        _rows(path)[0].get("labell")
    other = tmp_path / "a.dat"
    other.write_text("text,label\na,1\n")
    with pytest.raises(ConfigurationError, match="does not say its format"):
        _rows(other)
    assert _rows(other, kind="csv")[0].get("label") == "1"
