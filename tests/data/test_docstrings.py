"""The labelled sentences of the standard library."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from unrolled.data.docstrings import FAMILIES, write_sentences
from unrolled.data.labelled import read_labelled
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.text import find_sources


def test_every_family_has_sentences_that_do_not_name_it(tmp_path: Path) -> None:
    path = write_sentences(tmp_path / "sentences.csv")
    found = read_labelled(find_sources([str(path)]), LabelledConfig())
    counts = Counter(found.labels)
    assert set(counts) == set(FAMILIES)
    assert min(counts.values()) > 200
    assert len(set(found.inputs)) == len(found)
    for text, family in zip(found.inputs, found.labels, strict=True):
        assert not {word.strip(".,:;()'`\"").lower() for word in text.split()} & set(FAMILIES[family])
