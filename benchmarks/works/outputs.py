"""Output layers for large vocabularies, forward and back: adaptive, sampled, mixture, beside the full softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.agreement import TOLERANCES
from benchmarks.registry import Case, Contender, Results, Work
from unrolled.layers.outputs import (
    AdaptiveSoftmax,
    FullSoftmax,
    MixtureOfSoftmaxes,
    OutputLayer,
    SampledSoftmax,
    choose_cutoffs,
)
from unrolled.training.memory import keep_freed_memory

__all__ = ["Outputs", "works"]

H, DIVISOR, SAMPLES, EXPERTS = 512, 4.0, 4096, 4
_ROWS = 128  # of the reference at a time


class Outputs:
    """An output layer, hidden vectors (N, H) and targets (N,) as frequent as Zipf's law says."""

    def __init__(
        self, kind: str, size: int, rows: int, precision: str, hidden: int = H, samples: int = SAMPLES
    ) -> None:
        torch.manual_seed(0)
        self.bfloat16 = precision == "bfloat16"
        counts = [size // (rank + 1) + 1 for rank in range(size)]
        self.kind, self.size, self.cutoffs = kind, size, choose_cutoffs(counts, hidden, DIVISOR)
        layers: dict[str, Callable[[], OutputLayer]] = {
            "full": lambda: FullSoftmax(hidden, size),
            "adaptive": lambda: AdaptiveSoftmax(hidden, size, self.cutoffs, DIVISOR),
            "sampled": lambda: SampledSoftmax(hidden, size, samples),
            "mixture": lambda: MixtureOfSoftmaxes(hidden, size, EXPERTS),
        }
        self.layer = layers[kind]()
        for parameter in self.layer.parameters():
            torch.nn.init.normal_(parameter, std=1 / math.sqrt(hidden))
        self.x = torch.randn(rows, hidden, requires_grad=True)
        self.targets = torch.multinomial(torch.tensor(counts, dtype=torch.float64), rows, replacement=True)

    def ours(self) -> Contender:
        """The layer's own loss."""
        return self._contender("unrolled", self.layer, lambda: self.layer.losses(self.x, self.targets).mean())

    def full(self) -> Contender:
        """A full softmax of PyTorch, which computes something else: judged by itself in float64."""
        linear = torch.nn.Linear(self.x.shape[1], self.size)
        torch.nn.init.normal_(linear.weight, std=1 / math.sqrt(self.x.shape[1]))

        def loss(layer: torch.nn.Linear, x: Tensor, targets: Tensor) -> Tensor:
            return torch.nn.functional.cross_entropy(layer(x), targets, reduction="sum")

        name = "F.cross_entropy(F.linear()), full"
        found = self._contender(name, linear, lambda: loss(linear, self.x, self.targets) / len(self.x))
        return Contender(name, found.run, found.results, reference=partial(self._exact, linear, loss))

    def adaptive_of_pytorch(self) -> Contender:
        """With the same cut-offs and weights, in float32: under autocast it fails. It has no biases in its clusters."""
        hidden = self.x.shape[1]
        assert isinstance(self.layer, AdaptiveSoftmax)
        theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(hidden, self.size, list(self.cutoffs), DIVISOR, head_bias=True)
        theirs.head.load_state_dict(self.layer.head.state_dict())
        for mine, tail in zip(self.layer.clusters, theirs.tail, strict=True):
            weights = dict(mine.named_parameters())
            torch.nn.init.zeros_(weights["rows.bias"])
            for module, name in zip(tail, ("down.weight", "rows.weight"), strict=True):
                module.load_state_dict({"weight": weights[name]})
        name = "nn.AdaptiveLogSoftmaxWithLoss"
        found = self._contender(name, theirs, lambda: theirs(self.x, self.targets).loss, bfloat16=False)
        return Contender(name, found.run, lambda: {key: found.results()[key] for key in ("loss", "x")})

    def reference(self) -> Results:
        """Of our layer in float64, by its probabilities; of the sampled one by its own loss, with the same draws."""

        def loss(layer: OutputLayer, x: Tensor, targets: Tensor) -> Tensor:
            if self.kind == "sampled":
                torch.manual_seed(1)
                return layer.losses(x, targets).sum()
            return -layer.log_probabilities(x).gather(1, targets.unsqueeze(1)).sum()

        return self._exact(self.layer, loss)

    def _exact(self, layer: torch.nn.Module, loss: Callable[..., Tensor]) -> Results:
        """In float64, some rows at a time; the gradient of x."""
        was, x = next(layer.parameters()).dtype, self.x.detach().double().requires_grad_()
        total, rows = 0.0, len(x)
        layer.double()
        for begin in range(0, rows, _ROWS):
            block = slice(begin, begin + _ROWS)
            value = loss(layer, x[block], self.targets[block]) / rows
            value.backward()
            total += float(value.detach())
        layer.to(was)
        layer.zero_grad(set_to_none=True)
        assert x.grad is not None
        return {"loss": total, "x": x.grad}

    def _contender(
        self, name: str, layer: torch.nn.Module, loss: Callable[[], Tensor], bfloat16: bool | None = None
    ) -> Contender:
        """A mean loss and all gradients back."""
        autocast = self.bfloat16 if bfloat16 is None else bfloat16

        def run() -> Tensor:
            layer.zero_grad(set_to_none=True)
            self.x.grad = None
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                value = loss()
            value.backward()
            return value.detach()

        def results() -> Results:
            torch.manual_seed(1)
            found = {"loss": run(), "x": self.x.grad}
            layer.zero_grad(set_to_none=True)
            self.x.grad = None
            return found

        return Contender(name, run, results)


def _build(kind: str, size: int, rows: int, precision: str) -> Case:
    outputs = Outputs(kind, size, rows, precision)
    keep_freed_memory()
    peers = [outputs.full()]
    if kind == "adaptive":
        peers.append(outputs.adaptive_of_pytorch())
    notes = {
        "adaptive": f"cut-offs {', '.join(map(str, outputs.cutoffs))}, divisor {DIVISOR:g}; the full softmax does "
        "another work with the same targets",
        "sampled": f"{SAMPLES:,} draws; the full softmax does another work with the same targets",
    }
    return Case(
        ours=outputs.ours(),
        peers=tuple(peers),
        reference=outputs.reference,
        tolerance=TOLERANCES[precision],
        amount=rows,
        note=notes.get(kind, ""),
    )


def works() -> list[Work]:
    """At two sizes of the vocabulary."""
    found = []
    for kind, size, rows, precision, target in (
        ("adaptive", 10_000, 8192, "float32", 1.1),
        ("adaptive", 10_000, 8192, "bfloat16", 1.1),
        ("adaptive", 200_000, 1024, "float32", 1.1),
        ("adaptive", 200_000, 1024, "bfloat16", 1.1),
        ("sampled", 10_000, 8192, "bfloat16", 1.0),
        ("sampled", 200_000, 1024, "bfloat16", 4.0),
    ):
        about = f"{kind} softmax loss, V {size:,}, H {H}, {rows:,} targets, {precision}, forward and backward"
        name, build = f"output-{kind}-{size}-{precision}", partial(_build, kind, size, rows, precision)
        found.append(Work(name, about, "target/s", target, 2, build))
    return found
