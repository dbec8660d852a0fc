from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import BUILTIN, find_cell
from unrolled.data.store import Tokens
from unrolled.data.streams import Batch, StreamPosition, sequential
from unrolled.errors import ConfigurationError
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.embeddings import OneHot
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask, read, streams_for
from unrolled.training.loop import seeded

V = 7


def model_of(cell: str = "lstm", **options: Any) -> LanguageModel:
    with seeded(torch.device("cpu"), 1):
        config = LanguageModelConfig(**{"hidden_size": 5, "layers": 2, **options})
        return LanguageModel(V, find_cell(cell), config).double().eval()


def ids(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


# ---- the model


@pytest.mark.parametrize("cell", BUILTIN)
@pytest.mark.parametrize("embedding", [0, 3, 5])
def test_shapes(cell: str, embedding: int) -> None:
    if embedding != 5 and find_cell(cell).uses_raw_input:
        pytest.skip("has as many inputs as units")
    model = model_of(cell, embedding_size=embedding)
    logits, state = model(ids(2, 4))
    assert logits.shape == (2, 4, V)
    assert len(state) == 2
    assert all(part.shape == (2, 5) for layer in state for part in layer)
    assert model.size == sum(value.numel() for value in model.state_dict().values())


def test_the_embedding_is_as_wide_as_the_hidden_layers_if_not_given() -> None:
    assert model_of().embedding.weight.shape == (V, 5)
    assert LanguageModel(V, find_cell("rnn")).output.weight.shape == (V, 128)


@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm-peephole", "gru-reset-before"])
@given(cut=st.integers(1, 5))
@settings(max_examples=5)
def test_a_text_in_pieces_is_the_text_as_a_whole(cell: str, cut: int) -> None:
    model, text = model_of(cell), ids(2, 6)
    whole, end = model(text)
    first, state = model(text[:, :cut])
    second, last = model(text[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(last, end)


def test_a_symbol_is_predicted_from_those_before_it_only() -> None:
    model, text = model_of(), ids(1, 6)
    changed = text.clone()
    changed[0, 4:] = (changed[0, 4:] + 1) % V
    torch.testing.assert_close(model(text)[0][:, :4], model(changed)[0][:, :4])


@pytest.mark.parametrize("cell", BUILTIN)
@pytest.mark.parametrize("options", [{}, {"embedding_size": 0, "layers": 1}, {"residual": True, "layers": 3}])
def test_stepping_is_reading(cell: str, options: dict[str, Any]) -> None:
    if "embedding_size" in options and find_cell(cell).uses_raw_input:
        pytest.skip("has as many inputs as units")
    model, text = model_of(cell, **options), ids(2, 5)
    steps = model.stepping()
    state, found = steps.initial_state(2), []
    for t in range(5):
        logits, state = steps.step(text[:, t], state)
        found.append(logits)
    expected, end = model(text)
    torch.testing.assert_close(torch.stack(found, 1), expected)
    torch.testing.assert_close(state, end)


def test_stepping_draws_no_dropout_and_no_gradient() -> None:
    model = model_of(dropout=0.9).train()
    logits, _ = model.stepping().step(ids(2), model.initial_state(2))
    torch.testing.assert_close(logits, model.eval()(ids(2).unsqueeze(1))[0][:, 0])
    assert not logits.requires_grad


def test_one_hot_inputs_are_columns_of_the_first_matrix() -> None:
    assert OneHot(3)(torch.tensor([[2, 0]])).tolist() == [[[0, 0, 1], [1, 0, 0]]]
    model = model_of("rnn", embedding_size=0, layers=1)
    layer = model.recurrent.layers[0].cell_parameters()  # type: ignore[operator]
    h = torch.tanh(layer["W.h"][:, 3] + layer["b.h"])
    torch.testing.assert_close(model(torch.tensor([[3]]))[0][0, 0], model.output(h))


def test_all_weights_from_one_normal_distribution() -> None:
    model = model_of(initial_std=0.01, hidden_size=60)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            assert 0.008 < float(parameter.detach().std()) < 0.012
        else:
            assert bool((parameter == 0).all())


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_is_before_the_output_and_variational_everywhere(variational: bool) -> None:
    model = model_of(dropout=0.5, variational=variational, layers=1).train()
    seen: list[torch.Tensor] = []
    model.output.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with seeded(torch.device("cpu"), 3):
        model(ids(4, 30))
    dropped = seen[0] == 0
    assert 0.3 < float(dropped.double().mean()) < 0.7
    assert bool((dropped == dropped[:, :1]).all()) is variational


def test_embeddings_are_dropped_in_variational_dropout_only() -> None:
    text = ids(2, 3)
    for variational in (False, True):
        model = model_of(dropout=0.5, variational=variational, layers=1).train()
        seen: list[torch.Tensor] = []
        model.recurrent.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(given[0]))
        model(text)
        assert bool((seen[0] == 0).any()) is variational


# ---- losses


def batch_of(x: torch.Tensor, y: torch.Tensor, **options: Any) -> Batch:
    return Batch(x, y, **{"resets": None, "weights": None, "fresh": True, "next": StreamPosition(), **options})


def test_losses_are_cross_entropies() -> None:
    model, x, y = model_of(), ids(3, 4), ids(3, 4, seed=1)
    found, p = model.losses(batch_of(x, y), None)[0].detach(), torch.softmax(model(x)[0], -1).detach()
    for b in range(3):
        for t in range(4):
            assert float(found[b, t]) == pytest.approx(-math.log(float(p[b, t, y[b, t]])))


def test_what_has_no_weight_costs_nothing() -> None:
    model, x, y = model_of(), ids(1, 3), ids(1, 3, seed=1)
    weights = torch.tensor([[1.0, 0.0, 1.0]])
    found, _ = model.losses(batch_of(x, y, weights=weights), None)
    full, _ = model.losses(batch_of(x, y), None)
    assert found[0].detach().tolist() == pytest.approx([full[0, 0].item(), 0.0, full[0, 2].item()])


def test_documents_that_reset_are_read_as_if_alone() -> None:
    model, x = model_of(), ids(2, 6)
    resets = torch.zeros(2, 6, dtype=torch.bool)
    resets[0, 2] = resets[1, 4] = True
    found, _ = model.losses(batch_of(x, x, resets=resets), model(ids(2, 3))[1])
    alone, _ = model.losses(batch_of(x[:1, 2:], x[:1, 2:]), None)
    torch.testing.assert_close(found[:1, 2:], alone)
    alone, _ = model.losses(batch_of(x[1:, 4:], x[1:, 4:]), None)
    torch.testing.assert_close(found[1:, 4:], alone)


@pytest.mark.parametrize("training", [True, False])
def test_reading_adds_up_all_and_leaves_the_model_as_it_was(training: bool) -> None:
    model, tokens = model_of(dropout=0.5).train(training), Tokens(ids(50).numpy())
    total, targets = read(model, sequential(tokens, 1, 7))
    assert targets == 49
    assert model.training is training
    p = torch.log_softmax(model.eval()(torch.from_numpy(tokens.ids[None, :-1]))[0][0], -1)
    expected = -p[torch.arange(49), torch.from_numpy(tokens.ids[1:])].sum()
    assert total == pytest.approx(expected.item())


def test_reading_that_fails_leaves_the_model_as_it_was() -> None:
    model = model_of().train()
    with pytest.raises(IndexError):
        read(model, [batch_of(torch.tensor([[V]]), torch.tensor([[0]]))])
    assert model.training


# ---- the task


def task_of(
    model: LanguageModel | None = None, tokens: int = 200, valid: int = 60, **options: Any
) -> LanguageModelTask:
    starts = np.array([0, 30, 90])
    given = {"batch": 3, "length": 8, "seed": 4, **options}
    return LanguageModelTask(
        model or model_of(), Tokens(ids(tokens).numpy(), starts), Tokens(ids(valid, seed=2).numpy(), starts), **given
    )


def test_a_batch_follows_from_its_position_alone() -> None:
    task = task_of()
    position: dict[str, Any] = task.start()
    assert position == {"epoch": 0, "chunk": 0}
    state: dict[str, torch.Tensor] = {}
    seen = []
    for _ in range(task.batches_per_epoch() + 3):
        again = task.loss(position, state)
        found = task.loss(position, state)
        assert found.total.item() == again.total.item()
        seen.append((position["epoch"], position["chunk"]))
        position, state = found.next, found.state
    assert seen == sorted(set(seen))
    assert seen[-1][0] == 1


def test_the_state_is_carried_and_cut_off_from_the_graph() -> None:
    model = model_of()
    task = task_of(model)
    first = task.loss(task.start(), {})
    assert all(not part.requires_grad for part in first.state.values())
    assert set(first.state) == {f"layers.{layer}.{name}" for layer in range(2) for name in "hc"}
    second = task.loss(first.next, first.state)
    fresh = task.loss(first.next, {name: torch.zeros_like(part) for name, part in first.state.items()})
    assert second.total.item() != fresh.total.item()


def test_a_pass_begins_with_an_empty_state() -> None:
    task = task_of()
    junk = {f"layers.{layer}.{name}": torch.full((3, 5), 9.0).double() for layer in range(2) for name in "hc"}
    for epoch in (0, 1):
        position = {"epoch": epoch, "chunk": 0}
        assert task.loss(position, junk).total.item() == task.loss(position, {}).total.item()


def test_a_state_of_another_network_is_refused() -> None:
    task = task_of()
    with pytest.raises(ConfigurationError, match=r"the carried state has no 'layers\.0\.h'"):
        task.loss({"epoch": 0, "chunk": 1}, {})


def test_epochs_are_counted_with_their_fraction() -> None:
    task = task_of(shift=False)
    position, state, epochs = task.start(), {}, []
    for _ in range(2 * task.batches_per_epoch()):
        found = task.loss(position, state)
        position, state = found.next, found.state
        epochs.append(found.epoch)
    assert epochs == pytest.approx([(k + 1) / task.batches_per_epoch() for k in range(len(epochs))])


def loss_of(task: LanguageModelTask) -> float:
    found = task.validate()
    assert found is not None
    assert found.score is None
    return found.loss


@pytest.mark.parametrize("documents", ["carry", "reset"])
def test_validation_is_reading_all_of_it(documents: Any) -> None:
    model = model_of(dropout=0.5).train()
    task = task_of(model, documents=documents)
    tokens = Tokens(ids(60, seed=2).numpy(), np.array([0, 30, 90]))
    total, targets = read(model, sequential(tokens, 1, 256, documents))
    assert loss_of(task) == pytest.approx(total / targets)
    assert targets == (58 if documents == "reset" else 59)
    assert model.training


def test_validation_can_be_limited_to_the_first_symbols() -> None:
    model = model_of()
    tokens = Tokens(ids(60, seed=2).numpy()[:20])
    total, targets = read(model, sequential(tokens, 1, 256))
    assert loss_of(task_of(model, valid_limit=20)) == pytest.approx(total / targets)
    assert targets == 19


@pytest.mark.parametrize("valid", [0, 1])
def test_without_a_transition_there_is_nothing_to_validate(valid: int) -> None:
    assert task_of(valid=valid).validate() is None


def test_one_who_guesses_all_symbols_equally_likely() -> None:
    assert task_of().uniform_loss() == pytest.approx(math.log(V))


def test_streams_grow_with_the_text() -> None:
    assert [streams_for(n) for n in (2, 2047, 2048, 10_000, 32_768, 10**9)] == [1, 1, 1, 4, 16, 16]
