"""The recipe `min-char-rnn` computes what the classic program computes: against a transcription of it in NumPy."""

from __future__ import annotations

import math
import re
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from unrolled.cells import find_cell
from unrolled.data.store import SplitSources, TokenStore, prepare
from unrolled.runs import Run, load
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.events import Event, Stepped
from unrolled.training.loop import Snapshot, Trainer
from unrolled.verbs.listening import Listener
from unrolled.verbs.options import RECIPES, read_options
from unrolled.verbs.training import train_lm

Array = npt.NDArray[np.float64]
Weights = dict[str, Array]

T, H = 25, 100
# The names of the classic's five parameters in the model of the recipe.
NAMES = {
    "Wx": "recurrent.layers.0.W.h",
    "Wh": "recurrent.layers.0.U.h",
    "bh": "recurrent.layers.0.b.h",
    "Wy": "output.weight",
    "by": "output.bias",
}
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


class Classic:
    """The classic program in float64: one stream of text, T characters an iteration, Adagrad.

    Its memories are sums of squared gradients, its epsilon is inside the root, and it begins the text again, from an
    empty state, where p + T + 1 characters are not fewer than all there are.
    """

    def __init__(self, ids: npt.NDArray[np.int64], weights: Weights) -> None:
        self.ids, self.weights = ids, {name: value.copy() for name, value in weights.items()}
        self.memories = {name: np.zeros_like(value) for name, value in weights.items()}
        self.state, self.position = np.zeros(H), 0
        self.smoothed = T * math.log(len(weights["by"]))

    @staticmethod
    def start(symbols: int, seed: int) -> Weights:
        """Its weights before the first iteration: matrices from N(0, 0.01²), no biases."""
        draw = np.random.default_rng(seed).standard_normal
        matrices = {"Wx": (H, symbols), "Wh": (H, H), "Wy": (symbols, H)}
        started = {name: 0.01 * draw(shape) for name, shape in matrices.items()}
        return {**started, "bh": np.zeros(H), "by": np.zeros(symbols)}

    def chunk(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The next T characters and those that follow each."""
        if self.position + T + 1 >= len(self.ids):
            self.position, self.state = 0, np.zeros(H)
        begin, self.position = self.position, self.position + T
        return self.ids[begin : begin + T], self.ids[begin + 1 : begin + T + 1]

    def gradients(self, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> tuple[float, Weights, Array]:
        """The loss summed over a chunk, the gradient of it, and the state after it."""
        w, steps = self.weights, np.arange(T)
        h = np.empty((T + 1, H))
        h[0] = self.state
        for t in range(T):
            h[t + 1] = np.tanh(w["Wx"][:, x[t]] + w["Wh"] @ h[t] + w["bh"])
        odds = np.exp(h[1:] @ w["Wy"].T + w["by"])
        p = odds / odds.sum(1, keepdims=True)
        loss = -np.log(p[steps, y]).sum()
        p[steps, y] -= 1
        g = {name: np.zeros_like(value) for name, value in w.items()}
        g["Wy"], g["by"] = p.T @ h[1:], p.sum(0)
        later = np.zeros(H)
        for t in reversed(range(T)):
            inside = (p[t] @ w["Wy"] + later) * (1 - h[t + 1] ** 2)
            g["Wx"][:, x[t]] += inside
            g["Wh"] += np.outer(inside, h[t])
            g["bh"] += inside
            later = inside @ w["Wh"]
        return float(loss), g, h[T]

    def iterate(self) -> float:
        """One iteration; its loss, summed over the chunk."""
        x, y = self.chunk()
        loss, gradients, self.state = self.gradients(x, y)
        for name, gradient in gradients.items():
            clipped = gradient.clip(-5, 5)
            self.memories[name] += clipped**2
            self.weights[name] -= 0.1 * clipped / np.sqrt(self.memories[name] + 1e-8)
        self.smoothed = 0.999 * self.smoothed + 0.001 * loss
        return loss


def source_code() -> str:
    """A real text that every machine has; its end is met twice in 1,000 iterations."""
    return Path(textwrap.__file__).read_text(encoding="utf-8")[:10_000]


def read(text: Path) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The symbols of a text, sorted, and the number of the symbol at each place."""
    characters = text.read_text(encoding="utf-8")
    symbols = sorted(set(characters))
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    return symbols, np.array([numbers[character] for character in characters])


@pytest.fixture(params=["source code", "tinyshakespeare"])
def text(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "tinyshakespeare":
        find: Callable[[str], Path] = request.getfixturevalue("data_directory")
        return find("tinyshakespeare") / "input.txt"
    path = tmp_path / "text.txt"
    path.write_text(source_code(), encoding="utf-8")
    return path


def build(text: Path, run: Path) -> tuple[Trainer, TokenStore]:
    """What the recipe builds: the model, its task and its trainer."""
    text_config, model_config, training, _ = read_options({"steps": 1_000_000}, "min-char-rnn")
    store = prepare(SplitSources.find([str(text)]), text_config)
    model = LanguageModel(store.vocabulary.size, find_cell(model_config.cell), model_config).double()
    assert training.batch is not None
    task = LanguageModelTask(
        model,
        store.split("train"),
        store.split("valid"),
        batch=training.batch,
        length=training.length,
        seed=training.seed,
        shift=training.shift,
    )
    return Trainer(task, training, Run.create(run, {}, {})), store


def snapshot_of(classic: Classic, trainer: Trainer, state: dict[str, Any]) -> Snapshot:
    """Where the classic stands, as our trainer has it."""
    numbers = {name: number for number, (name, _) in enumerate(trainer.model.named_parameters())}
    model = {NAMES[name]: torch.from_numpy(value) for name, value in classic.weights.items()}
    training = {f"{numbers[NAMES[name]]}/sum": torch.from_numpy(value) for name, value in classic.memories.items()}
    training["carried/layers.0.h"] = torch.from_numpy(classic.state).unsqueeze(0)
    return Snapshot(model, training, {**state, "smoothed": classic.smoothed / T})


def test_every_iteration_is_the_classics(text: Path, tmp_path: Path) -> None:
    trainer, store = build(text, tmp_path / "run")
    symbols, ids = read(text)
    classic = Classic(ids, Classic.start(len(symbols), seed=0))
    assert list(store.vocabulary.symbols) == symbols
    assert T * trainer.smoothed == pytest.approx(classic.smoothed, abs=1e-12)
    ours = trainer.snapshot()
    for _ in range(1000):
        trainer.put(snapshot_of(classic, trainer, ours.state))
        before = {NAMES[name]: value.copy() for name, value in classic.weights.items()}
        update = trainer.update()
        loss = classic.iterate()
        ours, theirs = trainer.snapshot(), snapshot_of(classic, trainer, ours.state)
        assert (update.targets, update.rate) == (T, 0.1)
        assert T * update.loss == pytest.approx(loss, rel=1e-10, abs=1e-10)
        assert T * trainer.smoothed == pytest.approx(classic.smoothed, rel=1e-10)
        for name, weight in theirs.model.items():
            moved = ours.model[name].numpy() - before[name]
            np.testing.assert_allclose(moved, weight.numpy() - before[name], **CLOSE, err_msg=name)
        assert ours.training.keys() == theirs.training.keys()
        for name, memory in theirs.training.items():
            np.testing.assert_allclose(ours.training[name].numpy(), memory.numpy(), **CLOSE, err_msg=name)


class Losses(Listener):
    """Keeps the loss of every step, summed over its characters, and the last smoothed one."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.smoothed = math.nan

    def event(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self.losses.append(T * event.loss)
            self.smoothed = T * event.smoothed


def test_running_free_the_first_losses_are_the_classics(text: Path, tmp_path: Path) -> None:
    heard = Losses()
    trained = train_lm([str(text)], run=tmp_path / "run", recipe="min-char-rnn", steps=5, keep=9, listener=heard)
    start = load(Run.open(trained.run), 0).model
    assert {name: tuple(value.shape) for name, value in start.items()}.keys() == set(NAMES.values())
    for name in ("Wx", "Wh", "Wy"):
        assert float(start[NAMES[name]].std()) == pytest.approx(0.01, rel=0.05)
    symbols, ids = read(text)
    classic = Classic(ids, {name: start[NAMES[name]].numpy() for name in NAMES})
    assert heard.losses == pytest.approx([classic.iterate() for _ in range(5)], rel=1e-6)
    assert heard.smoothed == pytest.approx(classic.smoothed, rel=1e-6)
    assert heard.losses[0] == pytest.approx(T * math.log(len(symbols)), rel=1e-3)


def test_a_last_whole_chunk_is_read_which_the_classic_leaves_out(tmp_path: Path) -> None:
    # The classic wants one character more than it reads: with exactly T + 1 left it begins again.
    for length, ours, theirs in ((2 * T, 1, 1), (2 * T + 1, 2, 1), (2 * T + 2, 2, 2), (3 * T, 2, 2)):
        path = tmp_path / f"{length}.txt"
        path.write_text(source_code()[:length], encoding="utf-8")
        trainer, _ = build(path, tmp_path / f"run-{length}")
        classic = Classic(np.arange(length), Classic.start(1, seed=0))
        begins = [int(classic.chunk()[0][0]) for _ in range(4)]
        assert (trainer.task.batches_per_epoch(), len(set(begins))) == (ours, theirs)


def test_the_page_explains_every_setting() -> None:
    page = (Path(__file__).parents[1] / "docs" / "min-char-rnn.md").read_text(encoding="utf-8")
    settings = set()
    for name, value in RECIPES["min-char-rnn"].items():
        option = name.replace("_", "-")
        shown = f"{value:g}" if isinstance(value, float) else value
        settings.add(f"--no-{option}" if value is False else f"--{option} {shown}")
    assert set(re.findall(r"^\| `(--.*?)` \|", page, re.MULTILINE)) == settings


@pytest.mark.figures
def test_the_smoothed_loss_lies_within_that_of_ten_seeds(data_directory: Callable[[str], Path], tmp_path: Path) -> None:
    text, iterations = data_directory("tinyshakespeare") / "input.txt", 10_000
    symbols, ids = read(text)
    theirs, begin = [], time.perf_counter()
    for seed in range(10):
        classic = Classic(ids, Classic.start(len(symbols), seed))
        for _ in range(iterations):
            classic.iterate()
        theirs.append(classic.smoothed)
        print(
            f"\nNumPy, seed {seed}: {classic.smoothed:.4f} summed, {classic.smoothed / T:.4f} nats a character", end=""
        )
    their_rate = 10 * iterations / (time.perf_counter() - begin)

    heard, begin = Losses(), time.perf_counter()
    options = {"recipe": "min-char-rnn", "steps": iterations, "sample_every": 0, "threads": 1}
    train_lm([str(text)], run=tmp_path / "run", listener=heard, **options)
    our_rate = iterations / (time.perf_counter() - begin)
    print(f"\nours, seed 0: {heard.smoothed:.4f} summed, {heard.smoothed / T:.4f} nats a character")
    print(f"iterations a second: NumPy {their_rate:.0f}, ours {our_rate:.0f}")
    assert min(theirs) <= heard.smoothed <= max(theirs)
