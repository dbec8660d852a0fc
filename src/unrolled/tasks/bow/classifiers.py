"""What is fitted to rows of numbers: scikit-learn's estimators, and what they come to as matrices.

Naive Bayes is multinomial (Manning, Raghavan & Schütze 2008, section 13.2). NBSVM is that of Wang & Manning 2012
(Baselines and bigrams: simple, good sentiment and topic classification, section 2.3): with f the binary features and
p, q the counts plus a of a class and of all others,

    r = ln((p / |p|) / (q / |q|))
    x = r f, and w, b of a support vector machine with squared hinge loss on x
    w' = (1 - beta) |w| / F + beta w        (|w| is the sum of absolute values)

Logistic regression on the same x, nothing interpolated, is what Mesnil et al. 2014 have (Ensemble of generative and
discriminative techniques for sentiment analysis of movie reviews, section 2.3).

Several classes: one against the rest each, the highest score wins.

Axes: n texts, F features, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from unrolled.tasks.bow.configuration import BowConfig

__all__ = ["Layer", "Link", "fit_layers", "layer_scores"]

_Floats = npt.NDArray[np.float64]
Link = Literal["softmax", "sigmoid", "identity"]
"""From scores to answers: one label of several, any of several, or numbers."""

_TINY = 1e-12
_INTERPOLATION = 0.25  # of Wang & Manning
_ROUNDS = 200  # of liblinear: what has not converged by then is as good on other texts
_PASSES, _PATIENCE, _BATCH = 100, 3, 32  # of the perceptron


@dataclass(frozen=True, eq=False)
class Layer:
    """Scores = x weight + bias.

    Attributes:
        weight: (F, C).
        bias: (C,).
    """

    weight: _Floats
    bias: _Floats


def layer_scores(table: Any, layers: Sequence[Layer]) -> _Floats:
    """The scores (n, C) of rows (n, F), which may be sparse; between two layers what is negative becomes 0."""
    found = table
    for at, layer in enumerate(layers):
        found = np.asarray(found @ layer.weight) + layer.bias
        if at + 1 < len(layers):
            found = np.maximum(found, 0)
    return np.asarray(found, np.float64)


def fit_layers(
    config: BowConfig, table: Any, targets: npt.NDArray[Any], link: Link, held_out: tuple[Any, npt.NDArray[Any]] | None
) -> list[Layer]:
    """Fit what the configuration says.

    Args:
        config: with classifier, cost and added.
        table: (n, F) rows of the training texts, sparse.
        targets: (n,) classes from 0 to C - 1, each there; (n, C) true or false for "sigmoid"; (n, D) numbers.
        link: from scores to answers.
        held_out: rows and targets by which a perceptron knows when to stop.
    """
    cost, added = config.cost or 1.0, config.added or 1.0
    with warnings.catch_warnings():
        # Where an optimiser stops before its tolerance, the validation part judges what it has.
        from sklearn.exceptions import ConvergenceWarning

        warnings.simplefilter("ignore", ConvergenceWarning)
        if link == "identity":
            return [_ridge(table, targets, cost)]
        if link == "sigmoid":
            return [_each(_side_by_side, config, table, targets, cost, added)]
        if config.classifier == "naive-bayes":
            return [_naive_bayes(table, targets, added)]
        if config.classifier == "logistic":
            return [_logistic(table, targets, cost)]
        if config.classifier in ("nbsvm", "nb-logistic"):
            return [_of_ratios(config, table, targets, cost, added)]
        return _perceptron(table, targets, config.hidden_units, held_out)


def _naive_bayes(table: Any, targets: npt.NDArray[Any], added: float) -> Layer:
    from sklearn.naive_bayes import MultinomialNB

    found = MultinomialNB(alpha=added).fit(table, targets)
    return Layer(np.ascontiguousarray(found.feature_log_prob_.T), found.class_log_prior_.astype(np.float64))


def _logistic(table: Any, targets: npt.NDArray[Any], cost: float) -> Layer:
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=cost, max_iter=1000).fit(table, targets)
    return _two_columns(np.ascontiguousarray(found.coef_.T), found.intercept_.astype(np.float64))


def _of_ratios(config: BowConfig, table: Any, targets: npt.NDArray[Any], cost: float, added: float) -> Layer:
    """Linear models on features that are multiplied with the ratios of naive Bayes."""
    classes = int(targets.max()) + 1
    # Of two classes one is enough: the other has the opposite ratios.
    chosen = [1] if classes == 2 else range(classes)
    pairs = [_against_the_rest(config, table, targets == c, cost, added) for c in chosen]
    return _two_columns(np.stack([weight for weight, _ in pairs], 1), np.array([bias for _, bias in pairs]))


def _against_the_rest(
    config: BowConfig, table: Any, positive: npt.NDArray[np.bool_], cost: float, added: float
) -> tuple[_Floats, float]:
    """Weights (F,) on the features themselves, and the bias."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    p, q = (added + np.asarray(table[np.flatnonzero(part)].sum(0)).ravel() for part in (positive, ~positive))
    ratios = np.log(p / p.sum()) - np.log(q / q.sum())
    scaled = table.copy()
    scaled.data = table.data * ratios[table.indices]
    if config.classifier == "nb-logistic":
        found = LogisticRegression(C=cost, solver="liblinear", max_iter=_ROUNDS).fit(scaled, positive)
        return ratios * found.coef_.ravel(), float(found.intercept_[0])
    interpolation = _INTERPOLATION if config.interpolation is None else config.interpolation
    found = LinearSVC(C=cost, random_state=0, max_iter=_ROUNDS).fit(scaled, positive)
    weight = found.coef_.ravel()
    mixed = (1 - interpolation) * np.abs(weight).mean() + interpolation * weight
    return ratios * mixed, float(found.intercept_[0])


def _ridge(table: Any, targets: npt.NDArray[Any], cost: float) -> Layer:
    from sklearn.linear_model import Ridge

    numbers = np.asarray(targets, np.float64).reshape(len(targets), -1)
    mean, spread = numbers.mean(0), np.maximum(numbers.std(0), _TINY)
    found = Ridge(alpha=1 / cost, solver="sparse_cg", tol=1e-6).fit(table, (numbers - mean) / spread)
    weight, bias = found.coef_.reshape(numbers.shape[1], -1).T, np.ravel(found.intercept_)
    return Layer(np.ascontiguousarray(weight * spread), bias * spread + mean)


def _side_by_side(config: BowConfig, table: Any, positive: npt.NDArray[np.bool_], cost: float, added: float) -> Layer:
    targets = positive.astype(np.int64)
    if config.classifier == "naive-bayes":
        return _naive_bayes(table, targets, added)
    if config.classifier in ("nbsvm", "nb-logistic"):
        return _of_ratios(config, table, targets, cost, added)
    return _logistic(table, targets, cost)


def _each(fit: Any, config: BowConfig, table: Any, targets: npt.NDArray[Any], cost: float, added: float) -> Layer:
    """One model a label, there or not; a label that always is or never is has a bias alone."""
    weights, biases = [], []
    for positive in np.asarray(targets, bool).T:
        if positive.all() or not positive.any():
            rate = (positive.sum() + 1) / (len(positive) + 2)
            weights.append(np.zeros(table.shape[1]))
            biases.append(float(np.log(rate / (1 - rate))))
            continue
        layer = fit(config, table, positive, cost, added)
        weights.append(layer.weight[:, 1] - layer.weight[:, 0])
        biases.append(float(layer.bias[1] - layer.bias[0]))
    return Layer(np.stack(weights, 1), np.array(biases))


def _perceptron(
    table: Any, targets: npt.NDArray[Any], hidden: int, held_out: tuple[Any, npt.NDArray[Any]] | None
) -> list[Layer]:
    """One hidden layer of rectified units, trained by Adam until three passes in a row are no better held out."""
    from sklearn.neural_network import MLPClassifier

    found = MLPClassifier((hidden,), batch_size=min(_BATCH, len(targets)), random_state=0)
    classes = np.arange(int(targets.max()) + 1)
    best, lowest, worse = [], np.inf, 0
    for _ in range(_PASSES if held_out is not None else 10):
        found.partial_fit(table, targets, classes=classes)
        layers = [Layer(w.copy(), b.copy()) for w, b in zip(found.coefs_, found.intercepts_, strict=True)]
        layers[-1] = _two_columns(layers[-1].weight, layers[-1].bias)
        if held_out is None:
            best = layers
            continue
        loss = _nats(layer_scores(held_out[0], layers), held_out[1])
        if loss < lowest:
            best, lowest, worse = layers, loss, 0
        else:
            worse += 1
        if worse == _PATIENCE:
            break
    return best


def _nats(scores: _Floats, targets: npt.NDArray[Any]) -> float:
    from scipy.special import log_softmax

    return -float(log_softmax(scores, 1)[np.arange(len(targets)), targets].mean())


def _two_columns(weight: _Floats, bias: _Floats) -> Layer:
    """Of two classes one has a score, the other 0."""
    if weight.shape[1] > 1:
        return Layer(weight, bias)
    return Layer(np.concatenate([np.zeros_like(weight), weight], 1), np.concatenate([np.zeros_like(bias), bias]))
