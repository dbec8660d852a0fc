"""From files to the parts that a tagger is trained, validated and tested on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from unrolled.data.compressed import plain_name
from unrolled.data.conll import Layout, Sentence, find_layout, read_sentences
from unrolled.data.labelled_frames import LabelledSeries, read_csv_series, read_npz_series
from unrolled.data.series_configuration import names_of
from unrolled.data.store import PARTS, Part, SplitSources
from unrolled.data.text import Source, read_lines
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError, DataError, RunError
from unrolled.tasks.tag.configuration import TagData
from unrolled.tasks.tag.examples import FrameExamples, WordExamples
from unrolled.tasks.tag.vocabulary import Tags, Words

__all__ = [
    "Scaling",
    "cut",
    "is_of_frames",
    "layout_of",
    "read_frames",
    "read_parts",
    "read_words",
    "scaling_of",
    "series_of",
    "words_of",
]

_DRAWN = 0  # seed of which sentences are in which part
_FEWEST_DOCUMENTS = 10
_CONSTANT = 1e-12  # a deviation so much smaller than the mean is rounding
_Item = TypeVar("_Item", Sentence, LabelledSeries)


def is_of_frames(data: TagData, name: str) -> Literal["npz", "csv"] | None:
    """How the series of vectors in a file are written; None for one of words."""
    if data.format != "auto":
        return data.format if data.format in ("npz", "csv") else None
    return {".npz": "npz", ".csv": "csv"}.get(plain_name(name).suffix.lower())  # type: ignore[return-value]


def layout_of(lines: Iterable[str], name: str, data: TagData) -> Layout:
    """How a file of words is laid out, from what was said of it and how it looks."""
    return find_layout(
        lines,
        name,
        kind=data.format if data.format in ("conllu", "columns") else "auto",
        token=data.token_column,
        tag=data.tag_column,
        prefix=data.token_prefix or "",
    )


def read_words(sources: SplitSources, data: TagData) -> dict[Part, list[Sentence]]:
    """The sentences of each part.

    Raises:
        DataError: there is nothing to train on, or a file has no tags.
    """
    found: dict[str, list[Sentence]] = {}
    for part, source in sources.parts:
        layout = layout_of((line for _, line in read_lines(source)), source.name, data)
        if layout.tag is None:
            raise DataError("the file has one column: words without tags", where=source.name)
        found.setdefault(part, []).extend(read_sentences(source, layout))
    if "text" in found:
        return cut(found["text"], data.shares, _documents(found["text"]))
    return _all_parts(found)


def read_frames(sources: SplitSources, data: TagData) -> dict[Part, list[LabelledSeries]]:
    """The series of each part.

    Raises:
        DataError: there is nothing to train on, or the series have different inputs.
    """
    found: dict[str, list[LabelledSeries]] = {}
    for part, source in sources.parts:
        found.setdefault(part, []).extend(series_of(source, data))
    first = next(one for series in found.values() for one in series)
    for one in (one for series in found.values() for one in series):
        if one.x.shape[1] != first.x.shape[1] or one.columns != first.columns:
            raise DataError(
                "the series have different inputs",
                expected=f"{first.x.shape[1]} {', '.join(first.columns)}".rstrip() + f", as {first.where}",
                got=f"{one.x.shape[1]} {', '.join(one.columns)}".rstrip(),
                where=one.where,
            )
    if "text" in found:
        series = found["text"]
        return _in_time(series[0], data.shares) if len(series) == 1 else cut(series, data.shares)
    return _all_parts(found)


def series_of(source: Source, data: TagData, *, labelled: bool = True) -> list[LabelledSeries]:
    """The series of a file."""
    if is_of_frames(data, source.name) == "npz":
        return read_npz_series(source, data.tag_column or "y", labelled=labelled)
    columns = names_of(data.feature_columns)
    return list(read_csv_series(source, data.tag_column, data.series_column, columns, labelled=labelled))


def cut(
    items: Sequence[_Item], shares: Sequence[float], groups: Sequence[int] | IntArray | None = None
) -> dict[Part, list[_Item]]:
    """Items drawn by chance, the same ones each time, into parts of so many per cent; those of a group together."""
    labels = np.arange(len(items)) if groups is None else np.asarray(groups)
    count = int(labels.max(initial=-1)) + 1
    order = np.random.default_rng(_DRAWN).permutation(count)
    borders = np.rint(np.cumsum([0, *shares]) / 100 * count).astype(int)
    where = np.empty(count, np.int64)
    for index in range(len(PARTS)):
        where[order[borders[index] : borders[index + 1]]] = index
    return {
        part: [item for item, label in zip(items, labels, strict=True) if where[label] == index]
        for index, part in enumerate(PARTS)
    }


def _documents(sentences: Sequence[Sentence]) -> IntArray | None:
    """(n,) the number of the document that each is in; None where there are too few to draw from."""
    numbers: IntArray = np.maximum(np.cumsum([one.document for one in sentences]) - 1, 0)
    return numbers if numbers.max(initial=0) + 1 >= _FEWEST_DOCUMENTS else None


def _in_time(series: LabelledSeries, shares: Sequence[float]) -> dict[Part, list[LabelledSeries]]:
    """One series in three pieces, in the order of time."""
    borders = np.rint(np.cumsum([0, *shares]) / 100 * len(series.x)).astype(int).tolist()
    found: dict[Part, list[LabelledSeries]] = {}
    for index, part in enumerate(PARTS):
        first, last = borders[index : index + 2]
        where = f"{series.where}, from frame {first}"
        piece = LabelledSeries(series.x[first:last], series.labels[first:last], where, series.columns)
        found[part] = [piece] if last > first else []
    return found


def _all_parts(found: Mapping[str, list[Any]]) -> dict[Part, list[Any]]:
    return {part: found.get(part, []) for part in PARTS}


@dataclass(frozen=True, eq=False)
class Scaling:
    """What is taken from the inputs and what they are divided by, of the training part: (D,) each.

    An input that is constant there is only shifted. `columns` are what the inputs are called, empty where they have no
    names.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    columns: tuple[str, ...] = ()

    @classmethod
    def fit(cls, series: Sequence[LabelledSeries]) -> Scaling:
        """Means and standard deviations over all frames of some series, at least one."""
        x = np.concatenate([one.x for one in series])
        mean, deviation = x.mean(0), x.std(0)
        deviation = np.where(deviation > _CONSTANT * np.abs(mean), deviation, 1.0)
        return cls(tuple(mean.tolist()), tuple(deviation.tolist()), series[0].columns)

    def apply(self, one: LabelledSeries) -> npt.NDArray[np.float32]:
        """(T, D) scaled, in the order of the inputs that were trained on, where they have names.

        Raises:
            DataError: it has other inputs, or another number of them.
        """
        x, named = one.x, bool(self.columns and one.columns)
        if named and sorted(one.columns) != sorted(self.columns):
            raise DataError(
                "the series has other inputs than those trained on",
                expected=", ".join(self.columns),
                got=", ".join(one.columns),
                where=one.where,
                fix="name the columns of numbers with --feature-columns",
            )
        if named:
            x = x[:, [one.columns.index(name) for name in self.columns]]
        if x.shape[1] != len(self.mean):
            raise DataError(
                "the series has another number of inputs than those trained on",
                expected=str(len(self.mean)),
                got=str(x.shape[1]),
                where=one.where,
            )
        scaled: npt.NDArray[np.float32] = ((x - np.array(self.mean)) / np.array(self.deviation)).astype(np.float32)
        return scaled


def read_parts(
    sources: SplitSources, data: TagData, vocabulary: Mapping[str, Any] | None
) -> tuple[dict[Part, WordExamples | FrameExamples], dict[str, Any]]:
    """The examples of each part, and the vocabulary: that of the training part, or the one that is given."""
    kinds = {is_of_frames(data, source.name) for _, source in sources.parts}
    if len(kinds) > 1:
        raise ConfigurationError(
            "the files are of different formats", got=", ".join(source.name for _, source in sources.parts[:4])
        )
    words = kinds == {None}
    if vocabulary is not None and words != ("words" in vocabulary):
        read, wanted = ("words", "series of vectors") if words else ("series of vectors", "words")
        raise DataError(f"the files hold {read}", expected=f"{wanted}, as the run was trained on")
    parts: dict[Part, WordExamples | FrameExamples] = {}
    if words:
        sentences = read_words(sources, data)
        _check_any(sentences["train"])
        if vocabulary is None:
            tags = Tags.count(one.tags for one in sentences["train"])
            lexicon = Words.count(
                (one.tokens for one in sentences["train"]),
                lower=data.lower,
                fold_digits=data.fold_digits,
                min_count=data.min_count,
                longest=data.longest_word,
            )
            vocabulary = {**tags.to_json(), "words": lexicon.to_json()}
        lexicon, tags = words_of(vocabulary), Tags.from_json(vocabulary)
        for part, of in sentences.items():
            parts[part] = WordExamples(
                [one.tokens for one in of], [one.tags for one in of], (tags.ids(one.tags) for one in of), lexicon
            )
        return parts, dict(vocabulary)
    series = read_frames(sources, data)
    _check_any(series["train"])
    if vocabulary is None:
        tags = Tags.count(one.labels for one in series["train"])
        scaling = Scaling.fit(series["train"])
        vocabulary = {**tags.to_json(), **asdict(scaling)}
    scaling, tags = scaling_of(vocabulary), Tags.from_json(vocabulary)
    for part, whole in series.items():
        pieces = list(_pieces(whole, data.window)) if part == "train" else whole
        parts[part] = FrameExamples(
            [scaling.apply(one) for one in pieces],
            [one.labels for one in pieces],
            (tags.ids(one.labels) for one in pieces),
        )
    return parts, dict(vocabulary)


def _pieces(series: Iterable[LabelledSeries], window: int) -> Iterator[LabelledSeries]:
    """Long series in pieces of equal length, at most so many frames."""
    for one in series:
        count = -(-len(one.x) // window)
        borders = np.rint(np.linspace(0, len(one.x), count + 1)).astype(int).tolist()
        for first, last in itertools.pairwise(borders):
            yield LabelledSeries(one.x[first:last], one.labels[first:last], one.where, one.columns)


def _check_any(items: Sequence[object]) -> None:
    if not items:
        raise DataError("there is nothing to train on", fix="give more data, or another --split")


def words_of(vocabulary: Mapping[str, Any]) -> Words:
    """The words of a run's vocabulary."""
    return Words.from_json(cast("Mapping[str, Any]", vocabulary["words"]))


def scaling_of(vocabulary: Mapping[str, Any]) -> Scaling:
    """The scaling of a run's vocabulary.

    Raises:
        RunError: there is none.
    """
    try:
        mean, deviation = (tuple(map(float, vocabulary[name])) for name in ("mean", "deviation"))
        return Scaling(mean, deviation, tuple(map(str, vocabulary.get("columns", ()))))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError("the vocabulary of the run is not that of a tagger", got=repr(error)) from error
