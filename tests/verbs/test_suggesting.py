from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unrolled import open_run, train_lm
from unrolled.errors import ConfigurationError
from unrolled.verbs.suggesting import Suggester
from unrolled.verbs.using import LanguageModelRun


def log_p(model: LanguageModelRun, text: str) -> Any:
    """ln p (V,) of the symbol after a text, by the network itself."""
    ids = torch.from_numpy(model.vocabulary.encode(text))
    with torch.no_grad():
        return torch.log_softmax(model.model(ids[None])[0][0, -1].double(), -1).numpy()


def test_the_probability_of_a_word_is_that_of_its_letters_and_of_an_end(trained: Path) -> None:
    model = open_run(trained)
    symbols = model.vocabulary.symbols
    ends = [at for at, symbol in enumerate(symbols) if not symbol.isalnum()]
    for text, half in (("the old s", "s"), ("the old ", ""), ("a pale moon", "moon")):
        found = Suggester(model, count=6).suggest(text)
        assert len(found) == 6
        assert [each.p for each in found] == sorted((each.p for each in found), reverse=True)
        for each in found:
            assert each.word == half + each.rest
            total, typed = 0.0, text
            for letter in each.rest:
                total += log_p(model, typed)[symbols.index(letter)]
                typed += letter
            assert each.p == pytest.approx(np.exp(total) * np.exp(log_p(model, typed)[ends]).sum(), rel=1e-4)


def test_what_was_typed_before_makes_no_difference(trained: Path) -> None:
    model, source = open_run(trained), random.Random(0)
    one = Suggester(model, count=3)
    text = ""
    for _ in range(60):
        if source.random() < 0.3:
            text = text[: -source.randint(1, 9)]
        elif source.random() < 0.1:
            text += "the old sea rose and fell under a pale moon " * source.choice((1, 30))
        else:
            text += source.choice("the old sea, ")
        fresh = Suggester(model, count=3).suggest(text)
        assert [(each.word, round(each.p, 5)) for each in one.suggest(text)] == [
            (each.word, round(each.p, 5)) for each in fresh
        ]


def test_only_what_is_new_is_stepped(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suggester, steps = Suggester(open_run(trained), width=1, count=1, length=1), 0
    text = "the old sea rose and fell " * 80
    suggester.suggest(text)
    step = suggester._steps.step

    def counting(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        return step(*arguments)

    monkeypatch.setattr(suggester._steps, "step", counting)
    for change, most in ((text + "u", 1), (text + "un", 1), (text + "u", 1), (text[:-5], 1), (text[:700], 256)):
        steps = 0
        suggester.suggest(change)
        assert steps <= most


def test_bytes_that_are_no_character_are_not_suggested(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("été déjà été là\n" * 60)
    options: dict[str, Any] = {"hidden_size": 16, "layers": 1, "batch": 4, "length": 16, "threads": 1, "steps": 120}
    run = train_lm(
        [str(tmp_path / "text")], run=tmp_path / "run", unit="byte", learning_rate=0.02, sample_every=0, **options
    ).run
    suggester = Suggester(open_run(run), count=4)
    found = suggester.suggest("déjà ét")
    assert found[0].word == "été"
    assert all("\ufffd" not in each.word for each in found)
    assert suggester.suggest("")


@pytest.mark.parametrize("options", [{"count": 0}, {"width": 0}, {"length": 0}])
def test_numbers_that_make_no_sense(trained: Path, options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="is too small"):
        Suggester(open_run(trained), **options)


def test_a_model_of_words_is_asked_for_the_whole_word(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("the sea rose and the sun set\nthe sea fell and the sand shone\n" * 60)
    options: dict[str, Any] = {"hidden_size": 12, "layers": 1, "batch": 4, "length": 12, "threads": 1, "steps": 60}
    run = train_lm(
        [str(tmp_path / "text")], run=tmp_path / "run", unit="word", learning_rate=0.02, sample_every=0, **options
    ).run
    model = open_run(run)
    found = Suggester(model, count=9).suggest("and the s")
    rows = dict(zip(model.vocabulary.symbols, np.exp(log_p(model, "and the")), strict=True))
    begins = {word: p for word, p in rows.items() if word.startswith("s")}
    assert {each.word for each in found} == set(begins) == {"sea", "sun", "set", "sand", "shone"}
    for each in found:
        assert each.p == pytest.approx(begins[each.word] / sum(begins.values()), rel=1e-4)
        assert each.word == "s" + each.rest
    assert [each.word for each in Suggester(model, count=1).suggest("and the SU")] == ["sun"]
    assert Suggester(model).suggest("and the xyz") == []
    assert {"<unk>", "<eos>"} & {each.word for each in Suggester(model, count=99).suggest("and ")} == set()
