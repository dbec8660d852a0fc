"""What evaluation can do besides reading: learn on the way, remember, and set the temperature right.

Axes: B streams, T time, V vocabulary; n targets that count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from unrolled.data.configuration import Documents
from unrolled.data.store import Tokens
from unrolled.data.streams import Batch, sequential
from unrolled.errors import ConfigurationError
from unrolled.evaluation.cache import Cache, CacheReader
from unrolled.evaluation.dynamic import Adapted, Dynamic
from unrolled.tasks.language_model import LanguageModel, streams_for

__all__ = ["STATIC", "Evidence", "Methods", "batches_for", "read_evidence", "read_with"]

_CHUNK = 256
_LOGITS = 2**24


@dataclass(frozen=True)
class Methods:
    """What is done besides reading; nothing of it if nothing is given.

    Temperature acts on the model's distribution, the cache is mixed with what comes of that, and both take what a model
    that learns has at the moment.

    Attributes:
        dynamic: learn from every segment after it was predicted.
        cache: mix with the words of similar contexts.
        temperature: logits are divided by it.
    """

    dynamic: Dynamic | None = None
    cache: Cache | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ConfigurationError("temperature is out of range", expected="above 0", got=str(self.temperature))

    @property
    def name(self) -> str:
        """Of all that is done together; "static" where that is nothing."""
        parts = [f"dynamic ({self.dynamic.rule})"] if self.dynamic else []
        parts += ["cache"] if self.cache else []
        parts += [f"temperature {self.temperature:.4g}"] if self.temperature != 1 else []
        return " + ".join(parts) or "static"

    @property
    def numbers(self) -> dict[str, float | int]:
        """All numbers by the names that options have."""
        found: dict[str, float | int] = {}
        if self.dynamic:
            found |= {name: getattr(self.dynamic, name) for name in ("segment", "rate", "decay", "epsilon")}
        if self.cache:
            found |= {"cache": self.cache.window, "flatness": self.cache.flatness, "share": self.cache.share}
        return found if self == STATIC else {**found, "temperature": self.temperature}

    @property
    def details(self) -> list[str]:
        """The numbers in words."""
        parts = []
        if self.dynamic:
            found = self.dynamic
            parts.append(f"segments of {found.segment}, rate {found.rate:.3g}, decay {found.decay:.3g}")
        if self.cache:
            held = self.cache
            parts.append(f"window of {held.window}, flatness {held.flatness:.3g}, share {held.share:.3g}")
        return parts


STATIC = Methods()
"""Reading and nothing else."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of n targets.

    Attributes:
        model: ln p by the model, (K, n) for K temperatures.
        cache: ln p by the cache, (C, n) for C flatnesses; None where there is none.
        there: (n,), where the cache has anything.
    """

    model: torch.Tensor
    cache: torch.Tensor | None
    there: torch.Tensor | None

    def nats(self, temperature: int = 0, flatness: int = 0, share: float = 0.0) -> torch.Tensor:
        """(n,) nats of the mixture, by the indices of temperature and flatness."""
        log_p = self.model[temperature]
        if self.cache is None or self.there is None or share == 0:
            return -log_p
        mixed = torch.logaddexp(log_p + math.log1p(-share), self.cache[flatness] + math.log(share))
        return -torch.where(self.there, mixed, log_p)


def batches_for(tokens: Tokens, methods: Methods, size: int, documents: Documents) -> tuple[int, Iterator[Batch]]:
    """In how many streams a text is read with these methods, and its batches.

    What learns or remembers reads one stream, as the literature does: what is learnt serves all that comes after.
    """
    streams = 1 if methods.dynamic or methods.cache else streams_for(len(tokens))
    length = methods.dynamic.segment if methods.dynamic else max(1, min(_CHUNK, _LOGITS // (streams * size)))
    return streams, sequential(tokens, streams, length, documents)


def read_with(
    model: LanguageModel, batches: Iterable[Batch], methods: Methods, roots: Sequence[torch.Tensor] | None = None
) -> tuple[float, int]:
    """The loss over batches that follow each other.

    Args:
        model: it stays as it is.
        batches: see `batches_for`.
        methods: what is done.
        roots: see `dynamic.Adapted`.

    Returns:
        total nats, and over how many targets.
    """
    total, targets = 0.0, 0
    share = methods.cache.share if methods.cache else 0.0
    flatnesses = [methods.cache.flatness] if methods.cache else []
    for evidence in read_evidence(model, batches, methods, [methods.temperature], flatnesses, roots):
        nats = evidence.nats(share=share)
        total += float(nats.sum())
        targets += len(nats)
    return total, targets


def read_evidence(
    model: LanguageModel,
    batches: Iterable[Batch],
    methods: Methods,
    temperatures: Sequence[float],
    flatnesses: Sequence[float] = (),
    roots: Sequence[torch.Tensor] | None = None,
) -> Iterator[Evidence]:
    """What is known of the targets of each batch, for several temperatures and flatnesses at once, in float64."""
    before = model.training
    adapted = Adapted(model.eval(), methods.dynamic, roots) if methods.dynamic else None
    reading = adapted.model if adapted else model
    device = next(reading.parameters()).device
    memory = CacheReader(methods.cache.window, flatnesses) if methods.cache else None
    state = None
    try:
        for batch in batches:
            x, y = batch.x.to(device), batch.y.to(device)
            resets = None if batch.resets is None else batch.resets.to(device)
            weights = None if batch.weights is None else batch.weights.to(device)
            with torch.set_grad_enabled(adapted is not None):
                hidden, after = reading.hidden(x, None if batch.fresh else state, resets)
                nats = reading.output.losses(hidden, y, weights) if adapted else None
            counted = slice(None) if weights is None else weights > 0
            with torch.no_grad():
                if nats is not None and list(temperatures) == [1.0]:
                    log_p = -nats.detach().double()[None]
                else:
                    log_p = _log_p(reading.output(hidden.detach()), y, temperatures)
                kept = there = None
                if memory is not None:
                    found, filled = memory.read(hidden.detach(), y, resets)
                    kept, there = found[:, counted].flatten(1).double().cpu(), filled[counted].flatten().cpu()
                yield Evidence(log_p[:, counted].flatten(1).cpu(), kept, there)
            if adapted is not None and nats is not None:
                adapted.learn(nats, batch.targets)
            state = tuple(tuple(part.detach() for part in layer) for layer in after)
    finally:
        model.train(before)


def _log_p(logits: torch.Tensor, targets: torch.Tensor, temperatures: Sequence[float]) -> torch.Tensor:
    """ln p of targets (B, T) at every temperature, (K, B, T), from logits (B, T, V)."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    own = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1).double()
    return torch.stack([own / value - torch.logsumexp(logits / value, -1).double() for value in temperatures])
