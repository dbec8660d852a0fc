"""A classifier of sequences: embedding, recurrent layers, pooling over time, a linear layer.

Axes: B batch, T time, D input, E embedding, H hidden, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from unrolled.cells import Equations
from unrolled.errors import ConfigurationError
from unrolled.kernels import Kernel
from unrolled.layers import Dropout, NGrams, Pooling, Recurrent, drop_words
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.supervised import Outcome, SupervisedModel

__all__ = ["Classifier", "LabelledBatch", "Target"]

Target = Literal["class", "labels", "number"]

_HIDDEN = 128
_READ_STD = 0.3  # the standard deviation of what the layer above the others reads
_REGULARISED = (
    *("variational", "input_dropout", "layer_dropout", "output_dropout", "embedding_dropout", "word_dropout"),
    *("weight_drop", "mogrifier", "residual", "label_smoothing", "class_weights"),
)


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """B sequences and what they are.

    Attributes:
        x: (B, T) symbols or (B, T, D) vectors, anything after the end of each.
        lengths: (B,) from 1 to T.
        y: (B,) the number of the class of each, (B, C) ones and zeros where each may have several labels, or (B,)
            numbers, standardised.
    """

    x: torch.Tensor
    lengths: torch.Tensor
    y: torch.Tensor


class Classifier(SupervisedModel):
    """p(label | x_1 ... x_T), or the expected number.

    Args:
        equations: the cell.
        config: the network; sizes that are None are 128 units, and there is then no dropout.
        classes: C outputs; 1 for a number.
        symbols: V, of sequences of symbols.
        inputs: D, of series of vectors, where `symbols` is not given.
        target: one class of C (softmax), any number of labels (a sigmoid each) or a number.
        unknown: the symbol that stands for all others, if there is one.
        weights: (C,) what the loss of an example of each class is multiplied with; of labels, that of each where it is
            there.
        letters: of how many different symbols the sequences are that n-grams are taken of, where these are others than
            those that the network reads.
    """

    def __init__(
        self,
        equations: Equations,
        config: ClassifierConfig | None = None,
        *,
        classes: int,
        symbols: int | None = None,
        inputs: int | None = None,
        target: Target = "class",
        unknown: int | None = None,
        weights: Sequence[float] | None = None,
        letters: int | None = None,
    ) -> None:
        super().__init__()
        config = config or ClassifierConfig()
        if (symbols is None) == (inputs is None):
            raise ValueError("a classifier reads either symbols or vectors")
        hidden, dropout = config.hidden_size or _HIDDEN, config.dropout or 0.0
        self.config, self.equations, self.classes, self.target = config, equations, classes, target
        self.symbols, self.unknown = symbols, unknown
        self.embedding: torch.nn.Module | None = None
        width = config.embedding_size
        if symbols is not None:
            width = hidden if width is None else width
            self.embedding = torch.nn.Embedding(symbols, width) if width else None
            self.width = width or symbols
        else:
            assert inputs is not None
            self.embedding = torch.nn.Linear(inputs, width) if width else None
            self.width = width or inputs
        self.recurrent = Recurrent(
            equations,
            self.width,
            hidden,
            config.layers,
            dropout=_either(config.layer_dropout, dropout),
            variational=config.variational,
            weight_drop=config.weight_drop,
            last_size=config.last_size,
            mogrifier=config.mogrifier,
            residual=config.residual,
            bidirectional=config.bidirectional,
        )
        top, both = self.recurrent, config.bidirectional
        self.above: Recurrent | None = None
        if config.above:
            vectors = self.width if self.embedding is not None else 0
            read = top.output_size + vectors
            self.above = Recurrent(equations, read, config.above, 1, weight_drop=config.weight_drop, bidirectional=True)
            top, both = self.above, True
        self.pooling = Pooling(config.pooling, top.output_size, bidirectional=both)
        self.between = torch.nn.Linear(self.pooling.output_size, config.between) if config.between else None
        self.output = torch.nn.Linear(config.between or self.pooling.output_size, classes)
        self.ngrams: NGrams | None = None
        if config.ngrams:
            of = letters or symbols
            if of is None:
                raise ConfigurationError("n-grams are of symbols", got="vectors", fix="leave ngrams out")
            self.ngrams = NGrams(
                config.ngrams, of, classes, config.ngram_table, config.ngram_dropout, placed=config.ngram_places
            )
        self.input_dropout = Dropout(_either(config.input_dropout, dropout), config.variational)
        self.dropout = torch.nn.Dropout(_either(config.output_dropout, dropout))
        self.weighted = weights is not None
        self.register_buffer("weights", None if weights is None else torch.tensor(weights), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again: recurrent layers as the cell says, everything else as PyTorch does."""
        for part in (self.embedding, self.pooling, self.between, self.output, self.ngrams):
            if part is not None:
                part.reset_parameters()  # type: ignore[operator]
        if isinstance(self.embedding, torch.nn.Embedding):
            torch.nn.init.normal_(self.embedding.weight, std=_either(self.config.embedding_std, 1.0))
        for layers in (self.recurrent, self.above):
            if layers is not None:
                layers.reset_parameters()

    def use(self, kernel: Kernel | None) -> None:
        for layers in (self.recurrent, self.above):
            if layers is not None:
                layers.use(kernel)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits, or the standardised number, of each sequence.

        Args:
            x: (B, T) symbols or (B, T, D) vectors.
            lengths: (B,) from 1 to T: where each sequence ends. What is beyond has no influence.

        Returns:
            (B, C).
        """
        scores = self.scores(x, lengths)
        return scores if self.ngrams is None else scores + self.ngrams(x, lengths)

    def scores(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """What the network says, (B, C), without n-grams; see `forward`."""
        vectors = self._embed(x)
        y, _ = self.recurrent(self.input_dropout(vectors), lengths=lengths)
        if self.above is not None:
            read = [y] if self.embedding is None else [y, vectors]
            # A language model's vectors and outputs may be of any size; those of rare words are not to be the loudest.
            even = [_READ_STD * torch.nn.functional.layer_norm(part, part.shape[-1:]) for part in read]
            y, _ = self.above(self.input_dropout(torch.cat(even, -1)), lengths=lengths)
        pooled = self.dropout(self.pooling(y, lengths))
        if self.between is not None:
            pooled = self.dropout(torch.relu(self.between(pooled)))
        scores: torch.Tensor = self.output(pooled)
        return scores

    def _embed(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, E)."""
        config, like = self.config, self.output.weight
        if self.symbols is None:
            return x.to(like.dtype) if self.embedding is None else self.embedding(x.to(like.dtype))
        gone: torch.Tensor | None = None
        if self.training and config.word_dropout:
            gone = torch.rand(x.shape, device=x.device) < config.word_dropout
            if self.unknown is not None:
                x, gone = x.masked_fill(gone, self.unknown), None
        # Laid out time step after time step in memory, as the loops over time read it: nothing is copied on the way.
        if self.embedding is None:
            vectors = torch.nn.functional.one_hot(x.t(), self.symbols).transpose(0, 1).to(like.dtype)
        else:
            vectors = self.embedding(x.t()).transpose(0, 1)
        if self.training and config.embedding_dropout:
            vectors = drop_words(vectors, x, self.symbols, config.embedding_dropout)
        return vectors if gone is None else vectors.masked_fill(gone.unsqueeze(-1), 0.0)

    def loss(self, batch: LabelledBatch) -> Outcome:
        """Of a batch: nats a label (a label that may or may not be there counts by itself); of numbers half the squared
        error of what is standardised, which is nats but for a constant."""
        device = self.device
        logits = self(batch.x.to(device), batch.lengths.to(device))
        logits = logits.float() if logits.dtype == torch.bfloat16 else logits
        y, examples = batch.y.to(device), len(batch.y)
        weights = self.get_buffer("weights") if self.weighted else None
        smoothing = self.config.label_smoothing if self.training else 0.0
        if self.target == "number":
            total = (logits.squeeze(-1) - y.to(logits)).square().sum() / 2
            return Outcome(total, examples, examples)
        if self.target == "labels":
            truth = y.to(logits) * (1 - smoothing) + smoothing / 2
            total = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, truth, pos_weight=weights, reduction="sum"
            )
            return Outcome(total, examples * self.classes, examples)
        total = torch.nn.functional.cross_entropy(logits, y, weight=weights, reduction="sum", label_smoothing=smoothing)
        return Outcome(total, examples, examples)

    @property
    def uniform_loss(self) -> float:
        """That of one who says the same of all labels, or the mean of all numbers."""
        return {"class": math.log(self.classes), "labels": math.log(2), "number": 0.5}[self.target]

    @property
    def about(self) -> str:
        config = self.config
        both = ", both directions" if config.bidirectional else ""
        vectors = f"embedding {self.width}" if self.embedding is not None else "one-hot"
        read = vectors if self.symbols else f"vectors of {self.width}"
        by_place = " by place" if config.ngram_places else ""
        between = f", n-grams up to {config.ngrams}{by_place} beside" if config.ngrams else ""
        between += f", {config.between} units between" if config.between else ""
        above = f", {config.above} in both directions above" if config.above else ""
        layers = f"{self.equations.name} {config.layers}x{self.recurrent.hidden_size}{both}{above}"
        return (
            f"{layers}, {read}, {config.pooling} over "
            f"time{between}, dropout {config.dropout or 0:g}{self._also()}; {self.size:,} parameters"
        )

    def _also(self) -> str:
        """What else is done against learning by heart."""
        usual, found = ClassifierConfig(), []
        for name in _REGULARISED:
            value = getattr(self.config, name)
            if value != getattr(usual, name):
                found.append(name.replace("_", " ") + ("" if value is True else f" {value}"))
        return "".join(f", {one}" for one in found)

    @torch.no_grad()
    def probabilities(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(B, C) of each label, or the standardised number, on the processor, in float64."""
        logits: torch.Tensor = self(x.to(self.device), lengths.to(self.device)).double().cpu()
        if self.target == "number":
            return logits
        return logits.sigmoid() if self.target == "labels" else logits.softmax(-1)


def _either(given: float | None, otherwise: float) -> float:
    return otherwise if given is None else given
