from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled import fit_lm, open_run, train_lm
from unrolled.errors import ConfigurationError, DataError
from unrolled.evaluation.reading import MixedReader, Reader
from unrolled.evaluation.scoring import surprisals
from unrolled.verbs.attributing import Author, attribute_text, attribution_trial, own_text

SPLIT = "80/10/10"


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs of two texts of the same letters."""
    directory, made = tmp_path_factory.mktemp("authors"), []
    for name, words in (("one", "the sea rose and the moon slept "), ("two", "tpels noom eht dna esor aes eht ")):
        (directory / name).write_text(words * 150)
        options: dict[str, Any] = {"hidden_size": 12, "layers": 1, "batch": 4, "length": 16, "threads": 1, "steps": 40}
        options |= {"learning_rate": 0.02, "sample_every": 0, "split": SPLIT, "precision": "float32"}
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
        # After a space, which is not counted itself.
        costs = [one.nats for one in surprisals(model.model, model.vocabulary, model.vocabulary.encode(" " + text))][1:]
        assert each.nats_per_character == pytest.approx(sum(costs) / len(text), rel=1e-4)


@pytest.fixture(scope="module")
def counted(authors: list[Path]) -> list[Path]:
    """N-gram models of the same two texts."""
    texts = [str(path.parent / path.name.removeprefix("run-")) for path in authors]
    runs = [path.with_name(f"n-{path.name}") for path in authors]
    return [fit_lm([text], run=run, order=4, split=SPLIT).run for text, run in zip(texts, runs, strict=True)]


def test_an_n_gram_model_is_an_author_too(counted: list[Path]) -> None:
    text = "the moon rose and slept and the sea " * 9
    models = [open_run(path) for path in counted]
    found, _ = attribute_text(models, [text], stretch=30)
    assert found[0].name == str(counted[0])
    for each, model in zip(found, models, strict=True):
        costs = [one.nats for one in surprisals(model.model, model.vocabulary, model.vocabulary.encode(" " + text))][1:]
        assert each.nats_per_character == pytest.approx(sum(costs) / len(text), rel=1e-9)


def test_a_network_and_an_n_gram_model_are_mixed(authors: list[Path], counted: list[Path]) -> None:
    """The mean of their probabilities, symbol by symbol."""
    text = "the moon rose and slept and the sea "
    models = [open_run(path) for path in (authors[0], counted[0], authors[1])]
    mixed = Author((models[0], models[1]))
    found, _ = attribute_text([mixed, models[2]], [text], stretch=9)
    assert found[0].name == f"{authors[0]}+{counted[0]}"
    both = []
    for model in models[:2]:
        ids = model.vocabulary.encode(" " + text)
        both.append(np.array([one.nats for one in surprisals(model.model, model.vocabulary, ids)][1:]))
    expected = -np.log((np.exp(-both[0]) + np.exp(-both[1])) / 2).mean()
    assert found[0].nats_per_character == pytest.approx(expected, rel=1e-4)
    rows, _ = attribution_trial([mixed, Author((models[2], open_run(counted[1])))], (3, 40), 8)
    assert rows[1].models == 1.0
    with pytest.raises(ConfigurationError, match="runs that are mixed have the same vocabulary"):
        Author(())


def test_readers_go_on_where_they_were(authors: list[Path], counted: list[Path]) -> None:
    """In pieces and side by side, as in one go; and as by the distributions of the model."""
    models = [open_run(authors[0]), open_run(counted[0])]
    readers = [models[1].reader(), MixedReader([each.reader() for each in models])]
    slow = Reader(models[1].model, models[1].vocabulary.unigram())
    ids = np.random.default_rng(0).integers(0, models[0].vocabulary.size, (3, 11))
    np.testing.assert_allclose(
        readers[0].read(ids, readers[0].start(3))[0], slow.read(ids, slow.start(3))[0], rtol=1e-9
    )
    for reader in readers:
        whole, end = reader.read(ids, reader.start(3))
        first, place = reader.read(ids[:, :4], reader.start(3))
        order = [2, 0, 1]
        rest, after = reader.read(ids[order, 4:], reader.select(place, order))
        np.testing.assert_allclose(np.hstack([first[order], rest]), whole[order], rtol=1e-4)
        np.testing.assert_allclose(after.following, end.following[order], rtol=1e-4)
        np.testing.assert_allclose(np.exp(end.following).sum(1), 1, rtol=1e-5)


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
    mixed = f"{authors[0]}+{authors[0]}"
    found = json.loads(unrolled("attribute", mixed, authors[1], "text", "--fold", "letters", "--json")[1])
    assert found["candidates"][0]["name"] == mixed
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
