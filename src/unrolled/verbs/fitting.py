"""`train lm --model ngram`: from a text to a fitted run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unrolled import __version__
from unrolled.data.configuration import TextConfig
from unrolled.data.store import PARTS, SplitSources, prepare
from unrolled.evaluation import Evaluation, evaluate
from unrolled.runs.configuration import dump_section
from unrolled.tasks.ngram_configuration import NGramConfig
from unrolled.tasks.ngram_model import NGramModel
from unrolled.tasks.ngram_task import NGramTask, Tried, resets_lines
from unrolled.training.processes import refuse_several
from unrolled.verbs.keeping import keep_fitted, sort_options
from unrolled.verbs.listening import Listener, counted
from unrolled.verbs.naming import listed, place_run, stem
from unrolled.verbs.origins import describe_store

__all__ = ["FittedRun", "fit_lm"]

_SECTIONS: dict[str, type[Any]] = {"text": TextConfig, "ngram": NGramConfig}


@dataclass(frozen=True)
class FittedRun:
    """What fitting came to.

    Attributes:
        run: the run's directory.
        order: of the longest n-gram.
        ngrams: how many of all orders there are.
        discounts: three an order.
        minutes: that it took.
        chosen: what was chosen on the validation part: "order", "discounts".
        tried: nats a symbol of the validation part for every order that was looked at.
        valid: the model on the validation part; None where there is none.
    """

    run: Path
    order: int
    ngrams: int
    discounts: list[list[float]]
    minutes: float
    chosen: list[str]
    tried: dict[int, float]
    valid: Evaluation | None


def fit_lm(
    paths: str | Path | Sequence[str | Path] = (),
    *,
    train: Sequence[str] = (),
    valid: Sequence[str] = (),
    test: Sequence[str] = (),
    run: str | Path | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> FittedRun:
    """Fit an n-gram model to a text: interpolated modified Kneser-Ney.

    Args:
        paths: a file, directory, glob, "-" for standard input, or several; split as `split` says.
        train: files to count, where the split is given; then also `valid` and `test`.
        valid: files to choose on what is chosen.
        test: files kept for testing.
        run: the directory of the run; by default `runs/` and a name made from the text.
        listener: hears what happens.
        options: fields of `TextConfig` and `NGramConfig`, by name.

    Raises:
        InputError: something of this is wrong; nothing was fitted.
        StorageError: the disk is full; nothing is left of what was begun.
    """
    refuse_several("counting an n-gram model")
    listener = listener or Listener()
    why = "leave it out: an n-gram model is counted, not trained"
    text, config = sort_options(_SECTIONS, options, "an n-gram model", why)
    names = listed(paths)
    sources = SplitSources.find(names, train=train, valid=valid, test=test)
    path = place_run(run, f"{stem(names, sources)}-{f'{config.order}-gram' if config.order else 'ngram'}")
    store = prepare(sources, text, progress=listener.preparing)
    vocabulary, held_out = store.vocabulary, store.split("valid")
    tried: dict[int, float] = {}
    begun: set[str] = set()

    def looked_at(found: Tried) -> None:
        if found.valid is not None:
            tried[found.order] = found.valid
            listener.note(f"order {found.order}: {found.ngrams:,} n-grams, held out {found.valid:.4f} nats a symbol")

    def counting(what: str, done: int, total: int) -> None:
        if what not in begun:
            begun.add(what)
            listener.doing(what)
        listener.reading(done, total)

    began = time.monotonic()
    task = NGramTask(
        store.split("train"),
        held_out,
        vocabulary,
        config,
        documents=text.documents,
        reading=counting,
        tried=looked_at if config.order is None else None,
    )
    listener.started(str(path), _facts(task, store, config))
    model = task.fit()
    minutes = (time.monotonic() - began) / 60
    lines = "reset" if resets_lines(config, vocabulary) else "carry"
    settled = replace(config, order=model.order, lines=lines)
    chosen = [what for what, on_valid in _choices(config) if on_valid and len(held_out) > 1]
    configuration = {
        "task": "lm",
        "unrolled": __version__,
        "data": describe_store(store, sources),
        "text": dump_section(text),
        "model": {"kind": "ngram", **dump_section(settled)},
        "fitted": {"minutes": minutes, "chosen_on_valid": chosen, "tried": {str(n): loss for n, loss in tried.items()}},
    }
    found = None
    if len(held_out) > 1:
        fitted, reading = NGramModel(model), listener.reading
        found = evaluate(fitted, vocabulary, held_out, documents=text.documents, streams=1, progress=reading)
    loss = None if found is None else found.nats_per_token
    keep_fitted(path, configuration, vocabulary.to_json(), model, minutes=minutes, loss=loss, best=bool(chosen))
    return FittedRun(path, model.order, model.ngrams, model.discounts.tolist(), minutes, chosen, tried, found)


def _choices(config: NGramConfig) -> list[tuple[str, bool]]:
    return [("order", config.order is None), ("discounts", config.discounts == "tuned")]


def _facts(task: NGramTask, store: Any, config: NGramConfig) -> dict[str, str]:
    """What a user wants to see before the bar."""
    tokens = {part: len(store.split(part)) for part in PARTS}
    unit = "characters" if store.vocabulary.unit == "char" else f"{store.vocabulary.unit}s"
    order = f"order {config.order}" if config.order else "order chosen on the validation part"
    lines = "begins anew with each line" if task.boundary is not None else "is carried over line ends"
    return {
        "text": f"{tokens['train']:,} {unit} to count, {tokens['valid']:,} to validate, {tokens['test']:,} to test; "
        f"{counted(store.vocabulary.size, 'symbol')}",
        "model": f"n-grams, interpolated modified Kneser-Ney, {order}, discounts {config.discounts}, context {lines}",
    }
