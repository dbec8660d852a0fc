"""Language models with every output layer: the same contract, whatever is behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from unrolled.cells import find_cell
from unrolled.data.streams import Batch, StreamPosition
from unrolled.errors import ConfigurationError
from unrolled.layers.outputs import AdaptiveSoftmax, FullSoftmax
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel
from unrolled.tasks.output_layers import build_output
from unrolled.training.loop import seeded

V = 23
KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "adaptive": {"cutoffs": "4,9", "divisor": 2.0},
    "sampled": {"samples": 6},
    "mixture": {"experts": 3},
}
COUNTS = [(7 * symbol) % V for symbol in range(V)]
every_kind = pytest.mark.parametrize("kind", KINDS)


def model_of(kind: str, **options: Any) -> LanguageModel:
    with seeded(torch.device("cpu"), 1):
        config = LanguageModelConfig(hidden_size=6, output=kind, **{**KINDS[kind], **options})  # type: ignore[arg-type]
        return LanguageModel(V, find_cell("gru"), config, counts=COUNTS).double()


def batch_of(seed: int = 0) -> Batch:
    text = torch.randint(V, (3, 6), generator=torch.Generator().manual_seed(seed))
    return Batch(text[:, :-1], text[:, 1:], None, None, True, StreamPosition())


@every_kind
def test_reading_stepping_and_losses_are_one_distribution(kind: str) -> None:
    model, batch = model_of(kind).eval(), batch_of()
    with torch.no_grad():
        log_p = torch.log_softmax(model(batch.x)[0], -1)
        torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(3, 5, dtype=torch.float64))
        nats, _ = model.losses(batch, None)
        torch.testing.assert_close(nats, -log_p.gather(-1, batch.y.unsqueeze(-1)).squeeze(-1))
        torch.testing.assert_close(model.output.log_probabilities(model._read(batch.x, None, None)[0]), log_p)
        steps = model.stepping()
        state = steps.initial_state(3)
        for t in range(5):
            logits, state = steps.step(batch.x[:, t], state)
            torch.testing.assert_close(torch.log_softmax(logits, -1), log_p[:, t])


@every_kind
def test_a_few_steps_of_training_learn_a_batch(kind: str) -> None:
    model, batch = model_of(kind), batch_of()
    optimizer = torch.optim.Adam(model.parameters(), 0.05)

    def loss() -> float:
        with torch.no_grad():
            return float(model.eval().losses(batch, None)[0].mean())

    before = loss()
    with seeded(torch.device("cpu"), 2):
        for _ in range(60):
            optimizer.zero_grad()
            model.train().losses(batch, None)[0].mean().backward()
            optimizer.step()
    assert loss() < 0.5 * before


@every_kind
def test_in_bfloat16_products(kind: str) -> None:
    model, batch = model_of(kind).float(), batch_of()
    exact = model_of(kind)
    nats, gradients = [], []
    for each, precise in ((model, False), (exact, True)):
        each.output.train()
        with seeded(torch.device("cpu"), 5), torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            found = each.losses(batch, None)[0]
        found.mean().backward()
        nats.append(found.detach().double())
        gradients.append(next(p.grad for n, p in each.named_parameters() if n == "embedding.weight"))
    assert (nats[0] - nats[1]).norm() < 2e-2 * nats[1].norm()
    assert (gradients[0] - gradients[1]).norm() < 5e-2 * gradients[1].norm()


def test_the_names_of_weights_are_those_of_earlier_runs() -> None:
    for kind in ("full", "sampled", "mixture"):
        shapes = {name: tuple(value.shape) for name, value in model_of(kind).state_dict().items()}
        assert (shapes["output.weight"], shapes["output.bias"]) == ((V, 6), (V,))
    assert {name for name in model_of("full").state_dict() if name.startswith("output")} == {
        "output.weight",
        "output.bias",
    }


@every_kind
def test_what_is_packed_and_what_is_trained_in_one_call(kind: str) -> None:
    model = model_of(kind)
    if kind in ("full", "sampled"):
        engine = model.eval().float().engine()
        logits, _ = engine.read(batch_of().x.numpy())
        torch.testing.assert_close(logits, model(batch_of().x)[0].detach(), rtol=1e-4, atol=1e-5)
    else:
        with pytest.raises(ConfigurationError, match="engine has no such output layer"):
            model.engine()


@pytest.mark.parametrize("kind", ["full", "sampled", "mixture"])
def test_tied_vectors_are_those_of_the_embedding(kind: str) -> None:
    model = model_of(kind, tied=True, embedding_size=4)
    assert model.output.get_parameter("weight") is model.embedding.get_parameter("weight")
    assert tuple(model(batch_of().x)[0].shape) == (3, 5, V)
    assert "output.weight" in model.state_dict()


def test_clusters_share_their_vectors_with_what_is_read() -> None:
    """Against the matrix of all vectors written out: what is read, the distribution, and all gradients."""
    model, batch = model_of("adaptive", tied=True, embedding_size=4, embedding_scale=3.0), batch_of()
    weights = dict(model.output.named_parameters())
    assert not list(model.embedding.parameters())
    assert model.size == sum(value.numel() for name, value in model.state_dict().items() if "ranks" not in name)

    def written_out() -> torch.Tensor:
        rows = [weights["head.weight"][:4]]
        for cluster in range(2):
            rows.append(weights[f"clusters.{cluster}.rows.weight"] @ weights[f"clusters.{cluster}.down.weight"])
        return torch.cat(rows)[torch.tensor(np.argsort(np.argsort(-np.array(COUNTS), kind="stable")))]

    torch.testing.assert_close(model.embedding(batch.x), 3 * written_out()[batch.x])
    x = 3 * torch.nn.functional.embedding(batch.x, written_out())
    expected = model.output.losses(model.recurrent(x)[0], batch.y)
    nats, _ = model.losses(batch, None)
    torch.testing.assert_close(nats, expected)
    found, other = (torch.autograd.grad(each.sum(), list(model.parameters())) for each in (nats, expected))
    for mine, theirs in zip(found, other, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_tied_clusters_learn_as_large_vectors_as_the_head_has() -> None:
    torch.manual_seed(0)
    output = {"output": "adaptive", "cutoffs": "100,400", "tied": True, "hidden_size": 64}
    model = LanguageModel(900, find_cell("gru"), LanguageModelConfig(**output))  # type: ignore[arg-type]
    read = model.embedding(torch.arange(900)).detach()
    sizes = [float(read[start:end].std()) for start, end in ((0, 100), (100, 400), (400, 900))]
    assert sizes == pytest.approx([1, 1, 1], rel=0.15)
    hidden = torch.randn(50, 64)
    logits = [part.detach().std() for part in (model.output.head(hidden), *(c(hidden) for c in model.output.clusters))]  # type: ignore[operator, union-attr]
    assert [float(each) for each in logits] == pytest.approx([1, 1, 1], rel=0.2)


def test_one_layer_has_no_vectors_to_tie() -> None:
    with pytest.raises(ConfigurationError, match="tied is of an output layer"):
        model_of("adaptive").output.tie(torch.nn.Parameter(torch.ones(V, 6)))


def test_initial_std_reaches_every_output_layer() -> None:
    for kind in KINDS:
        for name, value in model_of(kind, initial_std=0.0).output.named_parameters():
            assert bool((value == 0).all()), (kind, name)


def test_what_is_built() -> None:
    assert isinstance(build_output(LanguageModelConfig(), 8, 100), FullSoftmax)
    adaptive = build_output(LanguageModelConfig(output="adaptive"), 512, 50_000)
    assert isinstance(adaptive, AdaptiveSoftmax)
    assert len(adaptive.cutoffs) > 1
    assert adaptive.about.startswith("adaptive softmax, cut-offs ")
    assert build_output(LanguageModelConfig(output="adaptive", cutoffs=""), 4, 10).about.endswith("none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "half"}, "output has no such choice"),
        ({"cutoffs": "5,3"}, "cutoffs are out of range"),
        ({"cutoffs": "0,3"}, "cutoffs are out of range"),
        ({"cutoffs": "five"}, "cutoffs are out of range"),
        ({"cutoffs": "5,,7"}, "cutoffs are out of range"),
        ({"divisor": 0.5}, "divisor is out of range"),
        ({"divisor": float("nan")}, "divisor is out of range"),
        ({"samples": 0}, "samples is too small"),
        ({"experts": 0}, "experts is too small"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LanguageModelConfig(**options)


def test_cutoffs_beyond_the_vocabulary() -> None:
    with pytest.raises(ConfigurationError, match="cutoffs are not those of the vocabulary"):
        model_of("adaptive", cutoffs="4,23")
