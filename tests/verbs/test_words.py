"""A model of words from its text to its uses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from unrolled import open_run, train_lm
from unrolled.data.store import TokenStore
from unrolled.evaluation import surprisals

TRAIN = ("the old sea rose , and the pale moon slept .\n" * 3 + "a ship fell under the sea .\n\n") * 12
VALID = "the old ship slept under the moon .\nwhile a whale rose\n"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("words")
    (directory / "train.txt").write_text(TRAIN)
    (directory / "valid.txt").write_text(VALID * 3)
    options: dict[str, Any] = {"unit": "word", "hidden_size": 16, "layers": 1, "batch": 4, "length": 8}
    files: dict[str, Any] = {"train": [str(directory / "train.txt")], "valid": [str(directory / "valid.txt")]}
    path = directory / "run"
    train_lm(**files, run=path, steps=80, learning_rate=0.02, precision="float32", threads=1, sample_every=0, **options)
    return path


def test_what_is_hidden_is_charged(words: Path) -> None:
    """Twice: of the text in the store, and of the same text to be scored."""
    model = open_run(words)
    spelt = 3 * float(model.vocabulary.spell(["while", "whale"]).sum())
    evaluated = model.evaluate("valid")
    assert (evaluated.hidden, evaluated.tokens, evaluated.words) == (6, 41, 41)
    assert evaluated.characters == len(VALID) * 3 - len("the")
    assert evaluated.hidden_nats == pytest.approx(spelt, rel=1e-9)
    assert evaluated.coverage == pytest.approx(1 - 6 / 41)
    nats = evaluated.nats_per_token * 41 + spelt
    assert evaluated.perplexity_per_word == pytest.approx(math.exp(nats / 41))
    assert evaluated.bits_per_character == pytest.approx(nats / math.log(2) / evaluated.characters)
    scored = model.score(VALID * 3)
    assert (scored.hidden, scored.tokens, scored.words, scored.characters) == (6, 42, 42, len(VALID) * 3)
    assert scored.hidden_nats == pytest.approx(spelt, rel=1e-9)
    first = next(surprisals(model.model, model.vocabulary, model.vocabulary.encode(VALID)))
    assert -scored.log_likelihood - first.nats == pytest.approx(-evaluated.log_likelihood, rel=1e-5)


def test_documents_that_begin_empty_do_not_predict_their_first_word(words: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1.txt", tmp_path / "2.txt"
    first.write_text("whale the\n")
    second.write_text("whale rose whale\n")
    options: dict[str, Any] = {"unit": "word", "documents": "reset", "hidden_size": 8, "batch": 1, "length": 8}
    files: dict[str, Any] = {"train": [str(words.parent / "train.txt")], "valid": [str(first), str(second)]}
    run = tmp_path / "run"
    train_lm(**files, run=run, steps=1, precision="float32", threads=1, sample_every=0, **options)
    report = open_run(run).evaluate("valid")
    assert (report.tokens, report.words, report.hidden) == (5, 5, 1)
    assert report.characters == len(" the\n" + " rose whale\n")


@pytest.mark.parametrize(("prompt", "space"), [("the old", " "), ("the old ", ""), ("the old\n", "")])
def test_a_text_goes_on_from_its_prompt_with_one_space(words: Path, prompt: str, space: str) -> None:
    model = open_run(words)
    made = model.sample(prompt=prompt, length=20, seed=3)
    if made.strip(" ").startswith("\n"):
        pytest.skip("the line ends here")
    assert made.startswith(space)
    assert not made[len(space) :].startswith(" ")
    assert len(model.vocabulary.encode(made)) == 20
    assert "".join(model.stream(prompt=prompt, length=20, seed=3)) == made


def test_a_text_to_stop_at_is_looked_for_in_the_text(words: Path) -> None:
    model = open_run(words)
    whole = model.sample(length=40, seed=1)
    stop = whole[len(whole) // 2 :][:5]
    assert model.sample(length=40, seed=1, stop=[stop]) == whole[: whole.index(stop)]


def test_an_unknown_word_in_a_prompt_is_told(words: Path) -> None:
    class Heard(list[str]):
        def note(self, text: str) -> None:
            self.append(text)

    heard: Any = Heard()
    model = open_run(words)
    model.listener = heard
    model.sample(prompt="the whale", length=1)
    assert heard == ["1 word is not known to the model and read as unknown: 'whale' at 5"]


def test_the_run_says_what_its_vocabulary_is(words: Path) -> None:
    model = open_run(words)
    store = TokenStore.open(Path(model.run.config["data"]["store"]))
    assert store.vocabulary.fingerprint == model.vocabulary.fingerprint
    assert model.run.config["text"]["splitter"] == "spaces"
