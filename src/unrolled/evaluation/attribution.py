"""Who wrote it: which of several models finds a text the likeliest, and how sure that is."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unrolled.errors import ConfigurationError, DataError, PromptError
from unrolled.evaluation.correction import Network, fragments
from unrolled.evaluation.reading import Floats

__all__ = ["STRETCH", "Candidate", "attribute", "begin", "excerpts", "likeliest", "stretches"]

STRETCH = 100  # characters
_RESAMPLED = 2000
_AT_ONCE = 32


@dataclass(frozen=True)
class Candidate:
    """One model, and how it stands to the one that finds the text the likeliest.

    Attributes:
        name: of the model.
        nats_per_character: what a character of the text costs it.
        ratio: nats a character that it costs more than the likeliest: the log-likelihood ratio, a character.
        low, high: of the ratio, where 95% of texts made of the same stretches, drawn again, lie; `None` where there
            are fewer than two stretches.
    """

    name: str
    nats_per_character: float
    ratio: float
    low: float | None
    high: float | None

    @property
    def decided(self) -> bool:
        """Whether the interval leaves no doubt that another model finds the text likelier."""
        return self.low is not None and self.low > 0


def attribute(
    models: Sequence[tuple[str, Network]], pieces: Iterable[str], stretch: int = STRETCH, seed: int = 0
) -> tuple[list[Candidate], int]:
    """The models in the order of how likely a text is to them, likeliest first; and over how many stretches.

    All models read the same text, whatever units they cut it into, each in one go, from where a word begins (see
    `begin`); what a model has no symbol for is charged (see `correction.Network`). The text is counted in stretches of
    whole words. Errors of a model go together within a few words, so that stretches, not characters, are what is drawn
    again with replacement
    for the interval (a block bootstrap; Künsch 1989, with blocks that do not overlap).

    Args:
        models: names and models.
        pieces: the text, cut anywhere.
        stretch: characters of a stretch, at least.
        seed: of the drawing.

    Raises:
        ConfigurationError: fewer than two models, or a stretch below 1.
        PromptError: the text is empty.
    """
    if len(models) < 2 or stretch < 1:
        got = f"{len(models)} runs, stretches of {stretch} characters"
        raise ConfigurationError("a text is attributed to one of at least two runs", got=got)
    places = [begin(model) for _, model in models]
    rows: list[list[float]] = []
    lengths: list[int] = []
    for text in stretches(pieces, stretch):
        row = []
        for at, (_, model) in enumerate(models):
            cost, places[at] = model.read(text, places[at])
            row.append(cost)
        rows.append(row)
        lengths.append(len(text))
    if not rows:
        raise PromptError("there is no text to attribute", expected="at least one character")
    nats, characters = np.array(rows), np.array(lengths, np.float64)
    mean = nats.sum(0) / characters.sum()
    best = int(mean.argmin())
    more = nats - nats[:, [best]]
    drawn = np.random.default_rng(seed).integers(0, len(rows), (_RESAMPLED, len(rows)))
    again = more[drawn].sum(1) / characters[drawn].sum(1)[:, None]
    found = []
    for at in np.argsort(mean, kind="stable").tolist():
        low, high = np.quantile(again[:, at], (0.025, 0.975)).tolist() if len(rows) > 1 and at != best else (None, None)
        found.append(Candidate(models[at][0], float(mean[at]), float(mean[at] - mean[best]), low, high))
    return found, len(rows)


def begin(model: Network) -> object:
    """The place after a space, which a text that begins with a word is read from.

    A model has read a text from its beginning once; what it knows of a beginning is little, and differs from model to
    model with what their texts began with. What is charged for the space is not counted.
    """
    return model.read(" ", model.start())[1]


def stretches(pieces: Iterable[str], length: int) -> Iterator[str]:
    """A text in stretches of whole words, each but the last of at least so many characters."""
    made: list[str] = []
    size = 0
    for fragment in fragments(pieces):
        made.append(fragment.space + fragment.run)
        size += len(made[-1])
        if size >= length:
            yield "".join(made)
            made, size = [], 0
    if size:
        yield "".join(made)


def excerpts(text: str, length: int, count: int, seed: int = 0) -> list[str]:
    """So many excerpts of exactly so many characters, drawn from a text, each from the beginning of a word on; they may
    overlap.

    Raises:
        DataError: the text is too short.
    """
    starts = [
        at for at in range(len(text) - length + 1) if not at or (text[at - 1].isspace() and not text[at].isspace())
    ]
    if not starts:
        raise DataError("the text is too short for an excerpt", expected=f"{length} characters", got=str(len(text)))
    source = random.Random(f"{seed} {length}")
    return [text[at : at + length] for at in source.choices(starts, k=count)]


def likeliest(models: Sequence[Network], texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """(n,) which of the models finds each of some texts the likeliest, each read from where a word begins."""
    costs: list[Floats] = []
    for model in models:
        start = begin(model)
        parts = [model.compare(texts[at : at + _AT_ONCE], start) for at in range(0, len(texts), _AT_ONCE)]
        costs.append(np.concatenate(parts))
    found: npt.NDArray[np.int64] = np.stack(costs, 1).argmin(1)
    return found
