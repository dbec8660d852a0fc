"""The bag of words in the place of a network: what opens, evaluates or predicts with a classifier takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch

from unrolled.cells import Equations
from unrolled.data.inputs import check_values
from unrolled.data.labelled import Labelled, find_labels, known_labels, left_out
from unrolled.data.labelled_configuration import LabelledConfig, Target
from unrolled.data.labelled_splits import read_parts
from unrolled.data.preparation import Progress
from unrolled.data.store import PARTS, Part, SplitSources
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError
from unrolled.tasks.bow.classifiers import Link
from unrolled.tasks.bow.configuration import BowConfig
from unrolled.tasks.bow.model import BagOfWords
from unrolled.tasks.bow.search import BowTask
from unrolled.tasks.bow.trials import Texts, Tried
from unrolled.tasks.kinds import Chosen, Options, Prepared
from unrolled.tasks.labelled_answers import answer
from unrolled.tasks.labelled_kind import LabelledKind
from unrolled.tasks.supervised import Examples, SupervisedModel

__all__ = ["LINKS", "BagExamples", "BagModel", "Bow"]

LINKS: dict[Target, Link] = {"class": "softmax", "labels": "sigmoid", "number": "identity"}
"""From scores to answers, by what a label is."""

_USED: dict[Part, str] = {"train": "to fit to", "valid": "to choose on", "test": "to test"}
_AT_ONCE = 500  # texts that are answered together


@dataclass(frozen=True, eq=False)
class BagExamples:
    """n texts and what is to be said of them; see `tasks.supervised.Examples`.

    Attributes:
        texts: with their targets.
        lengths: (n,) characters of each.
        fingerprint: see `Labelled.fingerprint`.
    """

    texts: Texts
    lengths: IntArray
    fingerprint: str

    @classmethod
    def of(cls, examples: Labelled, target: Target, labels: Sequence[str]) -> BagExamples:
        """Of examples that were read.

        Raises:
            ConfigurationError: they are not texts.
        """
        texts = examples.inputs
        if not all(isinstance(text, str) for text in texts):
            raise ConfigurationError(
                "a bag of words reads texts", got=f"{type(texts[0]).__name__} in {examples.where(0)}"
            )
        lengths = np.array([*map(len, texts)], np.int64)
        return cls(Texts(texts, _truth(examples.labels, target, labels)), lengths, examples.fingerprint)

    def batch(self, rows: IntArray) -> Any:
        """Some of the texts."""
        return [self.texts.texts[row] for row in rows.tolist()]


def _truth(given: Sequence[Any], target: Target, labels: Sequence[str]) -> npt.NDArray[Any]:
    """(n,) numbers of classes; (n, C) whether a label is there; or (n, 1) numbers."""
    if target == "number":
        return np.array(given, np.float64).reshape(-1, 1)
    numbers = {label: number for number, label in enumerate(labels)}
    if target == "class":
        return np.array([numbers[label] for label in given], np.int64)
    found = np.zeros((len(given), len(labels)), np.bool_)
    for row, names in enumerate(given):
        found[row, [numbers[name] for name in names]] = True
    return found


class BagModel(SupervisedModel):
    """A bag of words without a network; it works on the processor wherever that is said to be."""

    def __init__(self, bag: BagOfWords) -> None:
        super().__init__()
        self.bag = bag
        self.temperature = torch.nn.Parameter(torch.tensor(bag.temperature), requires_grad=False)

    @property
    def size(self) -> int:
        """The numbers that were fitted."""
        return self.bag.parameters


class Bow(LabelledKind):
    """Many to one, without a network."""

    name = "classify"
    about = "a label for a text, from its n-grams"
    loss = "nats a label"
    sections: ClassVar[dict[str, type[Any]]] = {"data": LabelledConfig}

    def prepare(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any] | None = None,
        told: Progress | None = None,
    ) -> Prepared:
        config = cast("LabelledConfig", options["data"])
        parts = read_parts(sources, config, told)
        labels: Sequence[str] = ()
        if config.target != "number":
            labels = find_labels(parts["train"], config) if vocabulary is None else vocabulary["labels"]
            parts = known_labels(parts, labels, config)
        found = {part: BagExamples.of(parts[part], config.target, labels) for part in PARTS}
        said = ", ".join(f"{len(parts[part]):,} {what}" for part, what in _USED.items())
        facts = {"data": f"{said}; {f'{len(labels)} labels' if labels else 'numbers'}"}
        skipped = left_out(parts)
        if skipped:
            facts["left out"] = ", ".join(f"{count:,} rows ({reason})" for reason, count in skipped.items())
        return Prepared(found, {"target": config.target, "labels": list(labels)}, facts)

    def choose(self, equations: Equations, options: Options, prepared: Prepared, work: float) -> Chosen:
        raise NotImplementedError("a bag of words is fitted, not trained")

    def build(self, equations: Equations, options: Options, vocabulary: Mapping[str, Any]) -> SupervisedModel:
        raise NotImplementedError("a bag of words is fitted, not trained")

    def answers_and_truth(
        self,
        model: SupervisedModel,
        examples: Examples,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        bag, texts = cast("BagModel", model).bag, cast("BagExamples", examples).texts
        truth = texts.targets[:, 0] if bag.link == "identity" else texts.targets
        return bag.answers(texts.texts), truth

    def predict(
        self, model: SupervisedModel, lines: Iterable[Any], options: Options, vocabulary: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        bag, labels = cast("BagModel", model).bag, vocabulary["labels"]
        target = vocabulary["target"]
        held: list[str] = []

        def answered() -> Iterator[dict[str, Any]]:
            for text, row in zip(held, bag.answers(held), strict=True):
                reply = answer(row, target, labels)
                yield reply if text.strip() else {**reply, "empty": True}
            held.clear()

        for text in lines:
            check_values([text], str, "a text")
            held.append(text)
            if len(held) == _AT_ONCE:
                yield from answered()
        yield from answered()

    def opponent(
        self, prepared: Prepared, part: Part, options: Options, told: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """The best of logistic regressions, naive Bayes and NBSVM on n-grams (for numbers, of ridge regressions)."""
        data = cast("LabelledConfig", options["data"])
        task = self.fitting(prepared, data, BowConfig(), told=lambda tried: told and told(tried.result), doing=told)
        bag, best = task.fit(), task.chosen
        found = self.evaluate(BagModel(bag), prepared.parts[part], options, prepared.vocabulary)
        how = "nothing tuned: there is no validation part"
        if len(task.tried) > 1:
            how = f"the best of {len(task.tried)} bags of words on the validation part"
        return {"opponent": f"{best.about}; {how}", **found}

    def fitting(
        self,
        prepared: Prepared,
        data: LabelledConfig,
        config: BowConfig,
        *,
        told: Callable[[Tried], object] | None = None,
        doing: Callable[[str], object] | None = None,
    ) -> BowTask:
        """What fits a bag of words to data that `prepare` gave; see `BowTask`."""
        train, valid = (cast("BagExamples", prepared.parts[part]).texts for part in _LEARNT)
        keep = data.case == "keep"
        return BowTask(train, valid, LINKS[data.target], config, keep_case=keep, told=told, doing=doing)


_LEARNT: tuple[Part, Part] = ("train", "valid")
