"""ONNX Runtime: one step of an LSTM language model, sampled from with NumPy. Imported only where it is installed.

Axes: B streams, L layers, H hidden, V vocabulary.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from onnxruntime.quantization import quantize_dynamic
from torch import Tensor

from benchmarks.peers.torch_modules import TorchLanguageModel

__all__ = ["OnnxSteps"]


class _Step(torch.nn.Module):
    """One step: symbols (1, B) and the state (L, B, H) to logits (B, V) and the state after."""

    def __init__(self, model: TorchLanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.model.rnn(self.model.embedding(x), (h, c))
        return self.model.output(y[-1]), h, c


class OnnxSteps:
    """A session with one step of the model.

    Args:
        model: it is exported.
        streams: B.
        threads: that a step may use.
        int8: quantise the weights, the way ONNX Runtime recommends for recurrent networks.
    """

    def __init__(self, model: TorchLanguageModel, streams: int, threads: int, int8: bool) -> None:
        layers, hidden = model.rnn.num_layers, model.rnn.hidden_size
        self._shape = (layers, streams, hidden)
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "step.onnx"
            _export(model, path, self._shape)
            if int8:
                small = path.with_name("step8.onnx")
                logging.disable(logging.WARNING)  # that the model was not pre-processed, which changes nothing here
                quantize_dynamic(path, small)
                logging.disable(logging.NOTSET)
                path = small
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._random = np.random.default_rng(0)
        self._now = self._begin()

    def _begin(self) -> dict[str, npt.NDArray[Any]]:
        zeros = np.zeros(self._shape, np.float32)
        return {"x": np.zeros((1, self._shape[1]), np.int64), "h": zeros, "c": zeros}

    def sample(self, length: int) -> None:
        """So many symbols of every stream, from where the last call ended."""
        given, run = self._now, self._session.run
        for uniform in self._random.random((length, self._shape[1])):
            logits, given["h"], given["c"] = run(None, given)
            logits -= logits.max(1, keepdims=True)
            total = np.exp(logits, out=logits).cumsum(1)
            if len(total) == 1:
                given["x"][0, 0] = min(total[0].searchsorted(uniform[0] * total[0, -1]), total.shape[1] - 1)
            else:
                given["x"][0] = (total < uniform[:, None] * total[:, -1:]).sum(1)

    def nats(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Of every symbol but the first: ids (B, T) to (B, T - 1)."""
        given, found = self._begin(), []
        for t in range(ids.shape[1] - 1):
            given["x"] = ids[None, :, t]
            logits, given["h"], given["c"] = self._session.run(None, given)
            z = logits.astype(np.float64)
            found.append(np.logaddexp.reduce(z, 1) - z[np.arange(len(z)), ids[:, t + 1]])
        return np.stack(found, 1)


def _export(model: TorchLanguageModel, path: Path, shape: tuple[int, int, int]) -> None:
    """By tracing: the exporter that follows the graph takes an LSTM apart into a product a gate."""
    example = (torch.zeros(1, shape[1], dtype=torch.long), torch.zeros(shape), torch.zeros(shape))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Step(model).eval(),
            example,
            str(path),
            input_names=["x", "h", "c"],
            output_names=["y", "hn", "cn"],
            dynamo=False,
        )
