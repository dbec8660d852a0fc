"""`correct`: spelling, and words taken for each other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unrolled.data.configuration import TextConfig
from unrolled.data.lexicon import WORD, Lexicon
from unrolled.data.text import Source, read_text
from unrolled.errors import ConfigurationError, RunError
from unrolled.evaluation.correction import Channel, Corrector, Edit, Frequencies, Network, fragments
from unrolled.evaluation.correction_trial import CorrectionScore, misspell, sentences, try_corrector
from unrolled.evaluation.grammar_trial import GrammarScore, slip, try_grammar
from unrolled.runs.configuration import load_section
from unrolled.runs.models import section
from unrolled.verbs.origins import open_store
from unrolled.verbs.using import LanguageModelRun

__all__ = ["By", "Correction", "build_corrector", "correct", "correction_trial", "grammar_trial", "training_words"]

By = Literal["model", "frequency"]
_SYMBOLS = 1 << 20


@dataclass(frozen=True)
class Correction:
    """A text corrected.

    Attributes:
        text: the text.
        edits: what was changed.
    """

    text: str
    edits: tuple[Edit, ...]


def training_words(model: LanguageModelRun, words: Iterable[Source] = (), min_count: int = 5) -> Lexicon:
    """The words to correct with: those of the run's training text, or of files.

    Args:
        model: the run.
        words: files to count words in, instead of the training text.
        min_count: words seen fewer times are left out.

    Raises:
        RunError: the training text is gone.
        DataError: no word is left.
    """
    given = list(words)
    if given:
        model.listener.doing("counting words")
        return Lexicon.count((piece for source in given for piece in _lines(read_text(source))), min_count)
    vocabulary = model.vocabulary
    if vocabulary.unit == "word":
        texts = [content.decode() for content in vocabulary.contents]
        known = {
            text: int(count)
            for text, count, at in zip(texts, vocabulary.counts, range(vocabulary.size), strict=True)
            if at != vocabulary.unknown and WORD.fullmatch(text)
        }
        return Lexicon.of(known, 1)
    text = load_section(TextConfig, section(model.run, "text"), f"{model.run.path / 'config.json'}, text")
    try:
        tokens = open_store(model.run, text, vocabulary, model.listener).split("train")
    except RunError as error:
        fix = "name files to count words in with --words"
        raise RunError(error.problem, where=error.where, fix=fix) from error
    model.listener.doing("counting the words of the training text")
    decoder = vocabulary.decoder()
    pieces = (decoder.feed(np.asarray(tokens.ids[at : at + _SYMBOLS])) for at in range(0, len(tokens), _SYMBOLS))
    return Lexicon.count(_lines(pieces), min_count)


def build_corrector(
    model: LanguageModelRun, lexicon: Lexicon, channel: Channel | None = None, by: By = "model"
) -> Corrector:
    """A corrector that asks the run, or, as its plain opponent, only how frequent words are."""
    judge = Network(model.reader(), model.vocabulary) if by == "model" else Frequencies(lexicon)
    return Corrector(judge, lexicon, channel)


def correct(corrector: Corrector, pieces: Iterable[str]) -> Iterator[tuple[str, Edit | None]]:
    """A text that comes in pieces, corrected piece by piece, with what was changed. Memory does not grow with it."""
    return corrector.correct(fragments(pieces))


def correction_trial(
    model: LanguageModelRun,
    lexicon: Lexicon,
    pieces: Iterable[str],
    count: int,
    channel: Channel | None = None,
    seed: int = 0,
) -> dict[By, CorrectionScore]:
    """How well sentences of a text with one random edit each are corrected, by the model and by frequencies alone.

    Raises:
        DataError: the text has too few sentences.
    """
    source = random.Random(seed)
    given = [misspell(sentence, source) for sentence in sentences(pieces, count, seed)]
    found: dict[By, CorrectionScore] = {}
    judges: tuple[By, By] = ("model", "frequency")
    for by in judges:
        corrector = build_corrector(model, lexicon, channel, by)
        found[by] = try_corrector(corrector, given, _telling(model, by))
    return found


def grammar_trial(
    model: LanguageModelRun,
    lexicon: Lexicon,
    pieces: Iterable[str],
    count: int,
    channel: Channel | None = None,
    seed: int = 0,
) -> dict[By, GrammarScore]:
    """How well sentences of a text with one slip in grammar each are corrected, and how many are harmed that have none,
    by the model and by frequencies alone.

    Raises:
        DataError: the text has too few sentences.
        ConfigurationError: the channel knows no slips.
    """
    channel = channel or Channel()
    if not channel.grammar:
        raise ConfigurationError("a trial of grammar looks for slips", got="grammar 0", fix="give --grammar 0.1")
    source = random.Random(seed)
    drawn = (slip(sentence, source, lexicon) for sentence in sentences(pieces, count, seed))
    given = [each for each in drawn if each is not None]
    found: dict[By, GrammarScore] = {}
    judges: tuple[By, By] = ("model", "frequency")
    for by in judges:
        found[by] = try_grammar(build_corrector(model, lexicon, channel, by), given, _telling(model, by))
    return found


def _telling(model: LanguageModelRun, by: By) -> Callable[[int, int], None]:
    return lambda done, total: model.listener.preparing(done, total, f"correcting by {by}")


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces that end where a word does."""
    rest = ""
    for piece in pieces:
        whole, end, rest = (rest + piece).rpartition("\n") if "\n" in piece else ("", "", rest + piece)
        if end:
            yield whole
        elif len(rest) > _SYMBOLS:
            yield rest
            rest = ""
    yield rest
