"""What a tagger is trained on: sentences whose words are numbers, or series of vectors, with the numbers of their tags.

Axes: B batch, T time, U different words, K characters, D input, n sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from unrolled.data.ragged import Ragged
from unrolled.data.vocabulary import IntArray
from unrolled.tasks.tag.vocabulary import Words

__all__ = ["FrameBatch", "FrameExamples", "TagBatch", "WordBatch", "WordExamples"]


@dataclass(frozen=True, eq=False)
class TagBatch:
    """B sequences side by side.

    Attributes:
        lengths: (B,) from 1 to T.
        tags: (B, T); −1 where a tag is not known.
    """

    lengths: torch.Tensor
    tags: torch.Tensor

    def to(self, device: torch.device) -> TagBatch:
        """The same there."""
        return type(self)(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@dataclass(frozen=True, eq=False)
class WordBatch(TagBatch):
    """Sentences, each different word of them once.

    Attributes:
        words: (U,) numbers in the vocabulary.
        characters: (U, K) those of each word.
        spelt: (U,) how many characters each has, from 1 to K.
        places: (B, T) which of the U words stands where.
    """

    words: torch.Tensor
    characters: torch.Tensor
    spelt: torch.Tensor
    places: torch.Tensor


@dataclass(frozen=True, eq=False)
class FrameBatch(TagBatch):
    """Series of vectors.

    Attributes:
        x: (B, T, D).
    """

    x: torch.Tensor


class WordExamples:
    """n tagged sentences; see `tasks.supervised.Examples`.

    Attributes:
        lengths: (n,) words of each.
        tags: their numbers, n sequences.
        numbers: (N,) those of all, one sequence after the other.
        sentences: the words as they were written.
        written: the tags as they were written; None where there was none.
    """

    def __init__(
        self,
        sentences: Sequence[Sequence[str]],
        written: Sequence[Sequence[str | None]],
        tags: Iterable[IntArray],
        words: Words,
    ) -> None:
        self.sentences, self.written = sentences, written
        forms: dict[str, int] = {}
        places = (np.array([forms.setdefault(token, len(forms)) for token in tokens], np.int64) for tokens in sentences)
        self._places = Ragged.of(places)
        self.tags = Ragged.of(tags)
        self.numbers: IntArray = self.tags.values.astype(np.int64)
        self.lengths = self._places.lengths
        self._words = words.ids(forms)
        self._spelt = Ragged.of(np.array(words.spell(form), np.int64) for form in forms)

    @property
    def known(self) -> Ragged:
        """Whether each word is in the vocabulary, n sequences."""
        return Ragged(self._words[self._places.values] > 0, self._places.starts)

    def batch(self, rows: IntArray) -> WordBatch:
        """Some of them."""
        places, lengths = self._places.padded(rows)
        inside = np.arange(places.shape[1]) < lengths[:, None]
        used, numbers = np.unique(places[inside], return_inverse=True)
        places = np.zeros_like(places)
        places[inside] = numbers
        characters, spelt = self._spelt.padded(used)
        tags, _ = self.tags.padded(rows)
        return WordBatch(
            words=torch.from_numpy(self._words[used]),
            characters=torch.from_numpy(characters),
            spelt=torch.from_numpy(spelt),
            places=torch.from_numpy(places),
            lengths=torch.from_numpy(lengths),
            tags=torch.from_numpy(tags),
        )


class FrameExamples:
    """n series of vectors with a label a frame; see `tasks.supervised.Examples`.

    Attributes:
        lengths: (n,) frames of each.
        tags: the numbers of labels, n sequences.
        numbers: (N,) those of all, one series after the other.
        series: the vectors (T, D), scaled.
        written: the labels as they were written, a sequence for each.
    """

    def __init__(
        self,
        series: Sequence[npt.NDArray[np.float32]],
        written: Sequence[Sequence[str | None]],
        tags: Iterable[IntArray],
    ) -> None:
        self.written = written
        self.series, self.tags = Ragged.of(series), Ragged.of(tags)
        self.numbers: IntArray = self.tags.values.astype(np.int64)
        self.lengths = self.series.lengths

    def batch(self, rows: IntArray) -> FrameBatch:
        """Some of them."""
        x, lengths = self.series.padded(rows)
        tags, _ = self.tags.padded(rows)
        return FrameBatch(x=torch.from_numpy(x), lengths=torch.from_numpy(lengths), tags=torch.from_numpy(tags))
