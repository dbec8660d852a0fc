"""`train`, from a text to a run. What is resumed: test_resuming.py."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from unrolled import cell, open_run, train_lm
from unrolled.cells import U, W, b, tanh
from unrolled.data import standard_library
from unrolled.data.store import TokenStore
from unrolled.errors import CellError, ConfigurationError, DataError, DivergenceError, RunError
from unrolled.runs.checkpoints import load
from unrolled.runs.directory import Run
from unrolled.runs.logs import read_metrics
from unrolled.training.events import Event, Stepped, Validated
from unrolled.verbs.demo import demo
from unrolled.verbs.listening import Listener

SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "layers": 1,
    "batch": 3,
    "length": 8,
    "steps": 4,
    "threads": 1,
    "precision": "float32",
    "sample_every": 0,
}


class Ear(Listener):
    """Remembers what it heard."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.facts: dict[str, str] = {}
        self.events: list[Event] = []
        self.samples: list[tuple[int, str]] = []
        self.prepared = self.read = (0, 0)

    def preparing(self, done: int, total: int, phase: str) -> None:
        self.prepared = (done, total)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def started(self, run: str, facts: dict[str, str]) -> None:
        self.facts = {"run": run, **facts}

    def event(self, event: Event) -> None:
        self.events.append(event)

    def sampled(self, step: int, text: str) -> None:
        self.samples.append((step, text))

    def reading(self, done: int, total: int) -> None:
        self.read = (done, total)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)


def options_of(run: Path) -> dict[str, Any]:
    config = Run.open(run).config
    return {**config["text"], **config["model"], **config["training"]}


# ---- the main job


def test_text_in_and_a_trained_network_out(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    ear = Ear()
    found = train_lm([str(corpus)], run=tmp_path / "run", listener=ear, **{**SMALL, "steps": 30, "sample_every": 15})
    assert (found.run, found.steps) == (tmp_path / "run", 30)
    assert found.valid is not None
    assert (found.valid.protocol, found.valid.tokens) == ("carried", 299)
    assert found.valid.nats_per_token == pytest.approx(open_run(found.run).evaluate().nats_per_token)
    # The whole validation part is small enough to be read while training too: the same figure stands in the metrics.
    assert found.valid.nats_per_token == min(r["valid"] for r in read_metrics(Run.open(found.run)) if "valid" in r)
    assert [step for step, _ in ear.samples] == [0, 15, 30]
    assert all(len(text) == 200 for _, text in ear.samples)
    assert (found.run / "samples.txt").read_text().count("=== step ") == 3
    assert ear.prepared == (6000, 6000)
    assert ear.read == (299, 299)
    assert len([event for event in ear.events if isinstance(event, Stepped)]) == 30
    assert ear.facts["run"] == str(found.run)
    assert "5,400 characters to train on, 300 to validate, 300 to test" in ear.facts["text"]
    assert "lstm 1x8" in ear.facts["network"]
    assert f"{found.parameters:,} parameters" in ear.facts["network"]
    assert ear.facts["training"].startswith("30 steps; adamw")


def test_it_learns(corpus: Path) -> None:
    found = train_lm([str(corpus)], **{**SMALL, "hidden_size": 24, "steps": 150, "learning_rate": 0.02})
    assert found.valid is not None
    assert found.valid.nats_per_token < 1.9  # letters by their frequency: about 2.6


def test_the_run_is_named_after_text_and_cell(corpus: Path, tmp_path: Path) -> None:
    names = [train_lm([str(corpus)], **{**SMALL, "cell": name}).run for name in ("gru", "rnn", "gru")]
    assert names == [Path("runs/sea-gru"), Path("runs/sea-rnn"), Path("runs/sea-gru-2")]
    other = tmp_path / "two words!"
    other.mkdir()
    for name in ("a.txt", "b.txt"):
        (other / name).write_text("some text " * 30)
    assert train_lm([str(other)], **SMALL).run == Path("runs/two-words-lstm")


def test_every_choice_is_in_the_configuration(corpus: Path) -> None:
    # With dropout the training step is not one compiled call, so that there is something to choose.
    found = train_lm([str(corpus)], **{**SMALL, "precision": "auto", "learning_rate": None, "dropout": 0.1})
    config = Run.open(found.run).config
    chosen = f"{config['training']['precision']} {config['measured']['kernel']}"
    ways = {f"{precision} {kernel}" for precision in ("float32", "bfloat16") for kernel in ("library", "cpu")}
    assert chosen in config["measured"]["seconds_a_batch"].keys() == ways
    assert config["training"]["learning_rate"] > 0
    assert config["equations"]["name"] == "lstm"
    assert config["data"]["sources"] == [{"part": "text", "path": str(corpus)}]
    assert (config["recipe"], config["init_from"], config["task"]) == (None, None, "lm")


def test_the_same_command_gives_the_same_bits_and_another_seed_others(corpus: Path) -> None:
    found = [train_lm([str(corpus)], **SMALL, seed=seed, dropout=0.3).run for seed in (0, 0, 1)]
    contents = [(load(Run.open(run)).model, (run / "samples.txt").read_bytes()) for run in found]
    for name, value in contents[0][0].items():
        assert torch.equal(value, contents[1][0][name])
    assert not torch.equal(contents[0][0]["output.weight"], contents[2][0]["output.weight"])


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_precisions(corpus: Path, precision: str) -> None:
    run = train_lm([str(corpus)], **{**SMALL, "precision": precision}).run
    expected = torch.float64 if precision == "float64" else torch.float32
    assert {value.dtype for value in load(Run.open(run)).model.values()} == {expected}
    assert len(open_run(run).sample(length=5)) == 5


# ---- texts


def store_of(run: Path) -> TokenStore:
    return TokenStore.open(Path(Run.open(run).config["data"]["store"]))


def test_several_files_with_documents_that_reset(tmp_path: Path, make_text: Callable[[int, int], str]) -> None:
    for seed in range(3):
        (tmp_path / f"{seed}.txt").write_text(make_text(300 + seed, seed))
    found = train_lm(["0.txt", "1.txt", "2.txt"], documents="reset", split="80/20/0", **SMALL)
    store = store_of(found.run)
    assert store.split("train").document_starts.tolist() == [0, 300, 601]
    assert options_of(found.run)["documents"] == "reset"
    assert found.valid is not None
    # No document begins in the validation part: each of its symbols but the first is predicted.
    assert found.valid.tokens == len(store.split("valid")) - 1


def test_a_directory_and_a_glob_give_the_same_text(tmp_path: Path, make_text: Callable[[int, int], str]) -> None:
    (tmp_path / "texts").mkdir()
    for seed in range(3):
        (tmp_path / "texts" / f"{seed}.txt").write_text(make_text(300, seed))
    found = [store_of(train_lm([name], **SMALL).run).fingerprint for name in ("texts", "texts/*.txt")]
    assert found[0] == found[1]


def test_a_split_that_is_given(tmp_path: Path, make_text: Callable[[int, int], str]) -> None:
    for seed, name in enumerate(("train", "valid", "test")):
        (tmp_path / name).write_text(make_text(300 + seed, seed))
    found = train_lm(train=["train"], valid=["valid"], test=["test"], **SMALL)
    store = store_of(found.run)
    assert [len(store.split(part)) for part in ("train", "valid", "test")] == [300, 301, 302]
    assert open_run(found.run).evaluate("test").tokens == 301


def test_bytes(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("häuser am fluß, 10 € " * 20)
    found = train_lm(["text"], unit="byte", **SMALL)
    model = open_run(found.run)
    assert model.vocabulary.size == 256
    report = model.score("Щ 😀")  # whatever the text, it can be read
    assert (report.tokens, report.characters) == (7, 3)
    assert report.nats_per_token == pytest.approx(np.log(256), rel=0.1)


def test_rare_characters_are_folded(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("abc " * 100 + "x")
    model = open_run(train_lm(["text"], min_count=2, **SMALL).run)
    assert model.vocabulary.symbols == (" ", "a", "b", "c", "<unk>")
    assert model.score("abxy").tokens == 4


def test_standard_input(tmp_path: Path, make_text: Callable[[int, int], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(make_text(400, 0).encode())))
    found = train_lm(["-"], **SMALL)
    assert found.run == Path("runs/stdin-lstm")
    assert len(store_of(found.run).tokens) == 400


def test_a_file_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.txt").write_text("some text " * 30)
    run = train_lm(["caf\udce9.txt"], **SMALL).run
    assert Run.open(run).config["data"]["sources"][0]["path"].endswith("caf\udce9.txt")


def test_without_a_validation_part(corpus: Path) -> None:
    found = train_lm([str(corpus)], split="100/0/0", **SMALL)
    assert found.valid is None
    assert open_run(found.run).step == 4
    with pytest.raises(DataError, match="the run's text has no valid part"):
        open_run(found.run).evaluate()


# ---- networks


def test_with_a_precision_that_is_given_nothing_is_measured(corpus: Path) -> None:
    config = Run.open(train_lm([str(corpus)], **{**SMALL, "dropout": 0.1}).run).config
    assert config["measured"]["seconds_a_batch"] == {}
    assert config["measured"]["kernel"] == "library"


def test_a_net_whose_step_is_one_compiled_call_is_not_measured(corpus: Path) -> None:
    config = Run.open(train_lm([str(corpus)], **{**SMALL, "precision": "auto"}).run).config
    assert config["training"]["precision"] == "float32"
    assert config["measured"]["seconds_a_batch"] == {}


def test_a_cell_of_ones_own_as_an_object(corpus: Path) -> None:
    @cell
    def mine(x, h):  # type: ignore[no-untyped-def]
        """My own."""
        h = tanh(W.h @ x + b.h) * (U.h @ h)
        return h

    found = train_lm([str(corpus)], equations=mine, **SMALL)
    assert found.run == Path("runs/sea-mine")
    assert Run.open(found.run).config["measured"]["kernel"] == "cpu"
    assert options_of(found.run)["cell"] == "mine"
    assert len(open_run(found.run).sample(length=9)) == 9


@pytest.mark.parametrize("options", [{"residual": True, "layers": 3}, {"variational": True, "dropout": 0.5}])
def test_networks(corpus: Path, options: dict[str, Any]) -> None:
    run = train_lm([str(corpus)], **{**SMALL, **options}).run
    assert options.items() <= options_of(run).items()
    assert len(open_run(run).sample(length=9)) == 9


def test_the_recipe_of_min_char_rnn(corpus: Path) -> None:
    ear = Ear()
    found = train_lm([str(corpus)], recipe="min-char-rnn", steps=200, threads=1, listener=ear)
    assert found.valid is None
    assert [step for step, _ in ear.samples] == [0, 100, 200]
    model = load(Run.open(found.run)).model
    assert model["recurrent.layers.0.W.h"].shape == (100, len(open_run(found.run).vocabulary.symbols))
    assert "embedding.weight" not in model
    losses = [event.loss for event in ear.events if isinstance(event, Stepped)]
    assert sum(losses[-50:]) < sum(losses[:50])


def test_what_is_given_wins_over_the_recipe(corpus: Path) -> None:
    given = {"layers": 2, "batch": 2, "precision": "float32", "clip_value": 0.0, "sample_every": 0, "split": "90/5/5"}
    ear = Ear()
    run = train_lm([str(corpus)], recipe="min-char-rnn", steps=4, threads=1, listener=ear, **given).run
    found = options_of(run)
    assert {name: found[name] for name in given if name in found} == {k: v for k, v in given.items() if k in found}
    assert (found["optimizer"], found["hidden_size"]) == ("adagrad-inside", 100)
    assert ear.samples == []


# ---- beginning with the weights of another run


def test_a_run_may_begin_with_the_weights_of_another(trained: Path, corpus: Path) -> None:
    options = {name: value for name, value in SMALL.items() if name not in ("hidden_size", "layers")}
    run = train_lm([str(corpus)], init_from=trained, **{**options, "learning_rate": 1e-9}).run
    # Its network is the other's, without a word about it, and it begins where the other is.
    assert Run.open(run).config["model"] == Run.open(trained).config["model"]
    begin, end = open_run(trained), open_run(run)
    assert Run.open(run).config["init_from"] == {"run": str(trained), "checkpoint": begin.step}
    assert end.evaluate().nats_per_token == pytest.approx(begin.evaluate().nats_per_token, rel=1e-4)


def test_weights_of_another_vocabulary_are_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("0123456789" * 60)
    with pytest.raises(RunError, match="the text has another vocabulary than the run") as caught:
        train_lm(["other.txt"], init_from=trained, **SMALL)
    assert caught.value.expected == f"20 symbols (char), among them {' '.join(map(repr, chr(10) + ' ,.adef'))}"
    assert caught.value.got == "10 symbols (char), among them '0' '1' '2' '3' '4' '5' '6' '7'"
    assert not (tmp_path / "runs").exists()


def test_weights_of_another_network_are_refused(trained: Path, corpus: Path) -> None:
    with pytest.raises(RunError, match="the weights are of another network"):
        train_lm([str(corpus)], init_from=trained, **SMALL)  # 8 units, not 16
    with pytest.raises(RunError, match="the weights are of another network"):
        train_lm([str(corpus)], init_from=trained, cell="gru", steps=2, batch=3, length=8, threads=1)


# ---- what goes wrong, leaves nothing behind


def test_a_directory_that_is_taken_is_refused_before_any_work(corpus: Path, trained: Path) -> None:
    ear = Ear()
    with pytest.raises(RunError, match="holds a run already") as caught:
        train_lm([str(corpus)], run=trained, listener=ear, min_count=3, **SMALL)
    assert f"unrolled resume {trained}" in str(caught.value)
    assert ear.prepared == (0, 0)


def test_a_text_shorter_than_one_sequence(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("just a few letters")
    with pytest.raises(DataError, match="the text is too short for one sequence") as caught:
        train_lm(["short"], **{**SMALL, "length": 50, "batch": 1})
    assert "--length" in (caught.value.fix or "")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"cell": "ltsm"}, CellError),
        ({"split": "90/5/6"}, ConfigurationError),
        ({"recipe": "max-char-rnn"}, ConfigurationError),
        ({"device": "gpu"}, ConfigurationError),
        ({"hiden_size": 3}, ConfigurationError),
        ({"init_from": "nowhere"}, RunError),
        ({"seed": -1}, ConfigurationError),
        ({"learning_rate": float("nan")}, ConfigurationError),
    ],
)
def test_a_wrong_option_leaves_nothing_behind(
    options: dict[str, Any], error: type[Exception], corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(error):
        train_lm([str(corpus)], **{**SMALL, **options})
    assert not (tmp_path / "runs").exists()


def test_divergence_leaves_the_last_good_checkpoint(corpus: Path) -> None:
    options = {"optimizer": "sgd", "learning_rate": 1e30, "clip_norm": 0.0, "warmup": 0.0, "sample_every": None}
    with pytest.raises(DivergenceError, match=r"training diverged at step \d"):
        train_lm([str(corpus)], run="run", **{**SMALL, "steps": 200, **options})
    assert len(open_run("run").sample(length=9)) == 9


def test_stopping_early_is_noted(corpus: Path) -> None:
    ear = Ear()
    options = {**SMALL, "steps": 60, "validations": 60, "patience": 2, "learning_rate": 1e-12, "listener": ear}
    found = train_lm([str(corpus)], **options)
    assert found.steps < 60
    assert ear.notes == ["stopped early: 2 validations in a row were not better than the best"]
    assert not [event for event in ear.events if isinstance(event, Validated)][-1].best


def test_signals_that_are_ignored_stay_so(corpus: Path) -> None:
    """As in a job that a shell has put in the background."""

    class Interrupter(Listener):
        def event(self, event: Event) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert train_lm([str(corpus)], listener=Interrupter(), **SMALL).steps == 4
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_text: Callable[[int, int], str]) -> None:
    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make_text(20_000, 0))
        return path

    monkeypatch.setattr(standard_library, "write", write)
    monkeypatch.setattr("unrolled.verbs.training.choose_threads", lambda given, processes: 1)
    found = demo(minutes=0.002)
    assert found.run == Path("runs/demo")
    assert (tmp_path / "runs" / "demo.txt").exists()
    assert options_of(found.run)["split"] == "90/10/0"
    assert found.valid is not None
    assert json.loads((found.run / "config.json").read_text())["training"]["minutes"] == 0.002
