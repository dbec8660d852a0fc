"""An n-gram model is a run like any other."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from unrolled import describe, fit_lm, open_run, resume, train_lm
from unrolled.data.store import Tokens, TokenStore
from unrolled.errors import ConfigurationError, RunError
from unrolled.runs.directory import Run, list_runs
from unrolled.tasks.ngram import NGram
from unrolled.tasks.ngram_counts import Counts
from unrolled.verbs.describing_ngrams import FittedDescription


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A run of 4-grams of `corpus`; not to be changed (copy it)."""
    path = tmp_path_factory.mktemp("runs") / "fitted"
    found = fit_lm([str(corpus)], run=path, order=4)
    assert found.order == 4
    assert found.chosen == []
    assert found.valid is not None
    return path


@pytest.fixture(scope="module")
def model(fitted: Path) -> NGram:
    """The same model, counted here."""
    store = TokenStore.open(Path(Run.open(fitted).config["data"]["store"]))
    counts = Counts(store.split("train"), store.vocabulary.size)
    for _ in range(3):
        counts.grow()
    return NGram.of(counts, 4)


def test_it_is_evaluated(fitted: Path, model: NGram) -> None:
    run = open_run(fitted)
    tokens = TokenStore.open(Path(run.run.config["data"]["store"])).split("test")
    found = run.evaluate("test")
    p = model.text_likelihoods(tokens)
    assert found.tokens == len(tokens) - 1
    assert found.streams == 1
    assert found.nats_per_token == pytest.approx(-np.log(p[1:]).mean(), rel=1e-12)
    assert found.perplexity < 4
    assert not found.chosen_on_this_part
    windows = run.evaluate("test", "windows", window=8)
    nats = 0.0
    for at in range(0, len(tokens) - 1, 8):
        part = Tokens(tokens.ids[at : at + 9])
        nats -= float(np.log(model.text_likelihoods(part)[1:]).sum())
    assert windows.nats_per_token == pytest.approx(nats / (len(tokens) - 1), rel=1e-12)


def test_it_scores_and_writes(fitted: Path, model: NGram) -> None:
    run = open_run(fitted)
    text = "the old sea rose and"
    ids = run.vocabulary.encode(text)
    expected = -math.log(run.vocabulary.unigram()[ids[0]]) - np.log(model.text_likelihoods(Tokens(ids))[1:]).sum()
    assert -run.score(text).log_likelihood == pytest.approx(expected, rel=1e-12)
    each = list(run.each(text, alternatives=2))
    assert sum(symbol.nats for symbol in each) == pytest.approx(expected, rel=1e-12)
    assert each[-1].alternatives[0][0] == ids[-1]
    sample = run.sample(prompt="the old ", length=60, temperature=0.5)
    assert len(sample) == 60
    assert sample == open_run(fitted).sample(prompt="the old ", length=60, temperature=0.5)
    assert "oon" in run.sample(prompt="under a pale m", length=40, temperature=0)
    place = run.reader().start()
    nats, _ = run.reader().read(ids[None], place)
    assert nats.sum() == pytest.approx(expected, rel=1e-9)


def test_it_is_listed_and_described(fitted: Path) -> None:
    summary = next(run for run in list_runs(fitted.parent) if run.name == "fitted")
    assert summary.damage is None
    found = describe(fitted)
    assert isinstance(found, FittedDescription)
    assert found.parameters == summary.state["ngrams"] == sum(found.ngrams) - 1
    assert (found.order, found.lines, len(found.discounts)) == (4, "carry", 4)
    assert f"{found.parameters:,} n-grams" in found.text()


def test_what_wants_a_network_says_so(fitted: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no network"):
        resume(fitted)
    with pytest.raises(RunError, match="has no network"):
        train_lm([str(corpus)], run=tmp_path / "run", init_from=fitted, steps=1)


def test_one_changed_byte_is_noticed(fitted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = run / "checkpoints" / "000000001" / "model.safetensors"
    shutil.copytree(fitted, run)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"model.safetensors was changed"):
        open_run(run)
    path.write_bytes(content[:-1])
    with pytest.raises(RunError, match=r"cannot be used"):
        open_run(run)
    assert list_runs(tmp_path)[0].damage == "model.safetensors is cut short"
    path.unlink()
    with pytest.raises(RunError, match=r"cannot be used"):
        open_run(run)


def test_two_fits_are_the_same_bytes_and_also_on_disk(fitted: Path, corpus: Path, tmp_path: Path) -> None:
    fit_lm([str(corpus)], run=tmp_path / "again", order=4, in_memory=0.0)
    models = [path / "checkpoints" / "000000001" / "model.safetensors" for path in (fitted, tmp_path / "again")]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_the_order_and_the_discounts_are_chosen_on_the_validation_part(corpus: Path, tmp_path: Path) -> None:
    given = [fit_lm([str(corpus)], run=tmp_path / f"{order}", order=order) for order in range(1, 9)]
    losses = [found.valid.nats_per_token for found in given if found.valid is not None]
    chosen = fit_lm([str(corpus)], run=tmp_path / "chosen", discounts="tuned")
    assert chosen.chosen == ["order", "discounts"]
    tried = [chosen.tried[order] for order in range(1, 9) if order in chosen.tried]
    assert tried == pytest.approx(losses[: len(tried)])
    assert chosen.order == min(chosen.tried, key=lambda order: chosen.tried[order])
    # It looked two orders beyond.
    assert len(chosen.tried) == chosen.order + 2
    assert chosen.valid is not None
    assert chosen.valid.nats_per_token < chosen.tried[chosen.order]
    config = json.loads((tmp_path / "chosen" / "config.json").read_text())
    assert config["model"]["order"] == chosen.order
    assert config["fitted"]["chosen_on_valid"] == ["order", "discounts"]
    assert open_run(tmp_path / "chosen").evaluate("valid").chosen_on_this_part
    assert not open_run(tmp_path / "3").evaluate("valid").chosen_on_this_part


@pytest.mark.parametrize("lines", ["carry", "reset"])
def test_lines_carry_the_context_or_begin_anew(corpus: Path, tmp_path: Path, lines: str) -> None:
    fit_lm([str(corpus)], run=tmp_path / "run", order=3, lines=lines)
    run = open_run(tmp_path / "run")
    newline = run.vocabulary.encode("\n")[0]
    assert run.model.ngram.boundary == (newline if lines == "reset" else None)
    after, other = (list(run.each(f"{text}.\nth"))[-2].nats for text in ("the sea", "a pale moon"))
    assert after == other or lines == "carry"


def test_a_document_begins_anew_where_it_is_told_to(corpus: Path, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(corpus.read_text()[:2000])
    parts = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
    fit_lm(train=parts, valid=parts, run=tmp_path / "run", order=3, documents="reset")
    found = open_run(tmp_path / "run").evaluate("valid")
    assert found.tokens == 2 * 1999


def test_wrong_options_are_refused(corpus: Path, tmp_path: Path) -> None:
    text = [str(corpus)]
    for options, message in (
        ({"order": 0}, "order is out of range"),
        ({"order": 25}, "order is out of range"),
        ({"hidden_size": 5}, "is none of an n-gram model"),
        ({"discounts": "none"}, "wrong value"),
        ({"discounts": "tuned", "split": "100/0/0"}, "there is none"),
        ({"in_memory": -1.0}, "in_memory"),
        ({"lines": "reset", "unit": "char"}, "no symbol ends one"),
    ):
        path = tmp_path / "run"
        given = text
        if options.get("lines"):
            (tmp_path / "flat.txt").write_text(corpus.read_text().replace("\n", " "))
            given = [str(tmp_path / "flat.txt")]
        with pytest.raises(ConfigurationError, match=message):
            fit_lm(given, run=path, **options)  # type: ignore[arg-type]
        assert not path.exists()
    with pytest.raises(RunError, match="holds a run already"):
        fit_lm(text, run=Path(fit_lm(text, run=tmp_path / "there", order=2, split="100/0/0").run))
