from __future__ import annotations

import math
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.example_cells import delay, four_stages, sru
from unrolled.cells import Equations, find_cell
from unrolled.data.vocabulary import Bytes, Characters
from unrolled.decoding import Sampler, generate, probabilities
from unrolled.decoding.engine import PRECISIONS, Engine
from unrolled.decoding.sampling import choose, uniforms
from unrolled.errors import ConfigurationError, DivergenceError
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel
from unrolled.training.loop import seeded

LETTERS = Characters.count(["aaabbc d\n"])
CELLS = [find_cell("lstm"), find_cell("gru-reset-before"), find_cell("minlstm"), four_stages, sru, delay]


@cache
def model_of(equations: Equations = CELLS[0], size: int = 11, **options: Any) -> LanguageModel:
    """A net with weights large enough that symbols matter."""
    options = {"hidden_size": 6, "layers": 2, **options}
    with seeded(torch.device("cpu"), 2):
        model = LanguageModel(size, equations, LanguageModelConfig(**options)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.5)
    return model


@cache
def engine_of(*args: Any, precision: Any = "float32", **options: Any) -> Engine:
    return model_of(*args, **options).engine(precision)


def texts(streams: int, length: int, size: int = 11) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(0).integers(size, size=(streams, length))


@torch.no_grad()
def log_p(model: LanguageModel, ids: Any) -> torch.Tensor:
    return torch.log_softmax(model(torch.as_tensor(ids))[0].double(), -1)


# ---- the same probabilities


@pytest.mark.parametrize("streams", [1, 3, 64])
@pytest.mark.parametrize("equations", CELLS, ids=lambda equations: equations.name)
def test_probabilities_are_those_of_the_network(equations: Equations, streams: int) -> None:
    options = {"layers": 3, "residual": True}
    ids = texts(streams, 9)
    logits, _ = engine_of(equations, **options).read(ids)
    assert logits.shape == (streams, 9, 11)
    expected = log_p(model_of(equations, **options), ids)
    assert (torch.log_softmax(logits.double(), -1) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (1, {}),
        (2, {"layers": 1}),
        (257, {"hidden_size": 63}),
        (11, {"embedding_size": 0}),
        (11, {"embedding_size": 7, "hidden_size": 33}),
        (5, {"embedding_size": 40, "hidden_size": 1}),
        (11, {"embedding_size": 7, "hidden_size": 33, "layers": 3, "tied": True}),
        (11, {"embedding_size": 18, "hidden_size": 5, "layers": 3, "tied": True}),
        (11, {"embedding_size": 3, "hidden_size": 5, "layers": 1, "tied": True}),
        (11, {"embedding_scale": 3.0}),
    ],
)
def test_of_any_size(size: int, options: dict[str, Any]) -> None:
    ids = texts(9, 5, size)
    logits, _ = engine_of(size=size, **options).read(ids)
    assert (torch.log_softmax(logits.double(), -1) - log_p(model_of(size=size, **options), ids)).abs().max() < 1e-5


@pytest.mark.parametrize("equations", [four_stages, CELLS[2]], ids=lambda equations: equations.name)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_layers_of_several_sizes(equations: Equations, precision: Any) -> None:
    options = {"embedding_size": 4, "hidden_size": 7, "layers": 3, "tied": True}
    if equations.uses_raw_input:
        pytest.skip("has as many inputs as units")
    ids = texts(3, 5)
    logits, _ = engine_of(equations, precision=precision, **options).read(ids)
    difference = (torch.log_softmax(logits.double(), -1) - log_p(model_of(equations, **options), ids)).abs().max()
    assert difference < (1e-5 if precision == "float32" else 0.5)


@pytest.mark.parametrize("equations", [four_stages, sru], ids=lambda equations: equations.name)
def test_symbols_as_they_are(equations: Equations) -> None:
    options = {"embedding_size": 0, "hidden_size": 11}
    ids = texts(2, 5)
    logits, _ = engine_of(equations, **options).read(ids)
    assert (torch.log_softmax(logits.double(), -1) - log_p(model_of(equations, **options), ids)).abs().max() < 1e-5


@pytest.mark.parametrize("equations", [CELLS[0], four_stages, sru], ids=lambda equations: equations.name)
def test_without_a_table(equations: Equations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unrolled.decoding.engine._TABLE_BYTES", 0)
    ids = texts(9, 7)
    logits, _ = model_of(equations).engine().read(ids)
    torch.testing.assert_close(logits, engine_of(equations).read(ids)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 2e-2), ("int8", 0.1)])
@pytest.mark.parametrize("streams", [1, 11])
def test_in_smaller_numbers(precision: str, tolerance: float, streams: int) -> None:
    model, ids = model_of(hidden_size=33), texts(streams, 20)
    found = engine_of(hidden_size=33, precision=precision).read(ids)[0]
    with torch.no_grad():
        expected = model(torch.from_numpy(ids))[0]
    assert (found - expected).norm() / expected.norm() < tolerance


def test_bytes_are_multiplied_exactly() -> None:
    """Weights and activations that are whole numbers of levels lose nothing: only the products are tested."""
    model = model_of(find_cell("rnn-relu"), 4, layers=1, hidden_size=37)
    source = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in model.parameters():
            levels = source.integers(-127, 128, size=parameter.shape)
            levels[..., 0] = 127  # so that a level is 1 in every row
            parameter.copy_(torch.from_numpy(levels) if parameter.dim() > 1 else torch.zeros(parameter.shape))
        model.embedding.weight.fill_(0.0)  # type: ignore[operator, union-attr]
    engine = model.engine("int8")
    for streams in (1, 9):
        state = source.integers(0, 128, size=(1, 1, streams, 37)).astype(np.float32)
        state[..., 0] = 127
        hidden = np.maximum(state[0, 0] @ model.recurrent.layers[0].U.h.detach().numpy().T, 0)  # type: ignore[index, union-attr]
        after = engine.follow(np.zeros((streams, 1), np.int64), state)
        np.testing.assert_array_equal(after[0, 0], hidden)


def test_the_loss_in_int8(trained: Path, corpus: Path) -> None:
    from unrolled import open_run

    run = open_run(trained, threads=1)
    ids = run.vocabulary.encode(corpus.read_text())
    exact, *rough = (run.model.engine(precision).score(ids).mean() for precision in PRECISIONS)
    assert rough == pytest.approx([exact, exact], rel=5e-3)
    for precision in PRECISIONS:
        said = open_run(trained, threads=1, precision=precision).score(corpus.read_text())
        assert said.nats_per_token == pytest.approx(exact, rel=5e-3)


# ---- state and steps


@pytest.mark.parametrize("equations", [CELLS[0], delay], ids=lambda equations: equations.name)
def test_state_is_carried_from_call_to_call(equations: Equations) -> None:
    engine, ids = engine_of(equations), texts(9, 12)
    whole, last = engine.read(ids)
    state = engine.initial_state(9)
    before = state.copy()
    first, after = engine.read(ids[:, :5], state)
    np.testing.assert_array_equal(state, before)
    second, after = engine.read(ids[:, 5:], after)
    assert torch.equal(torch.cat([first, second], 1), whole)
    np.testing.assert_array_equal(after, last)
    np.testing.assert_array_equal(engine.follow(ids, state), last)
    for t in range(12):
        logits, state = engine.step(torch.from_numpy(ids[:, t]), state)
        assert torch.equal(logits, whole[:, t])


@pytest.mark.parametrize("streams", [1, 3, 64])
@pytest.mark.parametrize("length", [1, 2, 33])
def test_nats_are_those_of_the_network(streams: int, length: int) -> None:
    ids = texts(streams, length)
    found = engine_of().score(ids)
    expected = -log_p(model_of(), ids)[:, :-1].gather(2, torch.from_numpy(ids)[:, 1:, None]).squeeze(2)
    assert found.shape == (streams, length - 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(engine_of().score(ids[0]), found[0], atol=1e-5)


def test_streams_are_shared_out_over_threads(threads: int) -> None:
    ids, numbers = texts(70, 9), np.random.default_rng(1).random((9, 70))
    alone = (
        engine_of().read(ids),
        engine_of().score(ids),
        engine_of().extend(ids[:, 0], alone_state(70), numbers, Sampler()),
    )
    torch.set_num_threads(3)
    try:
        shared = (
            engine_of().read(ids),
            engine_of().score(ids),
            engine_of().extend(ids[:, 0], alone_state(70), numbers, Sampler()),
        )
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone[0][0], shared[0][0])
    for one, other in ((alone[0][1], shared[0][1]), (alone[1], shared[1]), *zip(alone[2], shared[2], strict=True)):
        np.testing.assert_array_equal(one, other)


def alone_state(streams: int) -> Any:
    return engine_of().initial_state(streams)


@pytest.mark.parametrize("ids", [[[11]], [[-1]], [0]])
def test_symbols_outside_the_vocabulary(ids: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"a symbol is not in the vocabulary|symbols have a wrong shape"):
        engine_of().read(ids)


def test_a_state_of_another_shape() -> None:
    with pytest.raises(ConfigurationError, match="the state has a wrong shape"):
        engine_of().read([[0]], np.zeros((2, 2, 3, 6), np.float32))


def test_an_unknown_precision() -> None:
    with pytest.raises(ConfigurationError, match="unknown precision 'int4'"):
        model_of().engine("int4")  # type: ignore[arg-type]


# ---- choosing

SAMPLERS = st.builds(
    Sampler,
    st.sampled_from([0.0, 0.5, 1.0, 1.7, 1e-5]),
    st.integers(0, 12),
    st.sampled_from([1.0, 0.95, 0.7, 0.3, 1e-9]),
    st.integers(0, 1000),
)


@given(SAMPLERS, st.sampled_from([1, 9]))
@settings(max_examples=60)
def test_each_symbol_is_the_one_its_number_picks(sampler: Sampler, streams: int) -> None:
    """From the logits that the engine itself gives for the text so far: the choice is `choose`'s."""
    engine = engine_of()
    last = np.arange(streams) % 11
    numbers = uniforms(sampler.seed).random((12, streams))
    symbols, _ = engine.extend(last, engine.initial_state(streams), numbers, sampler)
    logits, _ = engine.read(np.vstack([last, symbols[:-1]]).T)
    for t in range(12):
        for s in range(streams):
            p = probabilities(logits[s, t].numpy(), sampler)
            assert symbols[t, s] == choose(p, numbers[t, s])


@pytest.mark.parametrize("top_k", [0, 1, 40, 300])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_the_likeliest_of_many(top_k: int, top_p: float) -> None:
    engine, sampler = engine_of(size=257, hidden_size=63), Sampler(2.0, top_k, top_p)
    numbers = uniforms(3).random((20, 1))
    symbols, _ = engine.extend(np.array([5]), engine.initial_state(1), numbers, sampler)
    logits, _ = engine.read(np.vstack([[5], symbols[:-1]]).T)
    expected = [choose(probabilities(row, sampler), u) for row, u in zip(logits[0].numpy(), numbers[:, 0], strict=True)]
    assert symbols[:, 0].tolist() == expected


def test_equals_are_taken_in_order() -> None:
    model = model_of(size=5, hidden_size=2, layers=1)
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0]))
    engine = model.engine()

    def chosen(sampler: Sampler) -> set[int]:
        return set(engine.sample(200, (0,), sampler)[0].tolist())

    assert chosen(Sampler(temperature=0)) == {1}
    assert chosen(Sampler(top_k=2)) == {1, 2}
    assert chosen(Sampler(top_p=0.5)) == {1, 2, 3}  # each a little below 1/4
    assert chosen(Sampler()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("length", [0, 1, 2, 300])
@pytest.mark.parametrize("prompt", [(), (3,), (3, 1, 4)])
def test_streams_are_what_their_seeds_give_alone(length: int, prompt: tuple[int, ...]) -> None:
    engine = engine_of()
    several = engine.sample(length, prompt, Sampler(0.9, 8, 0.95, seed=4), streams=3)
    assert several.shape == (3, length)
    for s in range(3):
        alone = engine.sample(length, prompt, Sampler(0.9, 8, 0.95, seed=4 + s))
        np.testing.assert_array_equal(several[s], alone[0])
    longer = engine.sample(length + 7, prompt, Sampler(0.9, 8, 0.95, seed=4), streams=3)
    np.testing.assert_array_equal(longer[:, :length], several)


# ---- the same text


def letters_model(equations: Equations = CELLS[0]) -> LanguageModel:
    return model_of(equations, LETTERS.size)


@pytest.mark.parametrize("prompt", ["", "a", "ab c"])
@pytest.mark.parametrize("equations", CELLS[:2], ids=lambda equations: equations.name)
@pytest.mark.parametrize("sampler", [Sampler(seed=3), Sampler(0.0), Sampler(0.8, 4, 0.9, seed=1)])
def test_the_text_is_that_of_the_model_step_by_step(equations: Equations, prompt: str, sampler: Sampler) -> None:
    model, ids = letters_model(equations), LETTERS.encode(prompt).tolist()
    for length in (0, 1, 2, 200):
        texts = [
            "".join(generate(steps, LETTERS, length=length, prompt=ids, sampler=sampler))
            for steps in (model.engine(), model.stepping())
        ]
        assert texts[0] == texts[1]
        assert len(texts[0]) == length


@given(st.lists(st.text("abc \n", min_size=1, max_size=4), max_size=3), st.integers(0, 60), st.integers(0, 20))
@settings(max_examples=40)
def test_it_ends_where_a_text_to_stop_at_is_reached(stops: list[str], length: int, seed: int) -> None:
    model = letters_model()
    engine = engine_of(CELLS[0], LETTERS.size)
    by_engine, by_steps = (
        list(generate(steps, LETTERS, length=length, sampler=Sampler(seed=seed), stop=stops))
        for steps in (engine, model.stepping())
    )
    assert "".join(by_engine) == "".join(by_steps)
    assert all(by_engine)


def test_bytes_come_out_as_whole_characters() -> None:
    vocabulary = Bytes.count(["a"])
    model = model_of(size=vocabulary.size)
    by_engine, by_steps = (
        "".join(generate(steps, vocabulary, length=300, sampler=Sampler(seed=1)))
        for steps in (model.engine(), model.stepping())
    )
    assert by_engine == by_steps


# ---- what diverged


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("where", ["output", "recurrent"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_that_gives_no_numbers_is_an_error(precision: Any, where: str, value: float) -> None:
    with seeded(torch.device("cpu"), 2):
        model = LanguageModel(7, CELLS[0], LanguageModelConfig(hidden_size=5))
    with torch.no_grad():
        (model.output.bias if where == "output" else model.recurrent.layers[0].U.f)[0] = value  # type: ignore[index, union-attr]
        if where == "recurrent":
            model.recurrent.layers[0].U.f.fill_(math.nan)  # type: ignore[index, union-attr]
    engine = model.engine(precision)
    with pytest.raises(DivergenceError, match="logits that are not finite"):
        engine.sample(4, (1,), streams=9)
    with pytest.raises(DivergenceError, match="logits that are not finite"):
        engine.score([1, 2, 3])


def test_a_second_process_finds_it_compiled(cache: Path) -> None:
    engine_of()
    code = """
import torch
from unrolled.cells import find_cell
from unrolled.kernels.compiling import on_compiling
from unrolled.tasks.language_model import LanguageModel
on_compiling(lambda what, seconds: print(what))
engine = LanguageModel(5, find_cell("lstm")).engine()
print(sum(engine._function.stats.cache_hits.values()), engine.sample(3).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 (1, 3)\n"
