"""Conditional random fields over a chain of tags (Lafferty, McCallum & Pereira 2001), batched, masked and exact.

A path of tags y over a sequence of T steps scores

    s(y) = start[y_1] + Σ_t emissions[t, y_t] + Σ_t transitions[y_{t-1}, y_t] + end[y_T],

and p(y) = exp(s(y) − log Z), where Z sums exp s over all C^T paths: the forward algorithm does that in T · C² steps,
and Viterbi's finds the best path (Rabiner 1989, section III). Marginals are the derivative of log Z by the emissions.

Axes: B batch, T time, C tags.
"""

from __future__ import annotations

import torch

from unrolled.errors import ConfigurationError

__all__ = ["ChainCRF", "best_paths", "log_partition"]

# Added to what must not be: finite, as −∞ − (−∞) has no derivative; its exponential is 0 in every precision.
_NEVER = -1e4


class ChainCRF(torch.nn.Module):
    """The scores of neighbouring tags, and what follows from them.

    Args:
        tags: C.

    Attributes:
        transitions: (C, C), from a tag (row) to the next (column).
        start, end: (C,), of the first tag and the last.

    Raises:
        ConfigurationError: no tag.
    """

    def __init__(self, tags: int) -> None:
        super().__init__()
        if tags < 1:
            raise ConfigurationError("a random field needs at least one tag", got=str(tags))
        self.transitions = torch.nn.Parameter(torch.zeros(tags, tags))
        self.start = torch.nn.Parameter(torch.zeros(tags))
        self.end = torch.nn.Parameter(torch.zeros(tags))

    def log_partition(self, emissions: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """log Z of each sequence, in nats: (B,) from emissions (B, T, C) and lengths (B,), from 1 to T."""
        return log_partition(emissions, lengths, self.transitions, self.start, self.end)

    def score(self, emissions: torch.Tensor, tags: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """s of a path in each sequence: (B,).

        Args:
            emissions: (B, T, C).
            tags: (B, T), from 0 to C-1; what stands beyond a sequence's end does not matter.
            lengths: (B,).
        """
        inside = torch.arange(tags.shape[1], device=tags.device) < lengths.unsqueeze(1)
        tags = torch.where(inside, tags, 0)
        unary = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
        pairs = self.transitions[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, lengths.unsqueeze(1) - 1).squeeze(1)
        ends = self.start[tags[:, 0]] + self.end[last]
        return (unary * inside).sum(1) + (pairs * inside[:, 1:]).sum(1) + ends

    def loss(self, emissions: torch.Tensor, tags: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """−log p of the tags of each sequence, in nats: (B,).

        A tag of −1 is not known: what is made likely is then that any of the paths is taken that go through the known
        ones (Tsuboi et al. 2008). A sequence without a known tag costs nothing.
        """
        inside = torch.arange(tags.shape[1], device=tags.device) < lengths.unsqueeze(1)
        whole = self.log_partition(emissions, lengths)
        if not bool(((tags < 0) & inside).any()):
            return whole - self.score(emissions, tags, lengths)
        other = torch.arange(emissions.shape[2], device=tags.device) != tags.unsqueeze(2)
        excluded = other & (tags >= 0).unsqueeze(2)
        return whole - self.log_partition(emissions.masked_fill(excluded, _NEVER), lengths)

    def marginals(self, emissions: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(B, T, C) the probability of each tag at each step; zero beyond a sequence's end."""
        with torch.enable_grad():
            given = emissions.detach().requires_grad_()
            whole = log_partition(given, lengths, self.transitions.detach(), self.start.detach(), self.end.detach())
            (found,) = torch.autograd.grad(whole.sum(), given)
        return found

    def best(
        self, emissions: torch.Tensor, lengths: torch.Tensor, allowed: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The best path of each sequence; see `best_paths`."""
        return best_paths(emissions, lengths, self.transitions, self.start, self.end, allowed)


def log_partition(
    emissions: torch.Tensor,
    lengths: torch.Tensor,
    transitions: torch.Tensor,
    start: torch.Tensor,
    end: torch.Tensor,
) -> torch.Tensor:
    """The forward algorithm: (B,) log Z in nats; shapes as `ChainCRF` says."""
    alpha = start + emissions[:, 0]
    for step in range(1, emissions.shape[1]):
        # (B, C, C): from each tag to each; the sum over the first.
        after = torch.logsumexp(alpha.unsqueeze(2) + transitions, 1) + emissions[:, step]
        alpha = torch.where((step < lengths).unsqueeze(1), after, alpha)
    return torch.logsumexp(alpha + end, 1)


@torch.no_grad()
def best_paths(
    emissions: torch.Tensor,
    lengths: torch.Tensor,
    transitions: torch.Tensor,
    start: torch.Tensor,
    end: torch.Tensor,
    allowed: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Viterbi's algorithm.

    Args:
        emissions: (B, T, C).
        lengths: (B,), from 1 to T.
        transitions: (C, C).
        start: (C,).
        end: (C,).
        allowed: (C + 1, C + 1) of booleans, whether a tag (row) may stand before another (column); the last row is what
            may begin a sequence, the last column what may end one.

    Returns:
        the tags (B, T), −1 beyond a sequence's end, and the score of each path (B,). Of equals the first tag is taken.
    """
    if allowed is not None:
        penalty = torch.where(allowed, 0.0, _NEVER).to(emissions)
        transitions, start, end = transitions + penalty[:-1, :-1], start + penalty[-1, :-1], end + penalty[:-1, -1]
    count, steps, tags = emissions.shape
    best = start + emissions[:, 0]
    itself = torch.arange(tags, device=emissions.device).expand(count, tags)
    came = []
    for step in range(1, steps):
        scores, before = (best.unsqueeze(2) + transitions).max(1)
        inside = (step < lengths).unsqueeze(1)
        best = torch.where(inside, scores + emissions[:, step], best)
        came.append(torch.where(inside, before, itself))
    score, at = (best + end).max(1)
    path = [at]
    for before in reversed(came):
        at = before.gather(1, at.unsqueeze(1)).squeeze(1)
        path.append(at)
    found = torch.stack(path[::-1], 1)
    beyond = torch.arange(steps, device=emissions.device) >= lengths.unsqueeze(1)
    return found.masked_fill(beyond, -1), score
