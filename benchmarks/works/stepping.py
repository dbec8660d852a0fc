"""One symbol after the other, each sampled from what the model says of it: one stream on one core, 64 on two."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.agreement import TOLERANCES
from benchmarks.limits import products_limit, reading_limit
from benchmarks.peers.torch_modules import TorchLanguageModel
from benchmarks.registry import Absent, Case, Contender, Limit, Results, Work, peer
from unrolled.cells import find_cell
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel

__all__ = ["Stepping", "works"]

V = 100
_SCORED = 200  # symbols on which contenders are compared


class Stepping:
    """A model, a text that it would write, and what each symbol of it costs.

    Args:
        layers, hidden: L, H of the LSTM.
        streams: B.
        precision: float32 or int8, of our weights.
    """

    def __init__(self, layers: int, hidden: int, streams: int, precision: str, scored: int = _SCORED) -> None:
        torch.manual_seed(0)
        self.streams, self.precision = streams, precision
        network = LanguageModelConfig(hidden_size=hidden, layers=layers, dropout=0.0)
        self.model = LanguageModel(V, find_cell("lstm"), network)
        with torch.no_grad():
            # As sure of itself as a trained model: from small weights all symbols would be alike, whatever is wrong.
            self.model.output.weight.mul_(8)
        self._exact = LanguageModel(V, find_cell("lstm"), network, kernel="reference").double()
        self._exact.load_state_dict(self.model.state_dict())
        self.ids = self._text(scored)

    @torch.no_grad()
    def _text(self, length: int) -> npt.NDArray[np.int64]:
        """Symbols (B, T) drawn from the model itself in float64."""
        state = self._exact.initial_state(self.streams)
        symbols, found = torch.zeros(self.streams, dtype=torch.long), []
        for _ in range(length):
            found.append(symbols)
            logits, state = self._exact(symbols[:, None], state)
            symbols = torch.multinomial(logits[:, 0].softmax(-1), 1)[:, 0]
        return torch.stack(found, 1).numpy()

    @torch.no_grad()
    def reference(self) -> Results:
        """Nats of every symbol in float64."""
        logits, _ = self._exact(torch.from_numpy(self.ids[:, :-1]))
        return self.judged(_nats(logits, self.ids))

    def judged(self, nats: npt.ArrayLike) -> Results:
        """What agreement is about: each symbol's nats, or in int8 the loss."""
        found = np.asarray(nats, np.float64)
        return {"loss": found.mean()} if self.precision == "int8" else {"nats": found}

    def ours(self, length: int) -> Contender:
        """The stepping engine."""
        engine = self.model.engine(self.precision)
        return self._contender(
            "unrolled", lambda: engine.sample(length, streams=self.streams), lambda: engine.score(self.ids), length
        )

    def _contender(self, name: str, sample: Any, score: Any, length: int) -> Contender:
        return Contender(name, sample, lambda: self.judged(score()), amount=length * self.streams)

    def torch(self, length: int, bfloat16: bool = False) -> Contender:
        """`nn.LSTM`, a step at a time, without gradients."""
        model = TorchLanguageModel(self.model).eval()
        start: Any = (torch.zeros(1, self.streams, dtype=torch.long), None)
        now = [start]

        def step(x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
            y, state = model.rnn(model.embedding(x), state)
            return model.output(y[-1]), state

        @torch.inference_mode()
        def sample() -> None:
            x, state = now[0]
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                for _ in range(length):
                    logits, state = step(x, state)
                    x = torch.multinomial(logits.float().softmax(-1), 1).T
            now[0] = (x, state)

        @torch.inference_mode()
        def score() -> npt.NDArray[np.float64]:
            state, found = None, []
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                for x in torch.from_numpy(self.ids[:, :-1]).T:
                    logits, state = step(x[None], state)
                    found.append(logits)
            return _nats(torch.stack(found, 1), self.ids)

        return self._contender("nn.LSTM bfloat16" if bfloat16 else "nn.LSTM", sample, score, length)

    def onnx(self, length: int, int8: bool) -> Contender | Absent:
        """ONNX Runtime."""
        name = "ONNX Runtime int8" if int8 else "ONNX Runtime"

        def build() -> Contender:
            from benchmarks.peers.onnx_steps import OnnxSteps

            steps = OnnxSteps(TorchLanguageModel(self.model), self.streams, torch.get_num_threads(), int8)
            return self._contender(name, lambda: steps.sample(length), lambda: steps.nats(self.ids), length)

        return peer(name, ["onnx", "onnxruntime"], build)

    def limit(self) -> Limit:
        """One stream: every weight is read once a symbol, but for what a symbol brings to the first layer, which is a
        row of a table. Many streams: the products of these weights."""
        layers = self.model.recurrent.layers
        skipped = sum(p.numel() for name, p in layers[0].named_parameters() if name.startswith("W."))
        matrices = [p for p in self.model.recurrent.parameters() if p.dim() == 2] + [self.model.output.weight]
        weights = sum(matrix.numel() for matrix in matrices) - skipped
        if self.streams == 1:
            return reading_limit(weights * (1 if self.precision == "int8" else 4))
        hidden = self.model.recurrent.hidden_size
        dtype = torch.int8 if self.precision == "int8" else torch.float32
        shapes = [(self.streams, hidden, 4 * hidden), (self.streams, 2 * hidden, 4 * hidden)]
        return products_limit(2.0 * weights, shapes, dtype)


def _nats(logits: torch.Tensor, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Logits (B, T, V) and symbols (B, T + 1) to nats (B, T)."""
    log_p = logits.double().log_softmax(-1)
    return -log_p.gather(-1, torch.from_numpy(ids[:, 1:, None]))[..., 0].numpy()


def _build(layers: int, hidden: int, streams: int, precision: str) -> Case:
    stepping = Stepping(layers, hidden, streams, precision)
    length = max(10, 1000 * 128 // hidden // layers // (1 if streams == 1 else 16))
    int8 = precision == "int8"
    peers = [stepping.onnx(length, int8), stepping.torch(max(length // 4, 10))]
    if int8 and streams > 1:
        peers.append(stepping.torch(max(length // 4, 10), bfloat16=True))
    return Case(
        ours=stepping.ours(length * 4),
        peers=tuple(peers),
        reference=stepping.reference,
        tolerance=TOLERANCES[precision],
        limit=stepping.limit,
        note="agreement is of the loss" if int8 else "",
    )


def works() -> list[Work]:
    """One stream, large and small, in both precisions; many streams."""
    rows = [
        (2, 512, 1, "float32", 1.1, 1),
        (2, 512, 1, "int8", 1.3, 1),
        (1, 128, 1, "float32", 3.0, 1),
        (1, 128, 1, "int8", 3.0, 1),
        (2, 512, 64, "float32", 1.5, 2),
        (2, 512, 64, "int8", 1.5, 2),
    ]
    found = []
    for layers, hidden, streams, precision, target, threads in rows:
        cores, count = ("one core", "one stream") if threads == 1 else ("two cores", f"{streams} streams")
        about = f"sampling, {count}, {cores}, lstm {layers}x{hidden}, V {V}, {precision} weights"
        name = f"step-lstm-{layers}x{hidden}-{precision}" + (f"-{streams}-streams" if streams > 1 else "")
        build = partial(_build, layers, hidden, streams, precision)
        found.append(Work(name, about, "symbol/s", target, threads, build))
    return found
