"""Tied embeddings, dropouts of their own, penalties: each against what its paper says, computed apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.data.store import Tokens
from unrolled.data.streams import StreamPosition, Streams
from unrolled.errors import ConfigurationError
from unrolled.layers.dropping import Dropout
from unrolled.runs.directory import Run
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.configuration import TrainingConfig
from unrolled.training.loop import Trainer, seeded

V = 7
CPU = torch.device("cpu")
TEXT = Tokens(np.random.default_rng(0).integers(0, V, 300).astype(np.uint8), np.array([0]))


def model_of(cell: str = "lstm", **options: Any) -> LanguageModel:
    with seeded(CPU, 1):
        config = LanguageModelConfig(**{"hidden_size": 5, "layers": 2, **options})
        return LanguageModel(V, find_cell(cell), config).double()


def task_of(model: LanguageModel, **options: Any) -> LanguageModelTask:
    return LanguageModelTask(model, TEXT, TEXT, **{"batch": 3, "length": 6, "seed": 0, **options})


# ---- tied


@pytest.mark.parametrize(("hidden", "embedding"), [(5, None), (5, 3), (3, 5)])
def test_tied_the_output_layer_is_the_embedding(hidden: int, embedding: int | None) -> None:
    model = model_of(hidden_size=hidden, embedding_size=embedding, tied=True).eval()
    width = embedding or hidden
    assert model.output.weight is model.embedding.weight
    assert model.embedding.weight.shape == (V, width)
    assert [layer.hidden_size for layer in model.recurrent.layers] == [hidden, width]
    assert model.size == sum(value.numel() for value in model.state_dict().values()) - V * width
    text = torch.tensor([[1, 4, 2]])
    y, _ = model.recurrent(width**0.5 * model.embedding.weight[text])
    torch.testing.assert_close(model(text)[0], y @ model.embedding.weight.t() + model.output.bias)


def test_vectors_that_are_read_are_about_1_and_those_of_the_output_small() -> None:
    with seeded(CPU, 0):
        model = LanguageModel(500, find_cell("lstm"), LanguageModelConfig(hidden_size=100, tied=True))
        paper = LanguageModel(500, find_cell("lstm"), LanguageModelConfig(tied=True, embedding_scale=1.0))
    ids = torch.arange(500)
    assert float(model.embedding(ids).detach().std()) == pytest.approx(1, abs=0.02)
    assert float(model.output.weight.detach().std()) == pytest.approx(0.1, abs=0.002)
    assert torch.equal(paper.embedding(ids), paper.output.weight)
    assert task_of(model_of(embedding_scale=2.0)).small() is None


def test_tied_weights_stay_tied() -> None:
    model = model_of(tied=True)
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    model.float().double()
    task_of(model).loss({"epoch": 0, "chunk": 0}, {}).total.backward()
    with torch.no_grad():
        model.embedding.weight -= 0.1 * model.embedding.weight.grad
    assert model.output.weight is model.embedding.weight
    assert len([name for name, _ in model.named_parameters() if name in ("output.weight", "embedding.weight")]) == 1


# ---- dropout


def test_each_place_has_a_dropout_of_its_own() -> None:
    def found(**options: Any) -> tuple[float, ...]:
        model = model_of(**options)
        drops = (model.input_dropout, model.recurrent.dropout, model.dropout)
        assert {drop.variational for drop in drops} == {options.get("variational", False)}
        return tuple(drop.probability for drop in drops)

    assert found(dropout=0.3) == (0, 0.3, 0.3)
    assert found(dropout=0.3, variational=True) == (0.3, 0.3, 0.3)
    assert found(dropout=0.3, input_dropout=0.1, layer_dropout=0.0, output_dropout=0.5) == (0.1, 0, 0.5)
    assert found(output_dropout=0.5) == (0, 0, 0.5)


def test_words_are_dropped_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = model_of(embedding_dropout=0.5), torch.arange(V).unsqueeze(0)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(model.input_dropout, "forward", lambda x: seen.append(x) or x)
    with seeded(CPU, 0):
        model(ids)
    rows = model.embedding(ids)
    dropped = (seen[0] == 0).all(-1)
    assert 0 < int(dropped.sum()) < V
    torch.testing.assert_close(seen[0], torch.where(dropped.unsqueeze(-1), 0.0, 2 * rows))
    model.eval()(ids)
    torch.testing.assert_close(seen[1], rows)


# ---- penalties


@given(
    activation=st.sampled_from([0.0, 0.5, 2.0]),
    temporal=st.sampled_from([0.0, 1.0, 3.0]),
    length=st.integers(1, 4),
    cell=st.sampled_from(["lstm", "gru"]),
)
@settings(max_examples=15)
def test_penalties_are_those_of_the_paper(activation: float, temporal: float, length: int, cell: str) -> None:
    options = {"activation_penalty": activation, "temporal_penalty": temporal}
    model = model_of(cell, output_dropout=0.4, **options)
    batch = Streams(TEXT, 3, length, seed=0, shift=False).batch(StreamPosition())
    with seeded(CPU, 3):
        nats, _, penalty = model.penalised(batch, None)
    y = model.recurrent(model.embedding(batch.x))[0].detach()
    with seeded(CPU, 3):
        dropped = Dropout(0.4)(y)
    wanted = activation * float((dropped**2).sum()) / dropped.numel()
    if length > 1:
        wanted += temporal * float(((y[:, 1:] - y[:, :-1]) ** 2).sum()) / y[:, 1:].numel()
    assert (0.0 if penalty is None else float(penalty.detach())) == pytest.approx(wanted, abs=1e-12)
    model.eval()
    assert model.penalised(batch, None)[2] is None
    assert nats.shape == (3, length)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_training_goes_down_the_loss_and_the_penalty(reduction: Any, tmp_path: Path) -> None:
    """One step of gradient descent, the gradient computed apart; what is told is the loss alone."""
    options = {"activation_penalty": 2.0, "temporal_penalty": 1.0, "dropout": 0.0}
    model, twin = model_of(**options), model_of(**options)
    config = TrainingConfig(
        steps=1, batch=3, length=6, optimizer="sgd", momentum=0, learning_rate=0.5, schedule="constant",
        weight_decay=0, clip_norm=0, reduction=reduction, precision="float64", shift=False,
    )  # fmt: skip
    trainer = Trainer(task_of(model, shift=False), config, Run.create(tmp_path / "run", {"task": "lm"}, {}))
    update = trainer.update()
    batch = Streams(TEXT, 3, 6, seed=0, shift=False).batch(StreamPosition())
    nats, _, penalty = twin.penalised(batch, None)
    assert penalty is not None
    assert update.loss == pytest.approx(float(nats.detach().mean()))
    ((nats.mean() + penalty) * (6 if reduction == "sum" else 1)).backward()
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other - 0.5 * other.grad)


# ---- beside the rest


def test_the_start_can_be_uniform() -> None:
    model = model_of(initial_range=0.08, hidden_size=30)
    for name, value in model.named_parameters():
        if name.endswith("b.f"):
            assert bool((value == 1).all())  # what the cell says
        else:
            assert 0.04 < float(value.detach().abs().max()) <= 0.08, name


OPTIONS = {
    "tied": True,
    "input_dropout": 0.1,
    "layer_dropout": 0.1,
    "output_dropout": 0.1,
    "embedding_dropout": 0.1,
    "weight_drop": 0.1,
    "activation_penalty": 1.0,
    "temporal_penalty": 1.0,
}


def test_the_compiled_step_of_small_nets_steps_aside() -> None:
    assert task_of(model_of()).small() is not None
    for name, value in OPTIONS.items():
        assert task_of(model_of(**{name: value})).small() is None, name


def test_evaluation_knows_nothing_of_them() -> None:
    plain, other = model_of(), model_of(**{**OPTIONS, "tied": False})
    other.load_state_dict(plain.state_dict())
    assert task_of(other).validate() == task_of(plain).validate()
    assert other.training


def test_what_contradicts_itself_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="tied and embedding_dropout are of an embedding"):
        LanguageModelConfig(tied=True, embedding_size=0)
    with pytest.raises(ConfigurationError, match="say two things"):
        LanguageModelConfig(initial_std=0.1, initial_range=0.1)
    with pytest.raises(ConfigurationError, match="weight_drop is a probability"):
        LanguageModelConfig(weight_drop=1.0)
    with pytest.raises(ConfigurationError, match="temporal_penalty is a factor"):
        LanguageModelConfig(temporal_penalty=-1.0)
