"""Options of the n-gram model; light, so that the command line answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unrolled.errors import ConfigurationError

__all__ = ["MOST", "Discounts", "Lines", "NGramConfig"]

Discounts = Literal["estimated", "tuned"]
Lines = Literal["carry", "reset"]
MOST = 24
"""The highest order: beyond, contexts are seen once or never."""


@dataclass(frozen=True)
class NGramConfig:
    """An n-gram model with interpolated modified Kneser-Ney smoothing.

    Attributes:
        order: symbols of the longest n-gram, the predicted one included; the order that does best on the validation
            part if not given (5 where there is none).
        discounts: "estimated" from counts of counts, as published; or "tuned" on the validation part.
        lines: what a line end does to the context: "carry" keeps it, "reset" begins anew with each line, as in
            published figures for words; reset for words and carry for all else if not given.
        in_memory: GB up to which an array of counts lies in memory; longer ones are files while it is fitted.
    """

    order: int | None = None
    discounts: Discounts = "estimated"
    lines: Lines | None = None
    in_memory: float = 0.25

    def __post_init__(self) -> None:
        if self.order is not None and not 1 <= self.order <= MOST:
            raise ConfigurationError("order is out of range", expected=f"1 to {MOST}", got=str(self.order))
        if not 0 <= self.in_memory < float("inf"):
            raise ConfigurationError("in_memory is a number of GB", expected="at least 0", got=str(self.in_memory))
        for name, choices in (("discounts", get_args(Discounts)), ("lines", (*get_args(Lines), None))):
            if getattr(self, name) not in choices:
                wanted = " or ".join(map(repr, choices))
                raise ConfigurationError(f"{name} has no such choice", expected=wanted, got=repr(getattr(self, name)))
