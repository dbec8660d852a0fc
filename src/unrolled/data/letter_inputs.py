"""Sequences over an alphabet as a network reads them: the numbers of their letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.data.alphabets import Alphabet, find_alphabet
from unrolled.data.inputs import Input
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.ragged import Ragged
from unrolled.errors import ConfigurationError, DataError

__all__ = ["LetterInput"]


@dataclass(frozen=True, eq=False)
class LetterInput(Input):
    """Sequences as the numbers of their letters.

    Attributes:
        alphabet: the letters.
    """

    name = "letters"
    alphabet: Alphabet

    @classmethod
    def fit(cls, values: Sequence[Any], config: LabelledConfig) -> LetterInput:
        """The input of the alphabet that `config` names: nothing is learned from the sequences."""
        if config.alphabet is None:
            raise ConfigurationError(
                "the sequences are over an alphabet, and it is not said which", fix="--alphabet dna"
            )
        return cls(find_alphabet(config.alphabet))

    @property
    def about(self) -> str:
        return f"{len(self.alphabet.letters)} letters of {self.alphabet.name}"

    def encode(self, values: Sequence[Any]) -> Ragged:
        """Sequences, as texts or already as numbers."""
        codes = [self.alphabet.encode(value) if isinstance(value, str) else np.asarray(value) for value in values]
        if any(one.ndim != 1 or one.dtype.kind not in "iu" for one in codes):
            raise DataError("the input is no sequence of letters", expected=f"letters of {self.alphabet.name}")
        return Ragged.of((one.astype(np.uint8) for one in codes), np.empty(0, np.uint8))

    def details(self) -> dict[str, Any]:
        return {"alphabet": self.alphabet.name}

    @classmethod
    def build(cls, details: Mapping[str, Any], where: str) -> LetterInput:
        if set(details) != {"alphabet"} or not isinstance(details["alphabet"], str):
            raise DataError("not an input of letters", got=", ".join(sorted(map(str, details))), where=where)
        return cls(find_alphabet(details["alphabet"]))
