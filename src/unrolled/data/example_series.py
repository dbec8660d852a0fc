"""Made series that look like real ones, for demonstrations and tests: hourly consumption of three sites.

Each site has a level, a daily and a weekly pattern of its own, consumes more when it is cold, less on holidays, and is
otherwise disturbed by what lasts for hours (an autoregressive process of first order). Temperature follows the day, and
weather of some days. All follows from the seed.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unrolled.files import write_atomically

__all__ = ["SITES", "write"]

SITES = ("office", "homes", "plant")
_HOLIDAYS = 0.03  # share of days
_DAILY = ((9.0, 5.0, 14.0), (4.0, 6.0, 19.0), (2.0, 8.0, 12.0))  # height, width in hours and middle of the day's peak
_WEEKEND = (0.35, 1.1, 0.8)  # share of the peak that is left
_LEVEL = (10.0, 14.0, 30.0)
_COLD = (0.25, 0.45, 0.1)  # more consumption for each degree below 18
_DISTURBED = (0.6, 0.8, 1.2)


def write(path: Path, days: int = 150, seed: int = 0) -> None:
    """Write a CSV file with the columns time, office, homes, plant, temperature and holiday, a row an hour.

    Args:
        path: the file.
        days: from the first of January 2024 on.
        seed: of everything random.

    Raises:
        StorageError: it cannot be written.
    """
    generator = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    hour, day = hours % 24, hours // 24
    holiday = (generator.random(days) < _HOLIDAYS)[day]
    weekend = (day % 7) >= 5  # the first of January 2024 is a Monday
    weather = _lasting(generator, days, 0.8, 2.5)[day]
    season = 4 - 12 * np.cos(2 * np.pi * (day + 10) / 365)
    temperature = season + weather + 4 * np.sin(2 * np.pi * (hour - 9) / 24)
    columns = []
    for site in range(len(SITES)):
        height, width, middle = _DAILY[site]
        peak = height * np.exp(-((hour - middle) ** 2) / (2 * width**2))
        left = np.where(weekend | holiday, _WEEKEND[site], 1.0)
        cold = _COLD[site] * np.maximum(18 - temperature, 0)
        columns.append(_LEVEL[site] + left * peak + cold + _lasting(generator, len(hours), 0.85, _DISTURBED[site]))
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["time", *SITES, "temperature", "holiday"])
    start = np.datetime64("2024-01-01T00", "h")
    for step in hours.tolist():
        values = [f"{column[step]:.3f}" for column in columns]
        stamp = str(start + step).replace("T", " ") + ":00"
        writer.writerow([stamp, *values, f"{temperature[step]:.2f}", int(holiday[step])])
    write_atomically(path, written.getvalue().encode())


def _lasting(generator: np.random.Generator, steps: int, stays: float, spread: float) -> npt.NDArray[np.float64]:
    """An autoregressive process of first order with this standard deviation."""
    shocks = generator.normal(0, spread * (1 - stays**2) ** 0.5, steps)
    values = np.empty(steps)
    last = 0.0
    for step, shock in enumerate(shocks.tolist()):
        last = stays * last + shock
        values[step] = last
    return values
