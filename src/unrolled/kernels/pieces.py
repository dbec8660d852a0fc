"""Resets and ends of sequences for kernels that know neither."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

from unrolled.kernels.operations import State

__all__ = ["Run", "in_pieces"]

Run = Callable[[torch.Tensor, State, dict[str, torch.Tensor] | None], tuple[torch.Tensor, State]]


def in_pieces(
    run: Run,
    x: torch.Tensor,
    state: State,
    resets: torch.Tensor | None,
    lengths: torch.Tensor | None,
    watched: dict[str, torch.Tensor] | None,
) -> tuple[torch.Tensor, State]:
    """Run the stretches of time between resets and ends one after the other; arguments as those of `dispatch.unroll`.

    Args:
        run: x, the state and what is to be filled with what is watched, to y and the state after.
    """
    batch, steps = x.shape[:2]
    cuts = {0, steps}
    if resets is not None:
        cuts |= set(resets.bool().any(0).nonzero().flatten().tolist())
    if lengths is not None:
        cuts |= set(lengths.tolist())
    bounds = sorted(cuts)
    outputs, seen = [], list[dict[str, torch.Tensor]]()
    for begin, end in pairwise(bounds):
        if resets is not None:
            # Filled, not multiplied: a state that is no longer finite is reset too.
            reset = resets[:, begin].bool()
            if lengths is not None:
                reset = reset & (lengths > begin)
            state = tuple(part.masked_fill(reset.unsqueeze(1), 0.0) for part in state)
        piece: dict[str, torch.Tensor] | None = None if watched is None else {}
        if lengths is None or bool((lengths > begin).all()):
            y, state = run(x[:, begin:end], state, piece)
        else:
            live = (lengths > begin).nonzero().flatten()
            part, after = run(x[live, begin:end], tuple(part[live] for part in state), piece)
            y = part.new_zeros(batch, *part.shape[1:]).index_copy(0, live, part)
            state = tuple(old.index_copy(0, live, new.to(old.dtype)) for old, new in zip(state, after, strict=True))
            if piece is not None:
                blank = {name: value.new_zeros(batch, *value.shape[1:]) for name, value in piece.items()}
                piece = {name: blank[name].index_copy(0, live, value) for name, value in piece.items()}
        outputs.append(y)
        if piece is not None:
            seen.append(piece)
        if lengths is not None and end >= int(lengths.max()):
            break
    missing = steps - sum(part.shape[1] for part in outputs)
    if missing:
        outputs.append(outputs[0].new_zeros(batch, missing, *outputs[0].shape[2:]))
        seen += [{name: v.new_zeros(batch, missing, *v.shape[2:]) for name, v in piece.items()} for piece in seen[:1]]
    if watched is not None:
        watched.update({name: torch.cat([piece[name] for piece in seen], 1) for name in seen[0]})
    return torch.cat(outputs, 1), state
