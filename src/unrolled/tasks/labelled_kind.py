"""What the tasks that learn from labelled examples share: whatever the model, the data is read in the same way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from unrolled.data.labelled import read_unlabelled
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.text import Source
from unrolled.tasks.kinds import Kind, Options
from unrolled.tasks.labelled_answers import describe, summarise
from unrolled.tasks.supervised import Examples, SupervisedModel

__all__ = ["LabelledKind"]


class LabelledKind(Kind):
    """A task whose section "data" is a `LabelledConfig`."""

    whole: ClassVar[dict[str, Any]] = {"hold_out": 0.0, "folds": None, "fold": None}

    def read_inputs(
        self, sources: Sequence[Source], options: Options, form: str | None = None
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        return read_unlabelled(sources, cast("LabelledConfig", options["data"]), form)

    @abstractmethod
    def answers_and_truth(
        self,
        model: SupervisedModel,
        examples: Examples,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        """What a model says of examples, and what is true of them.

        Returns:
            (n, C) probabilities of labels in the order of `vocabulary["labels"]`, or (n, 1) numbers; and (n,) classes,
            (n, C) whether a label is there, or (n,) numbers.
        """

    def evaluate(
        self,
        model: SupervisedModel,
        examples: Examples,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        found, truth = self.answers_and_truth(model, examples, vocabulary, told)
        return describe(found, truth, vocabulary["target"], vocabulary["labels"])

    def summary(self, report: Mapping[str, Any]) -> str:
        return summarise(report)
