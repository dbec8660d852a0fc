"""The classical opponent of a tagger: logistic regression on a window of words, or of frames.

Each word is classified by itself from what it and its neighbours look like, up to two on each side: the words, their
beginnings and ends, their shapes (capitals, digits, the rest), and pairs of neighbours. Frames are classified from the
numbers of a window around them. The penalty, the width of a frame's window, and whether what BIO or BIOES forbids is
ruled out (Viterbi over the classifier's probabilities) are chosen on the validation part.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import ConfigurationError
from unrolled.tasks.tag.examples import FrameExamples, WordExamples
from unrolled.tasks.tag.metrics import span_scores, tag_scores
from unrolled.tasks.tag.spans import allowed_pairs
from unrolled.tasks.tag.vocabulary import Tags

__all__ = ["WindowClassifier", "fit_windows", "word_features"]

_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
_RADII = (0, 2, 5)
_MOST_PASSES = 100
_LEAST = 2  # times that a feature is seen in the training part
_EDGE = "\0"
_MOST_FRAMES = 200_000


def word_features(tokens: Sequence[str]) -> list[list[str]]:
    """For each word what it and its neighbours look like, up to two on each side.

    >>> [one for one in word_features(["The", "X2s"])[1] if one.startswith(("word-1", "shape+", "ends"))]
    ['word-1=the', 'shape+0=A0a', 'shape+1=', 'ends1=s', 'ends2=2s', 'ends3=x2s', 'ends-1=the', 'ends+1=']
    """
    lowered = [_EDGE, _EDGE, *(token.lower() for token in tokens), _EDGE, _EDGE]
    shapes = ["", "", *map(_shape, tokens), "", ""]
    found = []
    for at, token in enumerate(tokens, 2):
        word = lowered[at]
        features = [f"word{by:+d}={lowered[at + by]}" for by in range(-2, 3)]
        features += [f"shape{by:+d}={shapes[at + by]}" for by in (-1, 0, 1)]
        features += [f"begins{length}={token[:length]}" for length in range(1, 5) if length <= len(token)]
        features += [f"ends{length}={word[-length:]}" for length in range(1, 6) if length <= len(word)]
        features += [f"ends{by:+d}={lowered[at + by].strip(_EDGE)[-3:]}" for by in (-1, 1)]
        features += [
            f"pair-={lowered[at - 1]} {word}",
            f"pair+={word} {lowered[at + 1]}",
            f"around={lowered[at - 1]} {lowered[at + 1]}",
            f"shapes={shapes[at - 1]} {shapes[at]} {shapes[at + 1]}",
        ]
        found.append(features)
    return found


def _shape(token: str) -> str:
    """What kinds of characters follow each other: X-12s is A-0a."""
    kinds = "".join("A" if c.isupper() else "a" if c.islower() else "0" if c.isdigit() else c for c in token)
    return re.sub(r"(.)\1+", r"\1", kinds)


@dataclass(frozen=True, eq=False)
class WindowClassifier:
    """A fitted opponent.

    Attributes:
        settings: what was chosen.
        tags: of the training part.
        model: scikit-learn's.
        numbers: of features, where words are tagged.
    """

    settings: dict[str, Any]
    tags: Tags
    model: Any
    numbers: dict[str, int]

    def tag(self, examples: WordExamples | FrameExamples) -> list[tuple[str, ...]]:
        """The tags of some examples."""
        inputs = _inputs(examples, self.numbers, self.settings.get("radius", 0))
        return _decode(self.model, inputs, examples, self.tags, self.settings.get("constrained", False))


def fit_windows(
    train: WordExamples | FrameExamples,
    valid: WordExamples | FrameExamples,
    tags: Tags,
    told: Callable[[str], None] = lambda said: None,
) -> WindowClassifier:
    """The best of the family: fitted to the training part, chosen by span F1, or else accuracy, on the validation part.

    Without a validation part the middle of all settings is taken. Of frames the first 200,000 are fitted to. `told`
    hears of each setting.

    Raises:
        ConfigurationError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ConfigurationError(
            "the opponent needs the library scikit-learn, which is not installed", fix="pip install scikit-learn"
        ) from None
    words = isinstance(train, WordExamples)
    numbers = _numbers(train) if isinstance(train, WordExamples) else {}
    choosing = len(valid.lengths) > 0
    best: tuple[float, WindowClassifier] | None = None
    for radius in (0,) if words else _RADII if choosing else _RADII[1:2]:
        x, y = _inputs(train, numbers, radius), train.numbers
        kept = np.flatnonzero(y >= 0)[: None if words else _MOST_FRAMES]
        before = None
        for strength in _STRENGTHS if choosing else (1.0,):
            model = LogisticRegression(C=strength, max_iter=_MOST_PASSES, tol=1e-4, warm_start=True)
            if before is not None:
                # The weaker penalty begins where the stronger one ended.
                model.classes_, model.coef_, model.intercept_ = before.classes_, before.coef_, before.intercept_
            with warnings.catch_warnings(action="ignore"):  # what is stopped after so many passes is near enough
                model.fit(x[kept], y[kept])
            before = model
            for constrained in (False, True) if tags.restrained else (False,):
                settings: dict[str, Any] = {"C": strength}
                settings |= {"constrained": constrained} if tags.scheme else {}
                settings |= {} if words else {"radius": radius}
                one = WindowClassifier(settings, tags, model, numbers)
                score = _score(valid, one.tag(valid), tags) if choosing else 0.0
                told(", ".join(f"{name} {value}" for name, value in settings.items()) + f": {score:.4f}")
                if best is None or score > best[0]:
                    best = (score, one)
    assert best is not None
    return best[1]


def _numbers(train: WordExamples) -> dict[str, int]:
    """The features that the training part has more than once."""
    counts = Counter(itertools.chain.from_iterable(_features(train)))
    return {feature: number for number, feature in enumerate(one for one, n in counts.items() if n >= _LEAST)}


def _features(examples: WordExamples) -> Iterator[list[str]]:
    for tokens in examples.sentences:
        yield from word_features(tokens)


def _inputs(examples: WordExamples | FrameExamples, numbers: dict[str, int], radius: int) -> Any:
    """(N, F) of all words or frames: sparse of zeros and ones, or the numbers of the window."""
    if isinstance(examples, WordExamples):
        from scipy.sparse import csr_matrix

        columns: list[int] = []
        ends = [0]
        for features in _features(examples):
            columns += [numbers[feature] for feature in features if feature in numbers]
            ends.append(len(columns))
        shape = (len(ends) - 1, max(1, len(numbers)))
        return csr_matrix((np.ones(len(columns), np.float32), np.array(columns, np.int64), np.array(ends)), shape)
    pieces = []
    for index in range(len(examples.series)):
        frames = np.asarray(examples.series[index], np.float64)
        wide = np.pad(frames, ((radius, radius), (0, 0)))
        pieces.append(np.concatenate([wide[by : by + len(frames)] for by in range(2 * radius + 1)], 1))
    return np.concatenate(pieces) if pieces else np.empty((0, 1))


def _decode(
    model: Any, inputs: Any, examples: WordExamples | FrameExamples, tags: Tags, constrained: bool
) -> list[tuple[str, ...]]:
    if inputs.shape[0] == 0:
        return []
    chosen = model.classes_
    if not constrained:
        found = model.predict(inputs).tolist()
        starts = examples.tags.starts.tolist()
        return [tuple(tags.names[n] for n in found[first:last]) for first, last in itertools.pairwise(starts)]
    import torch

    from unrolled.layers.crf import best_paths

    logs = np.full((inputs.shape[0], len(tags.names)), -1e3)
    logs[:, chosen] = np.maximum(model.predict_log_proba(inputs), -1e3)
    allowed = torch.from_numpy(allowed_pairs(tags.names, tags.scheme))
    none = torch.zeros(len(tags.names), dtype=torch.float64)
    made = []
    for first, last in itertools.pairwise(examples.tags.starts.tolist()):
        scores = torch.from_numpy(logs[first:last]).unsqueeze(0)
        length = torch.tensor([last - first])
        best, _ = best_paths(scores, length, torch.zeros(len(none), len(none)).double(), none, none, allowed)
        made.append(tuple(tags.names[number] for number in best[0].tolist()))
    return made


def _score(examples: WordExamples | FrameExamples, found: list[tuple[str, ...]], tags: Tags) -> float:
    if tags.scheme is not None:
        return float(span_scores(examples.written, found)["span_f1"])
    given = itertools.chain.from_iterable(examples.written)
    return float(tag_scores(given, itertools.chain.from_iterable(found))["accuracy"])
