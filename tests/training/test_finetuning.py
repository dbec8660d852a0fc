"""Rates by layer and layers that wait: which parameters move, how far, and the same after a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.cells import find_cell
from unrolled.data.store import Tokens
from unrolled.layers import Recurrent
from unrolled.runs.directory import Run
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.configuration import Optimizer, TrainingConfig
from unrolled.training.finetuning import layers_of, scales, thaw
from unrolled.training.fused import serves_training
from unrolled.training.loop import Trainer, seeded
from unrolled.training.optimizers import build_optimizer

IDS = np.random.default_rng(0).integers(0, 7, 700).astype(np.uint8)
Make = Callable[..., Trainer]


def make_model(**options: Any) -> LanguageModel:
    with seeded(torch.device("cpu"), 0):
        return LanguageModel(7, find_cell("gru"), LanguageModelConfig(hidden_size=5, **options))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(**options: Any) -> Trainer:
        given = {"steps": 30, "batch": 2, "length": 25, "learning_rate": 0.02, "precision": "float32", "seed": 5}
        config = TrainingConfig(**{**given, **options})
        parts = Tokens(IDS[:500], np.array([0])), Tokens(IDS[500:], np.array([0]))
        task = LanguageModelTask(make_model(dropout=0.2), *parts, batch=2, length=25, seed=config.seed)
        path = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        return Trainer(task, config, Run.create(path, {"task": "lm"}, {}))

    return build


def names(model: torch.nn.Module) -> list[set[str]]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return [{known[id(parameter)] for parameter in layer} for layer in layers_of(model)]


def test_layers_from_the_input_to_the_output() -> None:
    found = names(make_model(layers=2))
    assert len(found) == 4
    assert found[0] == {"embedding.weight"}
    assert all(name.startswith("recurrent.layers.0.") for name in found[1])
    assert all(name.startswith("recurrent.layers.1.") for name in found[2])
    assert found[3] == {"output.weight", "output.bias"}
    assert names(make_model(embedding_size=0, layers=1))[1] == {"output.weight", "output.bias"}
    assert names(make_model(tied=True, layers=1))[2] == {"output.bias"}, "what is tied is of the embedding"


def test_both_directions_are_one_layer() -> None:
    model = torch.nn.Module()
    model.recurrent = Recurrent(find_cell("rnn"), 2, 3, 2, bidirectional=True)
    found = names(model)
    assert [{name.split(".")[1] for name in layer} for layer in found] == [{"layers", "backward_layers"}] * 2
    assert sum(map(len, found)) == len(list(model.parameters()))


def test_something_without_layers_is_one() -> None:
    assert names(torch.nn.Linear(2, 3)) == [{"weight", "bias"}]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop", "adagrad", "adagrad-inside"])
def test_every_layer_has_its_rate(optimizer: Optimizer) -> None:
    model = make_model(layers=2)
    config = TrainingConfig(optimizer=optimizer, layer_decay=0.5)
    assert scales(4, config) == [0.125, 0.25, 0.5, 1]
    given = build_optimizer(model, config, 0.8)
    rates = {id(p): (group["scale"], group["lr"]) for group in given.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    for layer, scale in zip(layers_of(model), (0.125, 0.25, 0.5, 1), strict=True):
        assert {rates[id(parameter)] for parameter in layer} == {(scale, 0.8 * scale)}


def movements(trainer: Trainer) -> list[list[torch.Tensor]]:
    """How far each parameter of each layer goes in an update."""
    before = [[p.detach().clone() for p in layer] for layer in layers_of(trainer.model)]
    trainer.update()
    pairs = zip(layers_of(trainer.model), before, strict=True)
    return [[p.detach() - old for p, old in zip(layer, olds, strict=True)] for layer, olds in pairs]


def test_plain_gradient_descent_moves_each_layer_by_its_rate(make: Make) -> None:
    options = {"optimizer": "sgd", "momentum": 0.0, "clip_norm": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    plain, slower = movements(make(**options)), movements(make(**options, layer_decay=0.5))
    for scale, one, other in zip((0.125, 0.25, 0.5, 1), plain, slower, strict=True):
        for whole, part in zip(one, other, strict=True):
            torch.testing.assert_close(part, scale * whole, rtol=1e-3, atol=1e-7)


def test_layers_wait_for_their_turn(make: Make) -> None:
    trainer = make(unfreeze=0.25, weight_decay=0.5, steps=20)
    moved = [[any(bool(step.any()) for step in layer) for layer in movements(trainer)] for _ in range(20)]
    assert [sum(layers) for layers in moved] == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5
    assert all(layers == sorted(layers) for layers in moved), "from the top"


def test_without_waiting_nothing_is_touched() -> None:
    model = make_model()
    model.embedding.requires_grad_(False)
    thaw(layers_of(model), TrainingConfig(), 0.0)
    assert not any(parameter.requires_grad for parameter in model.embedding.parameters())


def test_going_on_from_a_snapshot_is_exact(make: Make) -> None:
    options = {"unfreeze": 0.2, "layer_decay": 0.4, "schedule": "slanted", "average": "exponential"}
    whole, first = make(**options), make(**options)
    for _ in range(30):
        whole.update()
    for _ in range(11):
        first.update()
    second = make(**options)
    second.put(first.snapshot())
    for _ in range(19):
        second.update()
    wanted, found = whole.snapshot(), second.snapshot()
    for one, other in ((wanted.model, found.model), (wanted.training, found.training)):
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_many_updates_in_one_call_know_nothing_of_this() -> None:
    assert serves_training(TrainingConfig())
    assert serves_training(TrainingConfig(schedule="slanted"))
    assert not serves_training(TrainingConfig(layer_decay=0.5))
    assert not serves_training(TrainingConfig(unfreeze=0.1))
