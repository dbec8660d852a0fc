"""The n-gram model in the place of a network: whatever reads, scores, writes or evaluates with one takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from unrolled.data.streams import Batch
from unrolled.tasks.language_model import LanguageModel
from unrolled.tasks.ngram import NGram, State
from unrolled.tasks.ngram_discounts import interpolate

if TYPE_CHECKING:
    from unrolled.decoding.engine import Engine

__all__ = ["NGramModel"]


class NGramModel(LanguageModel):
    """A language model without a network: logits are ln p, the state is that of `NGram`, nothing is trained.

    Its only parameter are the discounts, in float64; it works on the processor wherever that is said to be.

    Args:
        ngram: the fitted model.
    """

    def __init__(self, ngram: NGram) -> None:
        torch.nn.Module.__init__(self)
        self.ngram = ngram
        self.vocabulary_size = ngram.size
        self.discounts = torch.nn.Parameter(torch.from_numpy(ngram.discounts.copy()), requires_grad=False)

    @property
    def size(self) -> int:
        """The number of n-grams."""
        return self.ngram.ngrams

    def initial_state(self, batch: int) -> Any:
        """The state before a text, (B, n-1)."""
        return self.ngram.initial_state(batch)

    def select(self, state: Any, rows: npt.ArrayLike) -> Any:
        """The state of some of the texts, in a new order, each as often as it is named."""
        return state[np.asarray(rows, np.int64)]

    def forward(
        self, ids: torch.Tensor, state: Any = None, resets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Any]:
        """ln p of the next symbol after each of (B, T), (B, T, V) in float64; see `LanguageModel.forward`."""
        after = self._begin(len(ids), state)
        symbols, starts = ids.cpu().numpy(), None if resets is None else resets.cpu().numpy()
        p = np.empty((*symbols.shape, self.vocabulary_size))
        for b, t in np.ndindex(symbols.shape):
            self.ngram.look(symbols[b, t : t + 1], after[b], None if starts is None else starts[b, t : t + 1])
            p[b, t] = self.ngram.probabilities(after[b])
        return torch.from_numpy(np.log(p, out=p)), after

    def losses(self, batch: Batch, state: Any) -> tuple[torch.Tensor, Any]:
        """Nats of every target of a batch (B, T), 0 where it does not count; and the state after it."""
        after = self._begin(len(batch.x), state)
        nats = np.empty(batch.y.shape)
        for b, (x, y) in enumerate(zip(batch.x.numpy(), batch.y.numpy(), strict=True)):
            starts = None if batch.resets is None else batch.resets[b].numpy()
            read = self.ngram.look(x, after[b], starts)
            last = self.ngram.look(y[-1:], after[b].copy())
            p = interpolate(np.concatenate([read[1:], last]), self.ngram.discounts, self.vocabulary_size)
            nats[b] = -np.log(p)
        found = torch.from_numpy(nats)
        return found if batch.weights is None else found * batch.weights, after

    def stepping(self) -> Any:
        """One symbol at a time."""
        return self.ngram

    def engine(self, precision: Any = "float32") -> Engine:
        raise NotImplementedError("an n-gram model has no weights to pack")

    def _begin(self, batch: int, state: Any) -> State:
        """A state to move on."""
        return self.ngram.initial_state(batch) if state is None else np.array(state, np.int64)
