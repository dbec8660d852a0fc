"""What a language model answers, against reading each text by itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from unrolled import open_run
from unrolled.data.memory_sentences import Question, Style
from unrolled.data.vocabulary import Bytes, Characters
from unrolled.data.words import Words
from unrolled.errors import DataError
from unrolled.evaluation.questions import answer_questions, knows, style_of

# Of texts of several lengths, of the characters that the model knows.
ASKED = [
    Question("the sea", (" rose ", " fell "), 0, 1),
    Question("the ships under a pale moon", (" rose ", " slept "), 1, 1),
    Question("a", (" sea ", " moon "), 0, 0),
]


def test_answers_are_those_of_each_text_by_itself(trained: Path) -> None:
    run = open_run(trained)
    found = answer_questions(run.reader(), run.vocabulary, ASKED)
    margins = []
    for question in ASKED:
        nats = [-run.score(question.text + option).log_likelihood for option in question.options]
        margins.append(nats[1 - question.answer] - nats[question.answer])
    assert found.accuracy == np.mean(np.array(margins) > 0)
    assert found.nats == pytest.approx(np.mean([math.log1p(math.exp(-margin)) for margin in margins]), rel=1e-4)
    assert found.shortcut == pytest.approx(2 / 3)


def test_continuations_that_are_the_same_to_the_model(trained: Path) -> None:
    run = open_run(trained)
    # It has no symbol for any of these.
    with pytest.raises(DataError, match="cannot tell"):
        answer_questions(run.reader(), run.vocabulary, [Question("the", (" 1 ", " 2 "), 0, 0)])


def test_texts_are_written_as_the_vocabulary_has_them() -> None:
    assert style_of(Bytes.count(["any"])) == Style(True, True)
    assert style_of(Characters.count(["The cat, it sat. the end"])) == Style(True, True)
    assert style_of(Characters.count(["the cat it sat"])) == Style(False, False)
    words = Words.count(["the dogs saw it\n"])
    assert style_of(words) == Style(False, False)
    assert style_of(Words.count(["The dogs saw the cat\n"])) == Style(True, False)
    assert knows(words, Style(capitals=False), "Dogs")
    assert not knows(words, Style(), "Dogs")
