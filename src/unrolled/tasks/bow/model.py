"""The fitted bag of words: from texts to answers.

Axes: n texts, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from unrolled.errors import RunError
from unrolled.tasks.bow.classifiers import Layer, Link, layer_scores
from unrolled.tasks.bow.configuration import Weighting
from unrolled.tasks.bow.features import Features, Weights

__all__ = ["BagOfWords"]

_Floats = npt.NDArray[np.float64]

_AT_ONCE = 5000  # texts whose counts are in memory


@dataclass(frozen=True, eq=False)
class BagOfWords:
    """A bag of n-grams and what was fitted to it; see `tasks.Fitted`.

    Attributes:
        features: what is counted.
        weights: what a count becomes.
        layers: from these to scores.
        link: from scores to answers.
        temperature: what scores are divided by before they become probabilities; it changes no label.
    """

    features: Features
    weights: Weights
    layers: Sequence[Layer]
    link: Link
    temperature: float = 1.0

    @property
    def parameters(self) -> int:
        """How many numbers were fitted."""
        return sum(layer.weight.size + layer.bias.size for layer in self.layers)

    def answers(self, texts: Sequence[str]) -> _Floats:
        """(n, C) the probabilities of the labels, of all one after the other; for numbers (n, D) these."""
        pieces = [texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE)]
        tables = (self.weights.apply(self.features.counts(piece)) for piece in pieces)
        width = len(self.layers[-1].bias)
        found = [self.of_scores(layer_scores(table, self.layers)) for table in tables]
        return np.concatenate(found) if found else np.empty((0, width))

    def of_scores(self, scores: _Floats) -> _Floats:
        """From scores (n, C) to answers."""
        from scipy.special import expit, softmax

        if self.link == "identity":
            return scores
        scaled = scores / self.temperature
        found: _Floats = softmax(scaled, 1) if self.link == "softmax" else expit(scaled)
        return found

    def with_temperature(self, temperature: float) -> BagOfWords:
        """The same with another temperature."""
        return replace(self, temperature=temperature)

    def telling(self, many: int = 10) -> list[list[tuple[str, float]]]:
        """For every class the n-grams that speak for it most, with how much more than for the others.

        Empty for a perceptron, in which no n-gram speaks alone.
        """
        if len(self.layers) > 1:
            return []
        names = self.names()
        weight = self.layers[0].weight
        others = (weight.sum(1, keepdims=True) - weight) / max(weight.shape[1] - 1, 1) if self.link == "softmax" else 0
        more = weight - others
        best = np.argsort(-more, axis=0, kind="stable")[:many]
        return [[(names[row], float(more[row, c])) for row in column] for c, column in enumerate(best.T.tolist())]

    def names(self) -> list[str]:
        """(K,) the n-grams that have a weight."""
        names = self.features.names()
        return names if self.weights.kept is None else [names[column] for column in self.weights.kept.tolist()]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a checkpoint holds."""
        found = self.features.arrays()
        for number, layer in enumerate(self.layers):
            found |= {f"layer.{number}.weight": layer.weight, f"layer.{number}.bias": layer.bias}
        for name, array in (("rarity", self.weights.rarity), ("kept", self.weights.kept)):
            if array is not None:
                found[name] = array
        return found

    def facts(self) -> dict[str, object]:
        """What a reader of the run wants to know."""
        return {
            "weighting": self.weights.weighting,
            "link": self.link,
            "temperature": self.temperature,
            "ngrams": self.features.width,
            "parameters": self.parameters,
        }

    @classmethod
    def from_arrays(
        cls, vocabulary: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any], where: str
    ) -> BagOfWords:
        """What `Features.vocabulary`, `arrays` and `facts` say.

        Raises:
            RunError: they do not fit together.
        """
        features = Features.from_json(vocabulary, arrays, where)
        weights = Weights(facts["weighting"], arrays.get("rarity"), arrays.get("kept"))
        layers: list[Layer] = []
        while f"layer.{len(layers)}.weight" in arrays:
            name = f"layer.{len(layers)}"
            layers.append(Layer(arrays[f"{name}.weight"], arrays.get(f"{name}.bias", np.empty(0))))
        width = features.width if weights.kept is None else len(weights.kept)
        shaped = bool(layers) and (weights.rarity is None or weights.rarity.shape == (width,))
        for layer in layers:
            shaped = shaped and layer.weight.ndim == 2 and layer.weight.shape == (width, len(layer.bias))
            width = len(layer.bias)
        if not shaped or facts["link"] not in get_args(Link) or weights.weighting not in get_args(Weighting):
            raise RunError("the weights are not those of this bag of words", where=where, fix="fit it again")
        return cls(features, weights, layers, facts["link"], float(facts["temperature"]))
