"""Tagged sentences in CoNLL columns and CoNLL-U."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.conll import Layout, Sentence, find_layout, parse_sentences, read_sentences
from unrolled.data.text import find_sources, read_lines, read_text
from unrolled.errors import ConfigurationError, DataError

CONLLU = """\
# newdoc id = one
# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tV\tMood=Imp\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\tD\t_\t5\tdet\t_\t_
4.1\tgran\tgrande\tADJ\t_\t_\t_\t_\t5:amod\t_
5\tmar\tmar\t_\tN\t_\t1\tobl\t_\tSpaceAfter=No

# text = #
1\t#\t#\tSYM\t_\t_\t0\troot\t_\t_

"""

COLUMNS = """\
-DOCSTART- -X- O O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

# NN I-NP O
"""


def written(tmp_path: Path, name: str, content: str | bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(path: str, **options: str) -> tuple[Layout, list[Sentence]]:
    (source,) = find_sources([path])
    layout = find_layout((line for _, line in read_lines(source)), source.name, **options)
    return layout, list(read_sentences(source, layout))


def test_conllu_knows_words_from_what_is_none(tmp_path: Path) -> None:
    layout, (first, second) = read(written(tmp_path, "a.conllu", CONLLU))
    assert first.tokens == ("Vamos", "nos", "a", "el", "mar")
    assert first.tags == ("VERB", "PRON", "ADP", "DET", None)
    assert (first.document, first.line) == (True, 4)
    assert (second.tokens, second.tags, second.document, second.line) == (("#",), ("SYM",), False, 13)
    assert "".join(one.written(layout) for one in (first, second)) == CONLLU
    tagged = first.written(layout, ["A", "B", "C", "D", "E"])
    assert "2\tnos\tnosotros\tB\tP\t_\t1\tobj\t_\t_\n" in tagged
    assert tagged.count("\n") == CONLLU.partition("\n\n")[0].count("\n") + 2
    assert "4.1\tgran\tgrande\tADJ" in tagged


@pytest.mark.parametrize(
    ("tag", "expected"), [("xpos", "V"), ("5", "V"), ("lemma", "ir"), ("-2", "_"), ("FEATS", "Mood=Imp")]
)
def test_columns_of_conllu_by_name_and_number(tmp_path: Path, tag: str, expected: str) -> None:
    _, (first, _) = read(written(tmp_path, "a.conllu", CONLLU), tag=tag)
    assert first.tags[0] == (None if expected == "_" else expected)


def test_conllu_plus_names_its_columns(tmp_path: Path) -> None:
    content = "# global.columns = ID FORM NER\n1\tBonn\tB-LOC\n\n"
    _, (only,) = read(written(tmp_path, "a.conllup", content), tag="ner")
    assert only.tags == ("B-LOC",)
    with pytest.raises(ConfigurationError, match="no column 'upos'"):
        read(written(tmp_path, "a.conllup", content))


def test_conllu_is_known_by_how_it_looks(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a.txt", CONLLU))[0].kind == "conllu"


def test_columns_separated_by_spaces(tmp_path: Path) -> None:
    layout, (first, second) = read(written(tmp_path, "a.txt", COLUMNS))
    assert (layout.kind, layout.tabs, layout.width) == ("columns", False, 4)
    assert (first.tokens, first.tags, first.document, first.line) == (("EU", "rejects"), ("B-ORG", "O"), True, 3)
    assert (second.tokens, second.tags, second.document) == (("#",), ("O",), False)
    assert "".join(one.written(layout) for one in (first, second)) == COLUMNS + "\n"
    _, (first, _) = read(written(tmp_path, "a.txt", COLUMNS), tag="2")
    assert first.tags == ("NNP", "VBZ")


def test_comments_and_prefixes_in_columns(tmp_path: Path) -> None:
    content = "# id 7 domain=en\nen:R.H.\tB-ORG\nen:#\tO\n\n\n\n# id 8\nen:en:\tO\n"
    layout, sentences = read(written(tmp_path, "a", content), prefix="en:")
    assert [one.tokens for one in sentences] == [("R.H.", "#"), ("en:",)]
    assert sentences[0].written(layout, ["X", "Y"]) == "# id 7 domain=en\nen:R.H.\tX\nen:#\tY\n\n"


def test_one_column_has_no_tags_and_gets_one(tmp_path: Path) -> None:
    layout, (only,) = read(written(tmp_path, "a", "one\ntwo\n"))
    assert (layout.tag, only.tags) == (None, ())
    assert only.written(layout, ["A", "B"]) == "one A\ntwo B\n\n"


def test_ends_of_lines_and_compression(tmp_path: Path) -> None:
    import gzip

    plain = read(written(tmp_path, "a.conllu", CONLLU))[1]
    assert [one.tokens for one in read(written(tmp_path, "b.conllu", CONLLU.replace("\n", "\r\n")))[1]] == [
        one.tokens for one in plain
    ]
    packed = gzip.compress(CONLLU.encode())
    assert [one.tags for one in read(written(tmp_path, "a.conllu.gz", packed))[1]] == [one.tags for one in plain]
    with pytest.raises(DataError, match=r"middle of its compressed data"):
        read(written(tmp_path, "cut.conllu.gz", packed[:-12]))


WRONG = {
    "a line that is cut off": (CONLLU.removesuffix("\t_\t_\n\n"), "another number of columns", "line 13"),
    "a word that is missing": (CONLLU.replace("2\tnos", "3\tnos"), "missing or out of place", "line 5"),
    "no end of a sentence": (CONLLU.replace("\n\n#", "\n#"), "another number of columns", "line 11"),
    "no number": (CONLLU.replace("\n2\t", "\nx\t"), "missing or out of place", "line 5"),
    "an empty word": ("a\tX\n\tY\n", "a word is empty", "line 2, column 1"),
    "an empty tag": ("a\tX\nb\t \n", "a tag is empty", "line 2, column 2"),
    "a column more": ("a X\nb c Y\nd Z\n", "another number of columns", "line 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, case: str) -> None:
    content, problem, line = WRONG[case]
    path = written(tmp_path, "a.txt", content)
    with pytest.raises(DataError, match=problem) as caught:
        read(path)
    assert caught.value.where == f"{path}, {line}"


@pytest.mark.parametrize(("tag", "fix"), [("upso", "'upos'"), ("11", "to 10"), ("0", "to 10"), ("-11", "to 10")])
def test_a_column_that_is_not_there(tmp_path: Path, tag: str, fix: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no column .*{tag}") as caught:
        read(written(tmp_path, "a.conllu", CONLLU), tag=tag)
    assert fix in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_file_without_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no words"):
        read(written(tmp_path, "a", "\n\n \n"))


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=4)
tagged = st.lists(st.lists(st.tuples(words, words), min_size=1, max_size=4), min_size=1, max_size=4)


@given(tagged)
def test_what_is_written_is_read(sentences: list[list[tuple[str, str]]]) -> None:
    layout = Layout("columns", True, 2, 0, 1)
    text = "".join("".join(f"{word}\t{tag}\n" for word, tag in one) + "\n" for one in sentences)
    found = list(parse_sentences(text.split("\n"), layout))
    if not any(word == "-DOCSTART-" for one in sentences for word, _ in one):
        assert [[*zip(one.tokens, one.tags, strict=True)] for one in found] == sentences
        assert "".join(one.written(layout) for one in found) == text
        assert "".join(one.written(layout, one.tags) for one in found) == text  # type: ignore[arg-type]


def test_english_web_treebank_is_written_as_it_was_read(data_directory: Callable[[str], Path]) -> None:
    path = str(data_directory("ud_ewt") / "en_ewt-ud-test.conllu.gz")
    layout, sentences = read(path)
    assert (len(sentences), sum(len(one.tokens) for one in sentences)) == (2077, 25094)
    assert "".join(one.written(layout) for one in sentences) == "".join(read_text(find_sources([path])[0]))
