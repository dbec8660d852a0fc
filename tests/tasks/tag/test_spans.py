"""Spans and how they are counted, against what the script `conlleval` of the shared tasks says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.tasks.tag.metrics import span_scores, tag_scores
from unrolled.tasks.tag.spans import allowed_pairs, find_scheme, find_spans

# What conlleval.pl makes of each sequence: its rules for the start and the end of a chunk, followed by hand.
CASES = {
    "O O": [],
    "B-A": [(0, 1, "A")],
    "B-A I-A O B-A": [(0, 2, "A"), (3, 4, "A")],
    "B-A B-A I-A": [(0, 1, "A"), (1, 3, "A")],
    # An I after O, at the start, or of another type begins a chunk.
    "I-A I-A": [(0, 2, "A")],
    "O I-A": [(1, 2, "A")],
    "B-A I-B I-B": [(0, 1, "A"), (1, 3, "B")],
    "I-A B-A": [(0, 1, "A"), (1, 2, "A")],
    "B-A I-B I-A": [(0, 1, "A"), (1, 2, "B"), (2, 3, "A")],
    # Types may have hyphens.
    "B-A-1 I-A-1 I-A-2": [(0, 2, "A-1"), (2, 3, "A-2")],
    # IOBES, and BILOU.
    "S-A S-A": [(0, 1, "A"), (1, 2, "A")],
    "B-A I-A E-A E-A": [(0, 3, "A"), (3, 4, "A")],
    "B-A E-A I-A": [(0, 2, "A"), (2, 3, "A")],
    "S-A E-A": [(0, 1, "A"), (1, 2, "A")],
    "S-A I-A": [(0, 1, "A"), (1, 2, "A")],
    "I-A S-A": [(0, 1, "A"), (1, 2, "A")],
    "E-A B-A": [(0, 1, "A"), (1, 2, "A")],
    "B-A O E-A": [(0, 1, "A"), (2, 3, "A")],
    "B-A L-A U-B": [(0, 2, "A"), (2, 3, "B")],
}


@pytest.mark.parametrize("tags", CASES)
def test_spans_are_those_of_conlleval(tags: str) -> None:
    assert find_spans(tags.split()) == CASES[tags]


def test_f1_is_that_of_conlleval() -> None:
    """Counted by hand as the script does: 5 given, 5 found, 2 right; of LOC 1 of 2 and 1 of 2."""
    gold = [text.split() for text in ("B-PER I-PER O B-LOC O B-ORG", "B-LOC O B-ORG I-ORG")]
    found = [text.split() for text in ("B-PER I-PER O I-LOC O O", "B-PER O B-ORG B-ORG")]
    scores = span_scores(gold, found)
    assert (scores["span_precision"], scores["span_recall"]) == (2 / 5, 2 / 5)
    assert scores["span_f1"] == pytest.approx(0.4)
    assert scores["per_type"]["LOC"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    assert scores["per_type"]["ORG"]["f1"] == 0
    assert scores["spans"] == 5


def test_nothing_given_and_nothing_found_is_no_division_by_zero() -> None:
    assert span_scores([["O"]], [["O"]])["span_f1"] == 0
    assert tag_scores([], []) == {"accuracy": 0.0, "macro_f1": 0.0, "per_tag": {}, "confusion": []}


SCHEMES = {
    "B-A I-A O | B-B": "bio",
    "O B-A": "bio",
    "I-A I-A O | I-B B-B": "iob1",
    "B-A E-A O S-A": "bioes",
    "B-A L-A O U-A": "bioes",
    "NOUN VERB": None,
    "O O": None,
    "B I O": None,
    "B-A I-A NOUN": None,
}


@pytest.mark.parametrize("text", SCHEMES)
def test_schemes_are_recognised(text: str) -> None:
    assert find_scheme([part.split() for part in text.split(" | ")]) == SCHEMES[text]


ALLOWED = {
    "bio": {"B-A I-A I-A O", "B-A B-B I-B", "O O"},
    "bioes": {"B-A I-A E-A O S-B", "S-A S-A", "B-A E-A B-B E-B"},
}
FORBIDDEN = {
    "bio": {"I-A", "O I-A", "B-A I-B"},
    "bioes": {"B-A", "B-A O", "I-A E-A", "E-A", "B-A S-A", "B-A E-B", "S-A E-A", "B-A B-A"},
}


@pytest.mark.parametrize("scheme", ALLOWED)
def test_what_a_scheme_allows(scheme: str) -> None:
    names = [f"{letter}-{kind}" for letter in ("BI" if scheme == "bio" else "BIES") for kind in "AB"] + ["O"]
    pairs = allowed_pairs(names, scheme)  # type: ignore[arg-type]

    def fits(text: str) -> bool:
        path = [len(names), *(names.index(tag) for tag in text.split()), len(names)]
        return all(pairs[i, j] for i, j in itertools.pairwise(path))

    assert {text for text in ALLOWED[scheme] if not fits(text)} == set()
    assert {text for text in FORBIDDEN[scheme] if fits(text)} == set()


def test_other_schemes_allow_all() -> None:
    assert allowed_pairs(["I-A", "B-A", "O"], "iob1").all()
    assert allowed_pairs(["X", "Y"], None).all()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_accuracy_and_f1_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

    gold, found = map(list, zip(*pairs, strict=True))
    scores = tag_scores([*gold, None], [*found, "a"])
    assert scores["accuracy"] == pytest.approx(accuracy_score(gold, found))
    assert scores["macro_f1"] == pytest.approx(f1_score(gold, found, average="macro", zero_division=0))
    names = sorted({*gold, *found})
    assert scores["confusion"] == [[sum(pair == (given, tag) for pair in pairs) for tag in names] for given in names]
    expected = precision_recall_fscore_support(gold, found, labels=names, zero_division=0)
    for index, name in enumerate(names):
        row = scores["per_tag"][name]
        assert [row[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(
            [of[index] for of in expected]
        )
