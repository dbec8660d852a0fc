"""The data of a classifier: from labelled examples to tensors, and what a run keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
import torch

from unrolled.data.inputs import Input, find_input, read_input
from unrolled.data.labelled import Labelled, duplicates, find_labels, known_labels, left_out, unread_files
from unrolled.data.labelled_configuration import LabelledConfig, Target
from unrolled.data.labelled_formats import input_of
from unrolled.data.labelled_splits import read_parts
from unrolled.data.negatives import add_negatives
from unrolled.data.preparation import Progress
from unrolled.data.ragged import Ragged
from unrolled.data.store import Part, SplitSources
from unrolled.data.text_inputs import TextInput
from unrolled.data.vocabulary import IntArray, Vocabulary
from unrolled.errors import ConfigurationError, DataError, RunError
from unrolled.tasks.classify.model import LabelledBatch
from unrolled.tasks.kinds import Prepared, told_parts
from unrolled.tasks.supervised import Examples

__all__ = ["LabelledExamples", "Schema", "prepare"]

_SHOWN = 5  # labels, and files


@dataclass(frozen=True, eq=False)
class Schema:
    """What a run knows of its data: all that was fitted to the training part.

    Attributes:
        input: what is labelled, as the network reads it.
        target: what a label is.
        labels: C names, sorted; none of numbers.
        counts: how often each is in the training part.
        examples: of the training part.
        mean: of the numbers of the training part, with target number.
        deviation: their standard deviation.
    """

    input: Input
    target: Target
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    examples: int = 0
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def fit(
        cls, train: Labelled, labels: Sequence[str], config: LabelledConfig, symbols: Vocabulary | None = None
    ) -> Schema:
        """That of a training part with these labels, and with the symbols of a language model, if it is given.

        Raises:
            DataError: the numbers of the training part are all the same.
        """
        kind = find_input(input_of(train.sources, config))
        if symbols is None:
            found = kind.fit(train.inputs, config)
        elif kind is TextInput:
            found = TextInput.of_vocabulary(symbols, train.inputs, config)
        else:
            raise ConfigurationError("a language model reads text", got=f"input {kind.name!r}", fix="leave --from out")
        if config.target == "number":
            numbers = np.array(train.labels, np.float64)
            deviation = float(numbers.std())
            if not deviation > 0:
                raise DataError(
                    "the numbers of the training part are all the same",
                    expected="at least two, or there is nothing to predict",
                    got=f"{numbers[0]:g}, {len(numbers)} times",
                    where=train.where(0),
                    fix="check --label",
                )
            return cls(found, config.target, (), (), len(train), float(numbers.mean()), deviation)
        schema = cls(found, config.target, tuple(labels))
        truth = schema.truth(train.labels)
        counts = truth.sum(0) if config.target == "labels" else np.bincount(truth, minlength=len(labels))
        return cls(found, config.target, tuple(labels), tuple(int(count) for count in counts), len(train))

    def truth(self, labels: Sequence[Any]) -> npt.NDArray[Any]:
        """Labels as the network is told them: (n,) numbers of classes; (n, C) ones and zeros; or (n,) standardised."""
        if self.target == "number":
            return (np.array(labels, np.float64) - self.mean) / self.deviation
        numbers = {label: number for number, label in enumerate(self.labels)}
        if self.target == "class":
            return np.array([numbers[label] for label in labels], np.int64)
        found = np.zeros((len(labels), len(self.labels)), np.float32)
        for row, names in enumerate(labels):
            found[row, [numbers[name] for name in names]] = 1
        return found

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON; `read` reads it back."""
        return {
            "input": self.input.to_json(),
            "target": self.target,
            "labels": list(self.labels),
            "counts": list(self.counts),
            "examples": self.examples,
            "mean": self.mean,
            "deviation": self.deviation,
        }

    @classmethod
    def read(cls, vocabulary: Mapping[str, Any], where: str = "vocabulary.json") -> Schema:
        """From what `to_json` gave.

        Raises:
            RunError: it is something else.
        """
        try:
            labels, target = vocabulary["labels"], vocabulary["target"]
            known = all(isinstance(label, str) for label in labels) and len(set(labels)) == len(labels)
            if target not in get_args(Target) or not known:
                raise ValueError(f"target {target!r}, labels {labels!r}")
            return cls(
                read_input(vocabulary["input"], where),
                target,
                tuple(labels),
                tuple(int(count) for count in vocabulary["counts"]),
                int(vocabulary["examples"]),
                float(vocabulary["mean"]),
                float(vocabulary["deviation"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                "not the vocabulary of a classifier", got=f"{type(error).__name__}: {error}"[:200], where=where
            ) from None


class LabelledExamples:
    """n sequences and what they are; see `tasks.supervised.Examples`.

    Args:
        sequences: of ids or vectors.
        truth: see `Schema.truth`.
        fingerprint: see `Labelled.fingerprint`; nothing of sequences that are only answered.
    """

    def __init__(self, sequences: Ragged, truth: npt.NDArray[Any], fingerprint: str = "") -> None:
        self.sequences, self.truth, self.lengths = sequences, truth, sequences.lengths
        self.fingerprint = fingerprint

    def batch(self, rows: IntArray) -> LabelledBatch:
        """Some of them side by side."""
        x, lengths = self.sequences.padded(rows)
        if x.dtype.kind == "u":
            x = x.astype(np.int64)  # which an embedding reads
        return LabelledBatch(torch.from_numpy(x), torch.from_numpy(lengths), torch.from_numpy(self.truth[rows]))


def prepare(
    sources: SplitSources,
    config: LabelledConfig,
    vocabulary: Mapping[str, Any] | None = None,
    told: Progress | None = None,
) -> Prepared:
    """Read the examples of all parts; see `tasks.kinds.Kind.prepare`."""
    fitting = vocabulary is None or "language_model" in vocabulary
    parts = add_negatives(read_parts(sources, config, told), config, fitting=fitting)
    schema, symbols = None, None
    if vocabulary is not None and "language_model" in vocabulary:
        symbols = Vocabulary.from_json(vocabulary["language_model"], "the language model")
    elif vocabulary is not None:
        schema = Schema.read(vocabulary)
    labels: Sequence[str] = ()
    if config.target != "number":
        labels = find_labels(parts["train"], config) if schema is None else schema.labels
        parts = known_labels(parts, labels, config)
    schema = schema or Schema.fit(parts["train"], labels, config, symbols)
    examples = {
        part: LabelledExamples(schema.input.encode(found.inputs), schema.truth(found.labels), found.fingerprint)
        for part, found in parts.items()
    }
    return Prepared(cast("Mapping[Part, Examples]", examples), schema.to_json(), _facts(parts, schema, config))


def _facts(parts: Mapping[Part, Labelled], schema: Schema, config: LabelledConfig) -> dict[str, str]:
    """What a user wants to see of the data before training begins."""
    facts = {"data": told_parts({part: len(found) for part, found in parts.items()})}
    if schema.target == "number":
        facts["labels"] = f"numbers, {schema.mean:.4g} on average, standard deviation {schema.deviation:.4g}"
    else:
        seen = sorted(zip(schema.counts, schema.labels, strict=True), key=lambda pair: -pair[0])
        total = max(1, len(parts["train"]))
        shown = [f"{label} {100 * count / total:.1f}%" for count, label in seen[:_SHOWN]]
        more = [f"and {len(seen) - _SHOWN} more"] if len(seen) > _SHOWN else []
        facts["labels"] = f"{len(seen)}: {', '.join(shown + more)}"
    facts["input"] = schema.input.about
    twice = [f"{count:,} of {part}" for part, count in duplicates(parts).items() if count]
    if twice:
        facts["twice"] = f"{' and '.join(twice)} are in the training part, too, word for word"
    skipped = left_out(parts)
    if skipped:
        facts["left out"] = ", ".join(f"{count:,} rows ({reason})" for reason, count in skipped.items())
    unread = unread_files(parts)
    if unread:
        facts["not read"] = ", ".join(unread[:_SHOWN]) + (" ..." if len(unread) > _SHOWN else "")
    return facts
