"""`train classify`: from labelled sequences to a classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from unrolled.cells import Equations
from unrolled.data.inputs import check_options
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.preparation import Progress
from unrolled.data.store import Part, SplitSources
from unrolled.data.vocabulary import Vocabulary
from unrolled.tasks.bow.kind import Bow
from unrolled.tasks.classify.answers import answers, answers_and_truth
from unrolled.tasks.classify.building import build_classifier, with_letters
from unrolled.tasks.classify.configuration import DEFAULTS, FINETUNING, ClassifierConfig
from unrolled.tasks.classify.defaults import choose_network
from unrolled.tasks.classify.examples import LabelledExamples, Schema, prepare
from unrolled.tasks.classify.letter_opponents import letter_opponent
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.classify.reading_configuration import ReadingConfig
from unrolled.tasks.classify.starting import follow, hand_over
from unrolled.tasks.kinds import Chosen, Kind, Options, Prepared
from unrolled.tasks.labelled_kind import LabelledKind
from unrolled.tasks.language_model import LanguageModel
from unrolled.tasks.supervised import Examples, SupervisedModel

__all__ = ["Classify"]

_OF_TEXTS = ("unit", "splitter", "case", "min_count", "vocabulary_size", "max_length", "cut")
_HOMES = {**dict.fromkeys(_OF_TEXTS, "text"), "images": "pictures", "images_seed": "pictures", "features": "vectors"}


class Classify(LabelledKind):
    """Many to one."""

    name = "classify"
    about = "a label for a sequence"
    loss = "nats a label"
    sections: ClassVar[dict[str, type[Any]]] = {
        "data": LabelledConfig,
        "reading": ReadingConfig,
        "model": ClassifierConfig,
    }
    defaults: ClassVar[dict[str, Any]] = DEFAULTS
    finetuning: ClassVar[dict[str, Any]] = FINETUNING

    def prepare(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any] | None = None,
        told: Progress | None = None,
    ) -> Prepared:
        prepared = prepare(sources, cast("LabelledConfig", options["data"]), vocabulary, told)
        cast("ReadingConfig", options["reading"]).check(Schema.read(prepared.vocabulary).input)
        return prepared

    def choose(self, equations: Equations, options: Options, prepared: Prepared, work: float) -> Chosen:
        schema, data = Schema.read(prepared.vocabulary), cast("LabelledConfig", options["data"])
        model, reading = cast("ClassifierConfig", options["model"]), cast("ReadingConfig", options["reading"])
        check_options(data, _HOMES, schema.input.name)
        model.check(data.target, vectors=schema.input.symbols is None and reading.stretch == "window")
        model = with_letters(model, reading)
        network, batch, rate = choose_network(equations, model, prepared.parts["train"].lengths, schema, work)
        return Chosen({**options, "data": schema.input.chosen(data), "model": network}, batch, rate)

    def build(self, equations: Equations, options: Options, vocabulary: Mapping[str, Any]) -> SupervisedModel:
        schema = Schema.read(vocabulary)
        config = cast("ClassifierConfig", options["model"])
        return build_classifier(equations, config, cast("ReadingConfig", options["reading"]), schema)

    def follow(self, model: LanguageModel, vocabulary: Vocabulary) -> dict[str, Any]:
        return follow(model, vocabulary)

    def hand_over(self, weights: LanguageModel, model: SupervisedModel) -> None:
        hand_over(weights, cast("Classifier", model))

    def measure(self, options: Options, vocabulary: Mapping[str, Any]) -> str | None:
        data, model = cast("LabelledConfig", options["data"]), cast("ClassifierConfig", options["model"])
        # Who weighs classes wants to be right in each.
        of_classes = "accuracy" if model.class_weights == "none" else "macro_f1"
        return {"class": of_classes, "labels": "micro_f1", "number": None}[data.target]

    def evaluate(
        self,
        model: SupervisedModel,
        examples: Examples,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        report = super().evaluate(model, examples, options, vocabulary, told)
        if report["target"] == "number":
            # As it is trained: half the squared error of what is standardised.
            report["loss"] /= 2 * Schema.read(vocabulary).deviation ** 2
        return report

    def answers_and_truth(
        self,
        model: SupervisedModel,
        examples: Examples,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        classifier, found = cast("Classifier", model), cast("LabelledExamples", examples)
        return answers_and_truth(classifier, found, Schema.read(vocabulary), told)

    def predict(
        self, model: SupervisedModel, lines: Iterable[Any], options: Options, vocabulary: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        return answers(cast("Classifier", model), lines, Schema.read(vocabulary))

    def prepare_opponent(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Progress | None = None,
    ) -> Prepared:
        kind: Kind = self if Schema.read(vocabulary).input.name == "letters" else Bow()
        return kind.prepare(sources, options, vocabulary, told)

    def opponent(
        self, prepared: Prepared, part: Part, options: Options, told: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        if "input" in prepared.vocabulary:
            return letter_opponent(prepared, part, cast("ReadingConfig", options["reading"]), told)
        return Bow().opponent(prepared, part, options, told)
