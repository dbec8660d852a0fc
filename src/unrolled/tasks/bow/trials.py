"""Fitting settings of a bag of words to the same texts, one after the other: what is counted is counted once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.errors import DataError
from unrolled.tasks.bow.classifiers import Link, fit_layers, layer_scores
from unrolled.tasks.bow.configuration import BowConfig, read_orders
from unrolled.tasks.bow.features import Features, Reader, Weights, read_stop_words
from unrolled.tasks.bow.grams import Grams, characters_of, count_grams
from unrolled.tasks.bow.model import BagOfWords

__all__ = ["Texts", "Trials", "Tried", "mean_loss"]

_Floats = npt.NDArray[np.float64]

_TINY = 1e-12
_FLATTEST = 6.0  # ln of the highest temperature, and minus that of the lowest


@dataclass(frozen=True, eq=False)
class Texts:
    """n texts and what is to be said of them.

    Attributes:
        texts: the texts.
        targets: (n,) classes from 0 to C - 1; (n, C) true where a label is there; or (n, D) numbers.
    """

    texts: Sequence[str]
    targets: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Tried:
    """A setting that was looked at.

    Attributes:
        setting: all of it.
        score: on the validation part, the more the better: the share that is right; for numbers and sets of labels
            minus the loss. None where there is no validation part.
        loss: nats a label there (a squared error, for numbers), after the temperature.
        ngrams: how many were counted.
        seconds: that fitting took.
    """

    setting: BowConfig
    score: float | None
    loss: float | None
    ngrams: int
    seconds: float

    @property
    def rank(self) -> tuple[float, float]:
        """The better, the higher."""
        return (self.score or 0.0, -(self.loss or 0.0))

    @property
    def result(self) -> str:
        """How good it is, and what it is, in a line."""
        said = "" if self.score is None else f"{100 * self.score:.2f}% right: "
        if self.score is not None and self.score < 0:
            said = f"loss {self.loss:.4f}: "
        return f"{said}{self.about} ({self.seconds:.1f} s)"

    @property
    def about(self) -> str:
        """The setting, in a line."""
        setting, parts, numbers = self.setting, [], []
        if setting.word_ngrams not in (None, "0"):
            cut = {"marks": " and marks", "space": " between spaces"}.get(setting.tokens or "", "")
            parts.append(f"{setting.word_ngrams} words{cut}")
        if setting.char_ngrams not in (None, "0"):
            parts.append(f"{setting.char_ngrams} characters")
        if setting.classifier in ("naive-bayes", "nbsvm", "nb-logistic"):
            numbers.append(f"added {setting.added:.4g}")
        if setting.classifier not in ("naive-bayes", "mlp"):
            numbers.append(f"C {setting.cost:.4g}")
        if setting.classifier == "nbsvm":
            numbers.append(f"interpolation {setting.interpolation:g}")
        return ", ".join([str(setting.classifier), " + ".join(parts), str(setting.weighting), *numbers])


class Trials:
    """Texts, and the settings that were tried on them.

    Args:
        train: the texts to fit to.
        valid: those that settings are compared on; may be empty.
        link: from scores to answers.
        config: what no setting changes: stop words, the fewest texts.
        keep_case: whether upper case stays.
        longest: words, and characters, of the longest n-grams that will be asked for.
        told: called with every setting that was looked at.
        doing: called with what takes a few seconds.
    """

    def __init__(
        self,
        train: Texts,
        valid: Texts,
        link: Link,
        config: BowConfig,
        *,
        keep_case: bool = False,
        longest: tuple[int, int] = (1, 1),
        told: Callable[[Tried], object] | None = None,
        doing: Callable[[str], object] | None = None,
    ) -> None:
        self._train, self._valid, self._link, self._config = train, valid, link, config
        self._keep_case, self._longest = keep_case, dict(zip(("words", "characters"), longest, strict=True))
        self._told, self._doing = told, doing
        self._stop_words = read_stop_words(config.stop_words)
        self._counted: dict[str, tuple[Reader, Grams, list[Any], list[Any]]] = {}
        self.tried: list[Tried] = []
        self.best: tuple[BagOfWords, Tried] | None = None

    def fit(self, setting: BowConfig) -> Tried:
        """Fit a setting that is whole, and look at it; one that was tried is not fitted again.

        Raises:
            DataError: no text has anything that is counted.
        """
        known = next((tried for tried in self.tried if tried.setting == setting), None)
        if known is not None:
            return known
        features, counts, held_out = self._features(setting)
        began = time.monotonic()
        weights = Weights.of(counts, setting.weighting or "counts", setting.most_ngrams)
        table = weights.apply(counts)
        if not table.nnz:
            raise DataError(
                "no training text has anything that is counted",
                expected="texts with words",
                fix="count characters: --char-ngrams 1-4, or leave fewer out: --fewest-texts 1",
            )
        targets = self._valid.targets
        other = (weights.apply(held_out), targets) if len(self._valid) else None
        layers = fit_layers(setting, table, self._train.targets, self._link, other)
        model = BagOfWords(features, weights, layers, self._link)
        score = loss = None
        if other is not None:
            scores = layer_scores(other[0], layers)
            model = replace(model, temperature=_temperature(scores, targets, self._link))
            answers = model.of_scores(scores)
            loss = mean_loss(answers, targets, self._link)
            score = float((answers.argmax(1) == targets).mean()) if self._link == "softmax" else -loss
        tried = Tried(setting, score, loss, features.width, time.monotonic() - began)
        self.tried.append(tried)
        if self._told is not None:
            self._told(tried)
        if self.best is None or tried.rank > self.best[1].rank:
            self.best = model, tried
        return tried

    def _features(self, setting: BowConfig) -> tuple[Features, Any, Any]:
        """What a setting counts, and the counts of the training and of the validation part."""
        from scipy import sparse

        reader = Reader(setting.tokens or "words", self._stop_words, self._keep_case, setting.edges)
        grams: dict[str, Grams] = {}
        tables: list[Any] = []
        others: list[Any] = []
        for kind, given in (("words", setting.word_ngrams), ("characters", setting.char_ngrams)):
            orders = read_orders(kind, given)
            if orders is not None:
                counted, own, held_out = self._count(kind, reader, orders[1])
                grams[kind] = counted.between(*orders)
                tables += own[orders[0] - 1 : orders[1]]
                others += held_out[orders[0] - 1 : orders[1]]
        features = Features(reader, grams.get("words"), grams.get("characters"))
        stacked = [sparse.csr_array(sparse.hstack(each, format="csr")) if each else None for each in (tables, others)]
        return features, stacked[0], stacked[1]

    def _count(self, kind: str, reader: Reader, high: int) -> tuple[Grams, list[Any], list[Any]]:
        """The n-grams of words or of characters, and the counts of both parts, a table for every length."""
        known = self._counted.get(kind)
        if known is not None and known[0] == reader and known[1].high >= high:
            return known[1:]
        high = max(high, self._longest[kind])
        if self._doing is not None:
            self._doing(f"counting n-grams of {kind}, up to {high} in a row")
        self._counted.pop(kind, None)  # what it holds may be large
        texts = self._train.texts
        if kind == "words":
            names = sorted({word for text in texts for word in reader.words(text)})
            read = reader.word_symbols
        else:
            names = list(characters_of([reader.characters(text) for text in texts]))
            read = reader.character_symbols
        joint = " " if kind == "words" else ""
        grams, own = count_grams(read(texts, names), names, high, fewest=self._config.fewest_texts, joint=joint)
        held_out = grams.tables(read(self._valid.texts, grams.symbols)) if len(self._valid) else []
        self._counted[kind] = reader, grams, own, held_out
        return grams, own, held_out


def mean_loss(answers: _Floats, targets: npt.NDArray[Any], link: Link) -> float:
    """Nats a label, of sets of labels summed over labels; of numbers the squared error."""
    if link == "identity":
        return float(((answers - np.asarray(targets, np.float64).reshape(answers.shape)) ** 2).mean())
    if link == "sigmoid":
        likely = np.where(targets, answers, 1 - answers)
        return -float(np.log(np.maximum(likely, _TINY)).sum(1).mean())
    return -float(np.log(np.maximum(answers[np.arange(len(targets)), targets], _TINY)).mean())


def _temperature(scores: _Floats, targets: npt.NDArray[Any], link: Link) -> float:
    """The one with the lowest loss (Guo et al. 2017, On calibration of modern neural networks, section 4.2)."""
    if link == "identity":
        return 1.0
    from scipy.optimize import minimize_scalar
    from scipy.special import expit, softmax

    def loss(power: float) -> float:
        scaled = scores * np.exp(-power)
        return mean_loss(softmax(scaled, 1) if link == "softmax" else expit(scaled), targets, link)

    found = minimize_scalar(loss, bounds=(-_FLATTEST, _FLATTEST), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))
