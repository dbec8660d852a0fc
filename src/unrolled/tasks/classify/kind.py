"""`train classify`: from labelled sequences to a classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import torch

from unrolled.cells import Equations
from unrolled.data.ragged import Ragged
from unrolled.data.store import PARTS, Part, SplitSources
from unrolled.data.tables import read_rows
from unrolled.data.vocabulary import UNITS, IntArray, Vocabulary
from unrolled.errors import DataError
from unrolled.tasks.classify.configuration import DEFAULTS, FINETUNING, ClassifierConfig, LabelledConfig
from unrolled.tasks.classify.model import Classifier, LabelledBatch
from unrolled.tasks.classify.starting import follow, hand_over
from unrolled.tasks.kinds import Chosen, Kind, Options, Prepared
from unrolled.tasks.language_model import LanguageModel
from unrolled.tasks.supervised import Examples, SupervisedModel, batches_in_order

__all__ = ["Classify", "LabelledExamples"]


class LabelledExamples:
    """n sequences of symbols and their labels; see `tasks.supervised.Examples`."""

    def __init__(self, sequences: Ragged, labels: IntArray) -> None:
        self.sequences, self.labels, self.lengths = sequences, labels, sequences.lengths

    def batch(self, rows: IntArray) -> LabelledBatch:
        """Some of them."""
        ids, lengths = self.sequences.padded(rows)
        return LabelledBatch(torch.from_numpy(ids), torch.from_numpy(lengths), torch.from_numpy(self.labels[rows]))


class Classify(Kind):
    """Many to one."""

    name = "classify"
    about = "a label for a sequence"
    loss = "nats a label"
    sections: ClassVar[dict[str, type[Any]]] = {"data": LabelledConfig, "model": ClassifierConfig}
    defaults: ClassVar[dict[str, Any]] = DEFAULTS
    finetuning: ClassVar[dict[str, Any]] = FINETUNING

    def prepare(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any] | None = None,
        told: Callable[[int, int, str], None] | None = None,
    ) -> Prepared:
        config = cast("LabelledConfig", options["data"])
        texts: dict[str, list[tuple[str, str]]] = {}
        for part, source in sources.parts:
            rows = read_rows(source, errors=config.errors)
            texts.setdefault(part, []).extend((str(row.get(config.text)), str(row.get(config.label))) for row in rows)
        if "text" in texts:
            rows_of = texts.pop("text")
            order = np.random.default_rng(config.split_seed).permutation(len(rows_of))
            texts = {
                part: [rows_of[index] for index in order[slice(*border)]]
                for part, border in config.tokens().ranges(len(rows_of)).items()
            }
        if not texts.get("train"):
            raise DataError("there is nothing to train on")
        if vocabulary is None:
            symbols = UNITS[config.unit].count((text for text, _ in texts["train"]), config.min_count)
            counts = Counter(label for _, label in texts["train"])
            found = sorted(counts)
            vocabulary = {
                "symbols": symbols.to_json(),
                "labels": found,
                "counts": [counts[label] for label in found],
            }
        known, labels = _read(vocabulary)
        numbers = {label: index for index, label in enumerate(labels)}
        parts: dict[Part, Examples] = {}
        for part in PARTS:
            pairs = texts.get(part, [])
            sequences = Ragged.of((_ids(known, text) for text, _ in pairs), np.empty(0, np.int64))
            parts[part] = LabelledExamples(sequences, np.array([numbers[label] for _, label in pairs], np.int64))
        said = ", ".join(f"{len(parts[part].lengths):,} {what}" for part, what in _USED.items())
        return Prepared(parts, dict(vocabulary), {"data": f"{said}; {known.size} symbols, {len(labels)} labels"})

    def choose(self, equations: Equations, options: Options, prepared: Prepared, work: float) -> Chosen:
        model = cast("ClassifierConfig", options["model"])
        hidden = model.hidden_size or 128
        embedding = hidden if model.embedding_size is None else model.embedding_size
        dropout = 0.3 if model.dropout is None else model.dropout
        sized = replace(model, hidden_size=hidden, embedding_size=embedding, dropout=dropout)
        return Chosen({**options, "model": sized}, batch=32, learning_rate=2e-3)

    def build(self, equations: Equations, options: Options, vocabulary: Mapping[str, Any]) -> SupervisedModel:
        symbols, labels = _read(vocabulary)
        config = cast("ClassifierConfig", options["model"])
        weights = config.weights(labels, vocabulary["counts"])
        return Classifier(
            equations, config, classes=len(labels), symbols=symbols.size, unknown=symbols.unknown, weights=weights
        )

    def follow(self, model: LanguageModel, vocabulary: Vocabulary) -> dict[str, Any]:
        return follow(model, vocabulary)

    def hand_over(self, weights: LanguageModel, model: SupervisedModel) -> None:
        hand_over(weights, cast("Classifier", model))

    def evaluate(
        self,
        model: SupervisedModel,
        examples: Examples,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        total, right = 0.0, 0
        with torch.no_grad():
            for _, batch in batches_in_order(examples):
                logits = cast("Classifier", model)(batch.x, batch.lengths)
                total += float(torch.nn.functional.cross_entropy(logits, batch.y, reduction="sum"))
                right += int((logits.argmax(1) == batch.y).sum())
        number = len(examples.lengths)
        return {"examples": number, "loss": total / number, "accuracy": right / number}

    def summary(self, report: Mapping[str, Any]) -> str:
        return f"accuracy {report['accuracy']:.4f}, {report['loss']:.4f} nats a label, {report['examples']:,} examples"

    def predict(
        self, model: SupervisedModel, lines: Iterable[Any], options: Options, vocabulary: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        symbols, labels = _read(vocabulary)
        for text in lines:
            ids = torch.from_numpy(_ids(symbols, str(text)))
            with torch.no_grad():
                logits = cast("Classifier", model)(ids.unsqueeze(0), torch.tensor([len(ids)]))
            shares = dict(zip(labels, logits.softmax(1)[0].tolist(), strict=True))
            yield {"label": max(shares, key=lambda label: shares[label]), "probabilities": shares}


_USED: dict[Part, str] = {"train": "to train on", "valid": "to validate", "test": "to test"}


def _read(vocabulary: Mapping[str, Any]) -> tuple[Vocabulary, Sequence[str]]:
    return Vocabulary.from_json(vocabulary["symbols"], "vocabulary.json, symbols"), vocabulary["labels"]


def _ids(vocabulary: Vocabulary, text: str) -> IntArray:
    ids, _ = vocabulary.find(text)
    return ids if len(ids) else np.zeros(1, np.int64)
