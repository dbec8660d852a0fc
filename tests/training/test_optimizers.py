from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel
from unrolled.training.configuration import TrainingConfig
from unrolled.training.optimizers import AdagradInside, build_optimizer, clip_norm, clip_value

SHAPES = st.lists(st.lists(st.integers(1, 4), min_size=0, max_size=3), min_size=1, max_size=4)


def drawn(shapes: list[list[int]], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [10 * torch.randn(shape, generator=generator) for shape in shapes]


@given(SHAPES, st.integers(0, 1000), st.floats(0.01, 100))
def test_clipping_the_norm_is_pytorchs(shapes: list[list[int]], seed: int, longest: float) -> None:
    gradients, parameters = drawn(shapes, seed), [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    expected = torch.nn.utils.clip_grad_norm_(parameters, longest)
    assert clip_norm(gradients, longest) == pytest.approx(float(expected), rel=1e-5)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


@given(SHAPES, st.integers(0, 1000), st.floats(0.01, 10))
def test_clipping_by_value_is_pytorchs(shapes: list[list[int]], seed: int, largest: float) -> None:
    gradients, parameters = drawn(shapes, seed), [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_value_(parameters, largest)
    clip_value(gradients, largest)
    assert all(bool((p.grad == g).all()) for p, g in zip(parameters, gradients, strict=True))


def test_zero_does_not_clip() -> None:
    gradients = [torch.tensor([3.0, 4.0])]
    clip_value(gradients, 0.0)
    assert clip_norm(gradients, 0.0) == 5.0
    assert gradients[0].tolist() == [3.0, 4.0]


def test_a_gradient_that_is_not_finite_has_no_finite_length() -> None:
    assert clip_norm([torch.tensor([float("nan"), 1.0])], 1.0) != clip_norm([torch.tensor([1.0])], 1.0)
    assert not np.isfinite(clip_norm([torch.tensor([float("nan"), 1.0])], 1.0))
    assert not np.isfinite(clip_norm([torch.tensor([float("inf")])], 1.0))


@given(st.integers(0, 1000), st.floats(1e-3, 1.0), st.floats(1e-10, 1e-2))
def test_adagrad_with_its_epsilon_inside_the_root(seed: int, rate: float, epsilon: float) -> None:
    source = np.random.default_rng(seed)
    weights, memory = source.normal(size=(3, 2)), np.zeros((3, 2))
    parameter = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    unused = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = AdagradInside([parameter, unused], rate, epsilon)
    for _ in range(4):
        gradient = source.normal(size=(3, 2))
        memory += gradient * gradient
        weights += -rate * gradient / np.sqrt(memory + epsilon)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
    np.testing.assert_allclose(parameter.detach().numpy(), weights, rtol=1e-12)
    assert unused.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (
            TrainingConfig(optimizer="adamw", beta1=0.8, beta2=0.95, epsilon=1e-6, weight_decay=0.0),
            lambda p: torch.optim.AdamW(p, 0.1, (0.8, 0.95), 1e-6, 0.0),
        ),
        (
            TrainingConfig(optimizer="rmsprop", beta2=0.95, epsilon=1e-6, weight_decay=0.0),
            lambda p: torch.optim.RMSprop(p, 0.1, 0.95, 1e-6),
        ),
        (TrainingConfig(optimizer="sgd", momentum=0.7, weight_decay=0.0), lambda p: torch.optim.SGD(p, 0.1, 0.7)),
        (
            TrainingConfig(optimizer="adagrad", epsilon=1e-4, weight_decay=0.0),
            lambda p: torch.optim.Adagrad(p, 0.1, eps=1e-4),
        ),
        (
            TrainingConfig(optimizer="adagrad-inside", epsilon=1e-4),
            lambda p: AdagradInside(p, 0.1, 1e-4),
        ),
    ],
    ids=lambda value: value.optimizer if isinstance(value, TrainingConfig) else "",
)
def test_the_settings_reach_the_optimiser(
    config: TrainingConfig, reference: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
) -> None:
    model, twin = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    twin.load_state_dict(model.state_dict())
    found, expected = build_optimizer(model, config, 0.1), reference(list(twin.parameters()))
    for step in range(3):
        for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
            generator = torch.Generator().manual_seed(step)
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        found.step()
        expected.step()
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_rmsprop_is_torchs() -> None:
    """As char-rnn has it: m = a m + (1 - a) g²; w -= rate g / (sqrt(m) + epsilon)."""
    weight, memory = np.array([0.5, -2.0]), np.zeros(2)
    model = torch.nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weight))
    config = TrainingConfig(optimizer="rmsprop", beta2=0.95, epsilon=1e-8, weight_decay=0.0)
    optimizer, source = build_optimizer(model, config, 2e-3), np.random.default_rng(0)
    for _ in range(5):
        gradient = source.normal(size=2)
        memory = 0.95 * memory + 0.05 * gradient**2
        weight -= 2e-3 * gradient / (np.sqrt(memory) + 1e-8)
        model.weight.grad = torch.from_numpy(gradient[None])
        optimizer.step()
    np.testing.assert_allclose(model.weight.detach().numpy()[0], weight, rtol=1e-12)


def test_weight_decay_may_be_for_all() -> None:
    model = LanguageModel(5, find_cell("lstm-peephole"), LanguageModelConfig(hidden_size=4, tied=True))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    build_optimizer(model, TrainingConfig(weight_decay=0.1, decayed="all"), 0.5).step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, 0.95), msg=name)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "adagrad", "rmsprop"])
def test_weight_decay_is_for_matrices_only(optimizer: str) -> None:
    """Where there is no gradient, only decay moves a weight."""
    model = LanguageModel(5, find_cell("lstm-peephole"), LanguageModelConfig(hidden_size=4, layers=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    config = TrainingConfig(optimizer=optimizer, weight_decay=0.1)  # type: ignore[arg-type]
    build_optimizer(model, config, 0.5).step()
    for name, parameter in model.named_parameters():
        matrix = parameter.dim() > 1 and name != "embedding.weight"
        # AdamW takes the share off the weight itself; the others have it as a gradient, which two of them scale to 1.
        if not matrix:
            assert bool((parameter == 1).all()), name
        elif optimizer in ("adagrad", "rmsprop"):
            assert bool((parameter < 0.6).all()), name
        else:
            torch.testing.assert_close(parameter, torch.full_like(parameter, 0.95), msg=name)
