"""The network of a tagger: padding, both outputs, what is dropped, what is decoded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from unrolled.cells import BUILTIN, find_cell
from unrolled.tasks.supervised import mean_loss
from unrolled.tasks.tag.configuration import TaggerConfig
from unrolled.tasks.tag.examples import FrameExamples, WordExamples
from unrolled.tasks.tag.model import FrameReader, Tagger, WordReader
from unrolled.tasks.tag.spans import allowed_pairs, find_spans
from unrolled.tasks.tag.vocabulary import Words

SENTENCES = [["Ann", "saw", "Bob"], ["no"], ["the", "old", "sea", "saw", "Ann", ".", "!"], ["Bob", "fell"]]
TAGS = ["B-A", "I-A", "O"]


def examples(seed: int = 0, unknown: bool = False) -> WordExamples:
    draw = np.random.default_rng(seed)
    tags = [draw.integers(-1 if unknown else 0, 3, len(one)) for one in SENTENCES]
    return WordExamples(SENTENCES, [[TAGS[n] for n in one] for one in tags], tags, Words.count(SENTENCES))


def made(cell: str = "lstm", **options: object) -> Tagger:
    config = TaggerConfig(
        cell=cell,
        **{"hidden_size": 4, "embedding_size": 3, "character_size": 2, "character_hidden": 3, **options},  # type: ignore[arg-type]
    )
    torch.manual_seed(1)
    words = Words.count(SENTENCES)
    reader = WordReader(find_cell(cell), len(words.words), len(words.characters), words.singletons, config)
    constrained = config.decoding == "constrained"
    allowed = allowed_pairs(TAGS, "bio") if constrained else None
    model = Tagger(find_cell(cell), reader, len(TAGS), config, allowed).double()
    model.use("reference")
    if model.crf is not None:
        for parameter in model.crf.parameters():
            torch.nn.init.normal_(parameter)
    return model.eval()


# A cell that uses its input unit by unit cannot read what is wider or narrower than itself.
CELLS = [cell for cell in BUILTIN if not find_cell(cell).uses_raw_input]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("output", ["crf", "linear"])
def test_a_batch_is_as_each_sentence_alone(cell: str, output: str) -> None:
    model, given = made(cell, output=output, layers=1), examples()
    together = model.loss(given.batch(np.arange(4)))
    best, shares = model.tag(given.batch(np.arange(4)), marginals=True)
    assert shares is not None
    alone = 0.0
    for row, tokens in enumerate(SENTENCES):
        batch = given.batch(np.array([row]))
        alone += float(model.loss(batch).total.detach())
        one, share = model.tag(batch, marginals=True)
        assert share is not None
        assert best[row, : len(tokens)].tolist() == one[0].tolist()
        assert (best[row, len(tokens) :] == -1).all()
        assert torch.allclose(shares[row, : len(tokens)], share[0], atol=1e-6)
        assert torch.allclose(share.sum(2), torch.ones(1, len(tokens)).double())
    assert float(together.total.detach()) == pytest.approx(alone, rel=1e-6)
    assert (together.targets, together.sequences) == (13, 4)
    assert mean_loss(model, given) == pytest.approx(alone / 13, rel=1e-6)


@pytest.mark.parametrize("output", ["crf", "linear"])
def test_tags_that_are_not_known_cost_nothing(output: str) -> None:
    model, given = made(output=output), examples(3, unknown=True)
    known = sum(int((one >= 0).sum()) for one in given.tags)  # type: ignore[attr-defined]
    assert model.loss(given.batch(np.arange(4))).targets == known < 13
    batch = given.batch(np.array([1]))
    nothing = type(batch)(**{**vars(batch), "tags": torch.full_like(batch.tags, -1)})
    outcome = model.loss(nothing)
    assert float(outcome.total.detach()) == pytest.approx(0, abs=1e-9)
    assert outcome.targets == 0


@pytest.mark.parametrize("output", ["crf", "linear"])
def test_constrained_decoding_gives_what_bio_allows(output: str) -> None:
    model = made(output=output, decoding="constrained")
    torch.nn.init.normal_(model.output.weight, std=5)
    allowed = allowed_pairs(TAGS, "bio")
    best, _ = model.tag(examples().batch(np.arange(4)))
    for row, tokens in enumerate(SENTENCES):
        path = [3, *best[row, : len(tokens)].tolist(), 3]
        assert all(allowed[i, j] for i, j in itertools.pairwise(path))
        tags = [TAGS[n] for n in path[1:-1]]
        assert len(find_spans(tags)) == tags.count("B-A")


def test_words_seen_once_are_dropped_in_training_alone() -> None:
    model, batch = made(dropout=0.0, word_dropout=0.9, character_size=0, layers=1), examples().batch(np.arange(4))
    reader = model.reader
    assert isinstance(reader, WordReader)
    once = reader.get_buffer("singletons")[batch.words][batch.places]
    before = reader(batch)
    model.train()
    torch.manual_seed(0)
    changed = (reader(batch) != before).any(2)
    inside = torch.arange(7) < batch.lengths.unsqueeze(1)
    assert changed[once & inside].any()
    assert not changed[~once & inside].any()
    assert torch.equal(model.eval().reader(batch), before)


@pytest.mark.parametrize(("words", "characters"), [(0, 2), (3, 0)])
def test_words_or_characters_alone(words: int, characters: int) -> None:
    model = made(embedding_size=words, character_size=characters)
    loss = model.loss(examples().batch(np.arange(4))).total
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.reader.output_size == (words or 6)


def test_what_stands_where_words_are_equal_is_equal() -> None:
    """Each different word of a batch is read once, and stands wherever it occurs."""
    model = made()
    x = model.reader(examples().batch(np.arange(4)))
    assert torch.equal(x[0, 0], x[2, 4])
    assert torch.equal(x[0, 1], x[2, 3])
    assert not torch.equal(x[0, 0], x[0, 1])


def test_frames_side_by_side_are_as_alone() -> None:
    draw = np.random.default_rng(0)
    lengths = [5, 1, 8]
    given = FrameExamples(
        [draw.standard_normal((length, 2)) for length in lengths],
        [["a"] * length for length in lengths],
        [draw.integers(0, 3, length) for length in lengths],
    )
    model = Tagger(find_cell("gru"), FrameReader(2), 3, TaggerConfig(cell="gru", hidden_size=4)).double().eval()
    model.use("reference")
    together = float(model.loss(given.batch(np.arange(3))).total.detach())
    alone = sum(float(model.loss(given.batch(np.array([row]))).total.detach()) for row in range(3))
    assert together == pytest.approx(alone, rel=1e-6)
