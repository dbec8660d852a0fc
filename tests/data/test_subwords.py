from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.configuration import TextConfig
from unrolled.data.splitting import raw_words
from unrolled.data.store import PARTS, SplitSources, TokenStore, prepare
from unrolled.data.subwords import Subwords, segments
from unrolled.data.vocabulary import Unknown, Vocabulary
from unrolled.errors import ConfigurationError, DataError

pytest.importorskip("tokenizers")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
LEARNT = "It was a dark and stormy night; the rain fell — naïve \\x41 \\\\ 12345\n\n\tIt's the rain.\n" * 4
SUBWORDS = Subwords.count([LEARNT], vocabulary_size=320)


@given(TEXTS, st.lists(st.integers(1, 5), max_size=10))
def test_every_text_comes_back_whole_or_in_pieces(text: str, sizes: list[int]) -> None:
    ids = SUBWORDS.encode(text)
    assert SUBWORDS.decode(ids) == text
    assert SUBWORDS.extent(text) == (len(text), len(raw_words(text)))
    assert int(SUBWORDS.symbol_bytes[ids].sum()) == len(text.encode())
    decoder, at, fed = SUBWORDS.decoder(), 0, ""
    for size in [*sizes, len(ids)]:
        fed += decoder.feed(ids[at : at + size])
        at += size
    assert fed + decoder.finish() == text


@given(st.text("ab \n\t,1é", max_size=40))
def test_segments_are_the_text(text: str) -> None:
    found = segments(text)
    assert "".join(found) == text
    assert all(segment == "\n" or "\n" not in segment for segment in found)
    # Each is cut on its own, as it would be with all before it.
    assert [at for segment in found for at in SUBWORDS.encode(segment).tolist()] == SUBWORDS.encode(text).tolist()


def by_hand(word: str, subwords: Subwords) -> list[bytes]:
    """Byte-pair encoding as it is told: the pair that was learnt first is joined everywhere, and again."""
    parts = [bytes([value]) for value in word.encode()]
    contents = subwords.contents
    for first, second in subwords.pairs:
        pair, at = (contents[first], contents[second]), 0
        while at + 1 < len(parts):
            if (parts[at], parts[at + 1]) == pair:
                parts[at : at + 2] = [pair[0] + pair[1]]
            at += 1
    return parts


@given(st.sampled_from(["", " "]), st.text("abcdefghiortsw", min_size=1, max_size=12))
def test_a_word_is_joined_in_the_order_of_the_pairs(space: str, word: str) -> None:
    assert [SUBWORDS.contents[at] for at in SUBWORDS.encode(space + word)] == by_hand(space + word, SUBWORDS)


def test_the_first_pair_is_the_most_frequent() -> None:
    text = "aab aab aab cd\n"
    learnt = Subwords.count([text], vocabulary_size=257)
    ((first, second),) = learnt.pairs
    counted = Counter(zip(" aab", "aab", strict=False))
    assert counted[(learnt.symbols[first], learnt.symbols[second])] == max(counted.values())
    assert learnt.size == 257


def test_symbols_are_by_falling_frequency_and_counted() -> None:
    assert (np.diff(SUBWORDS.counts) <= 0).all()
    assert SUBWORDS.counts.tolist() == np.bincount(SUBWORDS.encode(LEARNT), minlength=SUBWORDS.size).tolist()
    assert SUBWORDS.symbols[SUBWORDS.line_end or 0] == "\n"


def test_min_count_joins_less() -> None:
    text = "abcd " * 3 + "efgh " * 9
    assert Subwords.count([text], 6).size < Subwords.count([text], 2).size


def test_lone_surrogates_are_unknown() -> None:
    ids, unknown = SUBWORDS.encode_known("a\udce9 the")
    assert (SUBWORDS.decode(ids), unknown) == ("a the", [Unknown(1, "\udce9")])


def test_json_round() -> None:
    read = Vocabulary.from_json(json.loads(json.dumps(SUBWORDS.to_json())), "vocabulary.json")
    assert isinstance(read, Subwords)
    assert read.fingerprint == SUBWORDS.fingerprint
    assert read.encode(LEARNT).tolist() == SUBWORDS.encode(LEARNT).tolist()


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({}, "subwords need their pairs"),
        ({"pairs": 1}, "subwords need their pairs"),
        ({"pairs": [[1]]}, "the pairs are not pairs of numbers"),
        ({"pairs": [[1, 10**6]]}, "a pair is of symbols that are not there"),
        ({"pairs": [[1, True]]}, "the pairs are not pairs of numbers"),
        ({"pairs": [[0, 0], [0, 0]]}, "a pair gives no symbol"),
    ],
)
def test_json_is_read_strictly(details: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Vocabulary.from_json(SUBWORDS.to_json() | {"details": details}, "here.json")


def test_a_byte_that_is_missing() -> None:
    value = SUBWORDS.to_json()
    less = value | {"symbols": ["aa", *value["symbols"][1:]]}
    with pytest.raises(DataError, match="a byte is missing"):
        Vocabulary.from_json(less, "here.json")


def prepared(directory: Path, parts: dict[str, str], **options: Any) -> TokenStore:
    files: dict[str, Any] = {}
    for name, text in parts.items():
        (directory / f"{name}.txt").write_text(text, encoding="utf-8", newline="")
        files[name] = [str(directory / f"{name}.txt")]
    text = files.pop("text", ())
    return prepare(SplitSources.find(text, **files), TextConfig(unit="subword", **options), cache=directory)


@settings(max_examples=10)
@given(TEXTS.filter(lambda text: len(text) > 2), TEXTS.filter(bool))
def test_a_store_of_subwords(tmp_path_factory: pytest.TempPathFactory, train: str, valid: str) -> None:
    train, valid = LEARNT + train.lstrip("\ufeff"), valid.replace("\ufeff", "") + "."
    store = prepared(tmp_path_factory.mktemp("store"), {"train": train, "valid": valid}, vocabulary_size=300)
    expected = Subwords.count([train], vocabulary_size=300)
    assert store.vocabulary.to_json() == expected.to_json()
    for part, text in (("train", train), ("valid", valid)):
        tokens = store.split(part)  # type: ignore[arg-type]
        assert tokens.ids.tolist() == expected.encode(text).tolist()
        assert store.characters(part) == len(text)  # type: ignore[arg-type]
        assert tokens.hidden is None
    assert {path.name for path in store.directory.iterdir()} == {
        "documents.bin",
        "meta.json",
        "tokens-00000.bin",
        "vocabulary.json",
    }


def test_a_text_that_is_cut_by_percent(tmp_path: Path) -> None:
    store = prepared(tmp_path, {"text": LEARNT}, split="80/10/10", vocabulary_size=300)
    total = sum(len(store.split(part)) for part in PARTS)
    assert len(store.split("train")) == int(0.8 * total)
    assert store.vocabulary.decode(np.asarray(store.tokens)) == LEARNT
    assert int(store.vocabulary.counts.sum()) == len(store.split("train"))


def test_no_text_has_no_subwords(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an empty text"):
        prepared(tmp_path, {"text": "\ufeff"})


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was read before is decoded all the same."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'unrolled\[subword\]'"):
        prepared(tmp_path, {"text": LEARNT})
    read = Vocabulary.from_json(SUBWORDS.to_json(), "vocabulary.json")
    assert read.decode(SUBWORDS.encode("the rain")) == "the rain"
