"""`train classify --model bow`: from labelled texts to a fitted run; and the same beside a network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled import __version__
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.store import SplitSources
from unrolled.runs.configuration import dump_section
from unrolled.tasks.bow.configuration import BowConfig
from unrolled.tasks.bow.kind import BagModel, Bow
from unrolled.tasks.bow.trials import Tried
from unrolled.tasks.kinds import Prepared
from unrolled.training.processes import refuse_several
from unrolled.verbs.keeping import keep_fitted, sort_options
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import listed, place_run, stem
from unrolled.verbs.task_data import describe_sources

__all__ = ["FittedBag", "fit_bag"]

_SECTIONS: dict[str, type[Any]] = {"data": LabelledConfig, "bow": BowConfig}
_OF_NETWORKS = ("unit", "splitter", "min_count", "vocabulary_size", "max_length")


@dataclass(frozen=True)
class FittedBag:
    """What fitting a bag of words came to.

    Attributes:
        run: the run's directory.
        about: the setting, in a line.
        setting: all of it, by name.
        ngrams: how many are counted.
        parameters: how many numbers were fitted.
        minutes: that it took, the search included.
        chosen: whether a setting was chosen on the validation part.
        tried: every setting that was looked at, with its score and loss there.
        valid: what `evaluate` says on the validation part; None where there is none.
        summary: that in a line.
    """

    run: Path
    about: str
    setting: dict[str, Any]
    ngrams: int
    parameters: int
    minutes: float
    chosen: bool
    tried: list[dict[str, Any]]
    valid: dict[str, Any] | None
    summary: str


def fit_bag(
    paths: str | Path | Sequence[str | Path] = (),
    *,
    train: Sequence[str] = (),
    valid: Sequence[str] = (),
    test: Sequence[str] = (),
    run: str | Path | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> FittedBag:
    """Fit a bag of words to labelled texts; what is not given is chosen on the validation part.

    Args:
        paths: a file, directory or glob, or several; split as the options say.
        train: files to fit to, where the split is given; then also `valid` and `test`.
        valid: files to choose on.
        test: files kept for testing.
        run: the directory of the run; by default `runs/` and a name made from the data.
        listener: hears what happens.
        options: fields of `LabelledConfig` and `BowConfig`, by name.

    Raises:
        InputError: something of this is wrong; nothing was fitted.
        StorageError: the disk is full; nothing is left of what was begun.
    """
    refuse_several("fitting a bag of words")
    listener = listener or Listener()
    why = "leave it out: a bag of words is fitted, not trained"
    data, config = sort_options(_SECTIONS, options, "a bag of words", why, _OF_NETWORKS)
    names = listed(paths)
    sources = SplitSources.find(names, train=train, valid=valid, test=test)
    path = place_run(run, f"{stem(names, sources)}-classify-bow")
    kind, described = Bow(), describe_sources(sources)
    prepared = kind.prepare(sources, {"data": data}, told=listener.preparing)
    began = time.monotonic()
    best: list[Tried] = []

    def told(tried: Tried) -> None:
        better = not best or tried.rank > best[-1].rank
        if better:
            best.append(tried)
        if tried.score is not None:
            listener.note(f"{tried.result}{'; best so far' if better else ''}")

    task = kind.fitting(prepared, data, config, told=told, doing=listener.doing)
    listener.started(str(path), {**prepared.facts, "model": _about(config, prepared)}, kind.loss)
    bag = task.fit()
    minutes = (time.monotonic() - began) / 60
    chosen, settled = len(task.tried) > 1, task.chosen
    tried = [_told(each) for each in task.tried]
    configuration = {
        "task": "classify",
        "unrolled": __version__,
        "data_sources": described,
        "data": dump_section(data),
        "model": {"kind": "bow", **dump_section(settled.setting)},
        "fitted": {"minutes": minutes, "chosen_on_valid": chosen, "tried": tried if chosen else []},
    }
    vocabulary = {**prepared.vocabulary, **bag.features.vocabulary()}
    keep_fitted(path, configuration, vocabulary, bag, minutes=minutes, loss=settled.loss, best=chosen)
    held_out, found = prepared.parts["valid"], None
    if len(held_out.lengths):
        found = kind.evaluate(BagModel(bag), held_out, {"data": data}, prepared.vocabulary)
    summary = "" if found is None else kind.summary(found)
    setting = dump_section(settled.setting)
    return FittedBag(
        path, settled.about, setting, settled.ngrams, bag.parameters, minutes, chosen, tried, found, summary
    )


def _about(config: BowConfig, prepared: Prepared) -> str:
    if not len(prepared.parts["valid"].lengths):
        return "bag of n-grams; there is no validation part, so that nothing is chosen"
    classifier = config.classifier or "logistic regressions, naive Bayes or NBSVM"
    return f"bag of n-grams, {classifier}; what is not given is chosen on the validation part"


def _told(tried: Tried) -> dict[str, Any]:
    """A setting that was looked at, as the run keeps it."""
    names = ("classifier", "weighting", "word_ngrams", "char_ngrams", "tokens", "cost", "added", "interpolation")
    setting = {name: getattr(tried.setting, name) for name in names}
    return {**setting, "ngrams": tried.ngrams, "score": tried.score, "loss": tried.loss, "seconds": tried.seconds}
