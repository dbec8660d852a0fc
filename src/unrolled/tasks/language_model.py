"""The language model: p(x_t | x_1 ... x_{t-1}) for every symbol x_t of a text.

Axes: B batch, T time, E embedding, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch

from unrolled.cells import Equations
from unrolled.data.configuration import Documents
from unrolled.data.store import Tokens
from unrolled.data.streams import Batch, StreamPosition, Streams, sequential
from unrolled.errors import ConfigurationError
from unrolled.kernels import Kernel
from unrolled.layers import Dropout, Recurrent, RecurrentLayer, StackState, StackStepping, detach, drop_words
from unrolled.layers.outputs import AdaptiveInput, AdaptiveSoftmax, FullSoftmax
from unrolled.tasks import Loss, Small, Validation
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.embeddings import OneHot, Vectors
from unrolled.tasks.output_layers import build_output

if TYPE_CHECKING:
    from unrolled.decoding.engine import Engine
    from unrolled.decoding.engine_source import Precision

__all__ = ["LanguageModel", "LanguageModelStepping", "LanguageModelTask", "read", "streams_for"]

_VALIDATION_STREAMS = 16
_VALIDATION_LENGTH = 256


class LanguageModel(torch.nn.Module):
    """Embedding, recurrent layers, output layer.

    Args:
        vocabulary_size: V.
        equations: the cell.
        config: the network; sizes that are None are 128 units, an embedding as wide as the hidden layers, no dropout.
        kernel: how cells run over time; chosen by `kernels.dispatch` if not given.
        counts: (V,) how often each symbol is seen, for output layers that ask what is frequent; by default symbols are
            taken to be sorted, frequent ones first.
    """

    def __init__(
        self,
        vocabulary_size: int,
        equations: Equations,
        config: LanguageModelConfig | None = None,
        *,
        kernel: Kernel | None = None,
        counts: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__()
        config = config or LanguageModelConfig()
        hidden = config.hidden_size or 128
        embedding = hidden if config.embedding_size is None else config.embedding_size
        dropout = config.dropout or 0.0
        self.config, self.equations, self.vocabulary_size = config, equations, vocabulary_size
        self.embedding: torch.nn.Module = OneHot(vocabulary_size)
        scale = _either(config.embedding_scale, math.sqrt(embedding) if config.tied else 1.0)
        if embedding and not (config.tied and config.output == "adaptive"):
            self.embedding = Vectors(vocabulary_size, embedding, scale)
        self.recurrent = Recurrent(
            equations,
            embedding or vocabulary_size,
            hidden,
            config.layers,
            dropout=_either(config.layer_dropout, dropout),
            variational=config.variational,
            weight_drop=config.weight_drop,
            last_size=embedding if config.tied else None,
            mogrifier=config.mogrifier,
            residual=config.residual,
            kernel=kernel,
        )
        self.output = build_output(config, self.recurrent.output_size, vocabulary_size, counts)
        if isinstance(self.embedding, Vectors) and config.tied:
            self.output.tie(self.embedding.weight)
        elif isinstance(self.output, AdaptiveSoftmax) and config.tied:
            self.embedding = AdaptiveInput(self.output, scale)
        self.input_dropout = Dropout(_either(config.input_dropout, dropout * config.variational), config.variational)
        self.dropout = Dropout(_either(config.output_dropout, dropout), config.variational)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again: recurrent layers as the cell says, the output layer from small weights and no biases; or as the
        configuration says.
        """
        if isinstance(self.embedding, Vectors):
            # With entries of about 1 the gates are moved by the symbol from the first step on: measured on a character
            # model of 2x256, 300 steps come to 1.47 nats so, and to 2.02 with vectors of length 1.
            torch.nn.init.normal_(self.embedding.weight)
        self.recurrent.reset_parameters()
        self.output.restart()
        if isinstance(self.embedding, Vectors) and self.config.tied:
            # Small for the output, and about 1 once multiplied, for the layers: not multiplied, a model of 2x400 of the
            # words of Penn Treebank stays at the 6.5 nats of word frequencies for its first 150 steps.
            torch.nn.init.normal_(self.embedding.weight, std=self.embedding.embedding_dim**-0.5)
        if isinstance(self.embedding, AdaptiveInput):
            self.embedding.restart()
        std, bound = self.config.initial_std, self.config.initial_range
        numbers = {name for name, how in self.recurrent.equations.init if not isinstance(how, str)}
        for name, parameter in self.named_parameters():
            if std is not None:
                torch.nn.init.normal_(parameter, std=std) if parameter.dim() > 1 else torch.nn.init.zeros_(parameter)
            elif bound is not None and not numbers & {".".join(name.split(".")[-2:]), name.split(".")[-2]}:
                torch.nn.init.uniform_(parameter, -bound, bound)

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_state(self, batch: int) -> StackState:
        """The empty state: zeros, for every layer and state of the cell (B, H)."""
        return self.recurrent.initial_state(batch)

    def select(self, state: StackState, rows: npt.ArrayLike) -> StackState:
        """The state of some of the texts, in a new order, each as often as it is named."""
        index = torch.as_tensor(rows, dtype=torch.long, device=next(self.parameters()).device)
        return tuple(tuple(part[index] for part in layer) for layer in state)

    def forward(
        self, ids: torch.Tensor, state: StackState | None = None, resets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, StackState]:
        """Logits of the next symbol after each; their softmax is its distribution, whatever the output layer.

        Args:
            ids: (B, T) symbols.
            state: what the symbols before left; empty if not given.
            resets: (B, T), true where the state is emptied before the symbol is read.

        Returns:
            logits (B, T, V), and the state after the last symbol.
        """
        _, y, state = self._read(ids, state, resets)
        logits: torch.Tensor = self.output(y)
        return logits, state

    def hidden(
        self, ids: torch.Tensor, state: StackState | None = None, resets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, StackState]:
        """What the output layer gets, (B, T, H), and the state after the last symbol; see `forward`."""
        _, y, state = self._read(ids, state, resets)
        return y, state

    def _read(
        self, ids: torch.Tensor, state: StackState | None, resets: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, StackState]:
        """What the last layer gives (B, T, H), what of it the output layer gets, and the state after it."""
        # Laid out time step after time step in memory, as the loops over time read it: nothing is copied on the way.
        x = self.embedding(ids.t()).transpose(0, 1).to(next(self.parameters()).dtype)
        if self.training and self.config.embedding_dropout:
            x = drop_words(x, ids, self.vocabulary_size, self.config.embedding_dropout)
        y, state = self.recurrent(self.input_dropout(x), state, resets)
        return y, self.dropout(y), state

    def losses(self, batch: Batch, state: StackState | None) -> tuple[torch.Tensor, StackState]:
        """Nats of every target of a batch (B, T), 0 where it does not count; and the state after it.

        In evaluation mode these are exact; while training they are what the output layer is trained by.
        """
        nats, state, _ = self.penalised(batch, state)
        return nats, state

    def penalised(self, batch: Batch, state: StackState | None) -> tuple[torch.Tensor, StackState, torch.Tensor | None]:
        """`losses`, and what training makes small besides: of y, the last layer's output, and ~y, what dropout leaves,
        activation_penalty · mean ~y² + temporal_penalty · mean (y[t] - y[t-1])² (Merity et al. 2018, section 4.5)."""
        device = next(self.parameters()).device
        x, targets = batch.x.to(device), batch.y.to(device)
        resets = None if batch.resets is None else batch.resets.to(device)
        weights = None if batch.weights is None else batch.weights.to(device)
        y, dropped, state = self._read(x, state, resets)
        nats = self.output.losses(dropped, targets, weights)
        penalties = []
        if self.training and self.config.activation_penalty:
            penalties.append(self.config.activation_penalty * dropped.to(nats.dtype).square().mean())
        if self.training and self.config.temporal_penalty and y.shape[1] > 1:
            penalties.append(self.config.temporal_penalty * (y[:, 1:] - y[:, :-1]).to(nats.dtype).square().mean())
        return nats, state, sum(penalties[1:], penalties[0]) if penalties else None

    def stepping(self) -> LanguageModelStepping:
        """The model with its weights packed, for one symbol after the other without gradients."""
        return LanguageModelStepping(self)

    def engine(self, precision: Precision = "float32") -> Engine:
        """The model for generating and scoring on the processor, entirely inside compiled code; see
        `decoding.engine.Engine`. Later changes to the model are not seen, and nobody can watch it.

        Raises:
            ConfigurationError: the output layer is not one matrix and one bias, which is all that the engine knows.
        """
        if not isinstance(self.output, FullSoftmax):
            raise ConfigurationError(
                "the stepping engine has no such output layer",
                expected="output full or sampled",
                fix="leave --precision out: PyTorch runs the model",
            )
        from unrolled.decoding.engine import Engine  # Numba takes half a second to import

        rows = self.embedding.weight * self.embedding.scale if isinstance(self.embedding, Vectors) else None
        return Engine(self.recurrent, rows, self.output.weight, self.output.bias, precision)


class LanguageModelStepping:
    """One symbol at a time. Later changes to the model are not seen."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._recurrent: StackStepping = model.recurrent.stepping()

    def initial_state(self, batch: int) -> StackState:
        """The empty state."""
        return self._model.initial_state(batch)

    def select(self, state: StackState, rows: npt.ArrayLike) -> StackState:
        """The state of some of the texts; see `LanguageModel.select`."""
        return self._model.select(state, rows)

    @torch.no_grad()
    def step(self, ids: torch.Tensor, state: StackState) -> tuple[torch.Tensor, StackState]:
        """The symbols (B,) and the state before to the logits (B, V) of the next and the state after."""
        like = next(self._model.parameters())
        x = self._model.embedding(ids.to(like.device)).to(like.dtype)
        y, state = self._recurrent.step(x, state)
        logits: torch.Tensor = self._model.output(y)
        return logits, state


@torch.no_grad()
def read(model: LanguageModel, batches: Iterable[Batch]) -> tuple[float, int]:
    """The loss over batches that follow each other, without dropout and in the precision of the weights.

    Returns:
        total nats, and over how many targets.
    """
    before = model.training
    model.eval()
    state: StackState | None = None
    total, targets = 0.0, 0
    try:
        for batch in batches:
            nats, state = model.losses(batch, None if batch.fresh else state)
            total += float(nats.double().sum())
            targets += batch.targets
    finally:
        model.train(before)
    return total, targets


class LanguageModelTask:
    """A language model and its text; see `tasks.Trainable`.

    Args:
        model: the model.
        train: the tokens to train on.
        valid: the tokens to validate on; may be empty.
        batch: B streams.
        length: T steps of truncated backpropagation through time.
        seed: where each pass over the text begins.
        documents: what happens to the state between documents.
        shift: begin each pass over the text at another offset.
        vary: draw the lengths of sequences around T, and let the learning rate follow them.
        block: read the text in shuffled blocks of so many tokens; 0 reads it in its order.
        valid_limit: validate on at most so many tokens, the first ones.
        share: from a number of streams to the half-open range of those that are read here, where several processes
            train together; all if not given.
        add: from numbers of this process to their sums over all.
    """

    def __init__(
        self,
        model: LanguageModel,
        train: Tokens,
        valid: Tokens,
        *,
        batch: int,
        length: int,
        seed: int,
        documents: Documents = "carry",
        shift: bool = True,
        vary: bool = False,
        block: int = 0,
        valid_limit: int | None = None,
        share: Callable[[int], tuple[int, int]] | None = None,
        add: Callable[[list[float]], list[float]] | None = None,
    ) -> None:
        self.model = model
        self._batch, self._length, self._vary = batch, length, vary
        self._share, self._add = share, add
        self._streams = Streams(
            train,
            batch,
            length,
            seed=seed,
            shift=shift,
            documents=documents,
            vary=vary,
            rows=None if share is None else share(batch),
            block=block,
        )
        self._documents: Documents = documents
        keep = len(valid) if valid_limit is None else min(len(valid), valid_limit)
        starts = valid.document_starts
        self._valid = Tokens(valid.ids[:keep], starts[starts < keep])

    def start(self) -> dict[str, Any]:
        """The first chunk of the first pass."""
        return asdict(StreamPosition())

    def batches_per_epoch(self) -> int:
        """Chunks of a pass; one more or less as its offset falls."""
        return self._streams.chunks_per_epoch(0)

    def uniform_loss(self) -> float:
        """ln V."""
        return math.log(self.model.vocabulary_size)

    def loss(self, position: dict[str, Any], state: dict[str, torch.Tensor]) -> Loss:
        """The loss of one chunk, and the state for the next."""
        batch = self._streams.batch(StreamPosition(**position))
        nats, after, penalty = self.model.penalised(batch, None if batch.fresh else self._unflatten(state))
        epoch = batch.next.epoch + batch.next.chunk / self._streams.chunks_per_epoch(batch.next.epoch)
        return Loss(
            total=nats.sum(),
            targets=batch.targets,
            sequences=len(batch.x),
            state=self._flatten(detach(after)),
            next=asdict(batch.next),
            epoch=epoch,
            rate=batch.x.shape[1] / self._length if self._vary else 1.0,
            penalty=penalty,
        )

    def small(self) -> Small | None:
        """The net as `kernels.small` wants it: of a plain model, without residual layers, and trained on sequences of
        one length without anything that is dropped at random or penalised."""
        from unrolled.kernels.small import Shape  # Numba takes half a second to import

        model, recurrent = self.model, self.model.recurrent
        layers = [layer for layer in recurrent.modules() if isinstance(layer, RecurrentLayer)]
        drops = (model.input_dropout, recurrent.dropout, model.dropout)
        plain = not any(drop.probability for drop in drops) and not model.config.embedding_dropout
        plain = plain and not model.config.weight_drop and not model.config.tied and not self._vary
        plain = plain and (isinstance(model.embedding, OneHot) or getattr(model.embedding, "scale", 1) == 1)
        plain = plain and not model.config.activation_penalty and not model.config.temporal_penalty
        plain = plain and not (recurrent.residual and len(layers) > 1) and type(model) is LanguageModel
        plain = plain and type(model.output) is FullSoftmax
        if not plain or any(layer.kernel == "reference" for layer in layers):
            return None
        embedding = 0 if isinstance(model.embedding, OneHot) else recurrent.input_size
        names = {name.removeprefix("recurrent."): value for name, value in model.named_parameters()}
        if embedding:
            names["embedding"] = names.pop("embedding.weight")
        return Small(
            equations=recurrent.equations,
            shape=Shape(
                model.vocabulary_size, embedding, recurrent.hidden_size, len(layers), self._batch, self._length
            ),
            parameters=names,
            states=[[f"layers.{layer}.{name}" for name in recurrent.equations.states] for layer in range(len(layers))],
            stretch=lambda position, count: self._streams.stretch(StreamPosition(**position), count),
        )

    def validate(self) -> Validation | None:
        """Nats a symbol of the validation text, state carried over parallel streams."""
        if len(self._valid) < 2:
            return None
        batch = streams_for(len(self._valid))
        batches = sequential(self._valid, batch, _VALIDATION_LENGTH, self._documents, self._share)
        sums: list[float] = [*read(self.model, batches)]
        total, targets = sums if self._add is None else self._add(sums)
        return Validation(total / targets) if targets else None

    def _unflatten(self, state: dict[str, torch.Tensor]) -> StackState:
        names = self.model.recurrent.equations.states
        try:
            layers = range(len(self.model.recurrent.layers))
            return tuple(tuple(state[f"layers.{index}.{name}"] for name in names) for index in layers)
        except KeyError as error:
            raise ConfigurationError(f"the carried state has no {error}, which this network needs") from None

    def _flatten(self, state: StackState) -> dict[str, torch.Tensor]:
        names = self.model.recurrent.equations.states
        return {
            f"layers.{index}.{name}": part
            for index, layer in enumerate(state)
            for name, part in zip(names, layer, strict=True)
        }


def _either(given: float | None, otherwise: float) -> float:
    return otherwise if given is None else given


def streams_for(tokens: int) -> int:
    """How many parallel streams a text is read in: up to 16, each of at least 8 stretches of 256 symbols, so that the
    empty state that each begins with weighs little."""
    return max(1, min(_VALIDATION_STREAMS, tokens // (8 * _VALIDATION_LENGTH)))
