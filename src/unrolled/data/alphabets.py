"""Alphabets of sequences: DNA, RNA, protein, or letters of one's own; and what follows from their letters alone.

Axes: T letters of a sequence, K letters of the alphabet, S symbols (the letters, and those that stand for several).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from unrolled.errors import ConfigurationError, DataError, nearest

__all__ = ["ALPHABETS", "Alphabet", "Codes", "find_alphabet", "kmers"]

Codes = npt.NDArray[np.uint8]
"""(T,) the number of each letter: its place in `Alphabet.symbols`."""

_NONE = 255  # in the table of characters: no symbol of the alphabet
_OWN = "letters:"

# Cornish-Bowden 1985, table 1 (the recommendations of IUPAC and IUB for nucleotides).
_NUCLEOTIDES = {
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
    "N": "ACGT",
}
_RESIDUES = "ACDEFGHIKLMNPQRSTVWYOU"


@dataclass(frozen=True, eq=False)
class Alphabet:
    """Letters, and what they mean.

    Attributes:
        name: what `find_alphabet` finds it by.
        letters: K letters, in the order of their numbers.
        ambiguous: letters that stand for any one of several.
        synonyms: letters that are read as another: U as T in DNA.
        complements: the letter that pairs with each of `letters`; None where letters do not pair.
        fold: read lower case as upper case.

    >>> dna = find_alphabet("dna")
    >>> dna.decode(dna.reverse_complement(dna.encode("AACGtn")))
    'NACGTT'
    """

    name: str
    letters: str
    ambiguous: dict[str, str] = field(default_factory=dict)
    synonyms: dict[str, str] = field(default_factory=dict)
    complements: str | None = None
    fold: bool = True

    def __post_init__(self) -> None:
        table = np.full(256, _NONE, np.uint8)
        for number, symbol in enumerate(self.symbols):
            table[ord(symbol)] = number
        for given, meant in self.synonyms.items():
            table[ord(given)] = self.symbols.index(meant)
        if self.fold:
            upper = np.arange(ord("A"), ord("Z") + 1)
            table[upper + 32] = table[upper]
        object.__setattr__(self, "_table", table)

    @property
    def symbols(self) -> str:
        """S characters: the letters, then those that stand for several."""
        return self.letters + "".join(self.ambiguous)

    @property
    def meanings(self) -> list[str]:
        """Of each symbol the letters that it may stand for."""
        return [*self.letters, *self.ambiguous.values()]

    @property
    def shares(self) -> npt.NDArray[np.float32]:
        """(S, K): of a letter 1 in its own column; of a symbol that stands for several an equal share in theirs."""
        shares = np.zeros((len(self.symbols), len(self.letters)), np.float32)
        for row, meaning in zip(shares, self.meanings, strict=True):
            row[[self.letters.index(letter) for letter in meaning]] = 1 / len(meaning)
        return shares

    @property
    def complement(self) -> Codes:
        """(S,) the number of each symbol's complement: of one that stands for several, that of their complements.

        Raises:
            ConfigurationError: the letters do not pair.
        """
        if self.complements is None:
            raise ConfigurationError(
                "the letters of this alphabet do not pair: there is no other strand",
                expected="--alphabet dna or rna",
                got=self.name,
                fix="leave out --strands",
            )
        pairs = dict(zip(self.letters, self.complements, strict=True))
        numbers = {frozenset(meaning): number for number, meaning in enumerate(self.meanings)}
        other = [numbers[frozenset(pairs[letter] for letter in meaning)] for meaning in self.meanings]
        return np.array(other, np.uint8)

    def encode(self, text: str, where: str = "") -> Codes:
        """The numbers of the letters of a text (T,). White space is left out.

        Raises:
            DataError: a character that is no letter of the alphabet, with its place.
        """
        text = "".join(text.split())
        table: Codes = self.__dict__["_table"]
        codes = table[np.frombuffer(text.encode("latin-1", "replace"), np.uint8)]
        if not text.isascii() or (codes == _NONE).any():
            self._refuse(text, codes, where)
        return codes

    def _refuse(self, text: str, codes: Codes, where: str) -> None:
        """Raise for the first character that is no symbol."""
        for place, (letter, code) in enumerate(zip(text, codes.tolist(), strict=True)):
            if code != _NONE and letter.isascii():
                continue
            fix = "leave the sequence out, or correct it"
            if letter in "-.":
                fix = "these are gaps of an alignment: take them out"
            elif letter == "*":
                fix = "this is a stop: cut the sequence there"
            elif self.name in ("dna", "rna") and letter.upper() in _RESIDUES:
                fix = "for proteins: --alphabet protein"
            raise DataError(
                f"{letter!r} is no letter of the alphabet {self.name}",
                expected=f"one of {self.symbols}" + (", in upper or lower case" if self.fold else ""),
                where=f"{where}, letter {place + 1}" if where else f"letter {place + 1}",
                fix=fix,
            )

    def decode(self, codes: Codes) -> str:
        """The text of some numbers."""
        return "".join(np.array(list(self.symbols))[codes].tolist())

    def reverse_complement(self, codes: Codes) -> Codes:
        """The other strand, read in its own direction (T,)."""
        return self.complement[codes[::-1]]


def _rna(text: str) -> str:
    return text.replace("T", "U")


ALPHABETS = {
    "dna": Alphabet("dna", "ACGT", _NUCLEOTIDES, {"U": "T"}, "TGCA"),
    "rna": Alphabet(
        "rna", "ACGU", {symbol: _rna(meaning) for symbol, meaning in _NUCLEOTIDES.items()}, {"T": "U"}, "UGCA"
    ),
    "protein": Alphabet("protein", _RESIDUES, {"B": "DN", "Z": "EQ", "J": "IL", "X": _RESIDUES}),
}
"""Those with a name: nucleotides with the ambiguity letters of IUPAC; the 22 amino acids, with B, Z, J and X."""


def find_alphabet(name: str) -> Alphabet:
    """An alphabet: `dna`, `rna`, `protein`, or `letters:` with letters of one's own, in which case matters.

    Raises:
        ConfigurationError: there is none of that name, or the letters are not two or more different ones of ASCII.
    """
    if name in ALPHABETS:
        return ALPHABETS[name]
    letters = name.removeprefix(_OWN)
    if letters == name:
        raise ConfigurationError(
            f"there is no alphabet {name!r}",
            expected=f"{', '.join(ALPHABETS)}, or {_OWN}ABC for letters of your own",
            fix=nearest(name, ALPHABETS),
        )
    if len(letters) < 2 or len(set(letters)) < len(letters) or not letters.isascii() or letters.split() != [letters]:
        raise ConfigurationError(
            "an alphabet has two or more letters, each once",
            expected=f"{_OWN} and characters of ASCII, none of them white space",
            got=repr(name),
        )
    return Alphabet(name, letters, fold=False)


def kmers(codes: Codes, k: int, letters: int) -> npt.NDArray[np.int64]:
    """The number of every stretch of k letters, from 0 to K^k - 1, or K^k where one stands for several.

    Args:
        codes: (T,) of a sequence.
        k: at least 1.
        letters: K.

    Returns:
        (T - k + 1,), the first letter counting most; empty where the sequence is shorter than k.
    """
    count = len(codes) - k + 1
    if count < 1:
        return np.empty(0, np.int64)
    numbers, known = np.zeros(count, np.int64), np.ones(count, bool)
    for place in range(k):
        here = codes[place : place + count]
        numbers = numbers * letters + here
        known &= here < letters
    return np.where(known, numbers, letters**k)
