"""Options of how sequences that are no texts come to the network; without torch, so that the command line answers at
once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unrolled.data.inputs import Input, check_options
from unrolled.data.letter_inputs import LetterInput
from unrolled.errors import ConfigurationError, nearest

__all__ = ["ReadingConfig", "Strands", "Stretch"]

Stretch = Literal["window", "symbol"]
Strands = Literal["one", "both"]
_MOST_SYMBOLS = 1 << 20


@dataclass(frozen=True)
class ReadingConfig:
    """How letters and pictures come to the network.

    Attributes:
        kmer: with an alphabet, letters of a time step: stretches of so many, each one letter further.
        stretch: what such a stretch is: a window (its letters side by side, one-hot) or a symbol (one of all that are
            possible, with a vector of its own).
        strands: "both" reads the reverse complement too: one of both by chance while training, their average after.
        move: of pictures: while training, each is moved by up to so many pixels in either direction.
    """

    kmer: int = 1
    stretch: Stretch = "window"
    strands: Strands = "one"
    move: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("stretch", Stretch), ("strands", Strands)):
            value = getattr(self, name)
            if value not in get_args(kind):
                raise ConfigurationError(f"{name} has no such choice: {value!r}", fix=nearest(value, get_args(kind)))
        for name, least in (("kmer", 1), ("move", 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f"{name} is out of range", expected=f"at least {least}", got=str(getattr(self, name))
                )

    def check(self, found: Input) -> None:
        """Whether the options fit what is read.

        Raises:
            ConfigurationError: an option is for something else, or does not go with the alphabet.
        """
        homes = {"kmer": "letters", "stretch": "letters", "strands": "letters", "move": "pictures"}
        check_options(self, homes, found.name)
        if not isinstance(found, LetterInput):
            return
        if self.strands == "both":
            _ = found.alphabet.complement  # says what is wrong
        letters = len(found.alphabet.letters)
        if self.stretch == "symbol" and letters**self.kmer > _MOST_SYMBOLS:
            raise ConfigurationError(
                f"there are too many stretches of {self.kmer} letters for a vector each",
                expected=f"at most {_MOST_SYMBOLS:,}",
                got=f"{letters}^{self.kmer}",
                fix="--stretch window, or a smaller --kmer",
            )
