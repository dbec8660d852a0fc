"""The vocabulary of subwords: pieces of words, joined byte by byte (byte-pair encoding, Sennrich et al. 2016).

It begins with the 256 bytes and joins the two neighbours that stand together most often in the training text, again and
again. Pairs are joined only within a run of letters (with the space before it), of up to three digits, or of other
signs; a line end is always alone. Every text can be read, and nothing of it is lost. The library `tokenizers` learns
the pairs and cuts runs that were not met before; without it a run can still be sampled from, not read text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.data.decoders import ByteDecoder, Decoder, Ids
from unrolled.data.splitting import cut_pieces
from unrolled.data.vocabulary import IntArray, Vocabulary
from unrolled.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["SUBWORDS", "Subwords", "learn", "segments"]

SUBWORDS = 8192  # symbols, if no number is given
_LEAST = 2  # times that a pair has to stand together
_REMEMBERED = 1 << 20  # different segments whose subwords are remembered
_SEGMENT = re.compile(r"\n| ?[^ \n]+| +(?= [^ \n])| +")
_RUNS = r"\n| ?[\p{L}\p{M}]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+|[^\S\n]+?(?= \S)|[^\S\n]+"
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


def segments(text: str) -> list[str]:
    """The parts of a text, each with the space before it, that are cut into subwords on their own.

    >>> segments("to be,\\n  or")
    ['to', ' be,', '\\n', ' ', ' or']
    """
    return _SEGMENT.findall(text)


def learn(texts: Iterable[str], size: int, min_count: int) -> tuple[list[bytes], list[tuple[int, int]]]:
    """Learn which pairs to join: the bytes of each symbol, first the 256 bytes and then the pairs as they were joined;
    and of each pair its two symbols.

    Raises:
        ConfigurationError: the library `tokenizers` is not there.
    """
    tokenizers = _library()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=max(_LEAST, min_count),
        initial_alphabet=sorted(_LETTERS),
        show_progress=False,
    )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = _splitting()
    tokenizer.train_from_iterator(texts, trainer)
    joined = json.loads(tokenizer.to_str())["model"]["merges"]
    contents = [bytes([value]) for value in range(256)]
    ids = {letter: at for at, letter in enumerate(_LETTERS)}
    pairs = []
    for first, second in joined:
        pairs.append((ids[first], ids[second]))
        ids[first + second] = len(contents)
        contents.append(contents[pairs[-1][0]] + contents[pairs[-1][1]])
    return contents, pairs


@dataclass(frozen=True, eq=False)
class Subwords(Vocabulary):
    r"""Bytes and what was joined of them, by falling frequency; bytes that are no character are called \xe2.

    Attributes:
        pairs: the symbols that are joined, in the order in which they are, each pair giving a symbol.
    """

    unit = "subword"
    pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {content: at for at, content in enumerate(self.contents)}
        if len(known) < self.size or any(bytes([value]) not in known for value in range(256)):
            raise DataError("a subword is there twice, or a byte is missing")
        for first, second in self.pairs:
            if not (0 <= first < self.size and 0 <= second < self.size):
                raise DataError("a pair is of symbols that are not there", got=f"{first} and {second}")
            if self.contents[first] + self.contents[second] not in known:
                raise DataError("a pair gives no symbol", got=f"{self.symbols[first]!r} and {self.symbols[second]!r}")
        if self.unknown is not None:
            raise DataError("subwords have no unknown symbol")

    @classmethod
    def count(cls, texts: Iterable[str], min_count: int = 1, *, vocabulary_size: int | None = None) -> Subwords:
        pieces = list(cut_pieces(texts))
        if not pieces:
            raise DataError("no subword is left for the vocabulary", got="an empty text")
        contents, pairs = learn(pieces, vocabulary_size or SUBWORDS, min_count)
        first = cls.arrange(contents, pairs, np.zeros(len(contents), np.int64))[0]
        counts = sum(np.bincount(first.encode(piece), minlength=first.size) for piece in pieces)
        return cls.arrange(contents, pairs, np.asarray(counts, np.int64))[0]

    @classmethod
    def arrange(
        cls, contents: Sequence[bytes], pairs: Sequence[tuple[int, int]], counts: IntArray
    ) -> tuple[Subwords, IntArray]:
        """The vocabulary by falling frequency, and (V,) the new number of each symbol."""
        order = np.argsort(-counts, kind="stable")
        new = np.empty(len(order), np.int64)
        new[order] = np.arange(len(order))
        symbols = tuple(_name(contents[at]) for at in order.tolist())
        moved = tuple((int(new[first]), int(new[second])) for first, second in pairs)
        return cls(symbols, counts[order], None, moved), new

    def details(self) -> dict[str, Any]:
        return {"pairs": [list(pair) for pair in self.pairs]}

    @classmethod
    def build(
        cls, symbols: tuple[str, ...], counts: IntArray, unknown: int | None, details: Mapping[str, Any]
    ) -> Subwords:
        pairs = details.get("pairs")
        if set(details) != {"pairs"} or not isinstance(pairs, list):
            raise DataError("subwords need their pairs", expected="pairs", got=", ".join(map(str, details)))
        if not all(isinstance(pair, list) and [type(part) for part in pair] == [int, int] for pair in pairs):
            raise DataError("the pairs are not pairs of numbers")
        return cls(symbols, counts, unknown, tuple((first, second) for first, second in pairs))

    def with_counts(self, counts: IntArray) -> Subwords:
        return replace(self, counts=counts)

    def find(self, text: str) -> tuple[IntArray, IntArray]:
        positions = [found.start() for found in _SURROGATE.finditer(text)]
        known = _SURROGATE.sub("", text) if positions else text
        ids = [at for segment in segments(known) for at in self._cut[segment]]
        return np.array(ids, np.int64), np.array(positions, np.int64)

    @cached_property
    def contents(self) -> Sequence[bytes]:
        return [_content(symbol) for symbol in self.symbols]

    def decoder(self, before: Ids = ()) -> Decoder:
        return ByteDecoder(self.contents)

    def cut_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each of some segments."""
        return [found.ids for found in self._tokenizer.encode_batch(list(texts))]

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizers = _library()
        names = ["".join(_LETTERS[value] for value in content) for content in self.contents]
        model = tokenizers.models.BPE(
            vocab={name: at for at, name in enumerate(names)},
            merges=[(names[first], names[second]) for first, second in self.pairs],
        )
        tokenizer: Tokenizer = tokenizers.Tokenizer(model)
        tokenizer.pre_tokenizer = _splitting()
        return tokenizer

    @cached_property
    def _cut(self) -> _Cut:
        return _Cut(self)


class _Cut(dict[str, list[int]]):
    """Segments to their subwords, remembered: most segments of a text come again."""

    def __init__(self, vocabulary: Subwords) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, segment: str) -> list[int]:
        if len(self) >= _REMEMBERED:
            self.clear()
        found = self[segment] = self._vocabulary.cut_all([segment])[0]
        return found


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise ConfigurationError(
            "subwords need the library tokenizers, which is not installed",
            fix="pip install 'unrolled[subword]', or choose another --unit",
        ) from None
    return tokenizers


def _splitting() -> Any:
    """How segments are cut into runs, and these into bytes that are letters."""
    tokenizers = _library()
    runs = tokenizers.pre_tokenizers.Split(tokenizers.Regex(_RUNS), behavior="isolated")
    letters = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizers.pre_tokenizers.Sequence([runs, letters])


def _letters() -> Iterator[str]:
    """The letter that stands for each byte inside the library: itself where it can be seen, else one beyond 255."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    further = 0x100
    for value in range(256):
        yield chr(value if value in seen else further)
        further += value not in seen


_LETTERS = list(_letters())


def _name(content: bytes) -> str:
    return content.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _content(name: str) -> bytes:
    """The bytes of a symbol, from its name."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]) if found[1] else b"\\", name.encode())
