"""What all tasks that learn from examples share, shown with a classifier."""

import csv
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from unrolled.errors import ConfigurationError, Interrupted, RunError
from unrolled.training.events import Event, Stepped
from unrolled.verbs.listening import Listener
from unrolled.verbs.supervised import open_task, train_task
from unrolled.verbs.training import resume

_SETTINGS: dict[str, Any] = {"hidden_size": 8, "batch": 8, "precision": "float32", "threads": 1, "dropout": 0.2}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words of an alphabet's first or second half."""
    source, path = random.Random(0), tmp_path_factory.mktemp("table") / "words.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(200):
            half = source.choice(("abcdef", "uvwxyz"))
            writer.writerow(["".join(source.choices(half, k=source.randint(1, 9))), half[0]])
    return path


class _Stopping(Listener):
    """Stops a training after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def event(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == self.step:
            raise KeyboardInterrupt


def _weights(run: Path) -> dict[str, bytes]:
    last = (run / "last").read_text().strip()
    return {path.name: path.read_bytes() for path in (run / "checkpoints" / last).glob("*.safetensors")}


def test_a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not(table: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_task("classify", table, run=whole, steps=30, **_SETTINGS)
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        train_task("classify", table, run=parts, steps=30, checkpoint_every=7, listener=_Stopping(17), **_SETTINGS)
    resume(parts)
    assert _weights(whole) == _weights(parts)
    assert (whole / "best").read_text() == (parts / "best").read_text()


def test_a_run_is_used_without_its_data_and_says_when_it_wants_it(table: Path, tmp_path: Path) -> None:
    data = shutil.copy(table, tmp_path / "data.csv")
    trained = train_task("classify", data, run=tmp_path / "run", steps=60, learning_rate=0.02, **_SETTINGS)
    assert trained.valid is not None
    assert open_task(tmp_path / "run").evaluate("valid")["loss"] == pytest.approx(trained.valid["loss"], rel=1e-6)
    with Path(data).open("a") as file:
        file.write("abc,a\n")
    with pytest.raises(RunError, match="has changed"):
        open_task(tmp_path / "run").evaluate("test")
    with pytest.raises(RunError, match="has changed"):
        resume(tmp_path / "run", steps=70)
    Path(data).unlink()
    with pytest.raises(RunError, match="is gone"):
        open_task(tmp_path / "run").evaluate("test")
    opened = open_task(tmp_path / "run")
    assert [found["label"] for found in opened.predict(["abba", "xyz"])] == ["a", "u"]


@pytest.mark.parametrize("select", ["metric", "loss"])
def test_the_best_checkpoint_is_that_of_the_best_accuracy_or_of_the_lowest_loss(
    select: str, table: Path, tmp_path: Path
) -> None:
    noisy, rows = tmp_path / "noisy.csv", table.read_text().splitlines()
    noisy.write_text("\n".join(f"{row[:-1]}u" if index % 3 == 1 else row for index, row in enumerate(rows)))
    options = {**_SETTINGS, "dropout": 0.0, "split": "50/50/0", "learning_rate": 0.03, "select": select}
    train_task("classify", noisy, run=tmp_path / "run", steps=120, validations=20, keep=20, **options)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    found = {line["step"]: (line["valid"], line.get("accuracy")) for line in lines if "valid" in line}
    if select == "metric":
        wanted = min(found, key=lambda step: (-found[step][1], found[step][0]))
    else:
        wanted = min(found, key=lambda step: found[step][0])
    assert int((tmp_path / "run" / "best").read_text()) == wanted
    loss, accuracy = found[wanted]
    report = open_task(tmp_path / "run").evaluate("valid")
    assert report["loss"] == pytest.approx(loss, rel=1e-5)
    assert select == "loss" or report["accuracy"] == accuracy


def test_an_option_of_another_task_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown option 'length'"):
        train_task("classify", table, run=tmp_path / "run", length=3)
    with pytest.raises(RunError, match="did you mean 'classify'"):
        train_task("clasify", table, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_budget_that_is_spent_is_said(table: Path, tmp_path: Path) -> None:
    train_task("classify", table, run=tmp_path / "run", steps=3, **_SETTINGS)
    with pytest.raises(ConfigurationError, match="spent already"):
        resume(tmp_path / "run", steps=3)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["steps"] == 3


def test_a_run_is_never_begun_anew_over_its_checkpoints(table: Path, tmp_path: Path) -> None:
    heard: list[str] = []

    class Hearing(Listener):
        def note(self, text: str) -> None:
            heard.append(text)

    run = train_task("classify", table, run=tmp_path / "run", steps=6, checkpoint_every=3, keep=9, **_SETTINGS).run
    resume(run, checkpoint="3", listener=Hearing())
    assert heard[0] == "steps 4 to 6 are given up: going on from step 3"
    before = _weights(run)
    (run / "last").unlink()
    with pytest.raises(RunError):
        resume(run, steps=9)
    (run / "last").write_text("000000006\n")
    assert _weights(run) == before


def test_a_language_model_is_none_of_these(trained: Path) -> None:
    with pytest.raises(RunError, match=f"{trained.name} did not learn from examples") as raised:
        open_task(trained)
    assert "task 'lm'" in str(raised.value)
