from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.data.vocabulary import Bytes, Characters, Vocabulary
from unrolled.decoding import Sampler, generate, probabilities
from unrolled.decoding.sampling import choose
from unrolled.errors import ConfigurationError, DivergenceError
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel
from unrolled.training.loop import seeded

# Two are equal, or far enough apart that rounding does not make them so.
LOGITS = st.lists(st.integers(-300, 300).map(lambda tenths: tenths / 10), min_size=1, max_size=8)
LETTERS = Characters.count(["aaabbc d\n"])


class Script:
    """A model that gives the next symbol of a text with certainty, whatever it is fed."""

    def __init__(self, text: str, vocabulary: Vocabulary, prompt: int = 0) -> None:
        self.ids, self.size, self.begin = [*vocabulary.encode(text).tolist(), 0], vocabulary.size, prompt
        self.fed: list[int] = []

    def initial_state(self, batch: int) -> int:
        assert batch == 1
        return 0

    def step(self, ids: torch.Tensor, state: int) -> tuple[torch.Tensor, int]:
        self.fed.append(int(ids))
        logits = torch.full((1, self.size), -1e9)
        logits[0, self.ids[max(0, state + 1 - self.begin)]] = 0.0
        return logits, state + 1


def scripted(text: str, vocabulary: Vocabulary = LETTERS, **options: Any) -> list[str]:
    """The pieces in which a text comes out, after a prompt of one symbol."""
    options = {"length": len(vocabulary.encode(text)), **options}
    return list(generate(Script(text, vocabulary, prompt=1), vocabulary, prompt=[0], **options))


def model_of(vocabulary: Vocabulary = LETTERS, cell: str = "lstm") -> LanguageModel:
    with seeded(torch.device("cpu"), 2):
        return LanguageModel(vocabulary.size, find_cell(cell), LanguageModelConfig(hidden_size=6, layers=2)).eval()


# ---- from logits to a distribution to a symbol


def oracle(logits: list[float], temperature: float, top_k: int, top_p: float) -> list[float]:
    """The definitions, one symbol at a time."""
    ranked = sorted(range(len(logits)), key=lambda symbol: (-logits[symbol], symbol))
    if temperature == 0:
        return [float(symbol == ranked[0]) for symbol in range(len(logits))]
    weight = {symbol: math.exp((logits[symbol] - max(logits)) / temperature) for symbol in ranked}
    kept = ranked[:top_k] if top_k else ranked
    total = sum(weight[symbol] for symbol in kept)
    nucleus, mass = [], 0.0
    for symbol in kept:
        if mass >= top_p and top_p < 1:
            break
        nucleus.append(symbol)
        mass += weight[symbol] / total
    total = sum(weight[symbol] for symbol in nucleus)
    return [weight[symbol] / total if symbol in nucleus else 0.0 for symbol in range(len(logits))]


@given(LOGITS, st.just(0.0) | st.floats(0.01, 10), st.integers(0, 9), st.floats(0.01, 1))
def test_the_distribution_is_as_defined(logits: list[float], temperature: float, top_k: int, top_p: float) -> None:
    found = probabilities(logits, Sampler(temperature, top_k, top_p))
    expected = oracle(logits, temperature, top_k, top_p)
    masses = np.cumsum(sorted(oracle(logits, temperature, top_k, 1.0), reverse=True))
    if top_p < 1 and np.abs(masses - top_p).min() < 1e-12:
        return  # rounding decides whether the last symbol belongs to the nucleus
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-300)
    assert found.sum() == pytest.approx(1)


def test_without_restrictions_it_is_the_softmax() -> None:
    logits = torch.randn(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    np.testing.assert_allclose(probabilities(logits.numpy(), Sampler()), torch.softmax(logits, 0).numpy())


@pytest.mark.parametrize("temperature", [1e-300, 1e-5, 0.0])
def test_the_colder_the_surer(temperature: float) -> None:
    assert probabilities([1.0, 3.0, 2.0], Sampler(temperature)).tolist() == [0, 1, 0]


def test_the_first_of_equals_is_kept() -> None:
    assert probabilities([1.0, 1.0, 1.0], Sampler(top_k=1)).tolist() == [1, 0, 0]
    assert probabilities([1.0, 1.0, 1.0, 1.0], Sampler(top_p=0.5)).tolist() == [0.5, 0.5, 0, 0]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda p: sum(p) > 1e-6), st.floats(0, 1, exclude_max=True)
)
def test_a_symbol_that_is_chosen_is_possible(weights: list[float], uniform: float) -> None:
    p = np.array(weights) / sum(weights)
    symbol = choose(p, uniform)
    assert p[symbol] > 0 or uniform == 0
    assert p[:symbol].sum() <= uniform + 1e-12 <= p[: symbol + 1].sum() + 2e-12


def test_symbols_are_chosen_as_often_as_they_are_likely() -> None:
    p, source = np.array([0.5, 0.0, 0.3, 0.2]), np.random.default_rng(0)
    counts = Counter(choose(p, source.random()) for _ in range(20_000))
    assert counts[1] == 0
    for symbol in (0, 2, 3):
        assert counts[symbol] / 20_000 == pytest.approx(p[symbol], abs=0.015)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is out of range"),
        ({"temperature": math.nan}, "temperature is out of range"),
        ({"temperature": math.inf}, "temperature is out of range"),
        ({"top_k": -1}, "top_k is a number of symbols"),
        ({"top_p": 0.0}, "top_p is a probability"),
        ({"top_p": 1.1}, "top_p is a probability"),
        ({"top_p": math.nan}, "top_p is a probability"),
        ({"seed": -1}, "seed is out of range"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Sampler(**options)


# ---- from symbol to symbol


@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm-peephole"])
def test_the_same_seed_gives_the_same_text_and_a_longer_one_begins_with_it(cell: str) -> None:
    model = model_of(cell=cell)

    def text(length: int, seed: int) -> str:
        return "".join(generate(model.stepping(), LETTERS, length=length, sampler=Sampler(seed=seed)))

    assert text(60, 1) == text(60, 1) != text(60, 2)
    assert text(60, 1).startswith(text(25, 1))
    assert [len(text(length, 1)) for length in (0, 1, 7)] == [0, 1, 7]


def test_it_is_drawn_from_what_the_model_says() -> None:
    """Each symbol is the one that its uniform number picks from the distribution after reading the text so far."""
    model, sampler = model_of(), Sampler(0.8, 4, 0.9, seed=3)
    prompt = LETTERS.encode("ab c").tolist()
    found = LETTERS.encode("".join(generate(model.stepping(), LETTERS, length=30, prompt=prompt, sampler=sampler)))
    uniforms = np.random.Generator(np.random.PCG64(3))
    for k, symbol in enumerate(found.tolist()):
        read = torch.tensor([[*prompt, *found[:k].tolist()]])
        p = probabilities(model(read)[0][0, -1].detach().double().numpy(), sampler)
        assert symbol == choose(p, uniforms.random())


def test_without_a_prompt_the_first_symbol_has_its_frequency() -> None:
    model, n = model_of(), 1500
    counts = Counter(
        "".join(generate(model.stepping(), LETTERS, length=1, sampler=Sampler(seed=seed))) for seed in range(n)
    )
    for symbol, p in zip(LETTERS.symbols, LETTERS.unigram().tolist(), strict=True):
        assert counts[symbol] / n == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


def test_the_prompt_is_read_and_not_repeated() -> None:
    model = Script("b", LETTERS, prompt=3)
    assert "".join(generate(model, LETTERS, length=1, prompt=[1, 2, 3])) == "b"
    assert model.fed == [1, 2, 3]  # the last symbol is not read for nothing


def test_a_model_that_gives_no_numbers_is_an_error() -> None:
    model = model_of()
    with torch.no_grad():
        model.output.bias[0] = math.nan
    with pytest.raises(DivergenceError, match="logits that are not finite"):
        list(generate(model.stepping(), LETTERS, length=3))


# ---- texts to stop at


def stopped(text: str, stops: list[str]) -> str:
    """What a text is when it is written letter by letter until one of some texts stands at its end."""
    for end in range(1, len(text) + 1):
        starts = [text[:end].find(stop) for stop in stops if stop in text[:end]]
        if starts:
            return text[: min(starts)]
    return text


@given(st.text("abc", max_size=12), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
@settings(max_examples=300)
def test_it_ends_where_a_text_to_stop_at_is_reached(text: str, stops: list[str]) -> None:
    pieces = scripted(text, stop=stops)
    assert "".join(pieces) == stopped(text, stops)
    assert all(pieces)


def test_texts_to_stop_at_may_overlap() -> None:
    assert "".join(scripted("aab", stop=["aaa", "ab"])) == "a"
    assert "".join(scripted("abcabd", stop=["abd"])) == "abc"
    assert "".join(scripted("aab", stop=["aabb"])) == "aab"  # only its beginning was reached
    assert "".join(scripted("abc", stop=["abc", "b"])) == "a"  # the one that is whole first


def test_a_text_comes_as_soon_as_it_cannot_be_the_beginning_of_one_to_stop_at() -> None:
    assert scripted("abca", stop=["bd"]) == ["a", "bc", "a"]
    assert scripted("abca") == ["a", "b", "c", "a"]


def test_nothing_is_made_after_the_stop() -> None:
    model = Script("ab\nca", LETTERS, prompt=1)
    assert "".join(generate(model, LETTERS, length=5, prompt=[0], stop=["\n"])) == "ab"
    assert len(model.fed) == 3


def test_an_empty_text_to_stop_at_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a text to stop at is empty"):
        scripted("ab", stop=["a", ""])


# ---- bytes


BYTES = Bytes.count(["a"])


@given(st.text("aé€😀", max_size=6), st.lists(st.text("aé€😀", min_size=1, max_size=2), max_size=2))
def test_bytes_come_out_as_whole_characters(text: str, stops: list[str]) -> None:
    pieces = scripted(text, BYTES, stop=stops)
    assert "".join(pieces) == stopped(text, stops)
    assert all("\ufffd" not in piece for piece in pieces)


def test_a_text_to_stop_at_is_found_when_its_last_byte_comes() -> None:
    assert scripted("a😀b", BYTES, stop=["😀"]) == ["a"]
    assert scripted("a😀b", BYTES) == ["a", "😀", "b"]


def test_a_character_that_is_cut_off_is_shown_as_such() -> None:
    assert "".join(scripted("a😀", BYTES, length=3)) == "a\ufffd"
    assert "".join(scripted("a😀", BYTES, length=3, stop=["\ufffd"])) == "a"


def test_bytes_that_are_no_character_do_not_stop_it() -> None:
    text = "".join(generate(model_of(BYTES).stepping(), BYTES, length=300, sampler=Sampler(seed=1)))
    assert "\ufffd" in text


def test_every_way_to_cut_a_text_gives_the_same_text() -> None:
    """Whatever the pieces, they join to the text without restrictions, cut at the stop."""
    model = model_of()
    whole = "".join(generate(model.stepping(), LETTERS, length=80, sampler=Sampler(seed=5)))
    for stops in itertools.combinations(("ab", "ba", "a\n", "dd", " c"), 2):
        pieces = generate(model.stepping(), LETTERS, length=80, sampler=Sampler(seed=5), stop=stops)
        assert "".join(pieces) == stopped(whole, list(stops))
