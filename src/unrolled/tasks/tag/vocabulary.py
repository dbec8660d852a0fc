"""The vocabulary of a tagger: words, characters and tags, all from the training part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data.vocabulary import UNKNOWN, IntArray
from unrolled.errors import DataError, RunError
from unrolled.tasks.tag.spans import Scheme, find_scheme

__all__ = ["Tags", "Words"]

_RARE_CHARACTER = 2


@dataclass(frozen=True, eq=False)
class Words:
    """What a word is looked up as.

    Attributes:
        words: V of them; the first is `<unk>`, which stands for every other.
        counts: (V,) how often the training part has each.
        characters: those of words; the first is `<unk>`.
        lower: whether words (not characters) are looked up in lower case.
        fold_digits: whether they are looked up with every digit as 0.
        longest: characters of a word that are read.

    >>> words = Words.count([["The", "cat"], ["the", "dog"]], lower=True)
    >>> words.words, words.ids(["THE", "bird"]).tolist()
    (('<unk>', 'the', 'cat', 'dog'), [1, 0])
    """

    words: tuple[str, ...]
    counts: IntArray
    characters: tuple[str, ...]
    lower: bool = True
    fold_digits: bool = False
    longest: int = 24

    @classmethod
    def count(
        cls,
        sentences: Iterable[Sequence[str]],
        *,
        lower: bool = True,
        fold_digits: bool = False,
        min_count: int = 1,
        longest: int = 24,
    ) -> Words:
        """The vocabulary of the training part's sentences, the most frequent word first, of equals the first seen.

        A character that it has once only is not known, so that `<unk>` among characters is learnt as well.
        """
        forms = Counter(token for tokens in sentences for token in tokens)
        blank = cls((UNKNOWN,), np.zeros(1, np.int64), (UNKNOWN,), lower, fold_digits, longest)
        words: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        for form, count in forms.items():
            words[blank.key(form)] += count
            for character in form:
                characters[character] += count
        del words[UNKNOWN]
        kept = [(word, count) for word, count in words.most_common() if count >= min_count]
        hidden = words.total() - sum(count for _, count in kept)
        known = sorted(character for character, count in characters.items() if count >= _RARE_CHARACTER)
        return cls(
            (UNKNOWN, *(word for word, _ in kept)),
            np.array([hidden, *(count for _, count in kept)], np.int64),
            (UNKNOWN, *known),
            lower,
            fold_digits,
            longest,
        )

    def key(self, form: str) -> str:
        """A word as it is looked up."""
        word = form.lower() if self.lower else form
        return "".join("0" if one.isdigit() else one for one in word) if self.fold_digits else word

    def ids(self, forms: Iterable[str]) -> IntArray:
        """The numbers of words; 0 where one is not known."""
        numbers = self._numbers
        return np.array([numbers.get(self.key(form), 0) for form in forms], np.int64)

    def spell(self, form: str) -> list[int]:
        """The numbers of a word's characters, of a long one those at its beginning and its end."""
        if len(form) > self.longest:
            first = self.longest - self.longest // 2
            form = form[:first] + form[len(form) - self.longest // 2 :]
        numbers = self._character_numbers
        return [numbers.get(character, 0) for character in form]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def _character_numbers(self) -> dict[str, int]:
        return {character: number for number, character in enumerate(self.characters)}

    @property
    def singletons(self) -> npt.NDArray[np.bool_]:
        """(V,) which words the training part has once."""
        once: npt.NDArray[np.bool_] = self.counts == 1
        once[0] = False
        return once

    def to_json(self) -> dict[str, Any]:
        """For `vocabulary.json`."""
        return {
            "words": list(self.words),
            "counts": self.counts.tolist(),
            "characters": list(self.characters),
            "lower": self.lower,
            "fold_digits": self.fold_digits,
            "longest": self.longest,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Words:
        """What `to_json` gave.

        Raises:
            RunError: it is not that.
        """
        try:
            return cls(
                tuple(map(str, value["words"])),
                np.array(value["counts"], np.int64),
                tuple(map(str, value["characters"])),
                bool(value["lower"]),
                bool(value["fold_digits"]),
                int(value["longest"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError("the vocabulary of the run is not that of a tagger", got=repr(error)) from error


@dataclass(frozen=True, eq=False)
class Tags:
    """The C tags of the training part.

    Attributes:
        names: what they are called, sorted.
        counts: (C,) how often the training part has each.
        scheme: how spans are written in them, where they are spans.

    Raises:
        DataError: there are fewer than two.
    """

    names: tuple[str, ...]
    counts: IntArray
    scheme: Scheme | None = None

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise DataError(
                "there is nothing to learn: the training part has fewer than two tags",
                expected="words with different tags",
                got=f"all tagged {self.names[0]!r}" if self.names else "no tag",
                fix="check --tag-column",
            )

    @property
    def restrained(self) -> bool:
        """Whether their scheme forbids some to follow others."""
        return self.scheme in ("bio", "bioes")

    @classmethod
    def count(cls, sequences: Iterable[Sequence[str | None]]) -> Tags:
        """The tags of the training part."""
        given = [[tag for tag in tags if tag is not None] for tags in sequences]
        counts = Counter(tag for tags in given for tag in tags)
        names = tuple(sorted(counts))
        return cls(names, np.array([counts[name] for name in names], np.int64), find_scheme(given))

    def ids(self, tags: Iterable[str | None]) -> IntArray:
        """The numbers of tags; −1 for one that the training part does not have, and for none."""
        numbers = self._numbers
        return np.array([-1 if tag is None else numbers.get(tag, -1) for tag in tags], np.int64)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def to_json(self) -> dict[str, Any]:
        """For `vocabulary.json`."""
        return {"tags": list(self.names), "tag_counts": self.counts.tolist(), "scheme": self.scheme}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tags:
        """What `to_json` gave.

        Raises:
            RunError: it is not that.
        """
        try:
            return cls(tuple(map(str, value["tags"])), np.array(value["tag_counts"], np.int64), value["scheme"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError("the vocabulary of the run is not that of a tagger", got=repr(error)) from error
