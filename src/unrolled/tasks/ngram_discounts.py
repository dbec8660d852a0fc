"""Discounts: how much of each count an n-gram model gives to what it has not seen.

Chen and Goodman 1999 (An empirical study of smoothing techniques for language modeling, Computer Speech and Language
13): three an order, for counts of 1, 2 and more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["FALLBACK", "Floats", "estimate", "interpolate", "tune"]

Floats = npt.NDArray[np.float64]
_Table = npt.NDArray[np.int64]

FALLBACK = (0.5, 1.0, 1.5)
"""Where counts of counts say nothing, as in a vocabulary of characters, of which each is seen often."""


def estimate(counts_of_counts: npt.ArrayLike) -> Floats:
    """Discounts from how many n-grams have a count of 1, 2, 3 and 4 (equation 26 of the paper).

        Y = n1 / (n1 + 2 n2)    D1 = 1 - 2 Y n2/n1    D2 = 2 - 3 Y n3/n2    D3+ = 3 - 4 Y n4/n3

    One that cannot be computed, or is not above 0 and at most the count that it is taken from, is that of `FALLBACK`.

    Args:
        counts_of_counts: (n, 4), a row an order.

    Returns:
        (n, 3)

    >>> estimate([[100, 40, 20, 10]]).round(3).tolist()
    [[0.556, 1.167, 1.889]]
    """
    found = np.asarray(counts_of_counts, np.float64)
    n1 = found[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        y = n1 / (n1 + 2 * found[:, 1])
        j = np.arange(1, 4)
        discounts = j - (j + 1) * y[:, None] * found[:, 1:] / found[:, :3]
        fine = (discounts > 0) & (discounts <= j)
    return np.asarray(np.where(fine, discounts, FALLBACK), np.float64)


def interpolate(table: _Table, discounts: Floats, size: int) -> Floats:
    """The probability of each symbol (T,) from what was found of it in every context.

        p_k(w) = (c(w) - D_k(c(w))) / C + (D_k1 N1 + D_k2 N2 + D_k3 N3+) / C · p_{k-1}(w)    (equation 24 of the paper)

    and p_{-1} = 1/V. Where a context was not seen, p_k = p_{k-1}.

    Args:
        table: (T, n, 5) c, C, N1, N2, N3+ in contexts of 0, 1, ... symbols; see `ngram_loops.look`.
        discounts: (n, 3)
        size: V.
    """
    p = np.full(len(table), 1.0 / size)
    for k, taken in enumerate(discounts):
        c, total = table[:, k, 0], table[:, k, 1]
        seen = total > 0
        some = np.maximum(total, 1)
        own = c - np.concatenate([[0.0], taken])[np.minimum(c, 3)]
        p = np.where(seen, own / some + (table[:, k, 2:] @ taken) / some * p, p)
    return p


def tune(table: _Table, discounts: Floats, size: int, *, iterations: int = 60) -> Floats:
    """The discounts (n, 3) that make symbols likeliest, from given ones on; see `interpolate`.

    Each D_j stays between 0 and j, as j times a sigmoid; L-BFGS in float64. An order that no symbol of the table tells
    anything about keeps its own.
    """
    j = torch.arange(1, 4, dtype=torch.float64)
    share = (torch.from_numpy(discounts) / j).clamp(0.001, 0.999)
    free = torch.logit(share).requires_grad_()
    values = torch.from_numpy(table.astype(np.float64))
    c, total, many = values[:, :, 0], values[:, :, 1], values[:, :, 2:]
    seen, some = total > 0, total.clamp(min=1)
    kinds = torch.nn.functional.one_hot(torch.from_numpy(np.minimum(table[:, :, 0], 3)), 4)[:, :, 1:].double()
    optimizer: Any = torch.optim.LBFGS([free], max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        taken = j * torch.sigmoid(free)
        own = (c - (kinds * taken).sum(-1)) / some
        left = (many * taken).sum(-1) / some
        p = torch.full((len(table),), 1.0 / size, dtype=torch.float64)
        for k in range(len(discounts)):
            p = torch.where(seen[:, k], own[:, k] + left[:, k] * p, p)
        nats = -p.clamp(min=1e-300).log().mean()
        nats.backward()  # type: ignore[no-untyped-call]
        return nats

    optimizer.step(loss)
    found = (j * torch.sigmoid(free.detach())).numpy()
    return np.asarray(found if np.isfinite(found).all() else discounts, np.float64)
