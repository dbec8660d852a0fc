"""Sequences with a category, as a generator learns from them, and what it says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unrolled.data.labelled import Labelled
from unrolled.data.ragged import Ragged
from unrolled.data.vocabulary import IntArray, Vocabulary
from unrolled.errors import ConfigurationError, DataError, nearest
from unrolled.tasks.generate.model import Generator, GroupedBatch
from unrolled.tasks.supervised import batches_in_order

__all__ = ["GroupedExamples", "Symbols", "costs", "posteriors", "summarise"]

_Floats = npt.NDArray[np.float64]
_CLASSIFIED = 4096  # sequences and categories that are read side by side


@dataclass(frozen=True, eq=False)
class Symbols:
    """What was fitted to the training part.

    Attributes:
        vocabulary: V symbols.
        categories: their names.
        counts: (C,) training examples of each.
        longest: of longer sequences only so many symbols are read.
    """

    vocabulary: Vocabulary
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    longest: int

    @property
    def end(self) -> int:
        """V, the boundary."""
        return self.vocabulary.size

    def number(self, category: str) -> int:
        """That of a category.

        Raises:
            ConfigurationError: there is no such category.
        """
        if category not in self.categories:
            raise ConfigurationError(
                f"the model knows no category {category!r}", fix=nearest(category, self.categories)
            )
        return self.categories.index(category)

    def encode(self, texts: Sequence[str]) -> tuple[Ragged, int]:
        """Symbols of some texts, the boundary at the end of each that is not cut; and how many characters (words) were
        not known, and are the unknown symbol or left out."""
        rows, unknown = [], 0
        for text in texts:
            ids, positions = self.vocabulary.find(text)
            unknown += len(positions)
            ids = ids[: self.longest] if len(ids) > self.longest else np.append(ids, self.end)
            rows.append(ids.astype(np.int32))
        return Ragged.of(rows, np.empty(0, np.int32)), unknown

    def to_json(self) -> dict[str, Any]:
        """The same as JSON; `from_json` reads it back."""
        return {
            "symbols": self.vocabulary.to_json(),
            "categories": list(self.categories),
            "counts": list(self.counts),
            "longest": self.longest,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Symbols:
        """What `to_json` gave.

        Raises:
            DataError: it is something else.
        """
        names, counts, longest = value.get("categories"), value.get("counts"), value.get("longest")
        fits = isinstance(names, list) and isinstance(counts, list) and len(names) == len(counts) > 0
        if not fits or type(longest) is not int or longest < 1:
            raise DataError("not the symbols and categories of a generator", where="vocabulary.json")
        vocabulary = Vocabulary.from_json(value.get("symbols"), "vocabulary.json, symbols")
        return cls(vocabulary, tuple(map(str, names or ())), tuple(map(int, counts or ())), longest)


class GroupedExamples:
    """n sequences and their categories; see `tasks.supervised.Examples`.

    Attributes:
        sequences: symbols, with the boundary at the end of each that ends.
        categories: (n,) numbers.
        characters: (n,) how many of each text are read: all, or the share that is left of one that is cut.
        unknown: characters (words) of all that are not known.
    """

    def __init__(self, found: Labelled, symbols: Symbols) -> None:
        self.sequences, self.unknown = symbols.encode(found.inputs)
        self.characters: _Floats = np.array([len(text) for text in found.inputs], np.float64)
        for row, text in enumerate(found.inputs):
            if (own := self.sequences[row])[-1] != symbols.end:
                self.characters[row] *= len(own) / len(symbols.vocabulary.find(text)[0])
        numbers = {name: number for number, name in enumerate(symbols.categories)}
        self.categories: IntArray = np.array([numbers[label] for label in found.labels], np.int64)
        self.lengths = self.sequences.lengths

    def batch(self, rows: IntArray) -> GroupedBatch:
        """Some of them."""
        ids, lengths = self.sequences.padded(rows)
        return GroupedBatch(
            torch.from_numpy(ids.astype(np.int64)),
            torch.from_numpy(lengths),
            torch.from_numpy(self.categories[rows]),
        )


@torch.no_grad()
def costs(model: Generator, examples: GroupedExamples, told: Callable[[int, int], None] | None = None) -> _Floats:
    """(n,) nats of each sequence, given its category."""
    found = np.zeros(len(examples.lengths))
    done = 0
    for rows, batch in batches_in_order(examples):
        found[rows] = model.nats(batch).double().sum(1).cpu().numpy()
        done += len(rows)
        if told is not None:
            told(done, len(found))
    return found


@torch.no_grad()
def posteriors(model: Generator, symbols: Symbols, sequences: Ragged) -> _Floats:
    """(n, C) p(category | sequence) by Bayes' rule: p(sequence | category) times how frequent the category is in the
    training part."""
    count, classes = len(sequences), len(symbols.categories)
    prior = np.log(np.array(symbols.counts) / sum(symbols.counts))
    joint = np.zeros((count, classes))
    order = np.argsort(sequences.lengths, kind="stable")
    step = max(1, _CLASSIFIED // classes)
    for begin in range(0, count, step):
        rows = order[begin : begin + step]
        ids, lengths = sequences.padded(rows)
        batch = GroupedBatch(
            torch.from_numpy(ids.astype(np.int64)).repeat_interleave(classes, 0),
            torch.from_numpy(lengths).repeat_interleave(classes),
            torch.arange(classes).repeat(len(rows)),
        )
        joint[rows] = prior - model.nats(batch).double().sum(1).view(-1, classes).cpu().numpy()
    joint -= joint.max(1, keepdims=True)
    p: _Floats = np.exp(joint)
    p /= p.sum(1, keepdims=True)
    return p


def summarise(nats: _Floats, examples: GroupedExamples, symbols: Symbols) -> dict[str, Any]:
    """What sequences cost, all together and by category, from the nats of each (n,).

    `loss` is nats a symbol, ends included; `perplexity` its exponential; `bits_per_character` charges the cost of the
    ends to the characters that are read.
    """

    def row(chosen: npt.NDArray[np.bool_]) -> dict[str, Any]:
        total, count = float(nats[chosen].sum()), int(examples.lengths[chosen].sum())
        each = total / max(count, 1)
        return {
            "examples": int(chosen.sum()),
            "symbols": count,
            "loss": each,
            "bits_per_character": total / math.log(2) / max(float(examples.characters[chosen].sum()), 1),
            "perplexity": math.exp(min(each, 700.0)),
        }

    whole = row(np.ones(len(nats), np.bool_))
    by_category = {
        name: row(examples.categories == number)
        for number, name in enumerate(symbols.categories)
        if (examples.categories == number).any()
    }
    return {**whole, "unknown": examples.unknown, "categories": by_category}
