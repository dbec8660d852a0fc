from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from unrolled.cells import find_cell
from unrolled.errors import ConfigurationError
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.training.configuration import TrainingConfig
from unrolled.verbs.defaults import choose_device, choose_sizes, choose_threads

CPU = torch.device("cpu")


def chosen(
    tokens: int = 1_000_000, threads: int = 2, cell: str = "lstm", model: dict[str, Any] | None = None, **training: Any
) -> tuple[LanguageModelConfig, TrainingConfig]:
    return choose_sizes(
        find_cell(cell),
        LanguageModelConfig(cell=cell, **(model or {})),
        TrainingConfig(**training),
        train_tokens=tokens,
        threads=threads,
        device=CPU,
    )


def test_everything_is_chosen() -> None:
    model, training = chosen()
    assert None not in (model.hidden_size, model.embedding_size, model.dropout)
    assert None not in (training.batch, training.learning_rate, training.threads, training.minutes)
    assert training.minutes == 10


def test_the_choice_does_not_depend_on_the_moment() -> None:
    assert chosen(minutes=3.0) == chosen(minutes=3.0)


def test_more_time_is_a_larger_network_and_so_are_more_threads() -> None:
    sizes = [chosen(10**8, minutes=minutes)[0].hidden_size for minutes in (0.1, 2.0, 10.0, 60.0)]
    assert sizes == sorted(set(sizes))  # type: ignore[type-var]
    assert chosen(10**8, threads=8)[0].hidden_size > chosen(10**8, threads=1)[0].hidden_size  # type: ignore[operator]


def test_a_small_text_bounds_the_network_and_raises_dropout() -> None:
    small, large = chosen(20_000)[0], chosen(10**8)[0]
    assert small.hidden_size < large.hidden_size  # type: ignore[operator]
    assert small.dropout > large.dropout  # type: ignore[operator]
    assert 0 < small.dropout <= 0.5  # type: ignore[operator]
    assert chosen(10**9, minutes=0.1)[0].dropout == 0  # not even read once


@pytest.mark.parametrize("budget", [{"steps": 2000}, {"epochs": 3.0}])
def test_a_budget_in_steps_needs_no_rate_of_the_machine(budget: dict[str, Any]) -> None:
    one, other = chosen(threads=1, **budget), chosen(threads=16, **budget)
    assert one[0] == other[0]
    assert one[1].minutes is None


def test_what_is_given_is_kept() -> None:
    given = {"hidden_size": 33, "embedding_size": 0, "dropout": 0.25}
    model, training = chosen(model=given, batch=7, learning_rate=0.5, minutes=1.0)
    assert (model.hidden_size, model.embedding_size, model.dropout) == (33, 0, 0.25)
    assert (training.batch, training.learning_rate, training.minutes) == (7, 0.5, 1.0)


def test_a_short_text_has_fewer_streams() -> None:
    assert chosen(1_000_000)[1].batch == 64
    assert chosen(10_000)[1].batch == 9
    assert chosen(300)[1].batch == 1


def test_rates_fit_the_optimiser() -> None:
    assert chosen(optimizer="sgd")[1].learning_rate == 0.5
    assert chosen(optimizer="adagrad")[1].learning_rate == 0.05
    wide, narrow = (chosen(model={"hidden_size": size})[1].learning_rate for size in (1024, 64))
    assert wide < narrow  # type: ignore[operator]
    assert chosen(cell="rnn")[1].learning_rate < chosen(cell="lstm")[1].learning_rate  # type: ignore[operator]


def test_threads_are_those_the_process_may_use() -> None:
    assert choose_threads(3) == 3
    if hasattr(os, "sched_getaffinity"):
        assert choose_threads(None) == len(os.sched_getaffinity(0))


def test_devices() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "mps" if not torch.backends.mps.is_available() else "tpu"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"device '{name}'") as caught:
        choose_device(name)
    assert caught.value.expected == "cpu, cuda, mps or auto"


def test_a_large_vocabulary_leaves_time_for_fewer_passes() -> None:
    training, options = TrainingConfig(minutes=20.0), {"train_tokens": 930_000, "threads": 2, "device": CPU}
    few, many = (
        choose_sizes(find_cell("lstm"), LanguageModelConfig(), training, symbols=symbols, **options)[0]  # type: ignore[arg-type]
        for symbols in (100, 10_000)
    )
    assert few.hidden_size == many.hidden_size
    assert few.dropout > many.dropout > 0.3  # type: ignore[operator]
