"""Options of the forecaster; without torch, so that the command line answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from unrolled.data.series_configuration import names_of
from unrolled.errors import ConfigurationError, nearest

__all__ = ["DEFAULTS", "AheadConfig", "Decoding", "ForecasterConfig", "Normalise", "PointLoss"]

Decoding = Literal["positions", "direct", "recursive"]
Normalise = Literal["last", "seasonal", "mean", "revin", "none"]
PointLoss = Literal["mae", "mse", "huber"]
DEFAULTS: dict[str, Any] = {"minutes": 3.0, "clip_norm": 1.0, "validations": 20}
"""Fields of `TrainingConfig` whose defaults are others for this task."""


@dataclass(frozen=True)
class ForecasterConfig:
    """The network of a forecaster. What is None is chosen from the series, and printed.

    Attributes:
        cell: a cell's name (see `unrolled cells`), or FILE.py:NAME for one of your own.
        hidden_size: units of every layer.
        layers: recurrent layers on top of each other.
        segment: steps of the series that are read at once, as one step of the network (Lin et al. 2023); 1 reads them
            one by one; chosen from the horizon if not given.
        decoding: positions (all segments of the horizon at once, each from the last state and a vector of its place;
            Lin et al. 2023), direct (all steps of the horizon from the last state) or recursive (segment after segment,
            each read before the next is forecast).
        normalise: what each window is freed of before it is read, and given back to its forecast: last (its last
            value), seasonal (its last value; the network then corrects the seasonal naive forecast), mean (its mean),
            revin (mean and standard deviation, with a learned scale; Kim et al. 2022) or none.
        linear: the forecast is a linear map of the window, which is fitted first, in closed form, and stays as it is,
            plus what the network adds (as the autoregressive part of Lai et al. 2018); with normalise last or seasonal.
        identity: a learned vector for each series, which tells the network which one it reads.
        quantiles: forecast besides the point, by the pinball loss, as 0.1,0.9; empty for none.
        point_loss: mae, mse or huber (square within one unit of the scale, absolute beyond).
        dropout: probability with which a unit is dropped between layers and before the output.
    """

    cell: str = "gru"
    hidden_size: int | None = None
    layers: int = 1
    segment: int | None = None
    decoding: Decoding = "positions"
    normalise: Normalise = "last"
    linear: bool | None = None
    identity: bool | None = None
    quantiles: str = "0.1,0.9"
    point_loss: PointLoss = "mae"
    dropout: float | None = None

    def __post_init__(self) -> None:
        for name in ("hidden_size", "layers", "segment"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is too small", expected="at least 1", got=str(value))
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigurationError(
                "dropout is out of range", expected="at least 0 and below 1", got=str(self.dropout)
            )
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in get_args(choices):
                raise ConfigurationError(f"{name} has no such choice: {value!r}", fix=nearest(value, get_args(choices)))
        if self.linear and self.normalise not in ("last", "seasonal"):
            raise ConfigurationError(
                "a linear map is fitted to windows without their last value",
                expected="normalise last or seasonal",
                got=f"normalise {self.normalise}",
            )
        self.levels  # noqa: B018

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles as numbers, ascending."""
        try:
            found = tuple(float(part) for part in names_of(self.quantiles))
            right = all(0 < level < 1 for level in found) and list(found) == sorted(set(found))
        except ValueError:
            right = False
        if not right:
            raise ConfigurationError(
                "quantiles are out of range",
                expected="ascending numbers between 0 and 1 with commas between them, as 0.1,0.9",
                got=repr(self.quantiles),
            )
        return found


@dataclass(frozen=True)
class AheadConfig:
    """What `predict` does with a forecaster.

    Attributes:
        horizon: steps ahead; as many as were trained if not given.
        output: the CSV file that is written; forecast.csv in the run if not given.
        picture: the picture that is drawn (.png, .svg, .pdf); that file's name with .png if not given, none if empty.
    """

    horizon: int | None = None
    output: str | None = None
    picture: str | None = None


_CHOICES: dict[str, Any] = {"decoding": Decoding, "normalise": Normalise, "point_loss": PointLoss}
