"""A classifier of sequences over an alphabet: stretches of letters as vectors or symbols, and both strands.

Axes: B batch, T letters, S symbols of the alphabet, K letters of it, k letters of a stretch, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unrolled.cells import Equations
from unrolled.data.alphabets import Alphabet
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.classify.model import Classifier, Target
from unrolled.tasks.classify.reading_configuration import ReadingConfig

__all__ = ["LetterClassifier", "Strands", "Stretches"]


class Stretches(torch.nn.Module):
    """From letters to what the first layer reads: the stretch of k letters that begins at each, but the last k - 1.

    As a window, a stretch is its letters side by side, one-hot: k K numbers, of a letter that stands for several an
    equal share for each. As a symbol, it is one of K^k; where one of its letters stands for several, of one more.
    Of a sequence of fewer than k letters there is one window, which ends with zeros, or the one symbol more.

    Args:
        alphabet: the letters.
        k: letters of a stretch.
        windows: as windows; else as symbols.

    Attributes:
        size: k K numbers of a window, or K^k + 1 symbols.
    """

    def __init__(self, alphabet: Alphabet, k: int, *, windows: bool) -> None:
        super().__init__()
        self.k, self.windows, self.letters = k, windows, len(alphabet.letters)
        self.size = k * self.letters if windows else self.letters**k + 1
        # The last row is what stands beyond an end.
        shares = torch.cat([torch.from_numpy(alphabet.shares), torch.zeros(1, self.letters)])
        self.register_buffer("_shares", shares, persistent=False)

    def forward(self, codes: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Letters (B, T) of sequences that end after `lengths` (B,) to windows (B, T', k K) or symbols (B, T'), and
        how many each has (B,)."""
        shares = self.get_buffer("_shares")
        outside = len(shares) - 1
        if codes.shape[1] < self.k:
            codes = torch.nn.functional.pad(codes, (0, self.k - codes.shape[1]))
        beyond = torch.arange(codes.shape[1], device=codes.device) >= lengths.unsqueeze(1)
        codes = codes.long().masked_fill(beyond, outside)
        after = (lengths - (self.k - 1)).clamp(min=1)
        if self.windows:
            side = shares[codes].unfold(1, self.k, 1)  # (B, T', K, k)
            return side.transpose(2, 3).reshape(*side.shape[:2], self.size), after
        stretches = codes.unfold(1, self.k, 1)
        places = self.letters ** torch.arange(self.k - 1, -1, -1, device=codes.device)
        known = (stretches < self.letters).all(2)
        return torch.where(known, (stretches * places).sum(2), self.size - 1), after


class Strands(torch.nn.Module):
    """The other strand of sequences, read in its own direction.

    Args:
        alphabet: letters that pair (`ConfigurationError` if they do not).
    """

    def __init__(self, alphabet: Alphabet) -> None:
        super().__init__()
        self.register_buffer("_complement", torch.from_numpy(alphabet.complement).long(), persistent=False)

    def forward(self, codes: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Letters (B, T) of sequences that end after `lengths` (B,) to those of their other strands."""
        times = torch.arange(codes.shape[1], device=codes.device)
        ends = lengths.unsqueeze(1)
        order = torch.where(times < ends, ends - 1 - times, times)
        turned: torch.Tensor = self.get_buffer("_complement")[codes.gather(1, order).long()].to(codes.dtype)
        return turned

    def in_order(self, codes: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both strands of each sequence, first the one that comes first in the order of the alphabet: the same two
        tensors, whichever of both was given."""
        other = self(codes, lengths)
        inside = torch.arange(codes.shape[1], device=codes.device) < lengths.unsqueeze(1)
        differences = (codes.long() - other.long()).masked_fill(~inside, 0)
        first = differences.ne(0).long().argmax(1, keepdim=True)
        later = differences.gather(1, first) > 0
        return torch.where(later, other, codes), torch.where(later, codes, other)


class LetterClassifier(Classifier):
    """p(class | letters).

    With both strands, one of them is read while training, either as likely; else both are, and their logits averaged:
    what is said of a sequence and of its reverse complement is the same, to the last bit where they stand in batches
    with the same others. (Shrikumar et al. 2017 share weights between both strands instead.)

    Args:
        equations: the cell.
        config: the network.
        reading: stretches and strands.
        alphabet: the letters.
        classes: C.
        target: see `Classifier`.
        weights: see `Classifier`.
    """

    def __init__(
        self,
        equations: Equations,
        config: ClassifierConfig,
        reading: ReadingConfig,
        alphabet: Alphabet,
        *,
        classes: int,
        target: Target = "class",
        weights: Sequence[float] | None = None,
    ) -> None:
        windows = reading.stretch == "window"
        stretches = Stretches(alphabet, reading.kmer, windows=windows)
        super().__init__(
            equations,
            config,
            classes=classes,
            symbols=None if windows else stretches.size,
            inputs=stretches.size if windows else None,
            target=target,
            unknown=None if windows else stretches.size - 1,
            weights=weights,
            letters=len(alphabet.shares),
        )
        self.stretches = stretches
        self.strands = Strands(alphabet) if reading.strands == "both" else None

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Letters (B, T) of sequences that end after `lengths` (B,) to logits (B, C)."""
        if self.strands is None:
            return super().forward(x, lengths)
        if self.training:
            turn = torch.rand(len(x), 1, device=x.device) < 0.5
            return super().forward(torch.where(turn, self.strands(x, lengths), x), lengths)
        one, other = self.strands.in_order(x, lengths)
        return (super().forward(one, lengths) + super().forward(other, lengths)) / 2

    def scores(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """What the network, which reads stretches, says of letters (B, T): (B, C), without n-grams of the letters."""
        return super().scores(*self.stretches(x, lengths))
