"""`attribute`: which of several runs finds a text the likeliest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from unrolled.data.configuration import TextConfig
from unrolled.data.store import Part
from unrolled.errors import ConfigurationError, DataError
from unrolled.evaluation.attribution import STRETCH, Candidate, attribute, excerpts, likeliest
from unrolled.evaluation.correction import Network
from unrolled.evaluation.naive_bayes import NaiveBayes
from unrolled.evaluation.reading import MixedReader
from unrolled.runs.configuration import load_section
from unrolled.runs.models import section
from unrolled.verbs.origins import open_store
from unrolled.verbs.using import LanguageModelRun

__all__ = ["LENGTHS", "Accuracy", "Author", "attribute_text", "attribution_trial", "own_text"]

LENGTHS = (10, 20, 50, 100, 200, 500)
_TUNED_ON = 50  # characters of an excerpt


@dataclass(frozen=True)
class Accuracy:
    """How often excerpts of one length were given to the run whose text they are from.

    Attributes:
        length: of the excerpts, in characters.
        excerpts: how many, of all runs together.
        models: the share that the models gave to the right one.
        naive_bayes: the share that naive Bayes on n-grams of characters did.
    """

    length: int
    excerpts: int
    models: float
    naive_bayes: float


@dataclass(frozen=True)
class Author:
    """One or more runs on the texts of one author, mixed: p is the mean of theirs, symbol by symbol.

    Attributes:
        runs: they have the same symbols.

    Raises:
        ConfigurationError: there are none, or their vocabularies differ.
    """

    runs: tuple[LanguageModelRun, ...]

    def __post_init__(self) -> None:
        if len({each.vocabulary.fingerprint for each in self.runs}) != 1:
            raise ConfigurationError(
                "runs that are mixed have the same vocabulary",
                got=", ".join(f"{each.run.path}: {each.vocabulary.size} {each.vocabulary.unit}s" for each in self.runs),
                fix="train them on the same text with the same --unit, --split and --min-count",
            )

    @classmethod
    def of(cls, given: LanguageModelRun | Author) -> Author:
        """A run alone, or an author as given."""
        return given if isinstance(given, Author) else cls((given,))

    @property
    def name(self) -> str:
        """The paths of the runs."""
        return "+".join(str(each.run.path) for each in self.runs)

    def network(self) -> Network:
        """What reads texts."""
        readers = [each.reader() for each in self.runs]
        return Network(readers[0] if len(readers) == 1 else MixedReader(readers), self.runs[0].vocabulary)


def attribute_text(
    models: Sequence[LanguageModelRun | Author], pieces: Iterable[str], stretch: int = STRETCH
) -> tuple[list[Candidate], int]:
    """The runs in the order of how likely a text is to them; see `evaluation.attribute`."""
    authors = map(Author.of, models)
    return attribute([(each.name, each.network()) for each in authors], pieces, stretch)


def attribution_trial(
    models: Sequence[LanguageModelRun | Author],
    lengths: Sequence[int] = LENGTHS,
    count: int = 100,
    seed: int = 0,
    training: int = 2_000_000,
) -> tuple[list[Accuracy], NaiveBayes]:
    """How often excerpts of the test parts of the runs' own texts are given to the right run.

    Args:
        models: the runs; the texts of an author are those of the first of its runs.
        lengths: of the excerpts, in characters.
        count: excerpts of each length from each text.
        seed: of the drawing.
        training: characters of each training part that naive Bayes learns from, at most; its order and smoothing are
            tuned on excerpts of the validation parts.

    Returns:
        a row a length, and the naive Bayes that was tuned.

    Raises:
        ConfigurationError: fewer than two runs, or numbers below 1.
        DataError: a part is too short.
        RunError: a text is gone.
    """
    if len(models) < 2 or count < 1 or not lengths or min(lengths) < 1:
        got = f"{len(models)} runs, {count} excerpts, lengths {', '.join(map(str, lengths))}"
        raise ConfigurationError("a trial needs at least two runs, excerpts and lengths", got=got)
    classes = np.repeat(np.arange(len(models)), count)
    authors = [Author.of(each) for each in models]
    runs = [each.runs[0] for each in authors]
    texts = [own_text(each, "train", training) for each in runs]
    held_out = [part for each in runs for part in excerpts(own_text(each, "valid"), _TUNED_ON, count, seed)]
    bayes = NaiveBayes.tuned(texts, held_out, classes)
    networks, parts = [each.network() for each in authors], [own_text(each, "test") for each in runs]
    rows = []
    for done, length in enumerate(lengths):
        drawn = [excerpt for text in parts for excerpt in excerpts(text, length, count, seed)]
        right = [float((found == classes).mean()) for found in (likeliest(networks, drawn), bayes.choose(drawn))]
        rows.append(Accuracy(length, len(drawn), *right))
        runs[0].listener.preparing(done + 1, len(lengths), "attributing")
    return rows, bayes


def own_text(model: LanguageModelRun, part: Part, most: int | None = None) -> str:
    """The text of a part of what a run was trained on, up to a number of symbols.

    Raises:
        DataError: the part is empty.
        RunError: the text is gone.
    """
    text = load_section(TextConfig, section(model.run, "text"), f"{model.run.path / 'config.json'}, text")
    tokens = open_store(model.run, text, model.vocabulary, model.listener).split(part)
    if not len(tokens):
        fix = "train with another --split, such as 80/10/10"
        raise DataError(f"the text of {model.run.path} has no {part} part", got=f"split {text.split}", fix=fix)
    return model.vocabulary.decode(np.asarray(tokens.ids[:most]))
