from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled import open_run
from unrolled.data.lexicon import WORD, Lexicon
from unrolled.errors import ConfigurationError, DataError
from unrolled.evaluation.correction import Channel, Corrector, Edit, Frequencies, Network, fragments
from unrolled.evaluation.correction_trial import misspell, sentences, try_corrector
from unrolled.evaluation.grammar import CONFUSED, FUNCTION, Slips, confusable
from unrolled.evaluation.grammar_trial import Slipped, slip, try_grammar

LEXICON = Lexicon.of({"the": 90, "sea": 30, "see": 20, "rose": 30, "a": 50, "boat": 9, "boats": 4, "Rome": 7, "its": 5})


def corrected(corrector: Corrector, text: str) -> tuple[str, list[Edit]]:
    found = list(corrector.correct(fragments([text])))
    return "".join(out for out, _ in found), [edit for _, edit in found if edit is not None]


@given(st.text("ab. \n\t", max_size=40), st.integers(0, 40))
def test_fragments_are_the_text_however_it_is_cut(text: str, at: int) -> None:
    found = list(fragments([text[:at], text[at:]]))
    assert "".join(each.space + each.run for each in found) == text
    assert [each.run for each in found if each.run] == text.split()
    assert all(text[each.at : each.at + len(each.run)] == each.run for each in found)
    assert found == list(fragments(text))


def test_the_posterior_is_that_of_the_noisy_channel() -> None:
    channel = Channel(spelling=0.1, novelty=1.0, threshold=0.0)
    text, (edit,) = corrected(Corrector(Frequencies(LEXICON), LEXICON, channel), "the se rose")
    judge = Frequencies(LEXICON)

    def log_p(word: str) -> float:
        return -judge.read(word, None)[0]

    ways = {word: math.log(0.1 * 0.9 / (54 * 3 + 25)) + log_p(word) for word in ("sea", "see")}
    ways["the"] = (
        math.log(0.1 * 0.1) - 2 * math.log(54 * 3 + 25) + log_p("the")
    )  # too far: not compared for two letters
    del ways["the"]
    right = math.log(0.9) + log_p("se") - 1.0
    total = np.logaddexp.reduce([*ways.values(), right])
    assert text == "the sea rose"
    assert edit == Edit(4, 6, "se", "sea", pytest.approx(math.exp(ways["sea"] - total)), "spelling")


def test_case_and_punctuation_are_kept() -> None:
    corrector = Corrector(Frequencies(LEXICON), LEXICON, Channel(spelling=0.2))
    for wrong, right in (
        ("(Teh sea,\n\n rsoe!)", "(The sea,\n\n rose!)"),
        ("TEH SEA", "THE SEA"),
        ("hTe sea", "The sea"),
        ("the seaa... --boaat--", "the sea... --boat--"),
        ("to rme", "to Rome"),
        ("therose", "the rose"),
        ("http://teh.sea x@teh 3teh", "http://teh.sea x@teh 3teh"),
        ("teh  \t sea  ", "the  \t sea  "),
        ("", ""),
        ("  ", "  "),
    ):
        assert corrected(corrector, wrong)[0] == right


def test_edits_name_their_places() -> None:
    text = "the sea\nteh rose, teh boat"
    out, edits = corrected(Corrector(Frequencies(LEXICON), LEXICON, Channel(0.2)), text)
    assert [text[edit.start : edit.end] for edit in edits] == ["teh", "teh"] == [edit.before for edit in edits]
    for edit in reversed(edits):
        text = text[: edit.start] + edit.after + text[edit.end :]
    assert text == out


def test_a_model_corrects_what_it_knows_in_context(trained: Path) -> None:
    model = open_run(trained)
    lexicon = Lexicon.count(["the old sea rose and fell under a pale moon while ships slept " * 5])
    network = Network(model.reader(), model.vocabulary)
    corrector = Corrector(network, lexicon, Channel(0.05, threshold=0.3, novelty=12.0))
    assert corrected(corrector, "while shipps slept")[0] == "while ships slept"
    assert corrected(corrector, "the old sea rose and fell")[1] == []
    whole = "".join(out for out, _ in corrector.correct(fragments(["the olld sea# an", "d fll"])))
    assert whole == corrected(corrector, "the olld sea# and fll")[0]
    # all texts at one place, each as if it came alone
    _, place = network.read("the old", network.start())
    both = network.compare([" sea rose", " moon", "", " #"], place)
    alone = [network.read(text, place)[0] for text in (" sea rose", " moon", "", " #")]
    assert both == pytest.approx(np.array(alone), rel=1e-4)
    assert both[2] == 0


def test_words_taken_for_each_other() -> None:
    assert "it's" in confusable("Its", LEXICON)
    assert confusable("boat", LEXICON) == {"boats"}
    assert all(
        word in CONFUSED[other.lower()] or other == "I" for word in CONFUSED for other in CONFUSED[word] if word != "i"
    )
    lexicon = Lexicon.of({"boat": 1000, "boats": 1, "the": 9, "a": 1})

    def edits(text: str, grammar: float) -> list[tuple[str, str, str]]:
        channel = Channel(1e-9, grammar, threshold=0.3)
        found = corrected(Corrector(Frequencies(lexicon), lexicon, channel), text)[1]
        return [(edit.before, edit.after, edit.kind) for edit in found]

    assert edits("a boats", 0.0) == []
    assert edits("boats", 0.5) == [("boats", "boat", "grammar")]


class Meant(Frequencies):
    """Finds everything unlikely but the beginning of one text."""

    def __init__(self, text: str) -> None:
        super().__init__(LEXICON)
        self.text = text

    def start(self):  # type: ignore[no-untyped-def]
        return ""

    def read(self, text, place):  # type: ignore[no-untyped-def]
        return 1.0, place + text

    def compare(self, texts, place):  # type: ignore[no-untyped-def]
        return np.array([0.0 if self.text.startswith(place + text) else 50.0 for text in texts])


@pytest.mark.parametrize(
    ("wrong", "right", "before", "after"),
    [
        ("rose an sea", "rose sea", " an", ""),
        ("the the sea rose", "the sea rose", " the", ""),
        ("sea  sea rose", "sea rose", "  sea", ""),
        ("a rose sea", "a rose of sea", "sea", "of sea"),
        ("He have a rose", "He has a rose", "have", "has"),
        ("the boat  rose", "the boats  rose", "boat", "boats"),
        ("Their a rose", "There a rose", "Their", "There"),
    ],
)
def test_a_slip_is_found_where_the_model_finds_what_was_meant_likelier(
    wrong: str, right: str, before: str, after: str
) -> None:
    text, (edit,) = corrected(Corrector(Meant(right), LEXICON, Channel(0.001, 0.1)), wrong)
    assert (text, edit.before, edit.after, edit.kind) == (right, before, after, "grammar")
    assert wrong[: edit.start] + after + wrong[edit.end :] == right
    assert corrected(Corrector(Meant(right), LEXICON, Channel(0.001, 0.1)), right) == (right, [])


def test_the_slips_of_a_writer_are_a_distribution() -> None:
    slips = Slips(0.3)
    assert math.exp(slips.left_out) == pytest.approx(0.1)
    assert len(FUNCTION) * math.exp(slips.put_in) == pytest.approx(0.1)
    assert 4 * math.exp(slips.taken(4)) == pytest.approx(0.1)
    assert set(slips.around("the", "The")) >= {"", "of the"}
    assert "the the" not in slips.around("the", "a")
    assert slips.around("Rome", "in") == {}
    assert slips.around("Rome", "Rome") == {"": slips.put_in}


@given(st.integers(0, 10_000))
def test_sentences_with_a_slip(seed: int) -> None:
    sentence = "The old boats, they rose in a sea of it."
    found = slip(sentence, random.Random(seed), {"boat", "boats"})
    assert found is not None
    right, wrong = sentence.split(), found.wrong.split()
    assert len(wrong) - len(right) == {"another word": 0, "left out": -1, "put in": 1}[found.kind]
    if found.kind == "another word":
        assert sum(a != b for a, b in zip(right, wrong, strict=True)) == 1
    assert slip("1 2 3", random.Random(seed), ()) is None


def test_slips_that_are_put_right_and_sentences_that_are_harmed() -> None:
    corrector = Corrector(Meant("a rose sea"), LEXICON, Channel(0.001, 0.1))
    given = [Slipped("a rose sea", "a rose the sea", "put in"), Slipped("the sea", "sea", "left out")]
    score = try_grammar(corrector, given)
    assert (score.sentences, score.corrected, score.harmed) == (2, 1, 0)
    assert score.corrected_of == {"another word": (0, 0), "left out": (0, 1), "put in": (1, 1)}


@pytest.mark.parametrize(
    "options",
    [
        {"spelling": 0.0},
        {"grammar": -0.1},
        {"spelling": 0.6, "grammar": 0.4},
        {"threshold": 1.1},
        {"candidates": 0},
        {"novelty": -1.0},
        {"spelling": math.nan},
    ],
)
def test_channels_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Channel(**options)  # type: ignore[arg-type]


# ---- the trial


@given(st.integers(0, 10_000))
def test_one_random_edit(seed: int) -> None:
    sentence = "The old sea, it rose -- and fell."
    found = misspell(sentence, random.Random(seed))
    right, wrong = sentence.split(), found.wrong.split()
    assert found.right == sentence != found.wrong
    assert len(wrong) == len(right)
    assert sum(a != b for a, b in zip(right, wrong, strict=True)) == 1
    assert sentence[: found.at] == found.wrong[: found.at]
    with pytest.raises(DataError, match="no word of two letters"):
        misspell("a 3 b", random.Random(seed))


def test_sentences_of_a_text() -> None:
    text = 'One two three four five. Six. "Seven eight nine ten eleven!" Twelve 1 2 3 4.5 b\nnine ' + "word " * 50
    found = sentences([text[:30], text[30:]], 3)
    assert (
        sorted(found) == ["One two three four five.", '"Seven eight nine ten eleven!', "Twelve 1 2 3 4.5 b"][::-1]
        or len(found) == 3
    )
    with pytest.raises(DataError, match="too few sentences"):
        sentences([text], 9)
    assert sentences([text], 2, seed=1) == sentences([text], 2, seed=1)


def test_a_corrector_is_counted() -> None:
    class Fixed(Corrector):
        """Makes what it is told of each run."""

        def correct(self, text):  # type: ignore[no-untyped-def]
            made = {"seaa": "sea", "fel": "fall", "good": "bad"}
            return ((each.space + made.get(each.run, each.run), None) for each in text)

    from unrolled.evaluation.correction_trial import Misspelt

    given = [
        Misspelt("the sea", "the seaa", 4),
        Misspelt("good, he fell", "good, he fel", 9),
        Misspelt("good x", "good xx", 5),
    ]
    score = try_corrector(Fixed(Frequencies(LEXICON), LEXICON), given)
    assert (score.sentences, score.corrected, score.changed, score.words, score.harmed) == (3, 1, 1, 4, 1)
    assert (score.share_corrected, score.share_harmed) == (1 / 3, 1 / 4)


def test_nothing_is_a_word_that_the_pattern_does_not_find() -> None:
    assert WORD.findall("don't 'quoted' O’Neill x2 _a_ naïve") == ["don't", "quoted", "O’Neill", "x", "a", "naïve"]
