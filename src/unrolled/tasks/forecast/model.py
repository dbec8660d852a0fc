"""The forecaster: segments of a window in, all segments of the horizon out.

A window is freed of its level, cut into segments, and read segment by segment by a recurrent stack; from its last state
the horizon follows (SegRNN: Lin et al. 2023, "SegRNN: Segment Recurrent Neural Network for Long-Term Time Series
Forecasting", section 3; with segments of one step and `direct` or `recursive`, the plain recurrent forecaster).
"""

from __future__ import annotations

import torch

from unrolled.cells import Equations
from unrolled.kernels import Kernel
from unrolled.layers import Recurrent
from unrolled.layers.recurrent import StackState
from unrolled.tasks.forecast.configuration import ForecasterConfig
from unrolled.tasks.forecast.windows import WindowBatch
from unrolled.tasks.supervised import Outcome, SupervisedModel

__all__ = ["Forecaster"]


class Forecaster(SupervisedModel):
    """Forecasts the steps after a window.

    Args:
        equations: the cell.
        config: sizes, all of them given.
        columns: C of a series.
        past: P covariates known up to now.
        known: K covariates known ahead, the calendar's among them.
        series: how many there are to tell apart.
        window: L.
        horizon: H.
        season: of the series.
    """

    def __init__(
        self,
        equations: Equations,
        config: ForecasterConfig,
        *,
        columns: int,
        past: int,
        known: int,
        series: int,
        window: int,
        horizon: int,
        season: int,
    ) -> None:
        super().__init__()
        assert config.hidden_size is not None
        assert config.segment is not None
        self.config, self.columns, self.horizon, self.window, self.season = config, columns, horizon, window, season
        self.levels = config.levels
        hidden, segment = config.hidden_size, config.segment
        # What is forecast of a step: the point, and the quantiles beside it.
        self.outputs = columns * (1 + len(self.levels))
        self.count = -(-horizon // segment)
        dropout = config.dropout or 0.0
        self.read = torch.nn.Linear(segment * (columns + past + known), hidden)
        self.recurrent = Recurrent(equations, hidden, hidden, config.layers, dropout=dropout)
        self.dropout = torch.nn.Dropout(dropout)
        size = self.recurrent.output_size
        identity = bool(config.identity)
        self.names = torch.nn.Embedding(series, hidden) if identity else None
        if config.decoding == "positions":
            self.positions = torch.nn.Parameter(torch.randn(self.count, hidden) * 0.5)
            self.ahead = torch.nn.Linear(segment * known, hidden) if known else None
            self.write = torch.nn.Linear(size, segment * self.outputs)
        elif config.decoding == "recursive":
            self.write = torch.nn.Linear(size, segment * self.outputs)
        else:
            self.write = torch.nn.Linear(size + horizon * known, horizon * self.outputs)
        if self.names is not None:
            torch.nn.init.normal_(self.names.weight, std=0.1)
        if config.linear:
            # Fitted in closed form before training, and not trained: a step of the optimiser is large for its weights.
            self.register_buffer("linear", torch.zeros(window + 1, horizon))
            # So that training begins with the linear forecast.
            torch.nn.init.zeros_(self.write.weight)
            torch.nn.init.zeros_(self.write.bias)
        if config.normalise == "revin":
            self.gain = torch.nn.Parameter(torch.ones(columns))
            self.shift = torch.nn.Parameter(torch.zeros(columns))

    @torch.no_grad()
    def set_linear(self, weights: torch.Tensor) -> None:
        """Give it the linear forecast of windows without their last value: (L + 1, H), the last row a constant."""
        weights = weights.clone()
        if self.config.normalise == "seasonal":
            # What is added to the seasonal naive forecast.
            season = min(self.season, self.window)
            for step in range(self.horizon):
                weights[self.window - season + step % season, step] -= 1
        self.get_buffer("linear").copy_(weights)

    def use(self, kernel: Kernel | None) -> None:
        """Let the recurrent layers run on this kernel."""
        self.recurrent.use(kernel)

    @property
    def size(self) -> int:
        """The number of parameters, those of the linear map among them: these are fitted, too."""
        return super().size + (self.get_buffer("linear").numel() if self.config.linear else 0)

    @property
    def about(self) -> str:
        """The network, in a line."""
        config = self.config
        return (
            f"{config.layers} x {config.hidden_size} {self.recurrent.equations.name}, {self.window} steps in segments "
            f"of {config.segment} to {self.horizon}, {config.decoding}; {self.size:,} parameters"
        )

    def forward(self, batch: WindowBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """The forecast: points (B, H, C) and quantiles (B, H, C, Q), scaled as the windows are."""
        x, level, scale = self._freed(batch.x)
        base = self._base(x)
        config = self.config
        assert config.segment is not None
        known = batch.known[:, : self.window], batch.known[:, self.window :]
        inputs = torch.cat((x, batch.past, known[0]), dim=-1)
        segments = self._segments(inputs, front=True)
        given = torch.relu(self.read(segments))
        if self.names is not None:
            given = given + self.names(batch.series).unsqueeze(1)
        y, state = self.recurrent(given)
        size = len(x)
        if config.decoding == "positions":
            raw = self._at_positions(state, batch, known[1])
        elif config.decoding == "recursive":
            raw = self._one_by_one(y[:, -1], state, batch, base, known[1])
        else:
            raw = self.write(torch.cat((self.dropout(y[:, -1]), known[1].flatten(1)), dim=-1))
        raw = raw.reshape(size, -1, 1 + len(self.levels), self.columns)[:, : self.horizon]
        raw = self._given_back(raw + base[:, : self.horizon].unsqueeze(2), level, scale)
        return raw[:, :, 0], raw[:, :, 1:].permute(0, 1, 3, 2)

    def _freed(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The window without its level (B, L, C), the level (B, 1, C), and the scale of the window."""
        kind = self.config.normalise
        if kind == "none":
            return x, torch.zeros_like(x[:, -1:]), None
        if kind in ("last", "seasonal"):
            return x - x[:, -1:], x[:, -1:], None
        mean = x.mean(dim=1, keepdim=True)
        if kind == "mean":
            return x - mean, mean, None
        # A window without a change has no scale of its own; the constant is RevIN's.
        scale = torch.sqrt(x.var(dim=1, keepdim=True, unbiased=False) + 1e-5)
        return (x - mean) / scale * self.gain + self.shift, mean, scale

    def _base(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H or a little more, C) what the network's forecast is added to, from the window without its level."""
        assert self.config.segment is not None
        steps = self.count * self.config.segment
        base = x.new_zeros(len(x), steps, x.shape[2])
        if self.config.normalise == "seasonal":
            season = min(self.season, x.shape[1])
            base = base + x[:, -season:].repeat(1, -(-steps // season), 1)[:, :steps]
        if self.config.linear:
            linear = self.get_buffer("linear")
            straight = (x.transpose(1, 2) @ linear[:-1] + linear[-1]).transpose(1, 2)
            base = base + torch.nn.functional.pad(straight, (0, 0, 0, steps - self.horizon))
        return base

    def _given_back(self, raw: torch.Tensor, level: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        """(B, H, 1 + Q, C) with scale and level of the window."""
        if scale is not None:
            gain = torch.where(self.gain.abs() < 1e-3, torch.full_like(self.gain, 1e-3), self.gain)
            raw = (raw - self.shift) / gain * scale.unsqueeze(2)
        return raw + level.unsqueeze(2)

    def _segments(self, x: torch.Tensor, *, front: bool) -> torch.Tensor:
        """(B, T, D) to (B, N, segment * D); what is short of a whole segment is filled with zeros, in front or at the
        end."""
        segment = self.config.segment
        assert segment is not None
        missing = -x.shape[1] % segment
        if missing:
            x = torch.nn.functional.pad(x, (0, 0, missing, 0) if front else (0, 0, 0, missing))
        return x.reshape(len(x), x.shape[1] // segment, segment * x.shape[2])

    def _at_positions(self, state: StackState, batch: WindowBatch, known: torch.Tensor) -> torch.Tensor:
        """Parallel decoding: every segment of the horizon from the last state and the vector of its place, in one step
        (Lin et al. 2023, section 3.3)."""
        size, count = len(batch.x), self.count
        given = self.positions.unsqueeze(0).expand(size, -1, -1)
        if self.names is not None:
            given = given + self.names(batch.series).unsqueeze(1)
        if self.ahead is not None:
            given = given + self.ahead(self._segments(known, front=False))
        repeated = tuple(tuple(part.repeat_interleave(count, dim=0) for part in layer) for layer in state)
        y, _ = self.recurrent.step(given.reshape(size * count, -1), repeated)
        return torch.as_tensor(self.write(self.dropout(y)))

    def _one_by_one(
        self, y: torch.Tensor, state: StackState, batch: WindowBatch, base: torch.Tensor, known: torch.Tensor
    ) -> torch.Tensor:
        """Recursive decoding: the point forecast of a segment is read before the next is made. Covariates that are
        known up to now stay as they are."""
        segment = self.config.segment
        assert segment is not None
        bases = base.reshape(len(y), self.count, segment, self.columns)
        known_segments = self._segments(known, front=False).reshape(len(y), self.count, segment, known.shape[2])
        past = batch.past[:, -1:].expand(-1, segment, -1)
        made = []
        for index in range(self.count):
            made.append(self.write(self.dropout(y)))
            if index + 1 < self.count:
                point = made[-1].reshape(len(y), segment, 1 + len(self.levels), self.columns)[:, :, 0]
                piece = torch.cat((point + bases[:, index], past, known_segments[:, index]), dim=-1).flatten(1)
                given = torch.relu(self.read(piece))
                if self.names is not None:
                    given = given + self.names(batch.series)
                y, state = self.recurrent.step(given, state)
        return torch.stack(made, dim=1)

    def loss(self, batch: WindowBatch) -> Outcome:
        """The loss of the points, and beside it that of the quantiles, which is no part of what is told."""
        batch = batch.to(self.device, self.read.weight.dtype)
        point, quantiles = self(batch)
        there = batch.there
        error = batch.y - point
        if self.config.point_loss == "mae":
            each = error.abs()
        elif self.config.point_loss == "mse":
            each = error.square()
        else:
            each = torch.nn.functional.huber_loss(point, batch.y, reduction="none")
        targets = each.numel() if there is None else int(there.sum())
        total = (each if there is None else each * there).sum()
        penalty = None
        if self.levels and self.training:
            levels = quantiles.new_tensor(self.levels)
            off = batch.y.unsqueeze(-1) - quantiles
            pinball = torch.maximum(levels * off, (levels - 1) * off).mean(-1)
            penalty = (pinball if there is None else pinball * there).sum() / max(targets, 1)
        return Outcome(total, targets, len(batch.x), penalty)
