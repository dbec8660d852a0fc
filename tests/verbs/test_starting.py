"""Starting a classifier from a trained language model's weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled import train_lm
from unrolled.errors import ConfigurationError, Interrupted
from unrolled.runs.directory import Run
from unrolled.runs.models import load_language_model, load_task_model
from unrolled.training.events import Event, Stepped
from unrolled.verbs.listening import Listener
from unrolled.verbs.supervised import open_task, train_task
from unrolled.verbs.training import resume

SETTINGS: dict[str, Any] = {"batch": 8, "precision": "float32", "threads": 1, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, make_text: Callable[[int, int], str]) -> Path:
    """Pieces of the text that the language model was trained on, with what they begin with."""
    path, text = tmp_path_factory.mktemp("lines") / "pieces.jsonl", make_text(1200, 3).replace("\n", " ")
    pieces = [text[at : at + 12].strip() for at in range(0, 1200, 12)]
    path.write_text("".join(json.dumps({"text": piece, "label": piece[0] < "p"}) + "\n" for piece in pieces))
    return path


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A language model whose last layer has a size of its own, and whose embedding is multiplied."""
    options: dict[str, Any] = {"hidden_size": 12, "layers": 2, "embedding_size": 6, "tied": True, "cell": "gru"}
    path = tmp_path_factory.mktemp("runs") / "tied"
    train_lm([str(corpus)], run=path, steps=4, batch=4, length=8, sample_every=0, threads=1, **options)
    return path


class Stopping(Listener):
    """Stops a training after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def event(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("which", ["trained", "tied"])
def test_a_classifier_begins_as_the_language_model_reads(
    which: str, lines: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    origin = request.getfixturevalue(which)
    # The top layer alone is trained: everything below is still what it was.
    train_task("classify", lines, run=tmp_path / "run", init_from=origin, steps=3, unfreeze=0.9, **SETTINGS)
    language_model, vocabulary, _ = load_language_model(Run.open(origin))
    classifier, _ = load_task_model(Run.open(tmp_path / "run"), "last")
    ids = torch.from_numpy(vocabulary.encode("the old sea rose")).unsqueeze(0)
    wanted, _ = language_model.hidden(ids)
    found, _ = classifier.recurrent(classifier.embedding(ids))  # type: ignore[operator]
    torch.testing.assert_close(found, wanted)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["init_from"]["run"] == str(origin.resolve())
    assert (config["training"]["schedule"], config["model"]["bidirectional"]) == ("slanted", False)
    answer = next(iter(open_task(tmp_path / "run").predict(["pale moon"])))
    assert answer["label"] in ("true", "false")


def test_all_layers_are_trained_in_the_end_and_resuming_is_exact(trained: Path, lines: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = {**SETTINGS, "init_from": trained, "steps": 20, "unfreeze": 0.25}
    train_task("classify", lines, run=whole, **options)
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        train_task("classify", lines, run=parts, checkpoint_every=3, listener=Stopping(13), **options)
    resume(parts)
    weights = [load_task_model(Run.open(path), "last")[0].state_dict() for path in (whole, parts)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    before = load_language_model(Run.open(trained))[0]
    assert not torch.equal(before.embedding.weight, weights[0]["embedding.weight"])


@pytest.mark.parametrize(
    "options", [{"hidden_size": 17}, {"bidirectional": True}, {"cell": "gru"}, {"unit": "word"}, {"layers": 3}], ids=str
)
def test_what_must_be_as_in_the_language_model(
    options: dict[str, Any], trained: Path, lines: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))} is that of the language model"):
        train_task("classify", lines, run=tmp_path / "run", init_from=trained, steps=3, **options)
    assert not (tmp_path / "run").exists()
