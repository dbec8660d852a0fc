"""Labelled examples: every format, every fault with its file and line, labels of every type."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from unrolled.data.labelled import (
    Labelled,
    duplicates,
    find_labels,
    known_labels,
    left_out,
    read_labelled,
    unread_files,
)
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.labelled_formats import FORMATS, find_format
from unrolled.data.text import find_sources
from unrolled.errors import ConfigurationError, DataError


def read(path: Path | list[Path], labelled: bool = True, **options: Any) -> Labelled:
    names = [str(name) for name in (path if isinstance(path, list) else [path])]
    return read_labelled(find_sources(names), LabelledConfig(**options), labelled=labelled)


def pairs(found: Labelled) -> list[tuple[Any, Any]]:
    return list(zip(found.inputs, found.labels, strict=True))


def fails(path: Path | list[Path], **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **options)
    return str(caught.value)


THREE = [("so good", "pos"), ('bad, "very"\nbad', "neg"), ("naïve", "pos")]


def as_csv(rows: list[tuple[Any, ...]], heading: tuple[str, ...] = ("text", "label")) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([heading, *rows])
    return out.getvalue()


def test_tables_of_each_kind_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(as_csv(THREE).encode())
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(as_csv(THREE).encode()))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"id": 1, "text": t, "label": y}) + "\n" for t, y in THREE))
    for name in ("a.csv", "a.csv.gz", "a.jsonl"):
        found = read(tmp_path / name)
        assert pairs(found) == THREE
    assert [read(tmp_path / "a.csv").where(at).rsplit(", ")[1] for at in range(3)] == ["line 2", "line 3", "line 5"]
    (tmp_path / "a.tsv").write_text('label\ttext\npos\tsay "so"\n')
    assert pairs(read(tmp_path / "a.tsv")) == [('say "so"', "pos")]


def test_tables_have_columns_of_any_name_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("stars,review\n5,fine\n1,awful\n")
    assert pairs(read(tmp_path / "a.csv", text="review", label="stars")) == [("fine", "5"), ("awful", "1")]
    (tmp_path / "b.txt").write_text("5,fine\n1,awful\n")
    options = {"format": "csv", "columns": "stars, review", "text": "review", "label": "stars"}
    assert pairs(read(tmp_path / "b.txt", **options)) == [("fine", "5"), ("awful", "1")]
    said = fails(tmp_path / "a.csv", text="reviews", label="stars")
    assert "no column 'reviews'" in said
    assert "did you mean 'review'?" in said
    assert "line 2" in said
    assert "--text" in said
    (tmp_path / "c.csv").write_text("text;label\nfine;1\n")
    assert "semicolons are read as text" in fails(tmp_path / "c.csv")
    # That a column is not there is never passed over.
    assert "did you mean 'stars'?" in fails(tmp_path / "a.csv", text="review", label="star", bad_rows="skip")


def test_a_folder_a_label(tmp_path: Path) -> None:
    for label, name, text in (("pos", "1.txt", "good\nfilm\n"), ("pos", "2.txt", "fine"), ("neg", "deep/1.txt", "bad")):
        path = tmp_path / "films" / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "films" / "README.txt").write_text("about these films")
    found = read(tmp_path / "films")
    assert sorted(pairs(found)) == [("bad", "neg"), ("fine", "pos"), ("good\nfilm", "pos")]
    assert found.where(0).endswith("neg/deep/1.txt")
    assert [Path(name).name for name in unread_files({"train": found})] == ["README.txt"]
    both = [tmp_path / "films" / "pos", tmp_path / "films" / "neg"]
    assert Counter(read(both).labels) == {"pos": 2, "neg": 1}


def test_a_file_a_label(tmp_path: Path) -> None:
    (tmp_path / "Russian.txt").write_text("Abakov\n\n  Belov  \r\n")
    (tmp_path / "Greek.txt").write_text("Antonopoulos")
    (tmp_path / "SOURCE.txt").write_text("taken from somewhere\n")
    found = read(tmp_path)
    assert pairs(found) == [("Antonopoulos", "Greek"), ("Abakov", "Russian"), ("Belov", "Russian")]
    assert found.where(2).endswith("Russian.txt, line 3")


def test_the_first_word_is_the_label(tmp_path: Path) -> None:
    path = tmp_path / "train.all"
    path.write_text("0 simplistic , silly\n\n1 a  stirring film\n")
    assert pairs(read(path)) == [("simplistic , silly", "0"), ("a  stirring film", "1")]
    path.write_text("__label__good __label__short fine\n__label__bad awful\n")
    assert pairs(read(path, target="labels")) == [("fine", ("good", "short")), ("awful", ("bad",))]
    path.write_text("ham\thello there\nspam\twin\n")
    assert pairs(read(path)) == [("hello there", "ham"), ("win", "spam")]
    path.write_text("0 fine\n1\n")
    said = fails(path)
    assert "the example is empty" in said
    assert "line 2" in said


def test_lines_to_predict_keep_their_places(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    path.write_text("one\n\n two \n")
    found = read(path, labelled=False, format="lines")
    assert found.inputs == ["one", "", "two"]
    assert found.lines == [1, 2, 3]
    # A table to predict needs no labels, and says those it has.
    table = tmp_path / "new.csv"
    table.write_text("text,label\nfine,\n,1\n")
    assert pairs(read(table, labelled=False)) == [("fine", None), ("", "1")]
    table.write_text("text\nfine\n")
    assert pairs(read(table, labelled=False)) == [("fine", None)]


def test_a_malformed_row_gives_file_and_line(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    for row, problem in (("only one field", "number of fields"), ('"a "quoted" text",1', "cannot be read as CSV")):
        table.write_text(f'text,label\n"two\nlines",0\n{row}\nfine,1\n')
        said = fails(table)
        assert problem in said
        assert "a.csv, line 4" in said
        left = read(table, bad_rows="skip")
        assert pairs(left) == [("two\nlines", "0"), ("fine", "1")]
        assert left.skipped == {"malformed": 1}
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"text": "a", "label": 1}\n{"text": "b", "label": \n{"text": "c", "label": 2}\n[1]\n')
    said = fails(lines)
    assert "not JSON" in said
    assert "a.jsonl, line 2" in said
    assert pairs(read(lines, bad_rows="skip")) == [("a", "1"), ("c", "2")]
    assert read(lines, bad_rows="skip").skipped == {"malformed": 2}


@pytest.mark.parametrize(
    ("text", "label", "problem", "reason"),
    [
        ("", 1, "the example is empty", "empty"),
        ("  \n", 1, "the example is empty", "empty"),
        (None, 1, "the example is empty", "empty"),
        (["a"], 1, "the text is not a text", "no text"),
        (True, 1, "the text is not a text", "no text"),
        ("a", None, "the label is missing", "no label"),
        ("a", " ", "the label is missing", "no label"),
        ("a", float("nan"), "the label is missing", "no label"),
        ("a", 1.5, "a number with a fraction", "no label"),
        ("a", ["x"], "the label is no label", "no label"),
        ("a", {"x": 1}, "the label is no label", "no label"),
    ],
)
def test_what_is_missing_or_of_another_type(tmp_path: Path, text: Any, label: Any, problem: str, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": "b", "label": 0}, {"text": text, "label": label}]
    path.write_text("\n".join(map(json.dumps, rows)))
    said = fails(path)
    assert problem in said
    assert "a.jsonl, line 2" in said
    found = read(path, bad_rows="skip")
    assert pairs(found) == [("b", "0")]
    assert found.skipped == {reason: 1}


def test_a_key_that_some_rows_leave_out_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": "b"}\n{"label": 2}\n')
    assert "the label is missing" in fails(path)
    assert read(path, bad_rows="skip").skipped == {"no label": 1, "empty": 1}


def test_labels_of_mixed_types_are_the_same_where_they_are_written_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    labels = [1, "1", 1.0, True, "true", False, -3, " 1 "]
    path.write_text("\n".join(json.dumps({"text": str(at), "label": label}) for at, label in enumerate(labels)))
    assert read(path).labels == ["1", "1", "1", "true", "true", "false", "-3", "1"]
    path.write_text('{"text": 1984, "label": "a"}\n{"text": 0.5, "label": "b"}')
    assert read(path).inputs == ["1984", "0.5"]


def test_several_labels_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\na,"x; y"\nb,\nc,y;\n')
    assert read(path, target="labels", separator=";").labels == [("x", "y"), (), ("y",)]
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": ["x", 2]}\n{"text": "b", "label": []}\n{"text": "c", "label": "x,y"}')
    assert read(path, target="labels").labels == [("2", "x"), (), ("x", "y")]
    path = tmp_path / "n.csv"
    path.write_text("text,label\na,1e3\nb,-2\n")
    assert read(path, target="number").labels == [1000.0, -2.0]
    for wrong, problem in (("", "missing"), ("many", "not a number"), ("inf", "not a number"), ("nan", "not a number")):
        path.write_text(f"text,label\na,1\nb,{wrong}\n")
        said = fails(path, target="number")
        assert problem in said
        assert "n.csv, line 3" in said


def test_nothing_to_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n")
    assert "there are no examples" in fails(path)
    path.write_text("text,label\n,1\n")
    assert "1 rows, all left out" in fails(path, bad_rows="skip")
    path.write_bytes(b"text,label\nol\xe9,1\n")
    said = fails(path)
    assert "byte offset 13" in said
    assert read(path, errors="replace").inputs == ["ol\ufffd"]


def test_labels_are_found_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train"
    path.write_text("10 a\n9 b\nx c\n9 d\n")
    config = LabelledConfig()
    train = read(path)
    assert find_labels(train, config) == ["9", "10", "x"]
    with pytest.raises(DataError, match="one label only"):
        find_labels(train.select([1, 3]), config)
    other = tmp_path / "test"
    other.write_text("9 e\nXX f\n")
    test = read(other)
    with pytest.raises(DataError, match="'XX' is none that the model is trained on") as caught:
        known_labels({"train": train, "test": test}, ["9", "10", "x"], config)
    assert "test, line 2" in str(caught.value)
    kept = known_labels({"train": train, "test": test}, ["9", "10", "x"], LabelledConfig(bad_rows="skip"))
    assert kept["test"].labels == ["9"]
    assert kept["test"].skipped == {"unknown label": 1}


def test_what_was_left_out_of_parts_that_were_read_together_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("text,label\na,x\nb,y\nc,x\nd,z\ne,\n")
    found, config = read(path, bad_rows="skip"), LabelledConfig(bad_rows="skip")
    parts = known_labels({"train": found.select([0, 1]), "test": found.select([2, 3])}, ["x", "y"], config)
    assert left_out(parts) == {"no label": 1, "unknown label": 1}
    assert left_out({"train": found.select([0]), "valid": read(path, bad_rows="skip")}) == {
        "no label": 2,
        "unknown label": 1,
    }


def test_texts_that_are_in_two_parts_are_counted() -> None:
    parts = {
        "train": Labelled(["a", "b", "a"], ["1", "2", "1"]),
        "valid": Labelled(["b", "c"], ["2", "2"]),
        "test": Labelled(["a", "a", "d"], ["1", "2", "1"]),
    }
    assert duplicates(parts) == {"valid": 1, "test": 2}  # type: ignore[arg-type]
    series = {part: Labelled([np.zeros((2, 3)), np.full((2, 3), at)], ["1", "2"]) for at, part in enumerate(parts)}
    assert duplicates(series) == {"valid": 1, "test": 1}  # type: ignore[arg-type]


def test_the_fingerprint_follows_from_inputs_and_labels_alone() -> None:
    one = Labelled(["a", "b"], ["1", "2"])
    assert one.fingerprint == Labelled(["a", "b"], ["1", "2"], lines=[7, 8]).fingerprint
    assert one.fingerprint != Labelled(["b", "a"], ["1", "2"]).fingerprint
    assert one.fingerprint != Labelled(["a", "b"], ["1", "1"]).fingerprint
    arrays = [Labelled([np.zeros(shape)], ["1"]).fingerprint for shape in ((2, 3), (3, 2))]
    assert arrays[0] != arrays[1]


def test_formats_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x\n")
    for kind in FORMATS:
        assert find_format(find_sources([str(path)]), LabelledConfig(format=kind.name)) is kind
    with pytest.raises(ConfigurationError, match="there is no format 'folder'") as caught:
        read(path, format="folder")
    assert "did you mean 'folders'?" in str(caught.value)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1).filter(str.strip),
            st.sampled_from("abc"),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_text_comes_through_csv_and_json(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.csv").write_bytes(as_csv(rows).encode())
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    expected = [(text.strip(), label) for text, label in rows]
    assert pairs(read(folder / "a.csv")) == expected
    assert pairs(read(folder / "a.jsonl")) == expected


def test_real_files(data_directory: Any) -> None:
    names = read(data_directory("names"))
    assert len(names) == 20_050
    assert len(set(names.labels)) == 18
    assert Counter(names.labels)["Russian"] == 9384
    sentences = read(data_directory("sentiment") / "stsa.binary.test")
    assert len(sentences) == 1821
    assert Counter(sentences.labels) == {"0": 912, "1": 909}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"target": "classes"}, "did you mean 'class'?"),
        ({"bad_rows": "drop"}, "bad_rows"),
        ({"max_length": 0}, "max_length"),
        ({"split": "80/20"}, "split is not three numbers"),
        ({"split_seed": -1}, "split_seed"),
        ({"hold_out": 100.0}, "hold_out"),
        ({"separator": ""}, "separator"),
        ({"unit": "char", "splitter": "rules"}, "splitter is for words"),
        ({"unit": "char", "vocabulary_size": 10}, "vocabulary_size"),
        ({"unit": "byte", "min_count": 2}, "min_count"),
        ({"min_count": 0}, "min_count"),
    ],
)
def test_options_that_are_wrong(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LabelledConfig(**wrong)
    assert said in str(caught.value)
