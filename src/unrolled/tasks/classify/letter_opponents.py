"""What a classifier of sequences over an alphabet stands beside: positional naive Bayes, and logistic regression on
k-mers; both tuned on the validation part.

Axes: n sequences, T letters, K letters of the alphabet, C classes, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from unrolled.data.alphabets import Alphabet, kmers
from unrolled.data.letter_inputs import LetterInput
from unrolled.data.ragged import Ragged
from unrolled.data.store import Part
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError
from unrolled.tasks.classify.examples import LabelledExamples, Schema
from unrolled.tasks.classify.reading_configuration import ReadingConfig
from unrolled.tasks.kinds import Prepared
from unrolled.tasks.metrics import describe_classes

__all__ = [
    "Fitted",
    "KmerRegression",
    "LetterData",
    "PositionalNaiveBayes",
    "fit_opponents",
    "kmer_features",
    "letter_opponent",
]

_Floats = npt.NDArray[np.float64]

_SMOOTHING = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
_LONGEST = (2, 3, 4, 5, 6)
_STRENGTHS = (0.1, 1.0, 10.0)
_MOST_FEATURES = 1 << 20  # of one length of k-mers: what is counted must fit the memory


@dataclass(frozen=True, eq=False)
class LetterData:
    """n sequences and their classes.

    Attributes:
        codes: the numbers of their letters; see `data.alphabets`.
        labels: (n,) from 0 to C - 1.
    """

    codes: Ragged
    labels: IntArray


class PositionalNaiveBayes:
    """p(class) times, for every position from the first on, p(letter there | class).

    A letter that stands for several is counted in equal shares for each, and has the sum of their probabilities.
    Positions beyond the longest sequence that was trained on say nothing.

    Args:
        data: what is counted.
        alphabet: its letters.
        classes: C.
        smoothing: what is added to every count.
    """

    def __init__(self, data: LetterData, alphabet: Alphabet, classes: int, smoothing: float = 1.0) -> None:
        self._shares = alphabet.shares.astype(np.float64)
        letters, longest = len(alphabet.letters), int(data.codes.lengths.max(initial=1))
        counts = np.zeros((classes, longest, letters))
        for index, label in enumerate(data.labels.tolist()):
            codes = data.codes[index]
            counts[label, : len(codes)] += self._shares[codes]
        counts += smoothing
        probabilities = counts / counts.sum(2, keepdims=True)  # (C, T, K)
        meant = np.ceil(self._shares)  # (S, K) 1 for every letter that a symbol may be
        self._logs = np.log(probabilities @ meant.T)  # (C, T, S)
        prior = np.bincount(data.labels, minlength=classes) + smoothing
        self._prior = np.log(prior / prior.sum())

    def probabilities(self, codes: Ragged) -> _Floats:
        """(n, C)."""
        logs = np.tile(self._prior, (len(codes), 1))
        longest = self._logs.shape[1]
        for index in range(len(codes)):
            own = codes[index][:longest]
            logs[index] += self._logs[:, np.arange(len(own)), own].sum(1)
        return _softmax(logs)


class KmerRegression:
    """Logistic regression on how often every stretch of 1 to k letters occurs (scikit-learn's, with an L2 penalty).

    Args:
        features: (n, F) of what is learned from; see `kmer_features`.
        labels: (n,).
        classes: C.
        strength: C of scikit-learn: the inverse of the penalty.

    Raises:
        ConfigurationError: there is one class only.
    """

    def __init__(self, features: Any, labels: IntArray, classes: int, strength: float) -> None:
        from sklearn.linear_model import LogisticRegression

        self._present, self._classes = np.unique(labels), classes
        if len(self._present) < 2:
            raise ConfigurationError("there is one class only in the training part", expected="at least two")
        self._model = LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
        self._model.fit(features, labels)

    def probabilities(self, features: Any) -> _Floats:
        """(n, C)."""
        given = np.zeros((features.shape[0], self._classes))
        given[:, self._present] = self._model.predict_proba(features)
        return given


def kmer_features(codes: Ragged, alphabet: Alphabet, longest: int, *, strands: bool = False) -> list[Any]:
    """How often every stretch occurs: for each length from 1 to `longest` one (n, K^k), sparse, float64.

    The counts of a sequence are divided by the root of the sum of their squares. Stretches with a letter that stands
    for several are left out.

    Args:
        codes: n sequences.
        alphabet: their letters.
        longest: k.
        strands: count both strands, so that a sequence and its reverse complement are the same.
    """
    from scipy import sparse

    letters, blocks = len(alphabet.letters), []
    other = alphabet.complement if strands else None
    for k in range(1, longest + 1):
        size = letters**k
        columns: list[IntArray] = []
        for index in range(len(codes)):
            own = np.asarray(codes[index], np.uint8)
            found = kmers(own, k, letters)
            if other is not None:
                found = np.concatenate([found, kmers(other[own[::-1]], k, letters)])
            columns.append(found[found < size])
        indices = np.concatenate(columns) if columns else np.empty(0, np.int64)
        starts = np.cumsum([0, *map(len, columns)])
        block = sparse.csr_matrix((np.ones(len(indices)), indices, starts), shape=(len(codes), size))
        block.sum_duplicates()
        norms = np.sqrt(np.asarray(block.multiply(block).sum(1)).ravel())
        blocks.append(sparse.csr_matrix(sparse.diags(1 / np.maximum(norms, 1e-12)) @ block))
    return blocks


def letter_opponent(
    prepared: Prepared, part: Part, reading: ReadingConfig, told: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """The better of both opponents on the validation part, as `evaluate` tells of a classifier; `others` has the other.

    Args:
        prepared: the data of a classifier of letters.
        part: what is told of.
        reading: whether k-mers are counted on both strands.
        told: is told what is being fitted.

    Raises:
        ConfigurationError: the labels are not one of several classes.
    """
    schema = Schema.read(prepared.vocabulary)
    if schema.target != "class" or not isinstance(schema.input, LetterInput):
        raise ConfigurationError("the opponents of sequences of letters tell classes apart", got=schema.target)
    train, valid, test = (
        LetterData(examples.sequences, examples.truth)
        for examples in (cast("LabelledExamples", prepared.parts[one]) for one in ("train", "valid", part))
    )
    both = reading.strands == "both"
    alphabet = schema.input.alphabet
    first, *others = fit_opponents(train, valid, alphabet, len(schema.labels), strands=both, told=told)

    def described(one: Fitted) -> dict[str, Any]:
        found = describe_classes(one.probabilities(test.codes), test.labels, schema.labels)
        return {"opponent": f"{one.name}, {one.settings}", "valid": one.loss, "loss": found["nats"], **found}

    report = {"target": schema.target, "labels": list(schema.labels), **described(first)}
    return {**report, "others": [described(other) for other in others]}


@dataclass(frozen=True, eq=False)
class Fitted:
    """An opponent with the settings that were best on the validation part.

    Attributes:
        name: which.
        settings: with what.
        loss: on the validation part, in nats; it was trained on the training part alone.
        probabilities: from sequences to (n, C).
    """

    name: str
    settings: str
    loss: float
    probabilities: Callable[[Ragged], _Floats]


def fit_opponents(
    train: LetterData,
    valid: LetterData,
    alphabet: Alphabet,
    classes: int,
    *,
    strands: bool = False,
    told: Callable[[str], None] | None = None,
) -> list[Fitted]:
    """Both opponents, the one with the lower loss on the validation part first.

    Where there is no validation part, a tenth of the training part is kept for it.

    Args:
        train: what they learn from.
        valid: what they are tuned on.
        alphabet: the letters.
        classes: C.
        strands: count k-mers on both strands.
        told: is told what is being fitted.
    """
    if not len(valid.labels):
        order = np.random.default_rng(0).permutation(len(train.labels))
        held = max(1, len(order) // 10)
        train, valid = _select(train, order[held:]), _select(train, order[:held])
    tell = told or (lambda what: None)
    tell("positional naive Bayes")
    tried = []
    for smoothing in _SMOOTHING:
        bayes = PositionalNaiveBayes(train, alphabet, classes, smoothing)
        loss = _loss(bayes.probabilities(valid.codes), valid)
        tried.append(Fitted("positional naive Bayes", f"smoothing {smoothing:g}", loss, bayes.probabilities))
    found = [min(tried, key=lambda one: one.loss)]
    tried = []
    where = "both strands" if strands else "one strand"
    lengths = [k for k in _LONGEST if len(alphabet.letters) ** k <= _MOST_FEATURES]
    of_train, of_valid = (kmer_features(data.codes, alphabet, max(lengths), strands=strands) for data in (train, valid))
    for longest in lengths:
        tell(f"logistic regression on stretches of 1 to {longest} letters")
        learnt, held_out = (_beside(blocks[:longest]) for blocks in (of_train, of_valid))
        for strength in _STRENGTHS:
            model = KmerRegression(learnt, train.labels, classes, strength)
            loss = _loss(model.probabilities(held_out), valid)
            settings = f"k to {longest}, C {strength:g}, {where}"
            say = _Answers(model, alphabet, longest, strands)
            tried.append(Fitted("k-mer logistic regression", settings, loss, say))
    found.append(min(tried, key=lambda one: one.loss))
    return sorted(found, key=lambda one: one.loss)


@dataclass(frozen=True, eq=False)
class _Answers:
    """From sequences to what a regression says of them."""

    model: KmerRegression
    alphabet: Alphabet
    longest: int
    strands: bool

    def __call__(self, codes: Ragged) -> _Floats:
        features = kmer_features(codes, self.alphabet, self.longest, strands=self.strands)
        return self.model.probabilities(_beside(features))


def _beside(blocks: list[Any]) -> Any:
    from scipy import sparse

    return sparse.hstack(blocks, format="csr")


def _select(data: LetterData, rows: IntArray) -> LetterData:
    return LetterData(data.codes.select(rows), data.labels[rows])


def _loss(probabilities: _Floats, data: LetterData) -> float:
    """Mean loss in nats; what was held to be impossible costs what one in a billion does."""
    given = probabilities[np.arange(len(data.labels)), data.labels]
    return float(-np.log(np.maximum(given, 1e-9)).mean())


def _softmax(logs: _Floats) -> _Floats:
    powers = np.exp(logs - logs.max(1, keepdims=True))
    shares: _Floats = powers / powers.sum(1, keepdims=True)
    return shares
