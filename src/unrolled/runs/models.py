"""From a run directory to a model: where everything that reads a run starts."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from unrolled.cells import Equations
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import RunError
from unrolled.runs.checkpoints import Checkpoint, load
from unrolled.runs.configuration import load_section
from unrolled.runs.directory import Run
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel

__all__ = ["build_language_model", "load_language_model", "load_weights", "section"]


def section(run: Run, name: str) -> object:
    """A section of the run's configuration (`RunError` if it is not there)."""
    try:
        return run.config[name]
    except KeyError:
        raise RunError(f"the configuration of {run.path} has no section {name!r}", fix="train it anew") from None


def load_weights(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], where: str) -> None:
    """Put saved weights into a model.

    Raises:
        RunError: names or shapes are not those of the model.
    """
    own = model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        expected = tuple(own[name].shape) if name in own else None
        got = tuple(weights[name].shape) if name in weights else None
        if expected != got:
            raise RunError(
                "the weights are of another network",
                expected=f"{name} of shape {expected}" if expected is not None else f"no {name}",
                got=f"shape {got}" if got is not None else "nothing",
                where=where,
                fix="use the same cell, sizes and vocabulary",
            )
    model.load_state_dict(dict(weights))


def build_language_model(run: Run) -> tuple[LanguageModel, Vocabulary]:
    """The network and the vocabulary that a run describes, with fresh weights. No file but the run's is needed."""
    vocabulary = Vocabulary.from_json(run.vocabulary, where=str(run.path / "vocabulary.json"))
    equations = Equations.from_json(section(run, "equations"), where=str(run.path / "config.json"))
    config = load_section(LanguageModelConfig, section(run, "model"), f"{run.path / 'config.json'}, model")
    return LanguageModel(vocabulary.size, equations, config, counts=vocabulary.counts), vocabulary


def load_language_model(run: Run, which: str = "best") -> tuple[LanguageModel, Vocabulary, Checkpoint]:
    """A trained language model, ready to be used (in evaluation mode).

    Args:
        run: the run.
        which: "best" (the last, where nothing was validated), "last" or a step.

    Raises:
        RunError: the run is not a language model, or a file of it is damaged.
    """
    if run.config.get("task") != "lm":
        raise RunError(f"{run.path} is not a language model", got=f"task {run.config.get('task')!r}")
    model, vocabulary = build_language_model(run)
    if which == "best" and run.pointer("best") is None:
        which = "last"
    checkpoint = load(run, which, weights_only=True)
    dtype = next(weight.dtype for weight in checkpoint.model.values() if weight.is_floating_point())
    model.to(dtype)
    load_weights(model, checkpoint.model, f"checkpoint {checkpoint.step} of {run.path}")
    return model.eval(), vocabulary, checkpoint
