"""How likely a text is to a model, in the units of the field."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Likelihood"]


@dataclass(frozen=True)
class Likelihood:
    """How likely a text is to a model.

    Attributes:
        tokens: symbols that were predicted.
        characters: characters of text that these stand for.
        nats: the sum of -ln p over the symbols.
        words: words of text that these begin, a line end counting as one; see `Vocabulary.words`.
        hidden: symbols among them that are the unknown one and hide a text.
        hidden_nats: what the texts that are hidden cost by a back-off over characters; see `Vocabulary.spell`.
    """

    tokens: int
    characters: int
    nats: float
    words: int = field(default=0, kw_only=True)
    hidden: int = field(default=0, kw_only=True)
    hidden_nats: float = field(default=0.0, kw_only=True)

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
        """Bits a character of text costs, what is hidden included: comparable between models that cut text differently.

        Not a number where the symbols (a few bytes in the middle of a character) begin no character.
        """
        return (self.nats + self.hidden_nats) / math.log(2) / self.characters if self.characters else math.nan

    @property
    def perplexity_per_word(self) -> float:
        """exp of the nats that a word of text costs, what is hidden included: comparable like bits per character.

        Not a number where no word begins.
        """
        try:
            return math.exp((self.nats + self.hidden_nats) / self.words) if self.words else math.nan
        except OverflowError:
            return math.inf

    @property
    def coverage(self) -> float:
        """The share of the symbols that hide nothing."""
        return 1 - self.hidden / self.tokens

    @property
    def perplexity(self) -> float:
        """exp(nats_per_token): the number of symbols that would be as hard to guess if all were equally likely."""
        try:
            return math.exp(self.nats_per_token)
        except OverflowError:
            return math.inf
