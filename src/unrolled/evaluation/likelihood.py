"""How likely a text is to a model, in the units of the field."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Likelihood"]


@dataclass(frozen=True)
class Likelihood:
    """How likely a text is to a model.

    Attributes:
        tokens: symbols that were predicted.
        characters: characters of text that these stand for.
        nats: the sum of -ln p over the symbols.
    """

    tokens: int
    characters: int
    nats: float

    @property
    def log_likelihood(self) -> float:
        """ln p of all the symbols, in nats."""
        return -self.nats

    @property
    def nats_per_token(self) -> float:
        """Mean surprisal of a symbol, in nats."""
        return self.nats / self.tokens

    @property
    def bits_per_character(self) -> float:
        """Bits a character of text costs: comparable between models that cut text differently.

        Not a number where the symbols (a few bytes in the middle of a character) begin no character.
        """
        return self.nats / math.log(2) / self.characters if self.characters else math.nan

    @property
    def perplexity(self) -> float:
        """exp(nats_per_token): the number of symbols that would be as hard to guess if all were equally likely."""
        try:
            return math.exp(self.nats_per_token)
        except OverflowError:
            return math.inf
