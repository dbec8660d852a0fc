"""From the outputs of every time step to one vector a sequence, whatever its length.

Axes: B batch, T time, H units, A units of the attention.
"""

from __future__ import annotations

import torch

from unrolled.errors import ConfigurationError, nearest

__all__ = ["POOLINGS", "AttentionPooling", "Pooling"]

POOLINGS = ("last", "mean", "max", "attention")


class AttentionPooling(torch.nn.Module):
    """A mean of the outputs whose weights are learned (Yang et al. 2016, equations 5 to 7).

    a[t] = softmax over t of v · tanh(W y[t] + b); the result is the sum of a[t] y[t]. W and b start uniform within
    ±1/sqrt(H), v within ±1/sqrt(A), so that training begins near the plain mean.

    Args:
        size: H.
        attention_size: A; as many if not given.
    """

    def __init__(self, size: int, attention_size: int | None = None) -> None:
        super().__init__()
        units = size if attention_size is None else attention_size
        self.map, self.score = torch.nn.Linear(size, units), torch.nn.Linear(units, 1, bias=False)

    def reset_parameters(self) -> None:
        """Start again."""
        self.map.reset_parameters()
        self.score.reset_parameters()

    def weights(self, y: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """a (B, T): what share each time step of y (B, T, H) has; zero beyond the end of its sequence."""
        scores = self.score(torch.tanh(self.map(y))).squeeze(-1)
        if lengths is not None:
            scores = scores.masked_fill(~_inside(y, lengths), -torch.inf)
        return torch.softmax(scores.float() if scores.dtype == torch.bfloat16 else scores, -1)

    def forward(self, y: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """y (B, T, H) to (B, H)."""
        # Weights are zero beyond an end, but what stands there may be anything.
        weights = self.weights(y, lengths)
        return torch.einsum("bt,bth->bh", weights.to(y.dtype), _blanked(y, lengths, 0.0))


class Pooling(torch.nn.Module):
    """One vector a sequence from the outputs of recurrent layers; exact for sequences of several lengths.

    What stands beyond the end of a sequence has no influence, and a sequence gives in a batch what it gives alone.

    Args:
        how: `last` (the output after the last step; of the direction that runs backward, after its own last, which is
            the first), `mean`, `max` (of every unit, over time) or `attention` (see `AttentionPooling`), or several
            with + between them, side by side, as mean+max+last (Howard & Ruder 2018, section 3.3).
        size: H of all directions together.
        bidirectional: whether the second half of the units runs backward.

    Attributes:
        parts: what `how` names, in order.
        output_size: H times the number of parts.

    Raises:
        ConfigurationError: there is no such way, or it is named twice.
    """

    def __init__(self, how: str, size: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.parts = tuple(how.split("+"))
        for part in self.parts:
            if part not in POOLINGS:
                raise ConfigurationError(
                    f"pooling has no such choice: {part!r}",
                    expected=f"{', '.join(POOLINGS)}, or several with + between them",
                    fix=nearest(part, POOLINGS),
                )
        if len(set(self.parts)) < len(self.parts):
            raise ConfigurationError("a pooling is named twice", got=how, fix="keep one of them")
        self.bidirectional, self.output_size = bidirectional, size * len(self.parts)
        self.attention = AttentionPooling(size) if "attention" in self.parts else None

    def reset_parameters(self) -> None:
        """Start again."""
        if self.attention is not None:
            self.attention.reset_parameters()

    def forward(self, y: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Pool over time.

        Args:
            y: (B, T, H), of two directions side by side.
            lengths: (B,), from 1 to T: where each sequence ends; all at T if not given.

        Returns:
            (B, `output_size`).
        """
        found = [getattr(self, f"_{part}")(y, lengths) for part in self.parts]
        return found[0] if len(found) == 1 else torch.cat(found, -1)

    def _last(self, y: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        rows = torch.arange(len(y), device=y.device)
        final = y[:, -1] if lengths is None else y[rows, lengths.to(y.device) - 1]
        if not self.bidirectional:
            return final
        half = y.shape[-1] // 2
        return torch.cat([final[:, :half], y[:, 0, half:]], -1)

    def _mean(self, y: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        if lengths is None:
            return y.mean(1)
        return _blanked(y, lengths, 0.0).sum(1) / lengths.to(y).unsqueeze(-1)

    def _max(self, y: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        return _blanked(y, lengths, -torch.inf).max(1).values

    def _attention(self, y: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        assert self.attention is not None
        pooled: torch.Tensor = self.attention(y, lengths)
        return pooled


def _inside(y: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(B, T): whether a time step is before the end of its sequence."""
    return torch.arange(y.shape[1], device=y.device) < lengths.to(y.device).unsqueeze(1)


def _blanked(y: torch.Tensor, lengths: torch.Tensor | None, value: float) -> torch.Tensor:
    """y with a number in place of what stands beyond the ends."""
    return y if lengths is None else y.masked_fill(~_inside(y, lengths).unsqueeze(-1), value)
