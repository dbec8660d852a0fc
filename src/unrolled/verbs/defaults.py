"""Choosing what was not given: the size of the network and its training, from the text and the budget."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import torch

from unrolled.cells import Equations
from unrolled.data.streams import choose_batch
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigurationError
from unrolled.layers.outputs import choose_cutoffs
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.training.budget import DEFAULT_MINUTES
from unrolled.training.configuration import TrainingConfig

__all__ = ["choose_device", "choose_output", "choose_sizes", "choose_threads", "with_budget", "work_of"]

# The size of a network is chosen on a ladder, from a nominal rate rather than a measured one: the same command on the
# same text then trains the same network, whatever else the machine is doing.
_LADDER = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
_CORE_RATE = 230e9  # floating-point operations a second, one core
_GPU_RATE = 30e12
_TOKENS_PER_PARAMETER = 4.0  # of training, where the loss for a given amount of arithmetic was found lowest
_PARAMETERS_PER_TOKEN = 5.0  # of text: above that a network learns it by heart, dropout or not
_STREAMS = 64


def choose_device(given: str) -> torch.device:
    """The device of the name; "auto" is cuda where there is one, else the processor.

    Raises:
        ConfigurationError: there is no such device here.
    """
    if given == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    expected = "cpu, cuda, mps or auto"
    try:
        device = torch.device(given)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        problem, got = f"device {given!r} cannot be used here", str(error).splitlines()[0]
        raise ConfigurationError(problem, expected=expected, got=got, fix="choose another --device") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigurationError(f"device {given!r} cannot train", expected=expected)
    return device


def choose_threads(given: int | None, processes: int = 1) -> int:
    """As many as the process may use, if not given, divided among so many processes on this machine.

    Raises:
        ConfigurationError: fewer than one.
    """
    if given is not None:
        if given < 1:
            raise ConfigurationError("threads is out of range", expected="at least 1", got=str(given))
        return given
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes)


def choose_sizes(
    equations: Equations,
    model: LanguageModelConfig,
    training: TrainingConfig,
    *,
    train_tokens: int,
    threads: int,
    device: torch.device,
    symbols: int = 0,
) -> tuple[LanguageModelConfig, TrainingConfig]:
    """Fill in what is None.

    The arithmetic that a budget buys, C = 6 · parameters · tokens, is spent on a network that sees about 4 symbols a
    parameter; a small text bounds the parameters, and dropout grows with the passes over the text. The output layer's
    arithmetic, of so many `symbols`, makes passes fewer.
    """
    batch = training.batch or choose_batch(train_tokens, training.length, _STREAMS)
    hidden = model.hidden_size
    per_square = _matrices(equations) * model.layers  # parameters of the recurrent layers by the square of H
    work = work_of(training, threads, device)
    if hidden is None:
        wanted = math.sqrt(work / 6 / _TOKENS_PER_PARAMETER)
        if work == math.inf:
            wanted = _planned_tokens(training, batch, train_tokens) / _TOKENS_PER_PARAMETER
        wanted = min(wanted, _PARAMETERS_PER_TOKEN * train_tokens)
        ideal = math.sqrt(max(wanted, 1.0) / per_square)
        hidden = min(_LADDER, key=lambda size: abs(math.log(size / ideal)))
    parameters = per_square * hidden**2 + symbols * hidden
    tokens = _planned_tokens(training, batch, train_tokens) if work == math.inf else work / 6 / parameters
    passes = tokens / train_tokens
    dropout = model.dropout
    if dropout is None:
        dropout = 0.0 if passes <= 1 else round(min(0.5, math.log(passes) / 6) * 20) / 20
    rate = training.learning_rate or _learning_rate(equations, training, hidden)
    embedding = hidden if model.embedding_size is None else model.embedding_size
    sized = replace(model, hidden_size=hidden, embedding_size=embedding, dropout=dropout)
    return sized, with_budget(replace(training, batch=batch, learning_rate=rate, threads=threads))


def choose_output(model: LanguageModelConfig, vocabulary: Vocabulary) -> LanguageModelConfig:
    """Fill in what the output layer needs to know of the text: the cut-offs of an adaptive softmax.

    `hidden_size` must be chosen by now.
    """
    if model.output != "adaptive" or model.cutoffs is not None:
        return model
    assert model.hidden_size is not None
    cutoffs = choose_cutoffs(vocabulary.counts, model.hidden_size, model.divisor)
    return replace(model, cutoffs=",".join(map(str, cutoffs)))


def _matrices(equations: Equations) -> int:
    return sum(kind != "vector" for kind in equations.parameters.values())


def with_budget(training: TrainingConfig) -> TrainingConfig:
    """The same, with minutes where no budget is given."""
    given = any(value is not None for value in (training.minutes, training.epochs, training.steps))
    return training if given else replace(training, minutes=DEFAULT_MINUTES)


def work_of(training: TrainingConfig, threads: int, device: torch.device) -> float:
    """Floating-point operations of the budget; infinite where it is not one of time."""
    if training.steps is not None or training.epochs is not None:
        return math.inf
    rate = _CORE_RATE * threads if device.type == "cpu" else _GPU_RATE
    return rate * 60 * (training.minutes or DEFAULT_MINUTES)


def _planned_tokens(training: TrainingConfig, batch: int, train_tokens: int) -> float:
    if training.epochs is not None:
        return training.epochs * train_tokens
    return float((training.steps or 0) * batch * training.length * training.accumulate)


def _learning_rate(equations: Equations, training: TrainingConfig, hidden: int) -> float:
    if training.optimizer == "sgd":
        return 0.5
    if training.optimizer == "rmsprop":
        return 2e-3
    if training.optimizer != "adamw":
        return 0.05
    gated = len([kind for kind in equations.parameters.values() if kind == "hidden matrix"]) > 1
    return float(f"{min(0.01, 8e-3 * 256 / hidden) * (1.0 if gated else 0.3):.2g}")
