"""`resume`: going on, going further, and what stands in the way. Killed runs: tests/training/test_exact_resume.py."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled import open_run, resume, train_lm
from unrolled.errors import ConfigurationError, Interrupted, RunError
from unrolled.runs.checkpoints import load
from unrolled.runs.directory import Run
from unrolled.runs.logs import read_metrics
from unrolled.training.events import Event, Stepped
from unrolled.verbs.listening import Listener

SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "layers": 1,
    "batch": 3,
    "length": 8,
    "threads": 1,
    "precision": "float32",
    "sample_every": 0,
    "dropout": 0.3,
}


class Stopper(Listener):
    """Asks for an end at a step, as Ctrl-C does; and remembers notes."""

    def __init__(self, at: int = 10**9) -> None:
        self.at = at
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def event(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == self.at:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def finished(trained: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(trained, tmp_path / "finished"))


def weights(run: Path | str, which: str = "last") -> dict[str, torch.Tensor]:
    return load(Run.open(run), which).model


def assert_same(run: Path | str, other: Path | str) -> None:
    one, two = weights(run), weights(other)
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def begun(run: Path | str, corpus: Path, **options: Any) -> None:
    """A run that was stopped by two Ctrl-C after 7 steps, its last checkpoint being of the fifth."""
    with pytest.raises(KeyboardInterrupt):
        train_lm([str(corpus)], run=run, checkpoint_every=5, validations=1, listener=Stopper(7), **SMALL, **options)


# ---- going on


def test_it_goes_on_where_the_last_checkpoint_stands(corpus: Path) -> None:
    train_lm([str(corpus)], run="whole", steps=12, **SMALL)
    begun("stopped", corpus, steps=12)
    assert load(Run.open("stopped")).step == 5
    found = resume("stopped")
    assert found.steps == 12
    assert_same("whole", "stopped")
    assert found.valid is not None
    steps = [record["step"] for record in read_metrics(Run.open("stopped")) if "loss" in record]
    assert steps == list(range(1, 13))


def test_it_goes_on_from_an_earlier_checkpoint(finished: Path) -> None:
    expected, earlier = weights(finished), min(map(int, Run.open(finished).checkpoint_names()))
    assert earlier < 60
    stopper = Stopper()
    assert resume(finished, checkpoint=str(earlier), listener=stopper).steps == 60
    assert stopper.notes == [f"steps {earlier + 1} to 60 are given up: going on from step {earlier}"]
    assert all(torch.equal(value, expected[name]) for name, value in weights(finished).items())


def test_a_finished_run_is_left_alone_and_that_is_said(finished: Path) -> None:
    expected, stopper = weights(finished), Stopper()
    assert resume(finished, listener=stopper).steps == 60
    assert all(torch.equal(value, expected[name]) for name, value in weights(finished).items())
    assert stopper.notes == ["the budget was spent already; a larger --steps, --epochs or --minutes goes on"]


@pytest.mark.parametrize(("budget", "steps"), [({"steps": 70}, 70), ({"epochs": 1.0}, 84), ({"minutes": 0.5}, None)])
def test_a_finished_run_is_extended(finished: Path, budget: dict[str, Any], steps: int | None) -> None:
    if "minutes" in budget:
        spent = load(Run.open(finished)).state["minutes"]
        budget = {"minutes": spent + 0.002}
    found = resume(finished, **budget)
    assert found.steps == steps or (steps is None and found.steps > 60)
    training = Run.open(finished).config["training"]
    given = {name: training[name] for name in ("steps", "epochs", "minutes")}
    assert given == {"steps": None, "epochs": None, "minutes": None} | budget


def test_an_extended_run_that_is_stopped_goes_on_to_its_new_budget(corpus: Path) -> None:
    for name in ("one", "other"):
        train_lm([str(corpus)], run=name, steps=6, checkpoint_every=3, **SMALL)
    resume("one", steps=20)
    with pytest.raises(KeyboardInterrupt):
        resume("other", steps=20, listener=Stopper(11))
    assert resume("other").steps == 20
    assert_same("one", "other")


@pytest.mark.parametrize("budget", [{"steps": 60}, {"steps": 3}, {"epochs": 0.1}, {"minutes": 1e-9}])
def test_a_new_budget_that_is_spent(finished: Path, budget: dict[str, Any]) -> None:
    before = (finished / "config.json").read_bytes()
    with pytest.raises(ConfigurationError, match="the new budget is spent already") as caught:
        resume(finished, **budget)
    assert "60 steps" in (caught.value.got or "")
    assert (finished / "config.json").read_bytes() == before


def test_elsewhere_and_with_other_threads(finished: Path) -> None:
    assert resume(finished, steps=62, device="cpu", threads=1).steps == 62
    with pytest.raises(ConfigurationError, match="threads is out of range"):
        resume(finished, steps=64, threads=0)
    with pytest.raises(ConfigurationError, match="device 'gpu' cannot be used here"):
        resume(finished, steps=64, device="gpu")


def test_two_new_budgets(finished: Path) -> None:
    with pytest.raises(ConfigurationError, match="the budget is given twice"):
        resume(finished, steps=100, minutes=3.0)


def test_what_stopped_early_goes_on_with_a_new_budget(corpus: Path) -> None:
    options = {**SMALL, "validations": 60, "patience": 2, "learning_rate": 1e-12, "dropout": 0.0}
    first = train_lm([str(corpus)], run="run", steps=60, **options)
    stopper = Stopper()
    assert resume("run", listener=stopper).steps == first.steps
    assert "stopped early" in stopper.notes[0]
    assert resume("run", steps=61).steps > first.steps


# ---- stopped before the first checkpoint


def unbegun(run: Path) -> None:
    """Make a run what it is when it is killed right after its directory was made."""
    shutil.rmtree(run / "checkpoints")
    for name in ("last", "best", "metrics.jsonl", "samples.txt"):
        (run / name).unlink(missing_ok=True)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_killed_before_the_first_checkpoint_it_begins_as_it_would_have(corpus: Path, precision: str) -> None:
    train_lm([str(corpus)], run="run", steps=5, **{**SMALL, "precision": precision})
    shutil.copytree("run", "killed")
    unbegun(Path("killed"))
    torch.manual_seed(99)
    assert resume("killed").steps == 5
    assert_same("run", "killed")


def test_killed_while_its_first_checkpoint_was_given_its_name(corpus: Path) -> None:
    train_lm([str(corpus)], run="run", steps=5, keep=9, **SMALL)
    shutil.copytree("run", "killed")
    for name in ("last", "best"):
        Path("killed", name).unlink()
    for folder in Path("killed", "checkpoints").iterdir():
        if int(folder.name):
            shutil.rmtree(folder)
    assert resume("killed").steps == 5
    assert_same("run", "killed")


def test_killed_before_the_first_checkpoint_it_keeps_the_weights_it_was_to_begin_with(
    trained: Path, corpus: Path
) -> None:
    options = {name: value for name, value in SMALL.items() if name not in ("hidden_size", "layers")}
    train_lm([str(corpus)], run="run", init_from=trained, steps=5, **options)
    shutil.copytree("run", "killed")
    unbegun(Path("killed"))
    resume("killed")
    assert_same("run", "killed")


def test_without_its_last_checkpoint_a_run_does_not_start_again(finished: Path) -> None:
    (finished / "last").unlink()
    names = Run.open(finished).checkpoint_names()
    with pytest.raises(RunError, match="has no last checkpoint") as caught:
        resume(finished)
    assert f"--checkpoint {int(names[-1])}" in (caught.value.fix or "")
    assert Run.open(finished).checkpoint_names() == names
    assert resume(finished, checkpoint=str(int(names[-1])), steps=63).steps == 63


def test_a_damaged_pointer_costs_nothing(finished: Path) -> None:
    (finished / "last").write_text("nonsense")
    with pytest.raises(RunError, match=r"the file 'last' of the run .* is damaged") as caught:
        resume(finished)
    assert caught.value.fix == "use another checkpoint of this run, which is intact: --checkpoint 60"
    assert resume(finished, checkpoint="60", steps=63).steps == 63


# ---- what stands in the way


def test_two_cannot_train_one_run(finished: Path) -> None:
    with Run.open(finished).exclusive(), pytest.raises(RunError, match="is being trained by another process"):
        resume(finished, steps=100)
    assert resume(finished, steps=62).steps == 62


def test_a_log_that_lost_its_tail_is_noted(finished: Path) -> None:
    stopper = Stopper()
    (finished / "samples.txt").write_text("")
    (finished / "metrics.jsonl").write_text("")
    resume(finished, steps=62, listener=stopper)
    assert len(stopper.notes) == 1
    assert "metrics.jsonl has 0 bytes" in stopper.notes[0]


def test_a_cell_file_is_not_needed_any_more(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from unrolled.cells import U, W, b, cell, sigmoid\n\n\n@cell\ndef slow(x, h):\n"
        '    """A leaky unit."""\n    z = sigmoid(W.z @ x + b.z)\n    h = z * h + (1 - z) * (U.h @ h + W.h @ x)\n'
        "    return h\n"
    )
    train_lm([str(corpus)], run="whole", cell="mine.py:slow", steps=12, **SMALL)
    begun("stopped", corpus, steps=12, cell="mine.py")
    path.unlink()
    resume("stopped")
    assert_same("whole", "stopped")
    assert open_run("stopped").sample(length=30) == open_run("whole").sample(length=30)
    options = {name: value for name, value in SMALL.items() if name not in ("hidden_size", "layers", "dropout")}
    train_lm([str(corpus)], run="further", init_from="stopped", steps=2, **options)


def test_a_text_that_left_the_cache_is_prepared_again(corpus: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    for name in ("one", "other"):
        train_lm([str(corpus)], run=name, steps=4, **SMALL)
    resume("one", steps=8)
    shutil.rmtree(tmp_path / "cache")
    resume("other", steps=8)
    assert_same("one", "other")
    shutil.rmtree(tmp_path / "cache")
    assert open_run("one").evaluate().nats_per_token == open_run("other").evaluate().nats_per_token


def test_a_text_that_changed_and_left_the_cache_is_refused(tmp_path: Path, corpus: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    text.write_text(corpus.read_text())
    train_lm(["text.txt"], run="run", steps=4, **SMALL)
    text.write_text(corpus.read_text()[::-1])
    assert resume("run", steps=6).steps == 6  # the copy in the cache is what it was
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(RunError, match="the text has changed since the run began"):
        resume("run", steps=8)
    text.write_text("0123456789" * 600)
    with pytest.raises(RunError, match="the text has another vocabulary than the run"):
        resume("run", steps=8)
    text.unlink()
    with pytest.raises(RunError, match=r"the text of the run run is gone.*there is no such file"):
        resume("run", steps=8)


def test_settings_of_another_version_are_refused(finished: Path) -> None:
    run = Run.open(finished)
    run.with_config({**run.config, "training": {**run.config["training"], "learning_rat": 1.0}})
    with pytest.raises(ConfigurationError, match="unknown key 'learning_rat'") as caught:
        resume(finished, steps=100)
    assert str(finished / "config.json") in (caught.value.where or "")


def test_another_task_is_refused(finished: Path) -> None:
    run = Run.open(finished)
    run.with_config({**run.config, "task": "tagging"})
    with pytest.raises(RunError, match="is not a language model"):
        resume(finished, steps=100)


def test_outside_the_main_thread_signals_are_left_alone(finished: Path) -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(resume(finished, steps=62).steps))
    thread.start()
    thread.join()
    assert found == [62]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as a terminal has it: a job in the background, as these tests may be, starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_first_interruption_saves(corpus: Path) -> None:
    """Ctrl-C in a process of its own: tests/cli/test_signals.py."""

    class Interrupter(Stopper):
        def event(self, event: Event) -> None:
            if isinstance(event, Stepped) and event.step == self.at:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="stopped after step 3; everything is saved in run") as caught:
        train_lm([str(corpus)], run="run", steps=9, listener=Interrupter(3), **SMALL)
    assert caught.value.fix == "go on with: unrolled resume run"
    assert load(Run.open("run")).step == 3
    assert signal.getsignal(signal.SIGINT) is before
    train_lm([str(corpus)], run="whole", steps=9, **SMALL)
    resume("run")
    assert_same("run", "whole")
    state = json.loads(Path("run/checkpoints/000000009/training.json").read_text())
    assert state["step"] == 9
