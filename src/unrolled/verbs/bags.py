"""`train classify --model bow`: from labelled texts to a fitted run; and the same beside a network."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from unrolled import __version__
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.store import SplitSources
from unrolled.errors import ConfigurationError, nearest
from unrolled.runs.configuration import dump_section, load_section
from unrolled.runs.directory import Run
from unrolled.runs.fitted import save_fitted
from unrolled.runs.logs import Logs
from unrolled.tasks.bow.configuration import BowConfig
from unrolled.tasks.bow.kind import BagModel, Bow
from unrolled.tasks.bow.trials import Tried
from unrolled.tasks.kinds import Prepared
from unrolled.training.processes import refuse_several
from unrolled.verbs.listening import Listener
from unrolled.verbs.naming import place_run, stem
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
    data, config = _read_options(options)
    names = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    sources = SplitSources.find(names, train=train, valid=valid, test=test)
    name = f"{stem(names[0] if names else '', sources)}-classify-bow"
    path = place_run(run, name)
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
    opened = Run.create(path, configuration, {**prepared.vocabulary, **bag.features.vocabulary()})
    try:
        with opened.exclusive():
            with Logs(opened) as logs:
                logs.metrics({"event": "fitted", **bag.facts(), "minutes": minutes, "valid": settled.loss})
            state = {**bag.facts(), "minutes": minutes, "epoch": 1.0, "best": settled.loss}
            save_fitted(opened, bag.arrays(), state, best=chosen)
    except BaseException:
        # Fitting is done again in the time it took; half a run would only be in the way.
        shutil.rmtree(path, ignore_errors=True)
        raise
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
    classifier = config.classifier or "logistic regression, naive Bayes or NBSVM"
    return f"bag of n-grams, {classifier}; what is not given is chosen on the validation part"


def _told(tried: Tried) -> dict[str, Any]:
    """A setting that was looked at, as the run keeps it."""
    names = ("classifier", "weighting", "word_ngrams", "char_ngrams", "tokens", "cost", "added", "interpolation")
    setting = {name: getattr(tried.setting, name) for name in names}
    return {**setting, "ngrams": tried.ngrams, "score": tried.score, "loss": tried.loss, "seconds": tried.seconds}


def _read_options(given: Mapping[str, Any]) -> tuple[LabelledConfig, BowConfig]:
    """Sort flat options into the configurations of data and model; one that is None counts as not given.

    Raises:
        ConfigurationError: an unknown option, one of a network, or a value that is out of range.
    """
    homes = {field.name: name for name, section in _SECTIONS.items() for field in fields(section)}
    for name in _OF_NETWORKS:
        homes.pop(name, None)
    sections: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    for name, value in given.items():
        if value is None:
            continue
        if name not in homes:
            raise ConfigurationError(
                f"option {name!r} is none of a bag of words",
                expected=f"one of {', '.join(sorted(homes))}",
                fix=f"leave it out: a bag of words is fitted, not trained; {nearest(name, homes)}",
            )
        sections[homes[name]][name] = value
    data, bow = (load_section(section, sections[name], f"options of {name}") for name, section in _SECTIONS.items())
    return data, bow
