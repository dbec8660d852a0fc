"""What a tagger says of new sentences and series."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.data.compressed import SUFFIXES
from unrolled.data.conll import Layout, Sentence, parse_sentences
from unrolled.data.labelled_frames import LabelledSeries
from unrolled.errors import ConfigurationError, DataError, PromptError, nearest
from unrolled.tasks.supervised import Examples, batches_in_order
from unrolled.tasks.tag.configuration import TagData
from unrolled.tasks.tag.examples import FrameExamples, WordExamples
from unrolled.tasks.tag.model import Tagger
from unrolled.tasks.tag.reading import Scaling, layout_of
from unrolled.tasks.tag.spans import find_spans
from unrolled.tasks.tag.vocabulary import Tags, Words

__all__ = ["Tagged", "read_inputs", "tag_all", "tag_sentences", "tag_series", "written"]

_KINDS = ("lines", "json", "conll")
_AT_ONCE = 256
_SNIFFED = 2000  # lines
_ENDINGS = (".conll", ".conllu", ".conllup", ".conll03", ".bio", ".bioes", ".iob", ".iob2")


@dataclass(frozen=True, eq=False)
class Tagged:
    """What was found for a sequence.

    Attributes:
        tags: T of them, the best path.
        probabilities: (T,) of each, whatever the others are: its marginal.
        sentence: the sentence; None for a series.
    """

    tags: tuple[str, ...]
    probabilities: np.ndarray[Any, np.dtype[np.floating[Any]]]
    sentence: Sentence | None = None

    def to_json(self, spans: bool) -> dict[str, Any]:
        """As `predict` prints it; spans where tags are spans, each with its place among the words, from 0."""
        tokens = [] if self.sentence is None else list(self.sentence.tokens)
        found: dict[str, Any] = {"tokens": tokens} if self.sentence is not None else {}
        found |= {"tags": list(self.tags), "probabilities": [round(p, 4) for p in self.probabilities.tolist()]}
        if spans:
            found["spans"] = [
                {"start": start, "end": end, "type": kind, "text": " ".join(tokens[start:end])}
                for start, end, kind in find_spans(self.tags)
            ]
        return found


def tag_all(model: Tagger, examples: Examples, names: Sequence[str], *, marginals: bool = False) -> list[Tagged]:
    """The tags of all examples, in their order."""
    found: dict[int, Tagged] = {}
    for rows, batch in batches_in_order(examples):
        best, shares = model.tag(batch, marginals=marginals)
        paths = best.cpu().numpy()
        chosen = None if shares is None else shares.gather(2, best.clamp(min=0).unsqueeze(2)).squeeze(2).cpu().numpy()
        for index, (row, length) in enumerate(zip(rows.tolist(), batch.lengths.tolist(), strict=True)):
            tags = tuple(names[number] for number in paths[index, :length].tolist())
            sure = np.ones(length) if chosen is None else chosen[index, :length]
            found[row] = Tagged(tags, sure)
    return [found[row] for row in range(len(found))]


def tag_sentences(model: Tagger, sentences: Iterable[Sentence], words: Words, tags: Tags) -> Iterator[Tagged]:
    """The tags of sentences that come one after the other, some of them at a time."""
    coming = iter(sentences)
    while some := list(itertools.islice(coming, _AT_ONCE)):
        empty = [np.full(len(one.tokens), -1, np.int64) for one in some]
        examples = WordExamples([one.tokens for one in some], [()] * len(some), empty, words)
        for one, found in zip(some, tag_all(model, examples, tags.names, marginals=True), strict=True):
            yield Tagged(found.tags, found.probabilities, one)


def tag_series(model: Tagger, series: Iterable[LabelledSeries], scaling: Scaling, tags: Tags) -> Iterator[Tagged]:
    """The labels of the frames of series, one series after the other."""
    for one in series:
        examples = FrameExamples([scaling.apply(one)], [()], [np.full(len(one.x), -1, np.int64)])
        yield from tag_all(model, examples, tags.names, marginals=True)


def written(found: Tagged, layout: Layout | None) -> str:
    """A tagged sentence in CoNLL: as it was read with its tags put in, or else word and tag."""
    if found.sentence is None:
        raise ConfigurationError("series have no words to be written as CoNLL", fix="leave --conll out")
    if layout is not None:
        return found.sentence.written(layout, found.tags)
    lines = zip(found.sentence.tokens, found.tags, strict=True)
    return "".join(f"{token}\t{tag}\n" for token, tag in lines) + "\n"


def read_inputs(
    lines: Iterable[str], data: TagData, kind: str | None = None, name: str = "input"
) -> Iterator[tuple[Sentence, Layout | None]]:
    """Sentences from lines, and how they are laid out where they are CoNLL.

    Args:
        lines: without their ends.
        data: how the training data was read.
        kind: "lines" (a sentence a line, words separated by white space), "json" (an object a line with `tokens`),
            "conll" (as the training data, the column of tags may be missing); if not given, JSON where the first line
            begins with `{`, CoNLL where it has a tab or begins with `# ` or `-DOCSTART-`, or where the name ends with
            one of CoNLL, else lines.
        name: what the lines are called.

    Raises:
        DataError: a line is not as it should be; with its number.
        PromptError: there is nothing to read.
        ConfigurationError: there is no such kind.
    """
    if kind not in (None, *_KINDS):
        raise ConfigurationError(f"there is no format {kind!r} of sentences", fix=nearest(str(kind), _KINDS))
    held: list[str] = []
    coming = iter(lines)
    for line in coming:
        held.append(line)
        if line.strip():
            break
    if not held or not held[-1].strip():
        raise PromptError("there is nothing to tag", expected="a sentence a line, CoNLL, or JSON lines with tokens")
    if kind is None:
        first = held[-1]
        conll = "\t" in first or first.startswith(("# ", "-DOCSTART-")) or _plain(name).endswith(_ENDINGS)
        kind = "json" if first.lstrip().startswith("{") else "conll" if conll else "lines"
    coming = itertools.chain(held, coming)
    if kind == "conll":
        begun = list(itertools.islice(coming, _SNIFFED))
        layout = layout_of(begun, name, data)
        for sentence in parse_sentences(itertools.chain(begun, coming), layout, name):
            yield sentence, layout
        return
    for number, line in enumerate(coming, 1):
        if line.strip():
            tokens = _json_tokens(line, f"{name}, line {number}") if kind == "json" else line.split()
            yield Sentence(tuple(tokens), line=number, where=name), None


def _plain(name: str) -> str:
    """The name of a file in small letters, without the ending that says how it is compressed."""
    return name.lower().removesuffix(next((each for each in SUFFIXES if name.lower().endswith(each)), ""))


def _json_tokens(line: str, where: str) -> list[str]:
    try:
        value = json.loads(line)
        tokens = value["tokens"]
        if tokens and all(isinstance(token, str) and token for token in tokens):
            return list(tokens)
    except (ValueError, TypeError, KeyError):
        pass
    raise DataError("the line has no words", expected='{"tokens": ["One", "word", ...]}', got=line[:60], where=where)
