"""`train tag`: from tagged sentences, or labelled frames, to a tagger."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np

from unrolled.cells import Equations
from unrolled.data.conll import Sentence
from unrolled.data.labelled_frames import LabelledSeries
from unrolled.data.preparation import Progress
from unrolled.data.store import PARTS, Part, SplitSources
from unrolled.data.text import Source, read_lines
from unrolled.errors import ConfigurationError, PromptError
from unrolled.tasks.kinds import Chosen, Kind, Options, Prepared, told_parts
from unrolled.tasks.supervised import Examples, SupervisedModel, mean_loss
from unrolled.tasks.tag.configuration import DEFAULTS, TagData, TaggerConfig
from unrolled.tasks.tag.examples import FrameExamples, WordExamples
from unrolled.tasks.tag.metrics import span_scores, tag_scores
from unrolled.tasks.tag.model import FrameReader, Tagger, WordReader
from unrolled.tasks.tag.predicting import Tagged, read_inputs, tag_all, tag_sentences, tag_series
from unrolled.tasks.tag.reading import is_of_frames, read_parts, scaling_of, series_of, words_of
from unrolled.tasks.tag.spans import allowed_pairs
from unrolled.tasks.tag.vocabulary import Tags

__all__ = ["Tag"]

_HIDDEN = 200
_FRAME_HIDDEN = 96
_OF_WORDS = ("token_column", "token_prefix", "lower", "fold_digits", "min_count", "longest_word")
_OF_FRAMES = ("series_column", "feature_columns", "window")


class Tag(Kind):
    """Many to many, direct: a tag for every word or frame."""

    name = "tag"
    about = "a tag for every word of a sentence, or every frame of a series"
    loss = "nats a tag"
    sections: ClassVar[dict[str, type[Any]]] = {"data": TagData, "model": TaggerConfig}
    defaults: ClassVar[dict[str, Any]] = DEFAULTS
    whole: ClassVar[dict[str, Any]] = {"window": sys.maxsize}

    def prepare(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any] | None = None,
        told: Progress | None = None,
    ) -> Prepared:
        parts, made = read_parts(sources, cast("TagData", options["data"]), vocabulary)
        tags = Tags.from_json(made)
        frames = isinstance(parts["train"], FrameExamples)
        sizes = told_parts({part: len(parts[part].lengths) for part in PARTS}, "series" if frames else "sentences")
        steps = f"{int(parts['train'].lengths.sum()):,} {'frames' if frames else 'words'} to train on"
        known = f"{len(made['mean'])} inputs" if frames else f"{len(made['words']['words']):,} different words"
        spans = f" ({tags.scheme.upper()})" if tags.scheme else ""
        facts = {"data": f"{sizes}; {steps}; {known}, {len(tags.names)} tags{spans}"}
        strange = {part: int((of.numbers < 0).sum()) for part, of in parts.items()}
        if any(strange.values()):
            unknown = [f"{count:,} in {part}" for part, count in strange.items() if count]
            facts["tags"] = f"not tagged, or with a tag that the training part does not have: {', '.join(unknown)}"
        return Prepared(parts, made, facts)

    def choose(self, equations: Equations, options: Options, prepared: Prepared, work: float) -> Chosen:
        model, train = cast("TaggerConfig", options["model"]), prepared.parts["train"]
        frames = isinstance(train, FrameExamples)
        _check_options(cast("TagData", options["data"]), model, frames, Tags.from_json(prepared.vocabulary))
        hidden = model.hidden_size or (_FRAME_HIDDEN if frames else _HIDDEN)
        # Few sentences want small batches, or a pass over them has too few updates.
        batch = next(size for size, least in ((32, 5000), (16, 1000), (8, 0)) if len(train.lengths) >= least)
        return Chosen({**options, "model": replace(model, hidden_size=hidden)}, batch=batch, learning_rate=3e-3)

    def build(self, equations: Equations, options: Options, vocabulary: Mapping[str, Any]) -> SupervisedModel:
        config, tags = cast("TaggerConfig", options["model"]), Tags.from_json(vocabulary)
        reader: WordReader | FrameReader
        if "words" in vocabulary:
            words = words_of(vocabulary)
            reader = WordReader(equations, len(words.words), len(words.characters), words.singletons, config)
        else:
            reader = FrameReader(len(scaling_of(vocabulary).mean))
        allowed = allowed_pairs(tags.names, tags.scheme) if config.decoding != "free" and tags.restrained else None
        return Tagger(equations, reader, len(tags.names), config, allowed)

    def measure(self, options: Options, vocabulary: Mapping[str, Any]) -> str | None:
        return "accuracy" if Tags.from_json(vocabulary).scheme is None else "span_f1"

    def evaluate(
        self,
        model: SupervisedModel,
        examples: Examples,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        of, tags = cast("WordExamples | FrameExamples", examples), Tags.from_json(vocabulary)
        found = [one.tags for one in tag_all(cast("Tagger", model), of, tags.names)]
        return {
            "sequences": len(of.lengths),
            "targets": int(of.lengths.sum()),
            "loss": mean_loss(model, of),
            **_scores(of, found, tags),
        }

    def summary(self, report: Mapping[str, Any]) -> str:
        spans = f"span F1 {report['span_f1']:.4f}, " if "span_f1" in report else ""
        loss = f"{report['loss']:.4f} nats a tag, " if "loss" in report else ""
        return f"{spans}accuracy {report['accuracy']:.4f}, {loss}{report['targets']:,} tags"

    def read_inputs(
        self, sources: Sequence[Source], options: Options, form: str | None = None
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        data = cast("TagData", options["data"])
        for source in sources:
            if form is None and is_of_frames(data, source.name):
                for series in series_of(source, data, labelled=False):
                    yield {"series": series.where}, series
            else:
                for sentence, _ in read_inputs((line for _, line in read_lines(source)), data, form, source.name):
                    yield {"line": sentence.line}, sentence

    def predict(
        self, model: SupervisedModel, lines: Iterable[Any], options: Options, vocabulary: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        tags, tagger = Tags.from_json(vocabulary), cast("Tagger", model)
        found: Iterable[Tagged]
        if "words" in vocabulary:
            found = tag_sentences(tagger, map(_sentence, lines), words_of(vocabulary), tags)
        else:
            found = tag_series(tagger, map(_series, lines), scaling_of(vocabulary), tags)
        for one in found:
            yield one.to_json(tags.scheme is not None)

    def opponent(
        self, prepared: Prepared, part: Part, options: Options, told: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        from unrolled.tasks.tag.window_classifier import fit_windows

        parts = {name: cast("WordExamples | FrameExamples", of) for name, of in prepared.parts.items()}
        tags = Tags.from_json(prepared.vocabulary)
        fitted = fit_windows(parts["train"], parts["valid"], tags, told or (lambda said: None))
        found = fitted.tag(parts[part])
        said = ", ".join(f"{name} {value}" for name, value in fitted.settings.items())
        return {
            "opponent": f"logistic regression on windows ({said}; chosen on the validation part)",
            "targets": int(parts[part].lengths.sum()),
            **_scores(parts[part], found, tags),
        }


def _check_options(data: TagData, model: TaggerConfig, frames: bool, tags: Tags) -> None:
    """Raise a `ConfigurationError` for an option that would change nothing."""
    usual = TagData()
    for name in _OF_WORDS if frames else _OF_FRAMES:
        if getattr(data, name) != getattr(usual, name):
            option = "--" + name.replace("_", "-")
            problem = f"{option} is for {'words' if frames else 'series of vectors'}"
            raise ConfigurationError(problem, fix=f"leave out {option}")
    if model.decoding == "constrained" and not tags.restrained:
        raise ConfigurationError(
            "nothing can be forbidden: the tags are not those of BIO or BIOES", fix="leave out --decoding"
        )


def _sentence(given: Any) -> Sentence:
    """One that is a sentence, a text with white space between words, or words."""
    if isinstance(given, Sentence):
        return given
    if isinstance(given, LabelledSeries):
        raise PromptError(
            "a tagger of words reads no series",
            where=given.where,
            fix="say what the file is: --format lines|json|conll",
        )
    tokens = given.split() if isinstance(given, str) else [str(token) for token in given]
    if not all(tokens) or not tokens:
        raise PromptError("there is nothing to tag", expected="words, none of them empty", got=repr(given))
    return Sentence(tuple(tokens))


def _series(given: Any) -> LabelledSeries:
    """One that is a series, or an array (T, D)."""
    if isinstance(given, LabelledSeries):
        return given
    if isinstance(given, str | Sentence):
        raise PromptError("a tagger of frames reads no text", expected="NPZ, CSV or an array (T, D)")
    x = np.asarray(given, np.float64)
    if x.ndim != 2 or not len(x) or not np.isfinite(x).all():
        raise PromptError("this is no series", expected="finite numbers (T, D), T at least 1", got=f"shape {x.shape}")
    return LabelledSeries(x, (), "input")


def _scores(examples: WordExamples | FrameExamples, found: list[tuple[str, ...]], tags: Tags) -> dict[str, Any]:
    """What tags come to that a model, or an opponent, found for some examples."""
    given = [tag for of in examples.written for tag in of]
    made = [tag for of in found for tag in of]
    report = tag_scores(given, made)
    # As in the accuracy, a word without a given tag is never wrong.
    right = [
        all(tag in (None, said) for tag, said in zip(wanted, of, strict=True))
        for wanted, of in zip(examples.written, found, strict=True)
    ]
    report["sequence_accuracy"] = sum(right) / max(1, len(right))
    if isinstance(examples, WordExamples):
        known = examples.known.values
        strange = [pair for pair, is_known in zip(zip(given, made, strict=True), known, strict=True) if not is_known]
        report["unknown_words"] = len(strange)
        report["accuracy_unknown_words"] = tag_scores(*zip(*strange, strict=True))["accuracy"] if strange else None
    report["unknown_tags"] = sum(tag is not None and tag not in tags.names for tag in given)
    if tags.scheme is not None:
        report |= span_scores(examples.written, found)
    return report
