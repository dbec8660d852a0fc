from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as some
import numpy as np
import pytest
import torch

from unrolled.cells import find_cell
from unrolled.data.alphabets import find_alphabet, kmers
from unrolled.data.letter_inputs import LetterInput
from unrolled.data.ragged import Ragged
from unrolled.data.vector_inputs import VectorInput
from unrolled.errors import ConfigurationError
from unrolled.layers import NGrams
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.classify.letters import LetterClassifier, Strands, Stretches
from unrolled.tasks.classify.reading_configuration import ReadingConfig

DNA = find_alphabet("dna")
TEXTS = some.lists(some.text(DNA.symbols, min_size=1, max_size=9), min_size=1, max_size=4)


def batch(texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """With noise beyond the ends."""
    codes = Ragged.of([DNA.encode(text) for text in texts])
    side, lengths = codes.padded(range(len(texts)))
    beyond = np.arange(side.shape[1]) >= lengths[:, None]
    return torch.from_numpy(np.where(beyond, 3, side)), torch.from_numpy(lengths)


@hypothesis.given(TEXTS, some.integers(1, 4))
def test_windows_are_letters_side_by_side(texts, k):
    found, lengths = Stretches(DNA, k, windows=True)(*batch(texts))
    for row, length, text in zip(found, lengths.tolist(), texts, strict=True):
        shares = [DNA.shares[code] for code in DNA.encode(text)]
        shares += [np.zeros(4, np.float32)] * (k - len(shares))
        assert length == len(shares) - k + 1
        for at in range(length):
            np.testing.assert_array_equal(row[at], np.concatenate(shares[at : at + k]))


@hypothesis.given(TEXTS, some.integers(1, 4))
def test_symbols_are_the_numbers_of_stretches(texts, k):
    found, lengths = Stretches(DNA, k, windows=False)(*batch(texts))
    for row, length, text in zip(found.tolist(), lengths.tolist(), texts, strict=True):
        expected = kmers(DNA.encode(text), k, 4).tolist() or [4**k]
        assert row[:length] == expected


@hypothesis.given(TEXTS)
def test_the_other_strand_of_a_batch_is_that_of_each(texts):
    codes, lengths = batch(texts)
    strands = Strands(DNA)
    other = strands(codes, lengths)
    for row, text in zip(other, texts, strict=True):
        assert row[: len(text)].tolist() == DNA.reverse_complement(DNA.encode(text)).tolist()
    one, two = strands.in_order(codes, lengths)
    for first, second, text in zip(one, two, texts, strict=True):
        own = DNA.encode(text)
        both = sorted([own.tolist(), DNA.reverse_complement(own).tolist()])
        assert [first[: len(text)].tolist(), second[: len(text)].tolist()] == both


def classifier(embedding: int = 0, **reading: Any) -> LetterClassifier:
    torch.manual_seed(3)
    config = ClassifierConfig(cell="gru", hidden_size=6, embedding_size=embedding, pooling="mean+max")
    return LetterClassifier(find_cell("gru"), config, ReadingConfig(**reading), DNA, classes=3)


@pytest.mark.parametrize("letters", [{"kmer": 3}, {"kmer": 2, "stretch": "symbol", "embedding": 5}])
@hypothesis.given(texts=TEXTS)
@hypothesis.settings(max_examples=10)
def test_a_sequence_and_its_other_strand_give_the_same_bits(letters, texts):
    model = classifier(strands="both", **letters).eval()
    codes, lengths = batch(texts)
    turned = Strands(DNA)(codes, lengths)
    with torch.no_grad():
        assert torch.equal(model(codes, lengths), model(turned, lengths))
        # Averaging is what it is: of a sequence and its other strand, each read alone.
        single = classifier(strands="one", **letters).eval()
        for row, text in enumerate(texts):
            alone = [single(*batch([one])) for one in (text, DNA.decode(DNA.reverse_complement(DNA.encode(text))))]
            np.testing.assert_allclose(model(codes, lengths)[row], sum(alone)[0] / 2, atol=1e-6)


def test_while_training_either_strand_is_read():
    model = classifier(strands="both", kmer=2).train()
    codes, lengths = batch(["AACCGGTA"] * 64)
    single = classifier(strands="one", kmer=2)
    both = single(*batch(["AACCGGTA"])), single(*batch(["TACCGGTT"]))
    found = model(codes, lengths)
    near = [((found - one).abs().amax(1) < 1e-6).sum().item() for one in both]
    assert sum(near) == 64
    assert min(near) > 15


PROTEIN, VECTORS = LetterInput(find_alphabet("protein")), VectorInput(("a",), (0.0,), (1.0,))


@pytest.mark.parametrize(
    ("found", "options"),
    [
        (PROTEIN, {"strands": "both"}),
        (LetterInput(DNA), {"kmer": 11, "stretch": "symbol"}),
        (VECTORS, {"kmer": 3}),
        (VECTORS, {"strands": "both"}),
        (VECTORS, {"move": 1}),
        (LetterInput(DNA), {"move": 1}),
    ],
)
def test_options_that_do_not_fit_what_is_read(found, options):
    with pytest.raises(ConfigurationError):
        ReadingConfig(**options).check(found)


def test_options_that_are_none():
    for wrong in ({"strands": "two"}, {"kmer": 0}, {"stretch": "windows"}, {"move": -1}):
        with pytest.raises(ConfigurationError):
            ReadingConfig(**wrong)
    ReadingConfig(kmer=11, strands="both").check(LetterInput(DNA))


@hypothesis.given(TEXTS, some.sampled_from(["window", "symbol"]), some.booleans())
def test_ngrams_beside_the_network_are_of_letters_whatever_it_reads(texts, stretch, placed):
    torch.manual_seed(0)
    config = ClassifierConfig(
        cell="gru", hidden_size=3, embedding_size=2, ngrams=2, ngram_table=64, ngram_places=placed
    )
    reading = ReadingConfig(kmer=3, stretch=stretch)
    model = LetterClassifier(find_cell("gru"), config, reading, DNA, classes=2).eval()
    assert model.ngrams is not None
    model.ngrams.weight.data.normal_()
    codes, lengths = batch(texts)
    beside = model(codes, lengths) - model.scores(codes, lengths)
    layer = NGrams(2, len(DNA.symbols), 2, 64, placed=placed)
    layer.weight = model.ngrams.weight
    for row, text in zip(beside, texts, strict=True):
        own = torch.from_numpy(DNA.encode(text).astype(np.int64)).unsqueeze(0)
        torch.testing.assert_close(row, layer(own, torch.tensor([len(text)]))[0], rtol=1e-4, atol=1e-5)
