from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled import open_run, train_lm
from unrolled.errors import ConfigurationError, DataError, PromptError, RunError
from unrolled.runs.directory import Run
from unrolled.verbs.listening import Listener


class Ear(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows an unknown symbol."""
    directory = tmp_path_factory.mktemp("folded")
    (directory / "text").write_text("abc " * 100 + "x")
    options: dict[str, Any] = {"hidden_size": 8, "layers": 1, "batch": 2, "length": 8, "threads": 1}
    return train_lm([str(directory / "text")], run=directory / "run", min_count=2, steps=5, **options).run


# ---- opening


def test_the_best_checkpoint_is_used_unless_another_is_asked_for(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    earlier = sorted(int(name) for name in Run.open(run).checkpoint_names())[0]
    (run / "best").write_text(f"{earlier:09d}\n")
    assert open_run(run).step == earlier
    assert open_run(run, "last").step == 60
    assert open_run(run, "60").step == 60
    with pytest.raises(RunError, match="has no checkpoint 'first'"):
        open_run(run, "first")


def test_opened_twice_it_is_the_same(trained: Path) -> None:
    assert open_run(trained).sample(length=50) == open_run(trained).sample(length=50)


def test_where_it_runs(trained: Path) -> None:
    assert open_run(trained, device="cpu", threads=1).sample(length=9) == open_run(trained).sample(length=9)
    with pytest.raises(ConfigurationError, match="device 'gpu' cannot be used here"):
        open_run(trained, device="gpu")
    with pytest.raises(ConfigurationError, match="threads is out of range"):
        open_run(trained, threads=0)


def test_a_run_that_is_not_there(trained: Path) -> None:
    with pytest.raises(RunError, match="there is no run") as caught:
        open_run(trained.with_name("traimed"))
    assert caught.value.fix == "did you mean 'trained'?"


# ---- sampling


def test_a_text_goes_on_from_its_prompt(trained: Path) -> None:
    model = open_run(trained)
    whole = model.sample(length=40, seed=3)
    assert model.sample(prompt=whole[:1], length=0) == ""
    assert "".join(model.stream(prompt="the old ", length=20)) == model.sample(prompt="the old ", length=20)
    assert model.sample(prompt="the old ", length=20) != model.sample(prompt="pale moon", length=20)


def test_characters_of_a_prompt_that_are_not_known_are_reported(trained: Path) -> None:
    ear = Ear()
    model = open_run(trained, listener=ear)
    assert model.sample(prompt="the #old€ sea", length=9) == model.sample(prompt="the old sea", length=9)
    assert ear.notes == ["2 characters are not known to the model and left out: '#' '€' at 5, 9"]


def test_a_prompt_of_nothing_known(trained: Path) -> None:
    with pytest.raises(PromptError, match="the model knows no character of the prompt") as caught:
        open_run(trained).stream(prompt="#€")
    assert caught.value.got == "'#' '€' at 1, 2"
    assert caught.value.fix is not None
    assert caught.value.fix.startswith("use characters it was trained on, such as:  ,.a")


def test_with_an_unknown_symbol_any_prompt_is_read(folded: Path) -> None:
    ear = Ear()
    model = open_run(folded, listener=ear)
    assert len(model.sample(prompt="zzz", length=5)) == 5
    assert ear.notes == ["3 characters are not known to the model and read as unknown: 'z' at 1, 2, 3"]


@pytest.mark.parametrize("options", [{"length": -1}, {"temperature": -1.0}, {"top_p": 2.0}, {"seed": -1}])
def test_options_of_a_sample_that_make_no_sense(trained: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        open_run(trained).stream(**options)


# ---- scoring


def test_a_score_adds_up(trained: Path) -> None:
    model = open_run(trained)
    text = "the old sea rose"
    report, each = model.score(text), list(model.each(text, alternatives=2))
    assert (report.task, report.split, report.protocol) == ("lm", "text", "carried")
    assert (report.tokens, report.characters, report.skipped) == (16, 16, 0)
    assert report.log_likelihood == pytest.approx(-sum(symbol.nats for symbol in each))
    assert report.nats_per_token == pytest.approx(-report.log_likelihood / 16)
    assert report.bits_per_character == pytest.approx(report.nats_per_token / math.log(2))
    assert report.perplexity == pytest.approx(math.exp(report.nats_per_token))
    assert report.detail == "first symbol: charged with its frequency in the training text"
    assert model.vocabulary.decode([symbol.token for symbol in each]) == text
    assert all(len(symbol.alternatives) == 2 for symbol in each)


def test_what_is_like_its_text_is_likelier(trained: Path) -> None:
    model = open_run(trained)
    assert model.score("the sea and the moon").nats_per_token < model.score("moon eht dna aes eht").nats_per_token


def test_a_text_with_characters_that_are_not_known(trained: Path) -> None:
    ear = Ear()
    model = open_run(trained, listener=ear)
    with pytest.raises(PromptError, match="the text has 2 characters that the model does not know") as caught:
        model.score("the sea\nand #the€")
    assert caught.value.where == "first in line 2, column 5"
    assert caught.value.got == "'#' '€' at 13, 17"
    report = model.score("the sea\nand #the€", skip_unknown=True)
    assert (report.tokens, report.skipped) == (15, 2)
    assert ear.notes == ["2 characters are not known to the model and left out: '#' '€' at 13, 17"]
    assert report.log_likelihood == model.score("the sea\nand the").log_likelihood


def test_with_an_unknown_symbol_any_text_has_a_score(folded: Path) -> None:
    report = open_run(folded).score("abz")
    assert (report.tokens, report.characters, report.skipped) == (3, 3, 0)


@pytest.mark.parametrize("text", ["", "#"])
def test_nothing_to_score(trained: Path, text: str) -> None:
    with pytest.raises(PromptError, match="there is no text to score"):
        open_run(trained).score(text, skip_unknown=True)


# ---- evaluating


def test_each_part_of_the_text(trained: Path) -> None:
    model = open_run(trained)
    reports = {part: model.evaluate(part) for part in ("train", "valid", "test")}  # type: ignore[arg-type]
    assert [report.tokens for report in reports.values()] == [5399, 299, 299]
    assert "the checkpoint was chosen on this part" in reports["valid"].detail
    assert "chosen" not in reports["test"].detail
    for part, report in reports.items():
        assert (report.task, report.split, report.protocol) == ("lm", part, "carried")
        assert report.log_likelihood == pytest.approx(-report.nats_per_token * report.tokens)


def test_a_checkpoint_that_is_not_the_best_was_not_chosen(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    earlier = sorted(Run.open(run).checkpoint_names())[0]
    (run / "best").write_text(f"{earlier}\n")
    assert "chosen" in open_run(run).evaluate().detail
    assert "chosen" not in open_run(run, "last").evaluate().detail


def test_one_stream_is_the_score_without_the_first_symbol(trained: Path, corpus: Path) -> None:
    model = open_run(trained)
    valid = corpus.read_text()[5400:5700]
    report = model.evaluate("valid")
    each = list(model.each(valid, alternatives=0))
    assert (report.streams, report.window) == (1, None)
    assert report.log_likelihood == pytest.approx(-sum(symbol.nats for symbol in each[1:]))


def test_windows(trained: Path) -> None:
    model = open_run(trained)
    carried, windows = model.evaluate(), model.evaluate(protocol="windows")
    assert windows.tokens == carried.tokens
    assert windows.detail == "windows of 16 symbols; the checkpoint was chosen on this part"  # as in training
    assert (windows.streams, windows.window, windows.chosen_on_this_part) == (None, 16, True)
    assert model.evaluate(protocol="windows", window=299).nats_per_token == pytest.approx(carried.nats_per_token)
    assert windows.nats_per_token > carried.nats_per_token


def test_what_cannot_be_evaluated(trained: Path, folded: Path) -> None:
    model = open_run(trained)
    with pytest.raises(ConfigurationError, match="unknown split 'tset'") as caught:
        model.evaluate("tset")  # type: ignore[arg-type]
    assert caught.value.fix == "did you mean 'test'?"
    with pytest.raises(ConfigurationError, match="unknown protocol 'window'"):
        model.evaluate(protocol="window")
    with pytest.raises(ConfigurationError, match="a window is too short"):
        model.evaluate(protocol="windows", window=0)


def test_a_part_that_is_empty(tmp_path: Path, corpus: Path) -> None:
    options: dict[str, Any] = {"hidden_size": 4, "layers": 1, "batch": 2, "length": 8, "threads": 1}
    run = train_lm([str(corpus)], run=tmp_path / "run", split="90/10/0", steps=1, **options).run
    with pytest.raises(DataError, match="the run's text has no test part") as caught:
        open_run(run).evaluate("test")
    assert caught.value.got == "split 90/10/0"


def test_nothing_random_is_used_up(trained: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    model = open_run(trained)
    torch.manual_seed(5)
    model.score("the sea")
    model.evaluate()
    model.sample(length=5)
    assert torch.equal(torch.rand(2), expected)
