from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.configuration import Splitter, TextConfig
from unrolled.data.splitting import raw_words
from unrolled.data.store import PARTS, SplitSources, TokenStore, prepare
from unrolled.data.vocabulary import Bytes, Characters, Unknown, Vocabulary
from unrolled.data.words import Words
from unrolled.errors import DataError

SPLITTERS = st.sampled_from(["spaces", "rules"])
TEXTS = st.lists(st.sampled_from(["the", "sea", "don't", "(sea)", "sea,", "1.5", "\n", "<unk>", "é"]), min_size=3).map(
    " ".join
)


def normal(text: str) -> str:
    """The text with one space between words and none at the ends of lines: what words keep of it."""
    return "\n".join(" ".join(line.split()) for line in text.split("\n"))


@given(TEXTS, SPLITTERS)
def test_a_known_text_comes_back_but_for_its_white_space(text: str, splitter: Splitter) -> None:
    vocabulary = Words.count([text], splitter=splitter)
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == normal(text)
    assert vocabulary.encode_known(text)[1] == []
    assert vocabulary.extent(text) == (vocabulary.characters(ids), vocabulary.words(ids))
    assert vocabulary.characters(ids) == len(normal(text))
    assert vocabulary.words(ids) == len(raw_words(text))


@given(TEXTS, SPLITTERS, st.lists(st.integers(1, 4), max_size=9))
def test_decoding_in_pieces_is_decoding_at_once(text: str, splitter: Splitter, sizes: list[int]) -> None:
    vocabulary = Words.count([text], splitter=splitter)
    ids = vocabulary.encode(text)
    at, fed = 0, ""
    for size in [*sizes, len(ids)]:
        fed += vocabulary.decoder(ids[:at]).feed(ids[at : at + size])
        at += size
    assert fed == vocabulary.decode(ids)


@given(TEXTS, st.integers(1, 4), st.integers(3, 6))
def test_the_vocabulary_is_the_most_frequent_words(text: str, min_count: int, size: int) -> None:
    text += "\n"  # with which there always is something left
    counts = Counter(text.replace("\n", " <eos> ").split(" "))
    del counts[""]
    vocabulary = Words.count([text], min_count, vocabulary_size=size)
    assert vocabulary.size <= size
    assert {"<eos>", "<unk>"} <= set(vocabulary.symbols)
    kept = set(vocabulary.symbols) - {"<eos>", "<unk>"}
    assert all(counts[word] >= min_count for word in kept)
    left = {word: count for word, count in counts.items() if word not in vocabulary.symbols and count >= min_count}
    if vocabulary.size < size:
        assert not left
    assert max(left.values(), default=0) <= min((counts[word] for word in kept), default=10**9)
    assert vocabulary.counts.sum() == counts.total()
    assert (np.diff(vocabulary.counts) <= 0).all()


def test_every_unit_counts_the_same_words() -> None:
    text = 'It was\u00a0a "dark"\tand\x0bstormy  night;\r\n\n so-called.\n'
    expected = len(raw_words(text))
    for vocabulary in (
        Characters.count([text]),
        Bytes.count([text]),
        Words.count([text]),
        Words.count([text], splitter="rules"),
    ):
        ids = vocabulary.encode(text)
        assert vocabulary.words(ids) == vocabulary.extent(text)[1] == expected
        pairs = sum(vocabulary.words(ids[at : at + 1], ids[at - 1 : at]) for at in range(1, len(ids)))
        assert pairs + vocabulary.words(ids[:1]) == expected


def test_unknown_words_are_told_with_their_places() -> None:
    vocabulary = Words.count(["the sea\n"], splitter="rules")
    ids, unknown = vocabulary.encode_known("the (old) <unk>\nsea")
    assert vocabulary.decode(ids) == "the <unk> <unk> <unk> <unk>\nsea"
    assert unknown == [Unknown(4, "(￭"), Unknown(5, "old"), Unknown(8, "￭)")]
    assert Words.count(["the sea\n"]).encode_known("the (old)")[1] == [Unknown(4, "(old)")]


def test_what_is_hidden_is_spelt_by_words_of_the_training_text() -> None:
    vocabulary = Words.count(["walking talking walking\n"], min_count=2)
    assert vocabulary.spellings == ("talking", "walking")
    like, unlike = vocabulary.spell(["talking", "xyzzyxx"])
    assert like < unlike


def test_a_prompt_that_is_no_text_at_all() -> None:
    vocabulary = Words.count(["a b\n"])
    ids, unknown = vocabulary.encode_known("a \udce9")
    assert ids.tolist()[1] == vocabulary.unknown
    assert unknown == [Unknown(2, "\udce9")]
    assert np.isfinite(vocabulary.spell([unknown[0].text])).all()


def test_no_word_is_left() -> None:
    with pytest.raises(DataError, match=r"no word is seen 3 times; the most frequent is seen 2 times"):
        Words.count(["a a b"], 3)


@given(TEXTS, SPLITTERS)
def test_json_round(text: str, splitter: Splitter) -> None:
    vocabulary = Words.count([text], splitter=splitter)
    read = Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())), "vocabulary.json")
    assert isinstance(read, Words)
    assert read.to_json() == vocabulary.to_json()
    assert read.fingerprint == vocabulary.fingerprint


GOOD: dict[str, Any] = {
    "format": 1,
    "unit": "word",
    "symbols": ["a", "<eos>", "<unk>"],
    "unknown": 2,
    "counts": [2, 1, 0],
    "details": {"splitter": "spaces", "spellings": ["a"]},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"details": []}, "details are not an object"),
        ({"details": {}}, "words need two details"),
        ({"details": {"splitter": "rules"}}, "words need two details"),
        ({"details": {"splitter": "regex", "spellings": []}}, "there is no splitter 'regex'"),
        ({"details": {"splitter": 1, "spellings": []}}, "the splitter is not a string"),
        ({"details": {"splitter": "rules", "spellings": [1]}}, "the spellings are not a list of strings"),
        ({"symbols": ["a", "a", "<unk>"]}, "a word is there twice"),
        ({"symbols": ["a", "b", "<unk>"]}, "the words have no <eos>, or no unknown symbol"),
        ({"unknown": 0}, "the words have no <eos>, or no unknown symbol"),
        ({"unknown": None}, "the words have no <eos>, or no unknown symbol"),
        ({"symbols": ["a b", "<eos>", "<unk>"]}, "a word is empty, or has white space in it"),
        ({"symbols": ["", "<eos>", "<unk>"]}, "a word is empty, or has white space in it"),
        ({"unit": "char", "symbols": ["a", "b", "<unk>"]}, "unit 'char' has no details"),
    ],
)
def test_json_is_read_strictly(change: dict[str, Any], message: str) -> None:
    assert isinstance(Vocabulary.from_json(GOOD, "here.json"), Words)
    with pytest.raises(DataError, match=message):
        Vocabulary.from_json(GOOD | change, "here.json")


def stored(directory: Path, parts: dict[str, str] | str, **options: Any) -> TokenStore:
    files: dict[str, list[str]] = {}
    for name, text in parts.items() if isinstance(parts, dict) else [("text", parts)]:
        (directory / f"{name}.txt").write_text(text, encoding="utf-8", newline="")
        files[name] = [str(directory / f"{name}.txt")]
    sources = SplitSources.find(files.pop("text", ()), **files)  # type: ignore[arg-type]
    return prepare(sources, TextConfig(unit="word", **options), cache=directory)


@given(TEXTS, TEXTS, SPLITTERS, st.integers(1, 3))
def test_a_store_of_words(
    tmp_path_factory: pytest.TempPathFactory, train: str, valid: str, splitter: Splitter, min_count: int
) -> None:
    """Against the vocabulary in memory: tokens, counts of the training part, and what is hidden."""
    train, valid = train + "\n", valid + "\n"
    expected = Words.count([train], min_count, splitter=splitter)
    directory = tmp_path_factory.mktemp("store")
    store = stored(directory, {"train": train, "valid": valid}, splitter=splitter, min_count=min_count)
    assert store.vocabulary.to_json() == expected.to_json()
    for part, text in (("train", train), ("valid", valid)):
        tokens = store.split(part)  # type: ignore[arg-type]
        ids, unknown = expected.encode_known(text)
        assert tokens.ids.tolist() == ids.tolist()
        assert tokens.hidden is not None
        assert len(tokens.hidden) == len(unknown)
        assert (tokens.ids[tokens.hidden["position"]] == expected.unknown).all()
        nats = expected.spell([word.text for word in unknown])
        np.testing.assert_allclose(tokens.hidden["nats"], nats, rtol=1e-12)
        for name, whole in zip(("characters", "words"), expected.extent(text), strict=True):
            assert getattr(expected, name)(ids) + tokens.hidden[name].sum() == whole
        assert store.characters(part) == expected.extent(text)[0]  # type: ignore[arg-type]
    assert {path.name for path in store.directory.iterdir()} == {
        "documents.bin",
        "hidden.bin",
        "meta.json",
        "tokens-00000.bin",
        "vocabulary.json",
    }


def test_a_text_of_words_that_is_cut_by_percent(tmp_path: Path) -> None:
    """The vocabulary is that of the training part alone."""
    store = stored(tmp_path, "a b c d\n" * 18 + "e f g h\n" * 2)
    assert [len(store.split(part)) for part in PARTS] == [90, 5, 5]
    assert set(store.vocabulary.symbols) == set("abcd") | {"<eos>", "<unk>"}
    assert store.vocabulary.counts.sum() == 90
    assert store.vocabulary.decode(np.asarray(store.split("test").ids)) == "<unk> <unk> <unk> <unk>\n"


def test_a_file_without_a_last_line_end_gets_one(tmp_path: Path) -> None:
    paths = []
    for name, text in (("1.txt", "a b"), ("2.txt", "\ufeffc\r\nd\n"), ("3.txt", " \t")):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        paths.append(str(tmp_path / name))
    store = prepare(SplitSources.find(paths), TextConfig(unit="word", split="100/0/0"), cache=tmp_path)
    tokens = store.split("train")
    assert store.vocabulary.decode(np.asarray(tokens.ids)) == "a b\nc\nd\n\n"
    assert tokens.document_starts.tolist() == [0, 3, 7]


def test_a_text_of_white_space(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the training part is too short"):
        stored(tmp_path, "  \t ", split="100/0/0")


def test_the_penn_treebank(data_directory: Any, tmp_path: Path) -> None:
    """The numbers of the literature: 929,589, 73,760 and 82,430 tokens of 10,000 types, line ends included."""
    import zipfile

    with zipfile.ZipFile(data_directory("ptb") / "ptb.zip") as archive:
        parts = {part: archive.read(f"ptb.{part}.txt").decode() for part in PARTS}
    store = stored(tmp_path, parts)
    assert [len(store.split(part)) for part in PARTS] == [929_589, 73_760, 82_430]
    assert store.vocabulary.size == 10_000
    assert all(len(store.split(part).hidden) == 0 for part in PARTS)  # type: ignore[arg-type]
    assert store.vocabulary.decode(np.asarray(store.split("valid").ids)) == normal(parts["valid"])
