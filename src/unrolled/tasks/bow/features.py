"""From texts to rows of numbers: cutting, counting, weighting.

Weights of an n-gram with count c in a text, in m of n training texts (Manning, Raghavan & Schütze 2008, section 6.4):
counts c; binary 1 where c > 0; tfidf (1 + ln c)(1 + ln((1 + n) / (1 + m))), rows of length 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data.text import find_sources, read_text
from unrolled.errors import RunError
from unrolled.tasks.bow.configuration import Tokens, Weighting
from unrolled.tasks.bow.grams import Grams, Symbols, with_edges

__all__ = ["Features", "Reader", "Weights", "read_stop_words"]

_Floats = npt.NDArray[np.float64]

_WORD = r"\w+(?:['’]\w+)*"
_PATTERNS: dict[Tokens, re.Pattern[str]] = {
    "words": re.compile(_WORD),
    "marks": re.compile(rf"{_WORD}|[^\w\s]"),
    "space": re.compile(r"\S+"),
}


@dataclass(frozen=True)
class Reader:
    """How texts are cut.

    >>> Reader("marks").words("Don't stop, don't.")
    ["don't", 'stop', ',', "don't", '.']

    Attributes:
        tokens: what a word is, see `BowConfig`.
        stop_words: words that are left out.
        keep_case: whether upper case stays.
        edges: whether begin and end count as characters.
    """

    tokens: Tokens = "words"
    stop_words: frozenset[str] = frozenset()
    keep_case: bool = False
    edges: bool = True

    def words(self, text: str) -> list[str]:
        """The words of a text."""
        found = _PATTERNS[self.tokens].findall(text if self.keep_case else text.lower())
        return [word for word in found if word not in self.stop_words] if self.stop_words else found

    def characters(self, text: str) -> str:
        """The characters of a text that are counted."""
        text = text if self.keep_case else text.lower()
        return with_edges(text) if self.edges else text

    def word_symbols(self, texts: Iterable[str], known: Iterable[str]) -> Symbols:
        """The words of texts by their numbers among those that are known."""
        return Symbols.of_words(list(map(self.words, texts)), {word: number for number, word in enumerate(known)})

    def character_symbols(self, texts: Iterable[str], known: Iterable[str]) -> Symbols:
        """The characters of texts by their numbers among those that are known, in the order of their code points."""
        return Symbols.of_characters(list(map(self.characters, texts)), np.array(list(map(ord, known)), np.uint32))


def read_stop_words(name: str) -> frozenset[str]:
    """The words that are left out: "none", "english" (318 words of scikit-learn), or those of a file.

    Raises:
        DataError: there is no such file, or it is not UTF-8.
    """
    if name == "none":
        return frozenset()
    if name == "english":
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return frozenset(ENGLISH_STOP_WORDS)
    return frozenset("".join(read_text(find_sources([name])[0])).lower().split())


@dataclass(frozen=True, eq=False)
class Features:
    """The n-grams that are counted: of words, of characters, or of both, in this order.

    Attributes:
        reader: how texts are cut.
        words: n-grams of words, if any.
        characters: n-grams of characters, if any.
    """

    reader: Reader
    words: Grams | None = None
    characters: Grams | None = None

    @property
    def width(self) -> int:
        """F, how many there are."""
        return sum(grams.width for grams in (self.words, self.characters) if grams is not None)

    def counts(self, texts: Sequence[str]) -> Any:
        """How often each stands in each text, a sparse table (n, F) of float64."""
        from scipy import sparse

        tables = []
        if self.words is not None:
            tables += self.words.tables(self.reader.word_symbols(texts, self.words.symbols))
        if self.characters is not None:
            tables += self.characters.tables(self.reader.character_symbols(texts, self.characters.symbols))
        return sparse.csr_array(sparse.hstack(tables, format="csr"))

    def names(self) -> list[str]:
        """(F,) as they are shown: characters in quotation marks, where there are words too."""
        words = [] if self.words is None else self.words.names()
        characters = [] if self.characters is None else self.characters.names()
        return words + ([f"“{name}”" for name in characters] if words else characters)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The n-grams, as a checkpoint holds them; single symbols are in the vocabulary."""
        found: dict[str, npt.NDArray[Any]] = {}
        for name, grams in (("words", self.words), ("characters", self.characters)):
            if grams is not None:
                found |= {f"{name}.{order}": keys for order, keys in enumerate(grams.keys, 2)}
        return found

    def vocabulary(self) -> dict[str, Any]:
        """All else that reads a text, as JSON."""
        reader = self.reader
        value: dict[str, Any] = {
            "tokens": reader.tokens,
            "keep_case": reader.keep_case,
            "edges": reader.edges,
            "stop_words": sorted(reader.stop_words),
        }
        if self.words is not None:
            value["words"] = {"lowest": self.words.low, "symbols": list(self.words.symbols)}
        if self.characters is not None:
            value["characters"] = {"lowest": self.characters.low, "symbols": "".join(self.characters.symbols)}
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], where: str) -> Features:
        """What `vocabulary` and `arrays` say.

        Raises:
            RunError: they do not fit together.
        """
        grams: dict[str, Grams] = {}
        try:
            stop_words = frozenset(value["stop_words"])
            reader = Reader(value["tokens"], stop_words, bool(value["keep_case"]), bool(value["edges"]))
            for name, joint in (("words", " "), ("characters", "")):
                if name in value:
                    orders = sorted(int(key.partition(".")[2]) for key in arrays if key.startswith(f"{name}."))
                    keys = tuple(arrays[f"{name}.{order}"] for order in orders)
                    grams[name] = Grams(list(value[name]["symbols"]), int(value[name]["lowest"]), keys, joint)
                    grams[name].check(where)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError("the vocabulary is not that of a bag of words", got=repr(error), where=where) from error
        return cls(reader, grams.get("words"), grams.get("characters"))


@dataclass(frozen=True, eq=False)
class Weights:
    """What n-grams count.

    Attributes:
        weighting: see `BowConfig`.
        rarity: (F,) 1 + ln((1 + n) / (1 + m)), for tfidf.
        kept: (K,) the columns that are kept, ascending; None for all.
    """

    weighting: Weighting
    rarity: _Floats | None = None
    kept: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, counts: Any, weighting: Weighting, most: int | None = None) -> Weights:
        """Those that follow from the counts (n, F) of training texts, `most` columns at most."""
        texts = np.bincount(counts.indices, minlength=counts.shape[1])
        kept = None
        if most is not None and most < len(texts):
            kept = np.sort(np.argsort(-texts, kind="stable")[:most])
            texts = texts[kept]
        rarity = 1 + np.log((1 + counts.shape[0]) / (1 + texts)) if weighting == "tfidf" else None
        return cls(weighting, rarity, kept)

    def apply(self, counts: Any) -> Any:
        """From counts (n, F) to rows of numbers (n, K), sparse."""
        table = counts.copy() if self.kept is None else counts[:, self.kept]
        if self.weighting == "binary":
            table.data = np.ones_like(table.data)
        if self.rarity is not None:
            table.data = (1 + np.log(table.data)) * self.rarity[table.indices]
            rows = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
            lengths = np.sqrt(np.bincount(rows, table.data**2, minlength=table.shape[0]))
            table.data /= lengths[rows]
        return table
