"""Networks for tests of memory, and what they are trained by.

Axes: B sequences, T steps, D numbers a step, K places that are asked for, V symbols, H hidden, C outcomes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from unrolled.cells import Equations
from unrolled.data.memory import MemoryBatch, MemoryTest
from unrolled.layers import ComplexLayer, Recurrent, RecurrentLayer, ResidualBlock

__all__ = ["MemoryNet", "WindowNet", "count_right", "memory_loss"]


class _Reading(torch.nn.Module):
    """What goes in: symbols as vectors, or numbers through a layer."""

    def __init__(self, test: MemoryTest, size: int) -> None:
        super().__init__()
        self.vectors = torch.nn.Embedding(test.symbols, size) if test.symbols else None
        self.numbers = None if test.symbols else torch.nn.Linear(test.width, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T) symbols, or (B, T, D) numbers, to (B, T, H)."""
        if self.vectors is not None:
            found: torch.Tensor = self.vectors(x.t()).transpose(0, 1)
            return found
        assert self.numbers is not None
        return torch.relu(self.numbers(x))


def _head(size: int, outcomes: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(size, size), torch.nn.ReLU(), torch.nn.Linear(size, max(outcomes, 1)))


class MemoryNet(torch.nn.Module):
    """A recurrent network that answers a test of memory: one layer in, the cell's layers, one hidden layer out.

    Cells with a recurrent product are stacked as they are. Those without one stand in residual blocks, as they were
    published in (`layers.ResidualBlock`), the linear recurrent unit with its mixing of outputs: a linear recurrence
    needs something between two layers that is not linear.

    Args:
        test: the test.
        equations: the cell.
        hidden_size: H.
        layers: of the cell.
    """

    def __init__(self, test: MemoryTest, equations: Equations, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.reading = _Reading(test, hidden_size)
        self.recurrent: torch.nn.Module
        if "hidden matrix" in equations.parameters.values():
            self.recurrent = Recurrent(equations, hidden_size, hidden_size, layers)
        else:
            self.recurrent = torch.nn.Sequential(*(_Block(equations, hidden_size) for _ in range(layers)))
        self.head = _head(hidden_size, test.outcomes)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Answers (B, K, C) after the steps `places` (K,) of sequences x; (B, K, 1) where they are numbers."""
        y = self.recurrent(self.reading(x))
        answers: torch.Tensor = self.head((y[0] if isinstance(y, tuple) else y)[:, places])
        return answers


class _Block(ResidualBlock):
    """A residual block whose state begins at zero and is not given on."""

    def __init__(self, equations: Equations, size: int) -> None:
        super().__init__(ComplexLayer(size) if equations.name == "lru" else RecurrentLayer(equations, size, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x)[0]


class WindowNet(torch.nn.Module):
    """The opponent without memory: a feed-forward network of the last N steps, with weights of its own for each of them
    (a time-delay network of one window, Waibel et al. 1989). What lies before the sequence is zero.

    Args:
        test: the test.
        hidden_size: H.
        width: N.
    """

    def __init__(self, test: MemoryTest, hidden_size: int, width: int) -> None:
        super().__init__()
        size = 16
        self.width = width
        self.reading = _Reading(test, size)
        self.hidden = torch.nn.Linear(width * size, hidden_size)
        self.head = _head(hidden_size, test.outcomes)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Answers (B, K, C), as those of `MemoryNet`."""
        read = F.pad(self.reading(x), (0, 0, self.width, 0))
        # Step t of the sequence stands at t + N.
        at = places.unsqueeze(1) + 1 + torch.arange(self.width, device=places.device)
        answers: torch.Tensor = self.head(torch.relu(self.hidden(read[:, at].flatten(2))))
        return answers


def memory_loss(test: MemoryTest, answers: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """What is made small: the mean cross-entropy in nats of y (B, K), or the mean squared error where y are numbers."""
    if test.outcomes:
        return F.cross_entropy(answers.flatten(0, 1), y.flatten())
    return F.mse_loss(answers.squeeze(2), y)


def count_right(test: MemoryTest, answers: torch.Tensor, batch: MemoryBatch) -> int:
    """How many of the B K answers are right: the likeliest class is y, or the number is within the tolerance of it."""
    y = torch.from_numpy(batch.y).to(answers.device)
    if test.outcomes:
        return int((answers.argmax(2) == y).sum())
    return int(((answers.squeeze(2) - y).abs() < test.tolerance).sum())
