"""A tagger: what it reads of each step, recurrent layers, and a score for every tag, or for every path of tags.

A word's vector is joined with what recurrent layers make of its characters (Lample et al. 2016, section 4.1; Ma & Hovy
2016 have a convolution there); recurrent layers read the sentence in both directions (Graves & Schmidhuber 2005); the
tags are chosen together by a conditional random field (Huang, Xu & Yu 2015), or each by itself.

Axes: B batch, T time, U different words, K characters, D input, H hidden, C tags.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from unrolled.cells import Equations
from unrolled.kernels import Kernel
from unrolled.layers import Dropout, Recurrent
from unrolled.layers.crf import ChainCRF, best_paths
from unrolled.tasks.supervised import Outcome, SupervisedModel
from unrolled.tasks.tag.configuration import TaggerConfig
from unrolled.tasks.tag.examples import FrameBatch, TagBatch, WordBatch

__all__ = ["FrameReader", "Tagger", "WordReader"]


class WordReader(torch.nn.Module):
    """Words as vectors: (B, T, D) of a batch of sentences.

    Args:
        equations: the cell that reads characters.
        words: V.
        characters: how many there are.
        singletons: (V,) words that may be dropped while training.
        config: the network.

    Attributes:
        output_size: D.
    """

    def __init__(
        self,
        equations: Equations,
        words: int,
        characters: int,
        singletons: npt.NDArray[np.bool_],
        config: TaggerConfig,
    ) -> None:
        super().__init__()
        self.word_dropout, self.output_size = config.word_dropout, 0
        self.embedding: torch.nn.Embedding | None = None
        self.characters: torch.nn.Embedding | None = None
        self.register_buffer("singletons", torch.from_numpy(singletons.copy()), persistent=False)
        if config.embedding_size:
            self.embedding = torch.nn.Embedding(words, config.embedding_size)
            self.output_size += config.embedding_size
        if config.character_size:
            self.characters = torch.nn.Embedding(characters, config.character_size)
            self.recurrent = Recurrent(equations, config.character_size, config.character_hidden, bidirectional=True)
            self.output_size += 2 * config.character_hidden
        self.about = " + ".join(
            [f"words {config.embedding_size}"] * bool(config.embedding_size)
            + [f"characters {config.character_size} into 2x{config.character_hidden}"] * bool(config.character_size)
        )

    def forward(self, batch: TagBatch) -> torch.Tensor:
        """(B, T, D), beyond a sentence's end anything."""
        given = cast("WordBatch", batch)
        parts = []
        if self.embedding is not None:
            words = given.words
            if self.training and self.word_dropout:
                # Without this nothing would be learnt of words that are not known (Lample et al. 2016, section 4.3).
                chance = torch.rand(words.shape, device=words.device)
                singletons = cast("torch.Tensor", self.singletons)
                words = words.masked_fill(singletons[words] & (chance < self.word_dropout), 0)
            parts.append(self.embedding(words))
        if self.characters is not None:
            parts.append(self._spelt(self.characters, given))
        return torch.cat(parts, 1)[given.places.t()].transpose(0, 1)

    def _spelt(self, embedding: torch.nn.Embedding, batch: WordBatch) -> torch.Tensor:
        """(U, 2H) what was read of each word at its end forward, and at its beginning backward."""
        x = embedding(batch.characters.t()).transpose(0, 1)
        y, _ = self.recurrent(x, None, None, batch.spelt)
        last = y[torch.arange(len(y), device=y.device), batch.spelt - 1]
        half = y.shape[2] // 2
        return torch.cat([last[:, :half], y[:, 0, half:]], 1)


class FrameReader(torch.nn.Module):
    """Vectors as they are: (B, T, D)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output_size, self.about = size, f"frames of {size}"

    def forward(self, batch: TagBatch) -> torch.Tensor:
        """(B, T, D)."""
        return cast("FrameBatch", batch).x.transpose(0, 1).contiguous().transpose(0, 1)


class Tagger(SupervisedModel):
    """p(y_1 ... y_T | x_1 ... x_T).

    Args:
        equations: the cell.
        reader: what makes vectors of a batch.
        tags: C.
        config: the network, with sizes that are chosen.
        allowed: (C + 1, C + 1) which tags may follow which, as `spans.allowed_pairs` says; None lets all.
    """

    def __init__(
        self,
        equations: Equations,
        reader: WordReader | FrameReader,
        tags: int,
        config: TaggerConfig,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__()
        assert config.hidden_size is not None
        self.equations, self.config, self.tags, self.reader = equations, config, tags, reader
        words = isinstance(reader, WordReader)
        self.dropout = Dropout(config.dropout)
        self.input_dropout = Dropout(config.dropout if words else 0.0)
        self.recurrent = Recurrent(
            equations,
            reader.output_size,
            config.hidden_size,
            config.layers,
            dropout=config.dropout,
            bidirectional=config.bidirectional,
        )
        self.output = torch.nn.Linear(self.recurrent.output_size, tags)
        self.crf = ChainCRF(tags) if config.output == "crf" else None
        self.register_buffer("allowed", None if allowed is None else torch.from_numpy(allowed.copy()), persistent=False)

    def forward(self, batch: TagBatch) -> torch.Tensor:
        """(B, T, C) a score for each tag at each step; beyond a sequence's end anything."""
        x = self.input_dropout(self.reader(batch))
        y, _ = self.recurrent(x, None, None, batch.lengths)
        scores: torch.Tensor = self.output(self.dropout(y))
        # Sums over many steps want all their digits.
        return scores.float() if scores.dtype in (torch.bfloat16, torch.float16) else scores

    def loss(self, batch: TagBatch) -> Outcome:
        """−log p of the tags that are known, in nats; a target is one of these."""
        batch = batch.to(self.device)
        scores = self(batch)
        inside = torch.arange(batch.tags.shape[1], device=self.device) < batch.lengths.unsqueeze(1)
        tags = batch.tags.masked_fill(~inside, -1)
        if self.crf is not None:
            total = self.crf.loss(scores, tags, batch.lengths).sum()
        else:
            total = torch.nn.functional.cross_entropy(
                scores.flatten(0, 1), tags.flatten(), ignore_index=-1, reduction="sum"
            )
        return Outcome(total, int((tags >= 0).sum()), len(batch.lengths))

    @torch.no_grad()
    def tag(self, batch: TagBatch, *, marginals: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The best tags (B, T), −1 beyond a sequence's end; and, if asked for, the probability of every tag at every
        step, (B, T, C)."""
        batch = batch.to(self.device)
        scores = self(batch)
        allowed = cast("torch.Tensor | None", self.allowed)
        if self.crf is not None:
            best, _ = self.crf.best(scores, batch.lengths, allowed)
            return best, self.crf.marginals(scores, batch.lengths) if marginals else None
        logs = scores.log_softmax(2)
        none = logs.new_zeros(self.tags)
        best, _ = best_paths(logs, batch.lengths, logs.new_zeros(self.tags, self.tags), none, none, allowed)
        return best, logs.exp() if marginals else None

    def use(self, kernel: Kernel | None) -> None:
        for module in self.modules():
            if isinstance(module, Recurrent):
                module.use(kernel)

    @property
    def uniform_loss(self) -> float:
        return math.log(self.tags)

    @property
    def about(self) -> str:
        config = self.config
        both = " in both directions" if config.bidirectional else ""
        return (
            f"{self.reader.about}; {self.equations.name} {config.layers}x{self.recurrent.hidden_size}{both}, dropout "
            f"{config.dropout:g}, {config.output} over {self.tags} tags; {self.size:,} parameters"
        )
