"""`evaluate --mix` and `predict --mix` of classifiers: several runs as one, p = sum of weight_i p_i.

The weights are those under which the labels of the validation part are likeliest, found by expectation maximisation as
for language models; see `evaluation.mixture`.

Axes: K runs, n examples, C labels.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from unrolled.data.labelled_configuration import Target
from unrolled.data.store import Part
from unrolled.data.text import find_sources
from unrolled.errors import ConfigurationError, RunError
from unrolled.evaluation.mixture import find_weights
from unrolled.tasks.labelled_answers import answer, describe
from unrolled.tasks.labelled_kind import LabelledKind
from unrolled.verbs.supervised import OpenedTask, open_task

__all__ = ["MixedTask", "mix_tasks"]

_Floats = npt.NDArray[np.float64]
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class MixedTask:
    """Several runs as one classifier.

    Attributes:
        runs: K of them, the first of which says what the inputs look like.
        weights: (K,), which add up to 1.
        target: "class" or "labels".
        labels: C names.
    """

    runs: Sequence[OpenedTask]
    weights: _Floats
    target: Target
    labels: Sequence[str]

    @property
    def shares(self) -> dict[str, float]:
        """The weight of each run, by its directory."""
        return dict(zip((str(run.run.path) for run in self.runs), self.weights.tolist(), strict=True))

    def evaluate(self, split: Part = "test") -> list[dict[str, Any]]:
        """The metrics on a part of the runs' data: of each run, then of the mixture; see `OpenedTask.evaluate`.

        Raises:
            RunError: the runs have other examples in it.
        """
        problem = f"have other {split} examples: one may have learned from what the other is judged by"
        return self._evaluate(split, lambda run: run.examples(split), problem)

    def evaluate_file(self, name: str) -> list[dict[str, Any]]:
        """The same on other data in the format of the runs; see `OpenedTask.evaluate_file`."""
        return self._evaluate(name, lambda run: run.examples_of_file(name), f"read {name} in different ways")

    def _evaluate(self, called: str, read: Callable[[OpenedTask], Any], problem: str) -> list[dict[str, Any]]:
        said, truth = _answers_and_truth(self.runs, read, problem)
        reports = [
            {"run": str(run.run.path), "checkpoint": run.step, **describe(found, truth, self.target, self.labels)}
            for run, found in zip(self.runs, said, strict=True)
        ]
        mixed = np.einsum("k,knc->nc", self.weights, said)
        reports.append({"mixture": self.shares, **describe(mixed, truth, self.target, self.labels)})
        return [{"task": self.runs[0].kind.name, "split": called, **report} for report in reports]

    def predict_file(self, name: str, form: str | None = None) -> Iterator[dict[str, Any]]:
        """What the mixture says of what a file holds, each with where it stands there; see `OpenedTask.predict_file`.

        The first run says which columns are read.
        """
        first, places = self.runs[0], deque[dict[str, Any]]()

        def inputs() -> Iterator[Any]:
            for place, value in first.kind.read_inputs(find_sources([name]), first.options, form):
                places.append(place)
                yield value

        values = itertools.tee(inputs(), len(self.runs))
        each = [run.predict(one) for run, one in zip(self.runs, values, strict=True)]
        for found in zip(*each, strict=True):
            shares = np.array([[one["probabilities"][label] for label in self.labels] for one in found])
            said = answer(self.weights @ shares, self.target, self.labels)
            yield {**places.popleft(), **said, **({"empty": True} if found[0].get("empty") else {})}


def mix_tasks(
    first: OpenedTask, others: Sequence[str | Path], *, device: str = "auto", threads: int | None = None
) -> MixedTask:
    """Mix a classifier with other runs of the same labels, which kept the same examples for validation.

    Args:
        first: the classifier.
        others: directories of runs.
        device: where these are, "auto" for the fastest there is.
        threads: processor threads.

    Raises:
        ConfigurationError: a run is none of a classifier, there is nothing to find weights on, or one is there twice.
        RunError: a run has other labels, or another validation part; its data is gone or has changed.
    """
    _check(first, first)
    runs = [first, *(open_task(name, device=device, threads=threads, listener=first.listener) for name in others)]
    names = [run.run.path.resolve() for run in runs]
    if len(set(names)) < len(names):
        raise ConfigurationError("a run is mixed with itself", got=", ".join(map(str, names)), fix="name each run once")
    for run in runs[1:]:
        _check(first, run)
    problem = "kept other examples for validation: one may have learned from what the other is judged by"
    said, truth = _answers_and_truth(runs, lambda run: run.examples("valid"), problem)
    weights = find_weights(np.stack([_nats(found, truth) for found in said]))
    return MixedTask(runs, weights, first.run.vocabulary["target"], first.run.vocabulary["labels"])


def _check(first: OpenedTask, run: OpenedTask) -> None:
    """Whether the answers of a run can be mixed with those of the first."""
    ours, theirs = ((one.run.vocabulary.get("target"), one.run.vocabulary.get("labels", ())) for one in (first, run))
    if not isinstance(run.kind, LabelledKind) or theirs[0] == "number":
        what = "numbers" if isinstance(run.kind, LabelledKind) else run.kind.name
        raise ConfigurationError("labels are mixed", expected="runs of classify", got=f"{run.run.path}, of {what}")
    if ours[0] != theirs[0]:
        raise ConfigurationError(
            "a label and any number of labels cannot be mixed",
            expected=f"--target {ours[0]}, as {first.run.path} was trained",
            got=f"{run.run.path}, --target {theirs[0]}",
        )
    if sorted(ours[1]) != sorted(theirs[1]):
        raise RunError(
            f"{run.run.path} has other labels than {first.run.path}: they cannot be mixed",
            expected=", ".join(ours[1]),
            got=", ".join(theirs[1]),
            fix="train both on the same data",
        )


def _answers_and_truth(
    runs: Sequence[OpenedTask], read: Callable[[OpenedTask], Any], problem: str
) -> tuple[_Floats, npt.NDArray[Any]]:
    """What runs say of the same examples, (K, n, C), and what is true, with labels in the order of the first.

    Args:
        runs: K of them.
        read: the examples of a run.
        problem: what is said of two runs where these are not the same.

    Raises:
        RunError: they are not.
    """
    labels, first = runs[0].run.vocabulary["labels"], ""
    said: list[tuple[_Floats, npt.NDArray[Any]]] = []
    for run in runs:
        examples, vocabulary = read(run), run.run.vocabulary
        first = first or examples.fingerprint
        if examples.fingerprint != first:
            raise RunError(
                f"{runs[0].run.path} and {run.run.path} {problem}",
                fix="train both on the same files, read and cut with the same options",
            )
        found, truth = cast("LabelledKind", run.kind).answers_and_truth(
            run.model, examples, vocabulary, run.listener.reading
        )
        said.append((found[:, [list(vocabulary["labels"]).index(label) for label in labels]], truth))
    return np.stack([found for found, _ in said]), said[0][1]


def _nats(found: _Floats, truth: npt.NDArray[Any]) -> _Floats:
    """-ln p of what is true: of each example, or of each label of each."""
    p = found[np.arange(len(truth)), truth] if truth.ndim == 1 else np.where(truth, found, 1 - found).ravel()
    return -np.log(np.maximum(p, _TINY))
