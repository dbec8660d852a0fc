from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from unrolled.cells import find_cell
from unrolled.errors import ConfigurationError
from unrolled.layers import to_torch
from unrolled.tasks.forecast.configuration import ForecasterConfig
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.windows import WindowBatch

WINDOW, HORIZON, SEASON = 12, 7, 4
DECODINGS = ("positions", "direct", "recursive")
NORMALISATIONS = ("last", "seasonal", "mean", "revin", "none")


def forecaster(columns: int = 1, past: int = 0, known: int = 0, cell: str = "gru", **options: Any) -> Forecaster:
    torch.manual_seed(0)
    chosen = {"hidden_size": 6, "segment": 3, "dropout": 0.0, "identity": False, **options}
    shape = {"columns": columns, "past": past, "known": known, "series": 5}
    config = ForecasterConfig(cell=cell, **chosen)
    model = Forecaster(find_cell(cell), config, **shape, window=WINDOW, horizon=HORIZON, season=SEASON)
    model.use("reference")
    return model.double().eval()


def a_batch(size: int = 4, columns: int = 1, past: int = 0, known: int = 0, seed: int = 1) -> WindowBatch:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return WindowBatch(
        x=drawn(size, WINDOW, columns),
        past=drawn(size, WINDOW, past),
        known=drawn(size, WINDOW + HORIZON, known),
        y=drawn(size, HORIZON, columns),
        there=None,
        series=torch.arange(size) % 5,
    )


def test_parallel_decoding_as_segrnn_describes_it() -> None:
    """Against PyTorch's GRU, written out: project segments, encode, then each place of the horizon from the state."""
    model, batch = forecaster(quantiles=""), a_batch()
    gru = to_torch(model.recurrent).double()
    assert isinstance(gru, torch.nn.GRU)
    x, last = batch.x[..., 0], batch.x[:, -1]
    segments = (x - last).reshape(4, 4, 3)
    _, state = gru(torch.relu(segments @ model.read.weight.T + model.read.bias))
    made = []
    for place in model.positions:
        y, _ = gru(place.expand(4, 1, -1), state)
        made.append(y[:, 0] @ model.write.weight.T + model.write.bias)
    expected = torch.cat(made, dim=1)[:, :HORIZON] + last
    torch.testing.assert_close(model(batch)[0][..., 0], expected)


def test_recursive_decoding_reads_what_it_made() -> None:
    """Forecasting on is the same as forecasting from a window at whose end its own forecast stands, but for the state's
    memory: here against PyTorch's LSTM, written out."""
    model, batch = forecaster(cell="lstm", decoding="recursive", quantiles="0.5"), a_batch()
    lstm = to_torch(model.recurrent).double()
    last = batch.x[:, -1]
    y, state = lstm(torch.relu(model.read((batch.x[..., 0] - last).reshape(4, 4, 3))))
    y, made = y[:, -1:], []
    for _ in range(3):
        made.append(model.write(y[:, 0]).reshape(4, 3, 2)[..., 0])
        y, state = lstm(torch.relu(model.read(made[-1])).unsqueeze(1), state)
    torch.testing.assert_close(model(batch)[0][..., 0], torch.cat(made, dim=1)[:, :HORIZON] + last)


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("normalise", NORMALISATIONS)
@pytest.mark.parametrize("segment", [1, 3, 5])
def test_shapes_and_what_each_window_is_freed_of(decoding: str, normalise: str, segment: int) -> None:
    """A window that lies higher has a forecast that lies as much higher; with revin also a wider one a wider one."""
    model = forecaster(
        2,
        1,
        3,
        decoding=decoding,
        normalise=normalise,
        segment=segment,
        identity=True,
        linear=normalise in ("last", "seasonal"),
    )
    if model.config.linear:
        model.set_linear(
            torch.randn(WINDOW + 1, HORIZON, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(
                0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3), dtype=weight.dtype)
            )
    batch = a_batch(3, 2, 1, 3)
    point, quantiles = model(batch)
    assert point.shape == (3, HORIZON, 2)
    assert quantiles.shape == (3, HORIZON, 2, 2)
    if normalise == "none":
        return
    gain = 1.0 if normalise != "revin" else 3.0
    moved = WindowBatch(batch.x * gain + 7, batch.past, batch.known, batch.y, None, batch.series)
    higher, spread = model(moved)
    torch.testing.assert_close(higher, point * gain + 7, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(spread, quantiles * gain + 7, rtol=1e-3, atol=1e-4)


def test_the_seasonal_anchor_is_the_seasonal_naive_forecast() -> None:
    model, batch = forecaster(normalise="seasonal"), a_batch()
    torch.nn.init.zeros_(model.write.weight)
    torch.nn.init.zeros_(model.write.bias)
    expected = [batch.x[:, WINDOW - SEASON + step % SEASON] for step in range(HORIZON)]
    torch.testing.assert_close(model(batch)[0], torch.stack(expected, dim=1))


@pytest.mark.parametrize("decoding", DECODINGS)
def test_covariates_and_names_matter_where_they_should(decoding: str) -> None:
    model, batch = forecaster(1, 1, 2, decoding=decoding, identity=True), a_batch(2, 1, 1, 2)
    ahead = batch.known.clone().requires_grad_()
    past = batch.past.clone().requires_grad_()
    point, _ = model(WindowBatch(batch.x, past, ahead, batch.y, None, batch.series))
    # The first segment of the recursive forecast is made before what is ahead is read.
    first = 0 if decoding != "recursive" else 3
    for place in range(first, HORIZON):
        (known,) = torch.autograd.grad(point[:, place].sum(), ahead, retain_graph=True)
        assert known[:, WINDOW:].abs().sum() > 0
    (seen,) = torch.autograd.grad(point.sum(), past, retain_graph=True)
    assert seen.abs().sum() > 0
    other = WindowBatch(batch.x, batch.past, batch.known, batch.y, None, batch.series + 1)
    assert not torch.equal(model(other)[0], point)


@pytest.mark.parametrize("point_loss", ["mae", "mse", "huber"])
def test_the_loss_is_over_what_is_there(point_loss: str) -> None:
    model, batch = forecaster(point_loss=point_loss), a_batch()
    there = torch.rand(batch.y.shape, generator=torch.Generator().manual_seed(5)) < 0.6
    wild = torch.where(there, batch.y, torch.full_like(batch.y, 1e6))
    model.train()
    found = model.loss(WindowBatch(batch.x, batch.past, batch.known, wild, there, batch.series))
    point, quantiles = model(batch)
    error = (batch.y - point)[there]
    each = {
        "mae": error.abs(),
        "mse": error**2,
        "huber": torch.nn.functional.huber_loss(point, batch.y, reduction="none"),
    }
    expected = each[point_loss] if point_loss != "huber" else each["huber"][there]
    assert found.targets == int(there.sum())
    torch.testing.assert_close(found.total, expected.sum())
    off = (batch.y.unsqueeze(-1) - quantiles)[there]
    pinball = torch.stack(
        (torch.maximum(0.1 * off[:, 0], -0.9 * off[:, 0]), torch.maximum(0.9 * off[:, 1], -0.1 * off[:, 1]))
    )
    assert found.penalty is not None
    torch.testing.assert_close(found.penalty, pinball.mean())
    assert model.eval().loss(batch).penalty is None


def test_gradients_in_float64() -> None:
    model, batch = forecaster(1, 0, 1, normalise="revin", point_loss="mse"), a_batch(2, 1, 0, 1)
    weights = [model.read.weight, model.positions, model.write.weight, model.gain]

    def total(*_: torch.Tensor) -> torch.Tensor:
        return model.loss(batch).total

    assert torch.autograd.gradcheck(total, weights, eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru-reset-before", "mingru", "sru", "lru"])
def test_any_cell(cell: str) -> None:
    point, _ = forecaster(cell=cell, layers=2)(a_batch())
    assert bool(point.isfinite().all())


def test_a_constant_window_has_a_finite_forecast_and_gradient() -> None:
    for normalise in NORMALISATIONS:
        model, batch = forecaster(normalise=normalise), a_batch()
        model.loss(
            WindowBatch(torch.full_like(batch.x, 3.0), batch.past, batch.known, batch.y, None, batch.series)
        ).total.backward()  # type: ignore[no-untyped-call]
        assert all(bool(weight.grad.isfinite().all()) for weight in model.parameters() if weight.grad is not None)


def test_options_out_of_range() -> None:
    for wrong in (
        {"quantiles": "0.9,0.1"},
        {"quantiles": "0,1"},
        {"segment": 0},
        {"dropout": 1.0},
        {"decoding": "beam"},
    ):
        with pytest.raises(ConfigurationError):
            ForecasterConfig(**wrong)  # type: ignore[arg-type]
    assert ForecasterConfig(quantiles="").levels == ()
    np.testing.assert_allclose(ForecasterConfig(quantiles="0.1, 0.5,0.9").levels, (0.1, 0.5, 0.9))


@pytest.mark.parametrize("normalise", ["last", "seasonal"])
def test_a_linear_part_is_where_training_begins(normalise: str) -> None:
    model, batch = forecaster(linear=True, normalise=normalise), a_batch()
    weights = torch.randn(WINDOW + 1, HORIZON, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    model.set_linear(weights)
    x, last = batch.x[..., 0], batch.x[:, -1]
    torch.testing.assert_close(model(batch)[0][..., 0], (x - last) @ weights[:-1] + weights[-1] + last)
    assert "linear" not in dict(model.named_parameters())
    with pytest.raises(ConfigurationError, match="without their last value"):
        ForecasterConfig(linear=True, normalise="revin")
