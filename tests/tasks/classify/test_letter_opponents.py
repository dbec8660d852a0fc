from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from unrolled.data.alphabets import find_alphabet
from unrolled.data.ragged import Ragged
from unrolled.tasks.classify.letter_opponents import (
    KmerRegression,
    LetterData,
    PositionalNaiveBayes,
    fit_opponents,
    kmer_features,
)
from unrolled.tasks.metrics import area_under_roc

DNA = find_alphabet("dna")


def data(texts: list[str], labels: list[int]) -> LetterData:
    return LetterData(Ragged.of([DNA.encode(text) for text in texts]), np.array(labels))


def test_naive_bayes_is_counted_by_hand():
    given = data(["AC", "AG", "TC", "TN"], [0, 0, 1, 1])
    found = PositionalNaiveBayes(given, DNA, 2, smoothing=0.5).probabilities(data(["AC", "TR"], [0, 0]).codes)
    # p(A | 0) at the first place: (2 + .5) / (2 + 2); an N is a quarter of each letter.
    first = {0: {"A": 2.5 / 4, "T": 0.5 / 4}, 1: {"A": 0.5 / 4, "T": 2.5 / 4}}
    second = {0: {"C": 1.5 / 4, "A": 0.5 / 4, "G": 1.5 / 4}, 1: {"C": 1.75 / 4, "A": 0.75 / 4, "G": 0.75 / 4}}
    weights = [first[c]["A"] * second[c]["C"] for c in (0, 1)]
    assert found[0] == pytest.approx([weight / sum(weights) for weight in weights])
    weights = [first[c]["T"] * (second[c]["A"] + second[c]["G"]) for c in (0, 1)]  # R is A or G
    assert found[1] == pytest.approx([weight / sum(weights) for weight in weights])


def test_naive_bayes_of_other_lengths():
    bayes = PositionalNaiveBayes(data(["ACG", "T"], [0, 1]), DNA, 2)
    same = bayes.probabilities(data(["ACG", "ACGTTT"], [0, 0]).codes)
    np.testing.assert_allclose(same[0], same[1])
    assert bayes.probabilities(data(["A"], [0]).codes).sum() == pytest.approx(1)


@pytest.mark.parametrize("strands", [False, True])
def test_counts_are_those_of_a_naive_loop(strands):
    texts = ["ACGTACG", "NAC", "T", "GGNGG"]
    blocks = kmer_features(Ragged.of([DNA.encode(text) for text in texts]), DNA, 3, strands=strands)
    found = np.concatenate([block.toarray() for block in blocks], 1)
    for row, text in zip(found, texts, strict=True):
        other = DNA.decode(DNA.reverse_complement(DNA.encode(text)))
        expected: list[float] = []
        for k in (1, 2, 3):
            names = ["".join(letters) for letters in itertools.product("ACGT", repeat=k)]
            stretches = [one[at : at + k] for one in ([text, other] if strands else [text]) for at in range(len(one))]
            counts = [stretches.count(name) for name in names]
            norm = math.sqrt(sum(count**2 for count in counts)) or 1.0
            expected += [count / norm for count in counts]
        np.testing.assert_allclose(row, expected)


def test_both_opponents_find_what_is_there():
    pytest.importorskip("sklearn")
    generator = np.random.default_rng(0)

    def drawn(count: int) -> LetterData:
        labels = generator.integers(0, 2, count)
        texts = ["".join(generator.choice(list("ACGT"), 20)) for _ in range(count)]
        texts = [text[:5] + "TATAA" + text[10:] if label else text for text, label in zip(texts, labels, strict=True)]
        return data(texts, labels.tolist())

    train, valid, test = drawn(200), drawn(60), drawn(100)
    told: list[str] = []
    found = fit_opponents(train, valid, DNA, 2, told=told.append)
    assert {one.name for one in found} == {"positional naive Bayes", "k-mer logistic regression"}
    assert found[0].loss <= found[1].loss
    for one in found:
        assert area_under_roc(one.probabilities(test.codes)[:, 1], test.labels) > 0.95
    assert told
    empty = LetterData(Ragged.of([], np.empty(0, np.uint8)), np.empty(0, np.int64))
    assert fit_opponents(train, empty, DNA, 2)[0].loss < 0.3
    # Of three classes one that training has not; and on both strands a sequence is its reverse complement.
    (block,) = kmer_features(train.codes, DNA, 1, strands=True)
    model = KmerRegression(block, train.labels, 3, strength=1.0)
    (block,) = kmer_features(test.codes, DNA, 1, strands=True)
    given = model.probabilities(block)
    np.testing.assert_allclose(given.sum(1), 1)
    assert (given[:, 2] == 0).all()
    other = Ragged.of([DNA.reverse_complement(test.codes[index]) for index in range(len(test.codes))])
    np.testing.assert_allclose(kmer_features(other, DNA, 1, strands=True)[0].toarray(), block.toarray())
