"""Options of evaluation; without torch, so that the command line answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.errors import ConfigurationError

__all__ = ["MethodOptions"]


@dataclass(frozen=True)
class MethodOptions:
    """What evaluation does besides reading. Numbers that are not given are found on the validation part.

    Attributes:
        dynamic: go on learning from every segment after it was predicted (Krause et al. 2018), by sgd, or by rms: steps
            scaled by the gradients of the training text. The run stays as it is.
        segment: of dynamic: symbols of a segment; 5 words or subwords, 20 of anything else if not given.
        rate: of dynamic: of learning.
        decay: of dynamic: share of the way back to the trained weights after each segment.
        cache: mix with the words of similar contexts among so many symbols (Grave et al. 2017); 500 are usual.
        flatness: of cache: by which products of hidden vectors are multiplied.
        share: of cache: of the probability that it gives.
        temperature: a number that logits are divided by, or tune.
        tune_limit: numbers are found on at most so many symbols of the validation part, the first ones.
    """

    dynamic: Literal["sgd", "rms"] | None = None
    segment: int | None = None
    rate: float | None = None
    decay: float | None = None
    cache: int | None = None
    flatness: float | None = None
    share: float | None = None
    temperature: float | Literal["tune"] | None = None
    tune_limit: int = 10_000

    def __post_init__(self) -> None:
        for name in ("segment", "rate", "decay"):
            self._check_owner(name, "dynamic")
        for name in ("flatness", "share"):
            self._check_owner(name, "cache")
        if self.tune_limit < 2:
            raise ConfigurationError("tune_limit is out of range", expected="at least 2", got=str(self.tune_limit))

    def _check_owner(self, name: str, owner: str) -> None:
        if getattr(self, name) is not None and getattr(self, owner) is None:
            raise ConfigurationError(
                f"{name} is a number of {owner}, which is not asked for", fix=f"add --{owner}, or leave --{name} out"
            )
