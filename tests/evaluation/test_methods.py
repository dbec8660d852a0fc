"""Dynamic evaluation, cache and temperature against their equations written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.data.store import Tokens
from unrolled.data.streams import Batch, StreamPosition, sequential
from unrolled.data.vocabulary import Characters
from unrolled.errors import ConfigurationError, DivergenceError
from unrolled.evaluation import Cache, Dynamic, Methods, Wanted, evaluate, root_mean_squares, tune
from unrolled.evaluation.cache import CacheReader
from unrolled.evaluation.methods import batches_for, read_evidence, read_with
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel, read
from unrolled.training.loop import seeded

V = 7


def model_of(output: str = "full", **options: Any) -> LanguageModel:
    with seeded(torch.device("cpu"), 1):
        extra = {"cutoffs": "2,4"} if output == "adaptive" else {}
        config = LanguageModelConfig(hidden_size=5, layers=1, output=output, **extra, **options)  # type: ignore[arg-type]
        model = LanguageModel(V, find_cell("lstm"), config, kernel="reference").double()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.6)
        return model.eval()


def text_of(length: int, seed: int = 0) -> Tokens:
    ids = np.random.default_rng(seed).integers(0, V, length).astype(np.uint16)
    return Tokens(ids, np.array([0, length // 2], np.int64))


def by_hand(model: LanguageModel, tokens: Tokens, dynamic: Dynamic, roots: list[torch.Tensor] | None) -> float:
    """Equations 1 to 6 of Krause et al., weight by weight."""
    model = model_like(model)
    names, start = [n for n, _ in model.named_parameters()], [p.detach().clone() for p in model.parameters()]
    mean = 0.0 if roots is None else float(sum(r.sum() for r in roots) / sum(r.numel() for r in roots))
    ids, state, total = torch.from_numpy(tokens.ids.astype(np.int64)), None, 0.0
    for at in range(0, len(ids) - 1, dynamic.segment):
        x, y = ids[at : at + dynamic.segment], ids[at + 1 : at + 1 + dynamic.segment]
        x = x[: len(y)]
        logits, after = model(x[None], state)
        nats = torch.nn.functional.cross_entropy(logits[0], y, reduction="none")
        total += float(nats.sum().detach())
        model.zero_grad()
        nats.mean().backward()
        state = tuple(tuple(part.detach() for part in layer) for layer in after)
        with torch.no_grad():
            for index, name in enumerate(names):
                w = model.get_parameter(name)
                g = torch.zeros_like(w) if w.grad is None else w.grad
                if dynamic.rule == "sgd":
                    w += dynamic.decay * (start[index] - w) - dynamic.rate * g
                else:
                    assert roots is not None
                    back = (dynamic.decay * roots[index] / mean).clamp(max=1)
                    w += back * (start[index] - w) - dynamic.rate * g / (roots[index] + dynamic.epsilon * mean)
    return total


def model_like(model: LanguageModel) -> LanguageModel:
    other = model_of(model.config.output, tied=model.config.tied)
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("rule", ["sgd", "rms"])
@pytest.mark.parametrize("segment", [1, 4, 13, 100])
def test_dynamic_evaluation_is_its_equations(rule: Any, segment: int) -> None:
    model, tokens = model_of(), text_of(40)
    roots = root_mean_squares(model, sequential(text_of(60, 1), 3, 5)) if rule == "rms" else None
    methods = Methods(Dynamic(rule, 0.2 if rule == "sgd" else 0.01, 0.3, segment))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    streams, batches = batches_for(tokens, methods, V, "carry")
    nats, targets = read_with(model, batches, methods, roots)
    assert (streams, targets) == (1, 39)
    assert methods.dynamic is not None
    assert nats == pytest.approx(by_hand(model, tokens, methods.dynamic, roots), rel=1e-12)
    if segment < 39:
        assert abs(nats - read(model, sequential(tokens, 1, 50))[0]) > 1e-3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("output", ["full", "adaptive", "sampled", "mixture"])
@pytest.mark.parametrize("documents", ["carry", "reset"])
def test_without_learning_it_is_static(output: str, documents: Any) -> None:
    model, tokens = model_of(output), text_of(50)
    expected = read(model, sequential(tokens, 1, 50, documents))
    nothing = Dynamic("sgd", 0.0, 0.5, 7)
    for methods in (Methods(nothing), Methods(nothing, Cache(5, 0.3, 0.0)), Methods(temperature=1.0 + 1e-12)):
        _, batches = batches_for(tokens, methods, V, documents)
        found = read_with(model, batches, methods)
        assert found[1] == expected[1]
        assert found[0] == pytest.approx(expected[0], rel=1e-9)


def test_tied_weights_learn_once() -> None:
    model, tokens = model_of(tied=True), text_of(40)
    dynamic = Dynamic("sgd", 0.2, 0.1, 5)
    _, batches = batches_for(tokens, Methods(dynamic), V, "carry")
    expected = by_hand(model, tokens, dynamic, None)
    assert read_with(model, batches, Methods(dynamic))[0] == pytest.approx(expected, rel=1e-12)


def test_root_mean_squares() -> None:
    model, batches = model_of(), list(sequential(text_of(31), 2, 5))
    found = root_mean_squares(model, batches)
    squares, state = [torch.zeros_like(p) for p in model.parameters()], None
    for batch in batches:
        nats, after = model.losses(batch, state)
        state = tuple(tuple(part.detach() for part in layer) for layer in after)
        gradients = torch.autograd.grad(nats.sum() / batch.targets, list(model.parameters()))
        squares = [s + g**2 for s, g in zip(squares, gradients, strict=True)]
    torch.testing.assert_close(found, [(s / len(batches)).sqrt() for s in squares])


# ---- cache


def cache_by_hand(
    h: np.ndarray, y: np.ndarray, begun: np.ndarray, window: int, flatness: float
) -> tuple[list[float], list[bool]]:
    found, there = [], []
    for t in range(len(y)):
        kept = [i for i in range(max(0, t - window), t) if begun[i] == begun[t]]
        weights = [math.exp(flatness * float(h[t] @ h[i])) for i in kept]
        hits = sum(w for w, i in zip(weights, kept, strict=True) if y[i] == y[t])
        there.append(bool(kept))
        found.append(math.log(hits / sum(weights)) if hits else -math.inf)
    return found, there


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 30),
    window=st.integers(1, 12),
    flatness=st.sampled_from([0.0, 0.3, 2.0]),
    cut=st.integers(1, 30),
    seed=st.integers(0, 100),
)
def test_the_cache_is_its_equations_however_the_text_is_cut(
    length: int, window: int, flatness: float, cut: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    h, y = rng.normal(size=(2, length, 3)), rng.integers(0, 4, (2, length))
    resets = rng.random((2, length)) < 0.1
    reader, pieces = CacheReader(window, [1.0, flatness]), []
    for at in range(0, length, cut):
        part = slice(at, at + cut)
        pieces.append(reader.read(*(torch.from_numpy(each[:, part].copy()) for each in (h, y, resets))))
    found, there = torch.cat([p for p, _ in pieces], 2)[1], torch.cat([t for _, t in pieces], 1)
    for b in range(2):
        expected, filled = cache_by_hand(h[b], y[b], resets[b].cumsum(), window, flatness)
        assert there[b].tolist() == filled
        # The logarithm of a probability of almost 1 has few digits.
        np.testing.assert_allclose(found[b].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_the_mixture_sums_to_one() -> None:
    model, tokens = model_of(), text_of(12)
    methods = Methods(None, Cache(6, 0.7, 0.3), 1.3)
    total = 0.0
    for last in range(V):
        ids = tokens.ids.copy()
        ids[-1] = last
        _, batches = batches_for(Tokens(ids, tokens.document_starts), methods, V, "carry")
        pieces = list(read_evidence(model, batches, methods, [1.3], [0.7]))
        total += math.exp(-float(pieces[-1].nats(share=0.3)[-1]))
    assert total == pytest.approx(1)


def test_temperature_divides_logits() -> None:
    model, tokens = model_of("mixture"), text_of(33)
    _, batches = batches_for(tokens, Methods(temperature=0.6), V, "carry")
    found, _ = read_with(model, batches, Methods(temperature=0.6))
    ids = torch.from_numpy(tokens.ids.astype(np.int64))
    log_p = torch.log_softmax(model(ids[None, :-1])[0][0] / 0.6, -1)
    assert found == pytest.approx(-float(log_p.gather(1, ids[1:, None]).sum().detach()))


# ---- tuning


def test_temperature_is_found() -> None:
    model = model_of()
    with torch.no_grad():  # a model that has nothing to say but how often each symbol comes, and says it too loudly
        model.output.get_parameter("weight").zero_()
        model.output.get_parameter("bias").copy_(1.25 * torch.log(torch.arange(1.0, V + 1)))
    ids = np.repeat(np.arange(V), 20 * np.arange(1, V + 1)).astype(np.uint16)
    tokens = Tokens(np.random.default_rng(0).permutation(ids), np.array([0], np.int64))
    assert tune(model, tokens, Wanted(temperature=None)).temperature == pytest.approx(1.25, rel=0.02)


def test_a_text_that_repeats_itself_wants_a_cache_and_learning() -> None:
    model = model_of()
    tokens = Tokens(np.tile(np.random.default_rng(0).integers(0, V, 9), 12).astype(np.uint16), np.array([0], np.int64))
    told: list[str] = []
    found = tune(model, tokens, Wanted("sgd", 4, window=20, temperature=None), tell=told.append)
    assert found.cache is not None
    assert found.dynamic is not None
    assert found.cache.share > 0.05
    assert found.dynamic.rate > 0.1
    assert len(told) > 4
    assert set(found.numbers) == {"segment", "rate", "decay", "epsilon", "cache", "flatness", "share", "temperature"}
    given = Wanted("sgd", 4, rate=0.5, window=20, share=0.1, temperature=0.9)
    kept = tune(model, tokens, given)
    assert kept.dynamic is not None
    assert kept.cache is not None
    assert (kept.dynamic.rate, kept.cache.share, kept.temperature) == (0.5, 0.1, 0.9)


def test_what_is_wanted_with_all_numbers_is_not_tuned() -> None:
    assert Wanted().given == Methods()
    assert Wanted("sgd").given is None
    assert Wanted("sgd", rate=0.1, decay=0.0).given == Methods(Dynamic("sgd", 0.1, 0.0, 20))
    assert Wanted(window=9, share=0.1).given is None
    assert Wanted(temperature=None).given is None


# ---- as a whole


def test_an_evaluation_names_its_methods() -> None:
    vocabulary = Characters.count(["abcdefg"])
    model, tokens = model_of(), text_of(60)
    methods = Methods(Dynamic("sgd", 0.1, 0.01, 5), Cache(9, 0.3, 0.1), 1.1)
    found = evaluate(model, vocabulary, tokens, methods=methods)
    assert found.methods.name == "dynamic (sgd) + cache + temperature 1.1"
    assert (found.detail, found.tokens, found.characters) == (1, 59, 59)
    assert Methods().name == "static"
    with pytest.raises(ConfigurationError, match="do not go with windows"):
        evaluate(model, vocabulary, tokens, "windows", methods=methods)
    with pytest.raises(DivergenceError, match="not finite"):
        evaluate(model, vocabulary, tokens, methods=Methods(Dynamic("sgd", 1e300, 0.0, 5)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dynamic("adam", 0.1, 0.1, 5), "unknown rule"),  # type: ignore[arg-type]
        (lambda: Dynamic("sgd", -1, 0.1, 5), "rate is out of range"),
        (lambda: Dynamic("sgd", math.nan, 0.1, 5), "rate is out of range"),
        (lambda: Dynamic("sgd", 0.1, 1.5, 5), "decay is out of range"),
        (lambda: Dynamic("sgd", 0.1, 0.1, 0), "a segment is too short"),
        (lambda: Cache(0, 0.1, 0.1), "a cache is too short"),
        (lambda: Cache(9, -0.1, 0.1), "flatness is out of range"),
        (lambda: Cache(9, 0.1, 1.0), "share is a probability"),
        (lambda: Methods(temperature=0.0), "temperature is out of range"),
    ],
)
def test_numbers_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_batches_without_a_target_teach_nothing() -> None:
    model = model_of()
    x = torch.zeros(1, 3, dtype=torch.int64)
    batch = Batch(x, x, None, torch.zeros(1, 3), True, StreamPosition())
    assert read_with(model, [batch], Methods(Dynamic("sgd", 1.0, 0.0, 3))) == (0.0, 0)
