"""From a run directory to a model: where everything that reads a run starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from unrolled.cells import Equations
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import RunError
from unrolled.runs.checkpoints import Checkpoint, load
from unrolled.runs.configuration import load_section
from unrolled.runs.directory import Run
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.kinds import KINDS, Kind, find_kind
from unrolled.tasks.language_model import LanguageModel

if TYPE_CHECKING:
    from unrolled.tasks.bow.model import BagOfWords
    from unrolled.tasks.supervised import SupervisedModel

__all__ = [
    "build_language_model",
    "check_network",
    "is_fitted",
    "learns_from_examples",
    "load_bag",
    "load_language_model",
    "load_task_model",
    "load_weights",
    "read_sections",
    "section",
]


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


def is_fitted(run: Run) -> bool:
    """Whether the run's model was fitted, not trained: an n-gram model or a bag of words."""
    return "fitted" in run.config


def check_network(run: Run) -> None:
    """Raise a `RunError` where a run has no network: where its model was fitted."""
    if is_fitted(run):
        raise RunError(
            f"the model of {run.path} was fitted in one go and has no network",
            fix="name the run of a network here; n-grams and bags of words are fitted anew with train ... --model",
        )


def learns_from_examples(run: Run) -> bool:
    """Whether the run is of one of `tasks.kinds`, not a language model."""
    return run.config.get("task") in KINDS


def read_sections(run: Run) -> tuple[Kind, Equations, dict[str, Any]]:
    """The task of a run, its cell, and the sections of its options.

    Raises:
        RunError: it is a language model, or of a task that is not known.
    """
    if not learns_from_examples(run):
        raise RunError(
            f"{run.path} did not learn from examples",
            expected=f"a run of {', '.join(KINDS)}",
            got=f"task {run.config.get('task')!r}",
        )
    kind, where = find_kind(str(run.config.get("task"))), str(run.path / "config.json")
    sections = {name: load_section(cls, section(run, name), f"{where}, {name}") for name, cls in kind.sections.items()}
    return kind, Equations.from_json(section(run, "equations"), where=where), sections


def load_task_model(run: Run, which: str = "best") -> tuple[SupervisedModel, Checkpoint]:
    """The trained model of a run that learned from examples, ready to be used (in evaluation mode).

    Args:
        run: the run.
        which: "best" (the last, where nothing was validated), "last" or a step.

    Raises:
        RunError: it is of another task, or a file of it is damaged.
    """
    kind, equations, sections = read_sections(run)
    if which == "best" and run.pointer("best") is None:
        which = "last"
    checkpoint = load(run, which, weights_only=True)
    model = kind.build(equations, sections, run.vocabulary)
    model.to(next(weight.dtype for weight in checkpoint.model.values() if weight.is_floating_point()))
    load_weights(model, checkpoint.model, f"checkpoint {checkpoint.step} of {run.path}")
    return model.eval(), checkpoint


def build_language_model(run: Run) -> tuple[LanguageModel, Vocabulary]:
    """The network and the vocabulary that a run describes, with fresh weights. No file but the run's is needed."""
    check_network(run)
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
    if which == "best" and run.pointer("best") is None:
        which = "last"
    if is_fitted(run):
        return _load_ngram(run, which)
    model, vocabulary = build_language_model(run)
    checkpoint = load(run, which, weights_only=True)
    dtype = next(weight.dtype for weight in checkpoint.model.values() if weight.is_floating_point())
    model.to(dtype)
    load_weights(model, checkpoint.model, f"checkpoint {checkpoint.step} of {run.path}")
    return model.eval(), vocabulary, checkpoint


def _load_ngram(run: Run, which: str) -> tuple[LanguageModel, Vocabulary, Checkpoint]:
    from unrolled.runs.fitted import load_fitted  # Numba takes half a second to import
    from unrolled.tasks.ngram import NGram
    from unrolled.tasks.ngram_model import NGramModel

    vocabulary = Vocabulary.from_json(run.vocabulary, where=str(run.path / "vocabulary.json"))
    loaded = load_fitted(run, which)
    where = f"checkpoint {loaded.step} of {run.path}"
    ngram = NGram.from_arrays(vocabulary.size, loaded.state["boundary"], loaded.arrays, where)
    return NGramModel(ngram).eval(), vocabulary, Checkpoint(loaded.step, {}, {}, loaded.state, {}, run.pointer("best"))


def load_bag(run: Run, which: str = "best") -> tuple[BagOfWords, int, dict[str, Any]]:
    """The bag of words of a run, the step of its checkpoint, and the sections of its options.

    Raises:
        RunError: it is another model, or a file of it is damaged.
    """
    from unrolled.data.labelled_configuration import LabelledConfig
    from unrolled.runs.fitted import load_fitted
    from unrolled.tasks.bow.model import BagOfWords

    model = run.config.get("model")
    if not isinstance(model, dict) or model.get("kind") != "bow":
        raise RunError(f"{run.path} is not a bag of words", fix="name the run of train classify --model bow")
    if which == "best" and run.pointer("best") is None:
        which = "last"
    loaded = load_fitted(run, which)
    where = f"checkpoint {loaded.step} of {run.path}"
    data = load_section(LabelledConfig, section(run, "data"), f"{run.path / 'config.json'}, data")
    return BagOfWords.from_arrays(run.vocabulary, loaded.arrays, loaded.state, where), loaded.step, {"data": data}
