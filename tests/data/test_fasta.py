from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import hypothesis
import hypothesis.strategies as some
import pytest

from unrolled.data.alphabets import find_alphabet
from unrolled.data.fasta import Record, fasta_stem, is_fasta, read_fasta
from unrolled.data.text import find_sources
from unrolled.errors import DataError

DNA = find_alphabet("dna")


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Record]]:
    def of(text: str | bytes, name: str = "some.fa", alphabet: str = "dna") -> list[Record]:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        (source,) = find_sources([str(path)])
        return list(read_fasta(source, find_alphabet(alphabet)))

    return of


def test_sequences_over_several_lines_with_empty_ones_and_other_line_ends(read):
    records = read("\n>one the first label=EI\r\nACGT\r\n\r\nacgt\r\n>two\nN\n>three x=1\nGG\nC")
    assert [(record.name, DNA.decode(record.codes), record.line) for record in records] == [
        ("one", "ACGTACGT", 2),
        ("two", "N", 6),
        ("three", "GGC", 8),
    ]
    assert records[0].description == "the first label=EI"
    assert (records[0].field("label"), records[0].field("x"), records[2].field("x")) == ("EI", None, "1")
    assert records[1].where.endswith("some.fa, line 6")


@hypothesis.given(some.lists(some.text("ACGTN", min_size=1, max_size=99), min_size=1, max_size=5), some.integers(1, 70))
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], max_examples=30)
def test_what_is_written_comes_back_however_it_is_cut_into_lines(read, texts, width):
    lines = []
    for index, text in enumerate(texts):
        lines += [f">s{index}", *(text[at : at + width] for at in range(0, len(text), width))]
    assert [DNA.decode(record.codes) for record in read("\n".join(lines))] == texts


def test_compressed(read):
    (record,) = read(gzip.compress(b">a\nACGT\n" * 1), "some.fa.gz")
    assert DNA.decode(record.codes) == "ACGT"


def test_a_cut_file_is_said(read):
    whole = gzip.compress(b">a\n" + b"ACGTTGCA" * 5000)
    with pytest.raises(DataError, match="is damaged"):
        read(whole[: len(whole) // 2], "some.fa.gz")


def test_the_stop_of_a_protein_is_left_out(read):
    (record,) = read(">p\nMKV\nLA*\n", alphabet="protein")
    assert find_alphabet("protein").decode(record.codes) == "MKVLA"
    with pytest.raises(DataError, match="after the stop") as raised:
        read(">p\nMKV*\nLA*\n", alphabet="protein")
    assert "line 3" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "problem", "where"),
    [
        ("ACGT\n>a\nAC\n", "before the first header", "line 1"),
        (">a\nAC\nAXG\n", "is no letter", "line 3, letter 2"),
        (">a\n>b\nAC\n", "has no letter", "line 1"),
        (">a\nAC\n>b\n", "has no letter", "line 3"),
        (">\nAC\n", "has no name", "line 1"),
        ("@read\nACGT\n+\n!!!!\n", "before the first header", "line 1"),
    ],
)
def test_what_is_no_fasta_is_said_with_its_line(read, text, problem, where):
    with pytest.raises(DataError, match=problem) as raised:
        read(text)
    assert f"some.fa, {where}" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "stem"), [("a/pos.fa", "pos"), ("neg.fasta.gz", "neg"), ("x.y.FNA", "x.y"), ("plain", "plain")]
)
def test_a_class_is_called_like_its_file(tmp_path, name, stem):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    content = b"\n >a\nAC\n"
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (source,) = find_sources([str(path)])
    assert (fasta_stem(source), is_fasta(source)) == (stem, True)
    path.with_suffix(".csv").write_text("text,label\n")
    assert not is_fasta(find_sources([str(path.with_suffix(".csv"))])[0])
