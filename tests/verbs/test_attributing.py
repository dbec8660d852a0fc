from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled import open_run, train_lm
from unrolled.errors import ConfigurationError, DataError
from unrolled.evaluation.scoring import surprisals
from unrolled.verbs.attributing import attribute_text, attribution_trial, own_text


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs of two texts of the same letters."""
    directory, made = tmp_path_factory.mktemp("authors"), []
    for name, words in (("one", "the sea rose and the moon slept "), ("two", "tpels noom eht dna esor aes eht ")):
        (directory / name).write_text(words * 150)
        options: dict[str, Any] = {"hidden_size": 12, "layers": 1, "batch": 4, "length": 16, "threads": 1, "steps": 40}
        options |= {"learning_rate": 0.02, "sample_every": 0, "split": "80/10/10", "precision": "float32"}
        made.append(train_lm([str(directory / name)], run=directory / f"run-{name}", **options).run)
    return made


def test_a_text_is_given_to_the_run_that_finds_it_likelier(authors: list[Path]) -> None:
    models = [open_run(path) for path in authors]
    text = "the moon rose and slept and the sea " * 9
    found, number = attribute_text(models, [text], stretch=30)
    assert found[0].name == str(authors[0])
    assert found[1].decided
    assert number == 11
    for each, model in zip(found, models, strict=True):
        costs = [one.nats for one in surprisals(model.model, model.vocabulary, model.vocabulary.encode(text))]
        assert each.nats_per_character == pytest.approx(sum(costs) / len(text), rel=1e-4)


def test_a_trial(authors: list[Path]) -> None:
    models = [open_run(path) for path in authors]
    rows, bayes = attribution_trial(models, (3, 40), 8)
    assert [(row.length, row.excerpts) for row in rows] == [(3, 16), (40, 16)]
    assert rows[1].models == rows[1].naive_bayes == 1.0
    assert 1 <= bayes.order <= 6
    assert own_text(models[0], "train", 9) == "the sea r"
    for options in ({"lengths": ()}, {"lengths": (0,)}, {"count": 0}):
        with pytest.raises(ConfigurationError, match="a trial needs"):
            attribution_trial(models, **options)
    with pytest.raises(ConfigurationError):
        attribution_trial(models[:1])
    with pytest.raises(DataError, match="too short for an excerpt"):
        attribution_trial(models, (5000,), 3)


def test_a_part_that_is_not_there(trained: Path, tmp_path: Path, corpus: Path) -> None:
    options: dict[str, Any] = {"hidden_size": 4, "layers": 1, "steps": 2, "batch": 2, "length": 8, "split": "95/5/0"}
    run = train_lm([str(corpus)], run=tmp_path / "run", sample_every=0, **options).run
    with pytest.raises(DataError, match="has no test part"):
        own_text(open_run(run), "test")


@pytest.fixture
def unrolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    from unrolled.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        return int(done.value.code or 0), *capsys.readouterr()

    return run


def test_the_command(unrolled: Callable[..., Any], authors: list[Path]) -> None:
    Path("text").write_text("The MOON rose, and slept; and the sea! " * 9)
    status, out, err = unrolled("attribute", *authors, "text", "--fold", "letters")
    assert (status, err) == (0, "")
    assert f"the likeliest: {authors[0]}" in out
    found = json.loads(unrolled("attribute", *authors, "text", "--fold", "letters", "--json")[1])
    assert [each["decided"] for each in found["candidates"]] == [False, True]
    assert found["candidates"][0]["name"] == str(authors[0])
    Path("short").write_text("the")
    assert "undecided between" in unrolled("attribute", *authors, "short")[1]
    trial = json.loads(unrolled("attribute", "--trial", *authors, "--lengths", "4", "9", "--count", "3", "--json")[1])
    assert [row["length"] for row in trial["trial"]] == [4, 9]
    assert unrolled("attribute", authors[0], "text")[0] == 2
    assert unrolled("attribute", *authors, "nowhere")[0] == 2


def test_folding_files(unrolled: Callable[..., Any]) -> None:
    Path("a").write_text("Crème --\nbrûlée 3")
    Path("b").write_text("OLD")
    assert unrolled("fold", "a", "b") == (0, "creme brulee old\n", "")
