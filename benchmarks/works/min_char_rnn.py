"""The recipe `min-char-rnn`, trained: H 100, T 25, one stream, Adagrad, entries of the gradient cut at ±5."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.agreement import TOLERANCES
from benchmarks.limits import product_rate, read_bandwidth
from benchmarks.peers import numpy_programs
from benchmarks.registry import Absent, Case, Contender, Limit, Results, Work, peer
from benchmarks.works.training import scratch_run, update
from unrolled.cells import find_cell
from unrolled.data.store import Tokens
from unrolled.kernels import Kernel
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.configuration import Precision
from unrolled.training.loop import Trainer
from unrolled.verbs.options import read_options

__all__ = ["NAMES", "Recipe", "works"]

H, T, ITERATIONS = 100, 25, 400

# The names of the classic's parameters in the model of the recipe.
NAMES = {
    "Wx": "recurrent.layers.0.W.h",
    "Wh": "recurrent.layers.0.U.h",
    "bh": "recurrent.layers.0.b.h",
    "Wy": "output.weight",
    "by": "output.bias",
}


def text() -> npt.NDArray[np.int64]:
    """Symbols of a real text that every machine with Python has."""
    characters = Path(argparse.__file__).read_text(encoding="utf-8")
    numbers = {symbol: number for number, symbol in enumerate(sorted(set(characters)))}
    return np.array([numbers[character] for character in characters])


class Recipe:
    """Our own training by the recipe.

    Args:
        precision: of everything, weights included.
    """

    def __init__(self, precision: Precision) -> None:
        self._dtype = getattr(torch, precision)
        self.ids = text()
        options = {"steps": 10_000_000, "precision": precision}
        _, self._network, self._config, _ = read_options(options, "min-char-rnn")
        torch.manual_seed(0)
        self._model = self._build(self._dtype)
        self.start = {name: value.clone() for name, value in self._model.state_dict().items()}

    def _build(self, dtype: torch.dtype, kernel: Kernel | None = None) -> LanguageModel:
        return LanguageModel(int(self.ids.max()) + 1, find_cell("rnn"), self._network, kernel=kernel).to(dtype)

    @cached_property
    def _trainer(self) -> Trainer:
        train, valid = Tokens(self.ids), Tokens(self.ids[:0])
        task = LanguageModelTask(self._model, train, valid, batch=1, length=T, seed=0, shift=False)
        return Trainer(task, self._config, scratch_run())

    @property
    def weights(self) -> dict[str, npt.NDArray[Any]]:
        """Those at the start, by the classic's names."""
        return {name: self.start[ours].numpy() for name, ours in NAMES.items()}

    def run(self) -> None:
        """Some iterations, from where the last call ended."""
        update(self._trainer, ITERATIONS)

    def results(self) -> Results:
        """Loss, weights and Adagrad's memories after the first iteration."""
        before = self._trainer.snapshot()
        loss = self._trainer.update().loss * T
        after = self._trainer.snapshot()
        self._trainer.put(before)
        numbers = {name: number for number, (name, _) in enumerate(self._model.named_parameters())}
        found = {name: after.model[ours] for name, ours in NAMES.items()}
        memories = {f"{name} memory": after.training[f"{numbers[ours]}/sum"] for name, ours in NAMES.items()}
        return {"loss": loss, **found, **memories}

    def reference(self) -> Results:
        """The same by the plain loop over time in float64, and Adagrad written out."""
        network = self._build(torch.float64, kernel="reference")
        network.load_state_dict(self.start)
        ids = torch.from_numpy(self.ids[: T + 1])
        logits, _ = network(ids[None, :-1])
        loss = torch.nn.functional.cross_entropy(logits[0], ids[1:], reduction="sum")
        loss.backward()
        found: dict[str, Any] = {"loss": loss.detach()}
        parameters = dict(network.named_parameters())
        for name, ours in NAMES.items():
            gradient = parameters[ours].grad
            assert gradient is not None
            memory = gradient.clamp(-5, 5) ** 2
            found[name] = parameters[ours].detach() - 0.1 * gradient.clamp(-5, 5) / (memory + 1e-8).sqrt()
            found[f"{name} memory"] = memory
        return found

    def limit(self) -> Limit:
        """Time step after time step, forward and backward, reads the recurrent matrix from its cache; nothing else can
        be done for all steps at once. The products of the output layer are counted at the rate of large ones."""
        size = self._dtype.itemsize * H * H
        bandwidth = read_bandwidth(size)
        rate, _ = product_rate(512, 512, 512, self._dtype)
        seconds = 2 * size / bandwidth + (6 * H * len(self.start["output.bias"]) + 2 * H * H) / rate
        why = f"Wh read twice a symbol at {bandwidth / 1e9:.0f} GB/s, other products at {rate / 1e9:.0f} GFLOP/s"
        return Limit(1 / seconds, why)


class TorchMinCharRNN:
    """The recipe with `nn.RNN` and autograd.

    Args:
        weights: at the start, by the classic's names.
        ids: the text.
    """

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]], ids: npt.NDArray[np.int64]) -> None:
        self._start, self._ids = weights, torch.from_numpy(ids)
        self._dtype = torch.from_numpy(weights["Wh"]).dtype
        self._begin()

    def _begin(self) -> None:
        V = len(self._start["by"])
        self._rnn = torch.nn.RNN(V, H, dtype=self._dtype)
        self._out = torch.nn.Linear(H, V, dtype=self._dtype)
        rnn, out = self._rnn, self._out
        places = {
            "Wx": rnn.weight_ih_l0,
            "Wh": rnn.weight_hh_l0,
            "bh": rnn.bias_ih_l0,
            "Wy": out.weight,
            "by": out.bias,
        }
        self._rnn.bias_hh_l0.requires_grad_(False).zero_()
        with torch.no_grad():
            for name, place in places.items():
                place.copy_(torch.tensor(self._start[name]))
        self._places, self._parameters = places, list(places.values())
        self._memories = [torch.zeros_like(p) for p in self._parameters]
        self._eye = torch.eye(V, dtype=self._dtype)
        self._h, self._position = torch.zeros(1, H, dtype=self._dtype), 0

    def _iterate(self) -> torch.Tensor:
        if self._position + T + 1 > len(self._ids):
            self._position, self._h = 0, torch.zeros_like(self._h)
        begin, self._position = self._position, self._position + T
        y, h = self._rnn(self._eye[self._ids[begin : begin + T]], self._h)
        loss = torch.nn.functional.cross_entropy(self._out(y), self._ids[begin + 1 : begin + T + 1], reduction="sum")
        gradients = list(torch.autograd.grad(loss, self._parameters))
        self._h = h.detach()
        with torch.no_grad():
            torch._foreach_clamp_min_(gradients, -5)
            torch._foreach_clamp_max_(gradients, 5)
            torch._foreach_addcmul_(self._memories, gradients, gradients)
            roots = torch._foreach_add(self._memories, 1e-8)
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(self._parameters, gradients, roots, -0.1)
        return loss

    def run(self) -> None:
        """Some iterations, from where the last call ended."""
        for _ in range(ITERATIONS // 8):
            self._iterate()

    def results(self) -> Results:
        """Loss, weights and Adagrad's memories after the first iteration."""
        self._begin()
        found: dict[str, Any] = {"loss": self._iterate()}
        for (name, place), memory in zip(self._places.items(), self._memories, strict=True):
            found |= {name: place.detach().clone(), f"{name} memory": memory.clone()}
        self._begin()
        return found


def _jax(recipe: Recipe, precision: Precision) -> Contender | Absent:
    name = "JAX scan"

    def build() -> Contender:
        import jax

        jax.config.update("jax_enable_x64", precision == "float64")
        from benchmarks.peers.jax_networks import MinCharRNN

        program = MinCharRNN(recipe.weights, recipe.ids, T, ITERATIONS)
        return Contender(name, program.run, program.results)

    return peer(name, ["jax"], build)


def _build(precision: Precision) -> Case:
    recipe = Recipe(precision)
    program = numpy_programs.MinCharRNN(recipe.weights, recipe.ids, T)
    rnn = TorchMinCharRNN(recipe.weights, recipe.ids)
    few = ITERATIONS // 8
    return Case(
        ours=Contender("unrolled", recipe.run, recipe.results),
        peers=(
            Contender("NumPy program", lambda: program.run(few), program.results, amount=few * T),
            Contender("nn.RNN", rnn.run, rnn.results, amount=few * T),
            _jax(recipe, precision),
        ),
        reference=recipe.reference,
        tolerance=TOLERANCES[precision],
        amount=ITERATIONS * T,
        limit=recipe.limit,
        note="" if precision == "float64" else "the NumPy program computes in float64, as published",
    )


def works() -> list[Work]:
    """In float32, and in float64, which is the recipe's own."""
    about = f"min-char-rnn recipe, training: rnn 1x{H}, B 1, T {T}, Adagrad"
    return [
        Work(f"min-char-rnn-{precision}", f"{about}, {precision}", "char/s", 1.3, 2, partial(_build, precision))
        for precision in ("float32", "float64")
    ]  # type: ignore[arg-type]
