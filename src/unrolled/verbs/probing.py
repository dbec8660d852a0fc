"""`probe memory`: how far cells remember that are trained on a test, or a language model that was trained on a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unrolled.cells import Equations, find_cell
from unrolled.data.configuration import TextConfig
from unrolled.data.memory import DISTANCES, LONGEST, MEMORY_TESTS, find_memory_test
from unrolled.data.memory_sentences import Agreement, Question, Recall, SentenceTest
from unrolled.errors import ConfigurationError, nearest
from unrolled.evaluation.questions import answer_questions, knows, style_of
from unrolled.evaluation.reading import Reader
from unrolled.inspection.memory import (
    MemoryCurve,
    MemoryReport,
    MemorySetting,
    TestedDistance,
    measure_memory,
    measure_shortcut,
)
from unrolled.runs.configuration import load_section
from unrolled.runs.models import is_fitted, section
from unrolled.tasks.ngram_model import NGramModel
from unrolled.verbs.comparing import fit_opponent
from unrolled.verbs.defaults import choose_device, choose_threads
from unrolled.verbs.listening import Listener, counted
from unrolled.verbs.origins import open_store
from unrolled.verbs.using import LanguageModelRun, open_run

if TYPE_CHECKING:
    from unrolled.data.memory import MemoryTest

__all__ = ["CELLS", "probe_cells", "probe_runs"]

CELLS = ("rnn", "lstm", "gru", "mingru")
"""Cells that are compared where none is named."""
_TESTS_OF_TEXT: dict[str, type[SentenceTest]] = {"agreement": Agreement, "recall": Recall}
_QUESTION_SEED = 2_000_003


def probe_cells(
    cells: Sequence[str] = CELLS,
    *,
    tests: Sequence[str] = tuple(MEMORY_TESTS),
    distances: Sequence[int] = DISTANCES,
    longest: int = LONGEST,
    seeds: int = 1,
    setting: MemorySetting | None = None,
    threads: int | None = None,
    listener: Listener | None = None,
) -> list[MemoryReport]:
    """Train cells on tests of memory, each within the same budget, and test them at distances they did not see.

    Args:
        cells: names of cells, or FILE.py:NAME.
        tests: names of tests; see `data.memory.MEMORY_TESTS`.
        distances: those that are tested.
        longest: the longest that is trained.
        seeds: how often each cell is trained, from other weights, on other sequences.
        setting: sizes and budget; half a minute each if not given.
        threads: processor threads; as many as there are cores if not given.
        listener: hears what happens.

    Raises:
        InputError: a cell, a test, a distance or a size is wrong; nothing was trained.
    """
    listener, setting = listener or Listener(), setting or MemorySetting(minutes=0.5)
    setting = replace(setting, device=str(choose_device(setting.device)))
    setting.training(0)
    if seeds < 1:
        raise ConfigurationError("seeds are a number of them", expected="at least 1", got=str(seeds))
    torch.set_num_threads(choose_threads(threads))
    found = [find_memory_test(name) for name in dict.fromkeys(tests)]
    plans = [test.plan(longest, distances) for test in found]
    contestants: list[Equations | None] = [find_cell(name) for name in dict.fromkeys(cells)]
    if not contestants or not found:
        raise ConfigurationError("there is no cell to train, or no test", fix="name at least one of each")
    contestants += [None] if setting.window else []
    total, count = len(found) * len(contestants) * seeds, 0
    budget = f"{setting.steps:,} steps" if setting.steps is not None else f"{setting.training(0).minutes or 10:g} min"
    listener.done(
        f"{counted(len(found), 'test')}, {counted(len(contestants), 'contestant')}, {counted(seeds, 'seed')}, "
        f"{budget} each: {total} trainings"
        + ("" if setting.minutes is None else f", about {total * setting.minutes * 1.15:.0f} min")
    )
    reports = []
    for test, plan in zip(found, plans, strict=True):
        curves = []
        for equations in contestants:
            for seed in range(seeds):
                count += 1
                name = f"window {setting.window}" if equations is None else equations.name
                listener.doing(f"{count} of {total}: {test.name}, {name}, seed {seed}")
                curve = measure_memory(test, plan, equations, setting, seed, listener.event)
                listener.done(_line(curve))
                curves.append(curve)
        reports.append(_report(test, measure_shortcut(test, plan, setting), curves, plan.trained, plan))
    return reports


def probe_runs(
    runs: Sequence[str | Path],
    *,
    tests: Sequence[str] = tuple(_TESTS_OF_TEXT),
    distances: Sequence[int] = DISTANCES,
    questions: int = 200,
    baseline: str | None = None,
    checkpoint: str = "best",
    device: str = "auto",
    threads: int | None = None,
    listener: Listener | None = None,
) -> list[MemoryReport]:
    """Ask language models which of two continuations is likelier; nothing is trained.

    Args:
        runs: of language models, trained on a text of words such as those of the questions.
        tests: agreement, recall.
        distances: those that are tested.
        questions: at each distance.
        baseline: "ngram" to fit n-grams to the text of each run, which then answer too.
        checkpoint: "best", "last" or a step.
        device: where networks run.
        threads: processor threads; as many as there are cores if not given.
        listener: hears what happens.

    Raises:
        InputError: a run, a test or a number is wrong, or a run knows too few words of a test.
    """
    listener = listener or Listener()
    for name in tests:
        if name not in _TESTS_OF_TEXT:
            known = name in MEMORY_TESTS
            problem = f"the test {name!r} is for cells" if known else f"there is no test of memory called {name!r}"
            raise ConfigurationError(problem, fix=nearest(name, _TESTS_OF_TEXT))
    if questions < 2 or not distances or min(distances) < 0:
        got = f"{questions} questions at {', '.join(map(str, distances)) or 'no distance'}"
        raise ConfigurationError("there is nothing to ask", expected="at least 2 questions, distances from 0", got=got)
    if baseline not in (None, "ngram"):
        raise ConfigurationError(f"there is no baseline {baseline!r}", expected="ngram")
    ladder = sorted(set(distances))
    curves: dict[str, list[MemoryCurve]] = {name: [] for name in tests}
    shortcuts: dict[str, tuple[TestedDistance, ...]] = {}
    for path in runs:
        run = open_run(path, checkpoint, device=device, threads=threads, listener=listener)
        readers = {str(run.run.path): run.reader()}
        if baseline is not None:
            readers[f"ngram of {run.run.path.name}"] = _ngram(run)
        for name in curves:
            test, asked = _asked(run, name, ladder, questions)
            for who, reader in readers.items():
                listener.doing(f"{test.name}, {who}")
                found = [answer_questions(reader, run.vocabulary, asked[distance]) for distance in ladder]
                points = [TestedDistance(d, each.accuracy, each.nats) for d, each in zip(ladder, found, strict=True)]
                nothing: dict[str, Any] = {"parameters": 0, "minutes": 0.0, "loss": float("nan")}
                if reader is readers[str(run.run.path)]:
                    nothing["parameters"] = sum(each.numel() for each in run.model.parameters())
                curve = MemoryCurve(name, who, 0, steps=run.step, points=tuple(points), **nothing)
                curves[name].append(curve)
                listener.done(_line(curve))
            if name not in shortcuts:
                nan = float("nan")
                shortcuts[name] = tuple(
                    TestedDistance(distance, each.shortcut, nan) for distance, each in zip(ladder, found, strict=True)
                )
    return [_report(_TESTS_OF_TEXT[name](), shortcuts[name], curves[name], (), None) for name in curves]


def _asked(
    run: LanguageModelRun, name: str, ladder: Sequence[int], questions: int
) -> tuple[SentenceTest, dict[int, list[Question]]]:
    """The questions at every distance, of words that the run knows; all runs that know all get the same."""
    vocabulary = run.vocabulary
    style = style_of(vocabulary)
    test = _TESTS_OF_TEXT[name](lambda word: knows(vocabulary, style, word))
    if vocabulary.unit == "word":
        strange = sorted(word for word in test.lexicon if not knows(vocabulary, style, word))
        if strange:
            run.listener.note(f"{name}: {run.run.path} does not know {', '.join(strange)}")
    made = {
        distance: test.questions(np.random.default_rng((_QUESTION_SEED, distance)), questions, distance, style)
        for distance in ladder
    }
    return test, made


def _ngram(run: LanguageModelRun) -> Reader:
    """The classical opponent, fitted to the run's own text."""
    if is_fitted(run.run):
        raise ConfigurationError(f"{run.run.path} is an n-gram model itself", fix="leave out --baseline")
    text = load_section(TextConfig, section(run.run, "text"), f"{run.run.path / 'config.json'}, text")
    store = open_store(run.run, text, run.vocabulary, run.listener)
    ngram, _ = fit_opponent(store, text, run.listener)
    return Reader(NGramModel(ngram), run.vocabulary.unigram())


def _report(
    test: MemoryTest,
    shortcut: tuple[TestedDistance, ...],
    curves: Sequence[MemoryCurve],
    trained: tuple[int, ...],
    plan: Any,
) -> MemoryReport:
    return MemoryReport(
        test=test.name,
        about=test.about,
        counts=test.counts,
        chance=test.chance if plan is not None else 0.5,
        about_shortcut=test.about_shortcut,
        shortcut=shortcut,
        trained=trained,
        held_out=() if plan is None else plan.held_out,
        beyond=() if plan is None else plan.beyond,
        curves=tuple(curves),
    )


def _line(curve: MemoryCurve) -> str:
    """A curve in a line."""
    if curve.diverged:
        return f"  {curve.test}, {curve.contestant}: training diverged after {curve.steps:,} steps"
    points = " ".join(f"{point.distance}:{point.accuracy:.2f}" for point in curve.points)
    return f"  {curve.test}, {curve.contestant}, {curve.steps:,} steps: {points}"
