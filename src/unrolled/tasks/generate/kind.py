"""`train generate`: from sequences with a category to a model that makes more of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from unrolled.cells import Equations
from unrolled.data.labelled import find_labels, known_labels, left_out, read_unlabelled
from unrolled.data.labelled_splits import read_parts
from unrolled.data.preparation import Progress
from unrolled.data.store import PARTS, Part, SplitSources
from unrolled.data.text import Source
from unrolled.data.text_inputs import TextInput
from unrolled.errors import ConfigurationError
from unrolled.tasks.generate.configuration import DEFAULTS, GeneratorConfig, GroupedConfig
from unrolled.tasks.generate.examples import GroupedExamples, Symbols, costs, posteriors, summarise
from unrolled.tasks.generate.model import Generator
from unrolled.tasks.kinds import Chosen, Kind, Options, Prepared, told_parts
from unrolled.tasks.supervised import Examples, SupervisedModel

__all__ = ["Generate"]

_LADDER = (64, 96, 128, 192, 256, 384, 512)


class Generate(Kind):
    """One to many."""

    name = "generate"
    about = "a sequence for a category"
    loss = "nats a symbol"
    sections: ClassVar[dict[str, type[Any]]] = {"data": GroupedConfig, "model": GeneratorConfig}
    defaults: ClassVar[dict[str, Any]] = DEFAULTS
    whole: ClassVar[dict[str, Any]] = {"hold_out": 0.0}

    def prepare(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any] | None = None,
        told: Progress | None = None,
    ) -> Prepared:
        config = cast("GroupedConfig", options["data"]).labelled()
        found = read_parts(sources, config, told)
        symbols = _fit(found["train"], config) if vocabulary is None else Symbols.from_json(vocabulary)
        found = known_labels(found, symbols.categories, config)
        parts = {part: GroupedExamples(found[part], symbols) for part in PARTS}
        said = told_parts({part: len(parts[part].lengths) for part in PARTS})
        skipped = left_out(found).total()
        facts = {
            "data": f"{said}; {symbols.vocabulary.size} symbols and the end, {len(symbols.categories)} categories"
            + (f"; {skipped:,} rows left out" if skipped else "")
        }
        held_out = sum(parts[part].unknown for part in PARTS if part != "train")
        if held_out:
            facts["unknown"] = f"{held_out:,} symbols of the held-out parts that training has not"
        return Prepared(parts, symbols.to_json(), facts)

    def choose(self, equations: Equations, options: Options, prepared: Prepared, work: float) -> Chosen:
        model, train = cast("GeneratorConfig", options["model"]), prepared.parts["train"]
        tokens = int(train.lengths.sum())
        # About five weights a symbol of training at most: more learn it by heart.
        ideal = math.sqrt(5 * tokens / 8)
        hidden = model.hidden_size or min(_LADDER, key=lambda size: abs(math.log(size / max(ideal, 1))))
        sized = replace(
            model,
            hidden_size=hidden,
            embedding_size=model.embedding_size or min(hidden, 64),
            category_size=model.category_size or min(32, len(prepared.vocabulary["categories"])),
            dropout=0.3 if model.dropout is None else model.dropout,
        )
        return Chosen({**options, "model": sized}, batch=64, learning_rate=4e-3)

    def build(self, equations: Equations, options: Options, vocabulary: Mapping[str, Any]) -> SupervisedModel:
        symbols = Symbols.from_json(vocabulary)
        config = cast("GeneratorConfig", options["model"])
        return Generator(equations, symbols.end, len(symbols.categories), config)

    def evaluate(
        self,
        model: SupervisedModel,
        examples: Examples,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        symbols, generator = Symbols.from_json(vocabulary), cast("Generator", model)
        given = cast("GroupedExamples", examples)
        report = summarise(costs(generator, given, told), given, symbols)
        if generator.config.conditional:
            likeliest = posteriors(generator, symbols, given.sequences).argmax(1)
            report["category_accuracy"] = float((likeliest == given.categories).mean())
        return report

    def summary(self, report: Mapping[str, Any]) -> str:
        line = (
            f"{report['loss']:.4f} nats a symbol, perplexity {report['perplexity']:.3f}, "
            f"{report['bits_per_character']:.3f} bits a character; {report['examples']:,} examples"
        )
        if "category_accuracy" in report:
            line += f"; their category found by Bayes' rule in {100 * report['category_accuracy']:.1f}%"
        rows = report.get("categories", {})
        width = max(map(len, rows), default=0)
        for name, row in rows.items():
            line += (
                f"\n  {name:<{width}}  {row['examples']:>6,} examples  {row['loss']:.3f} nats, perplexity "
                f"{row['perplexity']:7.3f}, {row['bits_per_character']:.3f} bits a character"
            )
        return line

    def opponent(
        self, prepared: Prepared, part: Part, options: Options, told: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """N-grams of each category, of all together, and mixed; see `tasks.generate.opponents`."""
        from unrolled.tasks.generate.opponents import ngram_report  # Numba takes half a second to import

        parts = {name: cast("GroupedExamples", each) for name, each in prepared.parts.items()}
        symbols = Symbols.from_json(prepared.vocabulary)
        return ngram_report(cast("dict[str, GroupedExamples]", parts), part, symbols, told)

    def read_inputs(
        self, sources: Sequence[Source], options: Options, form: str | None = None
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """Lines, or what the run was trained on may be: see `data.labelled.read_unlabelled`."""
        return read_unlabelled(sources, cast("GroupedConfig", options["data"]).labelled(), form)

    def predict(
        self, model: SupervisedModel, lines: Iterable[Any], options: Options, vocabulary: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        symbols, generator = Symbols.from_json(vocabulary), cast("Generator", model)
        if not generator.config.conditional:
            raise ConfigurationError(
                "the model is unconditional: it says nothing of categories", fix="predict with one that has them"
            )
        for text in lines:
            sequences, _ = symbols.encode([str(text).strip()])
            shares = posteriors(generator, symbols, sequences)[0].tolist()
            p = dict(sorted(zip(symbols.categories, shares, strict=True), key=lambda each: -each[1]))
            yield {"text": str(text).strip(), "category": next(iter(p)), "probabilities": p}


def _fit(train: Any, config: Any) -> Symbols:
    """The symbols and categories of a training part."""
    names = find_labels(train, config)
    read = TextInput.fit(train.inputs, config)
    counts = tuple(sum(label == name for label in train.labels) for name in names)
    longest = read.max_length or int(read.encode(train.inputs).lengths.max())
    return Symbols(read.vocabulary, tuple(names), counts, longest)
