"""`sample` of a generator: sequences of a category, from the run's directory alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch

from unrolled.decoding import Sampler
from unrolled.errors import ConfigurationError, RunError
from unrolled.runs.directory import Run
from unrolled.runs.models import load_task_model
from unrolled.tasks.generate.examples import Symbols
from unrolled.tasks.generate.model import Generator
from unrolled.tasks.generate.writing import Written, write
from unrolled.verbs.defaults import choose_device, choose_threads

__all__ = ["GeneratorRun", "open_generator"]


class GeneratorRun:
    """A trained generator, ready to be used.

    Attributes:
        run: the run.
        model: its network, in evaluation mode.
        symbols: its symbols and categories.
        step: of the checkpoint.
    """

    def __init__(self, run: Run, model: Generator, symbols: Symbols, step: int) -> None:
        self.run, self.model, self.symbols, self.step = run, model, symbols, step

    def sample(
        self,
        category: str | None = None,
        *,
        prompt: str = "",
        count: int = 1,
        length: int = 500,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[Written]:
        """Sequences, each from a seed of its own: `seed`, `seed` + 1, and so on.

        Args:
            category: of all; drawn for each by how frequent it is in the training part if not given.
            prompt: what each begins with.
            count: how many.
            length: symbols to make of each, at most.
            temperature: below 1 bolder, above 1 wilder, 0 always the likeliest.
            top_k: keep only so many of the likeliest symbols; 0 keeps all.
            top_p: keep the likeliest symbols up to this probability together.
            seed: the sequences follow from it.

        Raises:
            ConfigurationError: there is no such category, or a number is out of range.
            PromptError: the model does not know all of the prompt.
        """
        if count < 1:
            raise ConfigurationError("count is a number of texts", expected="at least 1", got=str(count))
        if category is not None:
            self.symbols.number(category)
        for index in range(count):
            sampler = Sampler(temperature, top_k, top_p, seed + index)
            yield write(self.model, self.symbols, category, prompt=prompt, length=length, sampler=sampler)


def open_generator(
    run: str | Path, checkpoint: str = "best", *, device: str = "auto", threads: int | None = None
) -> GeneratorRun:
    """Open a run of `train generate`, to sample from it.

    Raises:
        RunError: it is a run of another task, or a file of it is damaged.
    """
    opened = Run.open(run)
    if opened.config.get("task") != "generate":
        task = opened.config.get("task")
        raise RunError(f"{opened.path} does not generate sequences of a category", got=f"task {task!r}")
    torch.set_num_threads(choose_threads(threads))
    model, loaded = load_task_model(opened, checkpoint)
    model.to(choose_device(device))
    return GeneratorRun(opened, cast("Generator", model), Symbols.from_json(opened.vocabulary), loaded.step)
