"""What a language model has learnt to remember: which of two continuations of a text it finds likelier.

Linzen, Dupoux & Goldberg 2016, section 4.4 (number prediction by a language model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unrolled.data.memory_sentences import Question, Style
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.evaluation.reading import Floats, Reader

__all__ = ["Answers", "answer_questions", "knows", "style_of"]

_TEXTS = 64


@dataclass(frozen=True)
class Answers:
    """What a model answered to some questions.

    Attributes:
        accuracy: the share in which the right continuation is the likelier one; a tie counts half.
        nats: the mean of -ln p(right) / (p(right) + p(wrong)).
        shortcut: the share that is right by taking what is nearest.
    """

    accuracy: float
    nats: float
    shortcut: float


def knows(vocabulary: Vocabulary, style: Style, word: str) -> bool:
    """Whether a vocabulary has all of a word."""
    return not vocabulary.encode_known(word if style.capitals else word.lower())[1]


def style_of(vocabulary: Vocabulary) -> Style:
    """How a text is written that a vocabulary knows: without capitals or punctuation where it has none."""
    word = vocabulary.unit == "word"
    capitals = knows(vocabulary, Style(), "The" if word else "T") or not knows(vocabulary, Style(), "the")
    # Where only white space parts words, "dogs," is a word, and unknown.
    marks = all(knows(vocabulary, Style(), each) for each in (("dogs,", "left.") if word else (",", ".")))
    return Style(capitals, marks)


def answer_questions(reader: Reader, vocabulary: Vocabulary, questions: Sequence[Question]) -> Answers:
    """Ask a language model.

    Both continuations are read after the text, each to its end; what they have in common decides nothing.

    Raises:
        DataError: the model cannot tell the continuations of a question apart.
    """
    texts = []
    for question in questions:
        pair = [vocabulary.encode_known(question.text + option.rstrip())[0] for option in question.options]
        if vocabulary.unit != "word" and vocabulary.unit != "subword":
            # With what follows, so that "was" is not found likely because "wasted" is.
            pair = [vocabulary.encode_known(question.text + option)[0] for option in question.options]
        if np.array_equal(pair[0], pair[1]):
            raise DataError(
                "the model cannot tell two continuations apart: both are unknown to it",
                got=f"{question.options[0].strip()!r} and {question.options[1].strip()!r}",
            )
        texts.append(pair)
    nats = np.array([_costs(reader, [pair[option] for pair in texts]) for option in (0, 1)])
    right = np.array([question.answer for question in questions])
    rows = np.arange(len(questions))
    margin = nats[1 - right, rows] - nats[right, rows]
    near = np.array([question.shortcut for question in questions])
    return Answers(
        accuracy=float(((margin > 0) + 0.5 * (margin == 0)).mean()),
        nats=float(np.logaddexp(0, -margin).mean()),
        shortcut=float((near == right).mean()),
    )


def _costs(reader: Reader, texts: Sequence[Floats | np.ndarray]) -> Floats:
    """The nats of each text. What is read beyond the end of a shorter one changes nothing before it."""
    found = np.zeros(len(texts))
    for begin in range(0, len(texts), _TEXTS):
        part = texts[begin : begin + _TEXTS]
        lengths = np.array([len(text) for text in part])
        ids = np.zeros((len(part), int(lengths.max())), np.int64)
        for row, text in enumerate(part):
            ids[row, : len(text)] = text
        nats, _ = reader.read(ids, reader.start(len(part)))
        found[begin : begin + len(part)] = np.where(np.arange(ids.shape[1]) < lengths[:, None], nats, 0).sum(1)
    return found
