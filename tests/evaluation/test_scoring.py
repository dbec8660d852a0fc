from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.cells import BUILTIN, find_cell
from unrolled.data.vocabulary import Characters
from unrolled.errors import ConfigurationError, DivergenceError, PromptError
from unrolled.evaluation import score, surprisals
from unrolled.evaluation import scoring as scoring_module
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel
from unrolled.training.loop import seeded

LETTERS = Characters.count(["aaabbc d\n"])


def model_of(cell: str = "lstm", vocabulary: Characters = LETTERS, **options: Any) -> LanguageModel:
    with seeded(torch.device("cpu"), 2):
        config = LanguageModelConfig(**{"hidden_size": 6, "layers": 2, **options})
        return LanguageModel(vocabulary.size, find_cell(cell), config).double().eval()


def text_of(length: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(seed).integers(LETTERS.size, size=length)


def by_hand(model: LanguageModel, ids: np.ndarray[Any, Any]) -> list[float]:
    """-ln p of each symbol: a loop over time with the reference kernel, the first symbol from its frequency."""
    twin = LanguageModel(
        model.vocabulary_size,
        model.recurrent.equations,
        LanguageModelConfig(hidden_size=6, layers=len(model.recurrent.layers)),
        kernel="reference",
    ).double()
    twin.load_state_dict(model.state_dict())
    found, state = [-math.log(LETTERS.unigram()[ids[0]])], twin.initial_state(1)
    for before, symbol in itertools.pairwise(ids.tolist()):
        logits, state = twin(torch.tensor([[before]]), state)
        z = [math.exp(float(value)) for value in logits[0, 0].detach()]
        found.append(-math.log(z[symbol] / sum(z)))
    return found


@pytest.mark.parametrize("cell", BUILTIN)
def test_a_score_is_the_sum_over_a_plain_loop(cell: str) -> None:
    model, ids = model_of(cell), text_of(40)
    expected = by_hand(model, ids)
    found = list(surprisals(model, LETTERS, ids))
    assert [each.token for each in found] == ids.tolist()
    assert [each.nats for each in found] == pytest.approx(expected, rel=1e-9)
    whole = score(model, LETTERS, ids)
    assert whole.nats == pytest.approx(sum(expected), rel=1e-9)
    assert (whole.tokens, whole.characters) == (40, 40)
    assert whole.log_likelihood == -whole.nats


@pytest.mark.parametrize("chunk", [1, 2, 7, 39, 40, 1000])
def test_a_score_does_not_depend_on_the_pieces_it_is_read_in(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = model_of(), text_of(40)
    expected = score(model, LETTERS, ids).nats
    monkeypatch.setattr(scoring_module, "_CHUNK", chunk)
    assert score(model, LETTERS, ids).nats == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_probabilities_of_all_texts_of_a_length_add_up_to_one(length: int) -> None:
    model = model_of()
    texts = itertools.product(range(LETTERS.size), repeat=length)
    assert sum(math.exp(score(model, LETTERS, list(ids)).log_likelihood) for ids in texts) == pytest.approx(1)


def test_alternatives_are_the_likeliest() -> None:
    model, ids = model_of(), text_of(5)
    found = list(surprisals(model, LETTERS, ids, alternatives=3))
    p = [LETTERS.unigram(), *torch.softmax(model(torch.from_numpy(ids[None, :-1]))[0][0], -1).detach().numpy()]
    for each, row in zip(found, p, strict=True):
        assert [token for token, _ in each.alternatives] == np.argsort(-row, kind="stable")[:3].tolist()
        assert [share for _, share in each.alternatives] == pytest.approx(sorted(row, reverse=True)[:3])
    assert len(next(surprisals(model, LETTERS, ids, alternatives=99)).alternatives) == LETTERS.size
    assert next(surprisals(model, LETTERS, ids)).alternatives == ()


def test_progress_ends_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring_module, "_CHUNK", 16)
    told: list[tuple[int, int]] = []
    score(model_of(), LETTERS, text_of(40), progress=lambda done, total: told.append((done, total)))
    assert told == [(17, 40), (33, 40), (40, 40)]


def test_scoring_draws_no_dropout() -> None:
    model, ids = model_of(dropout=0.9).train(), text_of(10)
    assert score(model, LETTERS, ids).nats == score(model, LETTERS, ids).nats


def test_an_empty_text_has_no_score() -> None:
    with pytest.raises(PromptError, match="there is no text to score"):
        score(model_of(), LETTERS, [])


def test_a_negative_number_of_alternatives() -> None:
    with pytest.raises(ConfigurationError, match="alternatives are a number of symbols"):
        list(surprisals(model_of(), LETTERS, [0], alternatives=-1))


def test_a_model_that_gives_no_numbers_is_an_error() -> None:
    model = model_of()
    with torch.no_grad():
        model.output.bias[0] = math.nan
    with pytest.raises(DivergenceError, match="not finite"):
        score(model, LETTERS, [0, 1])
