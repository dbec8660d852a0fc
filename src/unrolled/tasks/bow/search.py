"""The bag of words as a task: finding what was not given on the validation part.

The search goes along one axis after the other, for every classifier by itself: n-grams, weighting, then the number that
holds weights down, by factors of the square root of 10 as long as that helps; words with punctuation marks last. What
is right most often on the validation part wins, of equals the lower loss (for numbers the lower squared error, for sets
of labels the lower loss). Every setting that was tried is kept. Of nbsvm the interpolation is looked for as well, and
then its number once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

import numpy as np

from unrolled.errors import ConfigurationError, DataError
from unrolled.tasks.bow.classifiers import Link
from unrolled.tasks.bow.configuration import BowConfig, Classifier, Weighting, read_orders
from unrolled.tasks.bow.model import BagOfWords
from unrolled.tasks.bow.trials import Texts, Trials, Tried, mean_loss

__all__ = ["BowTask"]

_MOST_STEPS = 8
_ALL_CHARACTERS, _MEAN_CHARACTERS = 5_000_000, 200
"""Of the training part and of a text: beyond, n-grams of characters are not looked at unless they are asked for."""
_PERCEPTRON = 20_000  # n-grams of a perceptron
_WORDS, _CHARACTERS, _BOTH = ("1-2", "1", "1-3"), ("1-4", "1-3", "1-5", "1-6"), ("1-2", "1-5")

_FOR: dict[Link, tuple[Classifier, ...]] = {
    "softmax": ("logistic", "naive-bayes", "nbsvm", "nb-logistic"),
    "sigmoid": ("logistic", "naive-bayes", "nbsvm", "nb-logistic"),
    "identity": ("ridge",),
}
_WEIGHTINGS: dict[str, tuple[Weighting, ...]] = {
    "logistic": ("tfidf", "binary", "counts"),
    "naive-bayes": ("binary", "counts"),
    "nbsvm": ("binary",),
    "nb-logistic": ("binary",),
    "mlp": ("tfidf", "binary"),
    "ridge": ("tfidf", "binary", "counts"),
}
# The numbers of each, and where the search for them starts.
_COSTS: dict[str, dict[str, float]] = {
    "logistic": {"tfidf": 10.0, "binary": 1.0, "counts": 1.0},
    "nbsvm": dict.fromkeys(get_args(Weighting), 1.0),
    "nb-logistic": dict.fromkeys(get_args(Weighting), 1.0),
    "ridge": dict.fromkeys(get_args(Weighting), 1.0),
}
_INTERPOLATIONS = (0.25, 0.5, 1.0)
_ADDED = {"naive-bayes": 0.316, "nbsvm": 1.0, "nb-logistic": 1.0}


class BowTask:
    """A bag of words and its texts; see `tasks.Fittable`.

    Args:
        train: the texts to fit to.
        valid: those that what is chosen is chosen on; may be empty: then what is not given is logistic regression on
            tf-idf of one and two words (of short texts, on one to four characters).
        link: from scores to answers: "softmax" for classes, "sigmoid" for sets of labels, "identity" for numbers.
        config: the model.
        keep_case: whether upper case stays.
        told: called with every setting that was looked at.
        doing: called with what takes a few seconds.

    Raises:
        DataError: a class is not in the training part, or there is only one.
        ConfigurationError: the classifier is not for such targets.
    """

    def __init__(
        self,
        train: Texts,
        valid: Texts,
        link: Link,
        config: BowConfig | None = None,
        *,
        keep_case: bool = False,
        told: Callable[[Tried], object] | None = None,
        doing: Callable[[str], object] | None = None,
    ) -> None:
        self._config = config = config or BowConfig()
        self._link: Link = link
        self._train, self._valid = train, valid
        self._classifiers = _classifiers(config, link)
        if link == "softmax":
            classes = np.unique(train.targets)
            if len(classes) < 2 or classes[-1] != len(classes) - 1:
                raise DataError("a label has no text in the training part", expected="two labels, or more, and each")
        words, characters = (read_orders("", given) for given in (config.word_ngrams, config.char_ngrams))
        searched = len(valid) > 0
        longest = (
            words[1] if words else max(_high(each) for each in _WORDS) if searched else 1,
            characters[1] if characters else max(_high(each) for each in _CHARACTERS) if searched else 1,
        )
        self._trials = Trials(train, valid, link, config, keep_case=keep_case, longest=longest, told=told, doing=doing)

    def fit(self) -> BagOfWords:
        """Fit what was given, or all that is to be looked at: the best.

        Raises:
            DataError: no text has anything that is counted.
        """
        for classifier in self._classifiers if len(self._valid) else self._classifiers[:1]:
            self._search(classifier)
        assert self._trials.best is not None
        return self._trials.best[0]

    @property
    def tried(self) -> list[Tried]:
        """The settings that were looked at."""
        return self._trials.tried

    @property
    def chosen(self) -> Tried:
        """The one of the model that was fitted."""
        assert self._trials.best is not None
        return self._trials.best[1]

    def validate(self, model: BagOfWords) -> float | None:
        """Nats a label of the validation part (a squared error, for numbers)."""
        if not len(self._valid):
            return None
        return mean_loss(model.answers(self._valid.texts), self._valid.targets, self._link)

    def _search(self, classifier: Classifier) -> None:
        """Along one axis after the other, where there is a validation part."""
        first = self._first(classifier)
        best = self._trials.fit(first)
        if not len(self._valid):
            return
        for setting in self._views(first):
            best = self._better(best, setting)
        for weighting in self._weightings(classifier):
            best = self._better(best, self._started(replace(best.setting, weighting=weighting)))
        if classifier in _ADDED and self._config.added is None:
            best = self._climb(best, "added")
        if classifier in _COSTS and self._config.cost is None:
            best = self._climb(best, "cost")
        if classifier == "nbsvm" and self._config.interpolation is None:
            for share in _INTERPOLATIONS[1:]:
                best = self._better(best, replace(best.setting, interpolation=share))
            best = self._climb(best, "cost") if self._config.cost is None else best
        if self._config.tokens is None and best.setting.word_ngrams != "0":
            self._better(best, replace(best.setting, tokens="marks"))

    def _better(self, best: Tried, setting: BowConfig) -> Tried:
        return max(best, self._trials.fit(setting), key=lambda tried: tried.rank)

    def _climb(self, start: Tried, name: str) -> Tried:
        """Move a number up, or else down, by factors of the square root of 10 as long as that helps."""
        for step in (1, -1):
            best = start
            for _ in range(_MOST_STEPS):
                place = round(2 * math.log10(getattr(best.setting, name))) + step
                value = float(f"{10 ** (place / 2):.3g}")
                better = self._better(best, replace(best.setting, **{name: value}))  # type: ignore[arg-type]
                if better is best:
                    break
                best = better
            if best is not start:
                return best
        return start

    def _first(self, classifier: Classifier) -> BowConfig:
        """Where the search starts: what was given, else what is rarely bad."""
        config = self._config
        words, characters = config.word_ngrams, config.char_ngrams
        if words is None:
            words = "0" if self._short or characters not in (None, "0") else _WORDS[0]
        if characters is None:
            characters = _CHARACTERS[0] if words == "0" else "0"
        return self._started(
            replace(
                config,
                classifier=classifier,
                weighting=self._weightings(classifier)[0],
                tokens=config.tokens or "words",
                interpolation=_INTERPOLATIONS[0] if config.interpolation is None else config.interpolation,
                word_ngrams=words,
                char_ngrams=characters,
                most_ngrams=config.most_ngrams or (_PERCEPTRON if classifier == "mlp" else None),
            )
        )

    def _started(self, setting: BowConfig) -> BowConfig:
        """A setting with the numbers that the search starts from."""
        classifier, weighting = str(setting.classifier), str(setting.weighting)
        cost = self._config.cost or _COSTS.get(classifier, {}).get(weighting, 1.0)
        return replace(setting, cost=cost, added=self._config.added or _ADDED.get(classifier, 1.0))

    def _weightings(self, classifier: Classifier) -> tuple[Weighting, ...]:
        return _WEIGHTINGS[classifier] if self._config.weighting is None else (self._config.weighting,)

    @property
    def _short(self) -> bool:
        """Whether texts have hardly more than a word: names, identifiers, letters of DNA."""
        sample = self._train.texts[:: max(1, len(self._train) // 1000)]
        return sum(len(text.split()) for text in sample) < 2 * len(sample)

    def _views(self, first: BowConfig) -> Iterator[BowConfig]:
        """The n-grams that are looked at."""
        given = self._config.word_ngrams, self._config.char_ngrams
        total = sum(map(len, self._train.texts))
        short = total <= min(_ALL_CHARACTERS, _MEAN_CHARACTERS * len(self._train))
        words = (given[0],) if given[0] is not None else () if self._short else _WORDS
        characters = (given[1],) if given[1] is not None else _CHARACTERS if short else ()
        pairs = [(word, "0") for word in words] + [("0", each) for each in characters]
        if given[0] is not None or given[1] is not None:
            # What was given stays, alone or beside each of the other kind.
            pairs = [(word, each) for word in words or ("0",) for each in characters or ("0",)]
            pairs += [(word, "0") for word in words if given[1] is None]
            pairs += [("0", each) for each in characters if given[0] is None]
        elif words and characters:
            pairs.append(_BOTH)
        for word, each in pairs:
            if (word, each) not in ((first.word_ngrams, first.char_ngrams), ("0", "0")):
                yield replace(first, word_ngrams=word, char_ngrams=each)


def _classifiers(config: BowConfig, link: Link) -> tuple[Classifier, ...]:
    """What is fitted."""
    known = _FOR[link]
    if config.classifier is None:
        return known
    if config.classifier not in known and (config.classifier, link) != ("mlp", "softmax"):
        target = {"softmax": "one label of several", "sigmoid": "any of several labels", "identity": "numbers"}[link]
        raise ConfigurationError(
            f"{config.classifier} is not for {target}",
            expected=f"one of {', '.join((*known, 'mlp') if link == 'softmax' else known)}",
            fix="choose another --classifier, or --target",
        )
    return (config.classifier,)


def _high(orders: str) -> int:
    found = read_orders("", orders)
    return found[1] if found else 0
