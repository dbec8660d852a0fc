"""What the verbs want to know of a task that is trained by gradient on examples: one subpackage a task.

The language model, whose data is a stream and not examples, is not one of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from unrolled.data.preparation import Progress
from unrolled.data.store import Part, SplitSources
from unrolled.data.text import Source, read_lines
from unrolled.errors import ConfigurationError, RunError, nearest
from unrolled.tasks import Select, Validation

if TYPE_CHECKING:
    from unrolled.cells import Equations
    from unrolled.data.vocabulary import Vocabulary
    from unrolled.tasks import Trainable
    from unrolled.tasks.language_model import LanguageModel
    from unrolled.tasks.supervised import Examples, SupervisedModel

__all__ = ["KINDS", "Chosen", "Kind", "Options", "Prepared", "find_kind", "told_parts"]

Options = Mapping[str, Any]
"""The sections of a task's options, by name: each a frozen dataclass."""

KINDS: dict[str, str] = {
    "forecast": "unrolled.tasks.forecast.kind:Forecasting",
    "classify": "unrolled.tasks.classify.kind:Classify",
    "tag": "unrolled.tasks.tag.kind:Tag",
    "next": "unrolled.tasks.events.kind:Next",
    "generate": "unrolled.tasks.generate.kind:Generate",
}
"""Where each is, by what `train` and `config.json` call it."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Data that is ready to train on.

    Attributes:
        parts: the examples to train on, to validate on and to test on; the last two may be empty.
        vocabulary: all that was fitted to the training part (symbols, labels, scalings) or given with it, as JSON: with
            it and the options, the model can be built and used, without the data.
        facts: what a user wants to see before the bar, by name.
    """

    parts: Mapping[Part, Examples]
    vocabulary: dict[str, Any]
    facts: dict[str, str]


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is filled in where it was not given.

    Attributes:
        options: the sections, whole.
        batch: examples a batch.
        learning_rate: the highest of the schedule.
    """

    options: dict[str, Any]
    batch: int
    learning_rate: float


class Kind(ABC):
    """A task by its name.

    Attributes:
        name: what `train` and `config.json` call it.
        about: what it does, in a line.
        loss: what its loss is called: "nats a label".
        sections: the dataclass of each section of its options. "model" is one of them, whose fields `cell`, `layers`
            and `hidden_size` every task has.
        defaults: fields of `TrainingConfig` whose defaults are others for this task.
        finetuning: options whose defaults are others where training starts from a language model's weights.
        whole: fields of the section "data" that keep examples back or cut them, with what does not.
        ahead: whether it says what comes next of tables, a horizon long, and not something of each line.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    loss: ClassVar[str]
    sections: ClassVar[dict[str, type[Any]]]
    defaults: ClassVar[dict[str, Any]] = {}
    finetuning: ClassVar[dict[str, Any]] = {}
    whole: ClassVar[dict[str, Any]] = {}
    ahead: ClassVar[bool] = False

    @abstractmethod
    def prepare(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any] | None = None,
        told: Progress | None = None,
    ) -> Prepared:
        """Read the data.

        Args:
            sources: the files.
            options: how they are read, cut into parts and encoded.
            vocabulary: that of a run, which goes on or is evaluated; made from the training part if not given. Where
                training starts from a language model, `{"language_model": ...}`, the symbols to be used, as JSON.
            told: is told of progress: done, total, what.

        Raises:
            DataError: something of it is not as it should be, with file and line.
        """

    @abstractmethod
    def choose(self, equations: Equations, options: Options, prepared: Prepared, work: float) -> Chosen:
        """Fill in what is not given.

        Args:
            equations: the cell.
            options: with fields that are None.
            prepared: the data.
            work: floating-point operations that the budget buys; infinite where it is in steps or epochs.
        """

    @abstractmethod
    def build(self, equations: Equations, options: Options, vocabulary: Mapping[str, Any]) -> SupervisedModel:
        """The model, with fresh weights."""

    def follow(self, model: LanguageModel, vocabulary: Vocabulary) -> dict[str, Any]:
        """The options that are those of a language model from whose weights training starts, by name.

        Raises:
            ConfigurationError: this task does not start from one.
        """
        raise ConfigurationError(f"{self.name} does not start from a language model's weights", fix="leave --from out")

    def hand_over(self, weights: LanguageModel, model: SupervisedModel) -> None:
        """Give the model what it takes of a language model's weights."""
        raise NotImplementedError

    def measure(self, options: Options, vocabulary: Mapping[str, Any]) -> str | None:
        """The metric of `evaluate`, the larger the better, that says which checkpoint is best; None: the loss does."""
        return None

    def task(
        self,
        model: SupervisedModel,
        prepared: Prepared,
        options: Options,
        *,
        batch: int,
        seed: int,
        select: Select = "metric",
    ) -> Trainable:
        """The model and its examples.

        Args:
            model: the model.
            prepared: the examples.
            options: of the run.
            batch: examples a batch.
            seed: of their order.
            select: whether the best checkpoint is that of the best `measure` or of the lowest loss.
        """
        from unrolled.tasks.supervised import SupervisedTask

        valid, measure = prepared.parts["valid"], self.measure(options, prepared.vocabulary)
        judge: Callable[[], Validation] | None = None
        if measure is not None and select == "metric":

            def judge() -> Validation:
                report = self.evaluate(model, valid, options, prepared.vocabulary)
                return Validation(report["loss"], report[measure], measure.replace("_", " "))

        return SupervisedTask(model, prepared.parts["train"], valid, batch=batch, seed=seed, judge=judge)

    @abstractmethod
    def evaluate(
        self,
        model: SupervisedModel,
        examples: Examples,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """The metrics of a model on some examples, at least one, as JSON; `loss` is one of them."""

    def all_examples(
        self,
        sources: Sequence[Source],
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Progress | None = None,
    ) -> Examples:
        """All the examples of other files than those of a run, to evaluate it on."""
        whole = {**options, "data": replace(options["data"], **self.whole)}
        return self.prepare(SplitSources(train=sources), whole, vocabulary, told).parts["train"]

    @abstractmethod
    def summary(self, report: Mapping[str, Any]) -> str:
        """What `evaluate` found, in a line."""

    def read_inputs(
        self, sources: Sequence[Source], options: Options, form: str | None = None
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """What is to be predicted, each with what is said of where it stands: here the lines of files.

        Args:
            sources: the files.
            options: of the run.
            form: a format, of tasks that have several.

        Raises:
            ConfigurationError: there is no such format.
        """
        if form is not None:
            raise ConfigurationError("the task reads lines", got=f"--format {form}", fix="leave --format out")
        for source in sources:
            for number, line in read_lines(source):
                yield {"line": number}, line

    @abstractmethod
    def predict(
        self, model: SupervisedModel, lines: Iterable[Any], options: Options, vocabulary: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """What the model says of new inputs, one after the other, as JSON."""

    def prepare_opponent(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Progress | None = None,
    ) -> Prepared:
        """The data as the classical opponent reads it; see `prepare`."""
        return self.prepare(sources, options, vocabulary, told)

    def opponent(
        self, prepared: Prepared, part: Part, options: Options, told: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """The classical opponent, fitted to the training part and tuned on the validation part of the same data.

        Args:
            prepared: the data, by `prepare_opponent`.
            part: on which it is measured, of at least one example.
            options: of the run.
            told: hears what is being tried.

        Returns:
            `opponent`, which one it is, in words, and its metrics, by the names of `evaluate`.

        Raises:
            ConfigurationError: there is none.
        """
        raise ConfigurationError(f"{self.name} has no classical opponent here", got="--baseline")


def told_parts(sizes: Mapping[Part, int], called: str = "") -> str:
    """How many examples each part has, in words, and what they are called.

    >>> told_parts({"train": 80, "valid": 10, "test": 10}), told_parts({"train": 80, "test": 10}, "series")
    ('80 to train on, 10 to validate, 10 to test', '80 series to train on, 10 to test')
    """
    used: dict[Part, str] = {"train": f"{called} to train on".lstrip(), "valid": "to validate", "test": "to test"}
    return ", ".join(f"{sizes[part]:,} {what}" for part, what in used.items() if part in sizes)


def find_kind(name: str) -> Kind:
    """The task of a name.

    Raises:
        RunError: there is none.
    """
    if name not in KINDS:
        raise RunError(f"there is no task {name!r}", expected=f"one of {', '.join(KINDS)}", fix=nearest(name, KINDS))
    module, _, attribute = KINDS[name].partition(":")
    kind: Kind = getattr(import_module(module), attribute)()
    return kind
