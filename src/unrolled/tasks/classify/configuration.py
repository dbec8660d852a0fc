"""Options of classification; without torch, so that the command line answers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unrolled.errors import ConfigurationError, nearest

__all__ = ["DEFAULTS", "FINETUNING", "ClassifierConfig"]

FINETUNING: dict[str, Any] = {
    "schedule": "slanted",
    "warmup": 0.1,
    "learning_rate": 0.006,
    "layer_decay": 0.2,
    "unfreeze": 0.4,
    "input_dropout": 0.2,
    "above": 96,
}
"""Options whose defaults are others where training starts from a language model's weights: schedule, rates by layer and
gradual unfreezing as Howard & Ruder 2018 have them, under a new layer that reads the model's states as Peters et al.
2018 do. The states of a small language model say too little of a label by themselves, and are slow to learn it."""
DEFAULTS: dict[str, Any] = {
    "epochs": 12.0,
    "clip_norm": 1.0,
    "average": "exponential",
    "average_decay": 0.998,
}
"""Fields of `TrainingConfig` whose defaults are others for this task."""


@dataclass(frozen=True)
class ClassifierConfig:
    """The network of a classifier. What is None is chosen from the data, and printed.

    Attributes:
        cell: a cell's name (see `unrolled cells`), or FILE.py:NAME for one of your own.
        layers: recurrent layers on top of each other.
        hidden_size: units of every layer, in each direction.
        last_size: units of the last layer, if others than hidden_size.
        embedding_size: units of a symbol's vector; 0 gives the first layer the symbols themselves, one-hot. Of series
            of vectors: units of a linear map before the first layer, 0 for none.
        embedding_std: the standard deviation that vectors of symbols start with.
        bidirectional: read each sequence forward and backward.
        pooling: how the outputs over time become one vector: last (after the whole sequence, in each direction), mean,
            max or attention (learned weights), or several with + between them, as mean+max+last.
        above: units, in each direction, of one more layer above the others, which reads their outputs and the
            embedding's vectors side by side, each brought to the same size. With weights of a language model below it
            is what reads these (Peters et al. 2018, section 3.3); 0 has none.
        between: units of a layer with relu between pooling and output; 0 has none.
        dropout: probability with which a unit is dropped between layers and before the output, while training.
        variational: drop the same units at every time step of a sequence (Gal & Ghahramani 2016).
        input_dropout: that of the embedding's units; if not given, dropout for words and subwords, 0.2 for characters
            and 0 for vectors.
        layer_dropout: that between layers, if not dropout.
        output_dropout: that before the output, if not dropout.
        embedding_dropout: probability with which a whole symbol is dropped, wherever it occurs in a batch.
        word_dropout: probability with which a symbol is read as the unknown one, drawn anew for each time step (Iyyer
            et al. 2015, section 4, leave it out); it trains the vector that unknown words have. If not given, 0.1 for
            words and subwords, else 0.
        weight_drop: probability with which a weight of the recurrent matrices is dropped, at all time steps alike.
        mogrifier: rounds in which input and state gate each other before the cell reads them (Melis et al. 2020).
        residual: add the input of a layer to its output, from the second layer on.
        ngrams: longest n-gram of symbols of a linear layer beside the network, which says of every n-gram what it
            speaks for, as a bag of words does (wide and deep: Cheng et al. 2016); 0 has none. If not given: 4 for
            short texts of characters, up to 6 with an alphabet (6 for DNA, 2 for protein), 3 with ngram_places, else
            none.
        ngram_table: rows of that layer's table, which n-grams share by chance where there are more of them.
        ngram_dropout: probability with which an n-gram is left out while training.
        ngram_places: an n-gram speaks for something else where it stands elsewhere, counted from the start: for
            sequences that are aligned, as windows around a site are.
        label_smoothing: share of the truth that is given to all labels alike while training (Szegedy et al. 2016).
        class_weights: what the loss of an example is multiplied with: none, balanced (each class weighs the same in
            all), or numbers by label, as spam=5,ham=1; labels that are not named have 1.
    """

    cell: str = "lstm"
    layers: int = 1
    hidden_size: int | None = None
    last_size: int | None = None
    embedding_size: int | None = None
    embedding_std: float | None = None
    bidirectional: bool = True
    pooling: str = "mean+max+last"
    above: int = 0
    between: int = 0
    dropout: float | None = None
    variational: bool = False
    input_dropout: float | None = None
    layer_dropout: float | None = None
    output_dropout: float | None = None
    embedding_dropout: float = 0.0
    word_dropout: float | None = None
    weight_drop: float = 0.0
    mogrifier: int = 0
    residual: bool = False
    ngrams: int | None = None
    ngram_table: int = 1 << 16
    ngram_dropout: float = 0.2
    ngram_places: bool = False
    label_smoothing: float = 0.0
    class_weights: str = "none"

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigurationError(f"{name} is too small", expected=f"at least {least}", got=str(value))
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ConfigurationError(f"{name} is a probability", expected="at least 0 and below 1", got=str(value))
        if self.embedding_std is not None and not 0 < self.embedding_std < float("inf"):
            raise ConfigurationError(
                "embedding_std is out of range", expected="above 0, and finite", got=str(self.embedding_std)
            )
        if self.ngram_places and self.ngrams == 0:
            raise ConfigurationError("there are no n-grams whose places could count", fix="--ngrams 3, say")
        parts = self.pooling.split("+")
        for part in parts:
            if part not in _POOLINGS:
                raise ConfigurationError(
                    f"pooling has no such choice: {part!r}",
                    expected=f"{', '.join(_POOLINGS)}, or several with + between them",
                    fix=nearest(part, _POOLINGS),
                )
        if len(set(parts)) < len(parts):
            raise ConfigurationError("a pooling is named twice", got=self.pooling, fix="keep one of them")
        if self.class_weights not in ("none", "balanced"):
            self._numbers()

    def _numbers(self) -> dict[str, float]:
        numbers = {}
        for part in self.class_weights.split(","):
            label, equals, number = part.rpartition("=")
            try:
                numbers[label.strip()] = float(number)
                good = bool(equals) and 0 < float(number) < float("inf")
            except ValueError:
                good = False
            if not good:
                raise ConfigurationError(
                    "class_weights are not numbers by label",
                    expected="none, balanced, or LABEL=NUMBER with commas between them, each above 0",
                    got=self.class_weights,
                )
        return numbers

    def check(self, target: str, *, vectors: bool) -> None:
        """Whether the options are for what is read and said.

        Args:
            target: see `LabelledConfig`.
            vectors: whether vectors are read, not symbols.

        Raises:
            ConfigurationError: one is for something else, and would change nothing.
        """
        if target == "number" and (self.class_weights != "none" or self.label_smoothing):
            raise ConfigurationError("class_weights and label_smoothing are for labels", got="target number")
        if vectors and (self.embedding_std is not None or self.embedding_dropout or self.word_dropout):
            raise ConfigurationError("embedding_std, embedding_dropout and word_dropout are for symbols", got="vectors")

    def weights(self, labels: Sequence[str], counts: Sequence[int]) -> list[float] | None:
        """What the loss of an example of each label is multiplied with; None where that is 1 for all.

        Args:
            labels: their names, C of them.
            counts: how often each is in the training part.

        Raises:
            ConfigurationError: a weight is given to a label that is not there.
        """
        if self.class_weights == "none":
            return None
        if self.class_weights == "balanced":
            # Their mean over the examples is 1, so that the loss has its usual size.
            present = sum(count > 0 for count in counts)
            return [sum(counts) / (present * count) if count else 1.0 for count in counts]
        numbers = self._numbers()
        for label in numbers:
            if label not in labels:
                raise ConfigurationError(
                    f"a class weight is given to {label!r}, which is no label of the training part",
                    expected=f"one of {', '.join(labels[:20])}",
                    fix=nearest(label, labels),
                )
        return [numbers.get(label, 1.0) for label in labels]


_POOLINGS = ("last", "mean", "max", "attention")

_LEAST = {
    "layers": 1,
    "hidden_size": 1,
    "last_size": 1,
    "embedding_size": 0,
    "above": 0,
    "between": 0,
    "mogrifier": 0,
    "ngrams": 0,
    "ngram_table": 2,
}
_PROBABILITIES = (
    *("dropout", "input_dropout", "layer_dropout", "output_dropout", "embedding_dropout", "word_dropout"),
    *("weight_drop", "ngram_dropout", "label_smoothing"),
)
