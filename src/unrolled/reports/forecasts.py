"""Forecasts as a table and as a picture."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.files import write_atomically
from unrolled.reports.pictures import new_figure, plain_text, save_picture

if TYPE_CHECKING:
    from unrolled.tasks.forecast.prediction import Forecast

__all__ = ["draw_forecasts", "write_forecasts"]

_PANELS = 8
_LABELS = 5
_SEEN, _AHEAD = "#3b4252", "#1f6fb2"
_MINUTE = re.compile(r"\d+-\d\d-\d\d( \d\d:\d\d:00)?")


def write_forecasts(forecasts: Sequence[Forecast], path: Path) -> None:
    """A CSV file: a row for each series and step with `series`, `time`, `forecast` and a column a quantile.

    Raises:
        StorageError: it cannot be written.
    """
    written = io.StringIO(newline="")
    writer: Any = None
    for one in forecasts:
        for row in one.rows():
            if writer is None:
                writer = csv.DictWriter(written, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(
                {name: f"{value:.10g}" if isinstance(value, float) else value for name, value in row.items()}
            )
    write_atomically(path, written.getvalue().encode())


def draw_forecasts(forecasts: Sequence[Forecast], path: Path) -> int:
    """A picture: what was seen last, the forecast, and the intervals between quantiles evenly about the middle.

    Args:
        forecasts: the first eight columns of them are drawn.
        path: .png, .svg or .pdf.

    Returns:
        how many columns were drawn.

    Raises:
        ConfigurationError: matplotlib is not installed, or the name of the file has another ending.
        StorageError: it cannot be written.
    """
    drawn = [(one, column) for one in forecasts for column in range(len(one.columns))][:_PANELS]
    rows = max(1, -(-len(drawn) // 2)) if len(drawn) > 1 else 1
    figure = new_figure(6.2 * (2 if len(drawn) > 1 else 1), 2.6 * rows + 0.4)
    axes = figure.subplots(rows, 2 if len(drawn) > 1 else 1, squeeze=False).ravel()
    for axis in axes[len(drawn) :]:
        axis.set_visible(False)
    for index, (axis, (one, column)) in enumerate(zip(axes, drawn, strict=False)):
        _draw(axis, one, column, legend=index == 0)
    save_picture(figure, path)
    return len(drawn)


def _draw(axis: Any, one: Forecast, column: int, *, legend: bool) -> None:
    ahead = len(one.stamps)
    shown = min(len(one.seen), max(3 * ahead, 24))
    seen = one.values[-shown:, column]
    before, after = np.arange(-shown, 0), np.arange(ahead)
    axis.plot(before, seen, color=_SEEN, linewidth=1.0, label="seen")
    pairs = [
        (low, high)
        for low, first in enumerate(one.levels)
        for high, second in enumerate(one.levels)
        if first < 0.5 and abs(first + second - 1) < 1e-9
    ]
    for low, high in pairs:
        share = 100 * (one.levels[high] - one.levels[low])
        lower, upper = (_from(seen[-1], one.quantiles[:, column, place]) for place in (low, high))
        axis.fill_between(
            np.arange(-1, ahead), lower, upper, color=_AHEAD, alpha=0.22, linewidth=0, label=f"{share:.0f} % interval"
        )
    axis.plot(
        np.arange(-1, ahead), _from(seen[-1], one.point[:, column]), color=_AHEAD, linewidth=1.6, label="forecast"
    )
    axis.axvline(-0.5, color="0.6", linewidth=0.8, linestyle=":")
    axis.set_title(plain_text(one.name if len(one.columns) == 1 else one.columns[column]), fontsize=10)
    stamps = _whole_minutes([*one.seen[-shown:], *one.stamps])
    places = np.unique(np.linspace(0, len(stamps) - 1, _LABELS).round().astype(int))
    axis.set_xticks(places - shown, [stamps[place] for place in places], fontsize=7)
    axis.tick_params(axis="y", labelsize=8)
    axis.margins(x=0.01)
    axis.set_xlim(before[0] - 0.5, after[-1] + 0.5)
    if legend:
        axis.legend(fontsize=7, loc="best", framealpha=0.8)


def _whole_minutes(stamps: list[str]) -> list[str]:
    """Time stamps without seconds that are all zero: labels of an axis would touch."""
    if not all(_MINUTE.fullmatch(stamp) for stamp in stamps):
        return stamps
    return [stamp[:-3] if " " in stamp else stamp for stamp in stamps]


def _from(last: float, values: Any) -> Any:
    """A curve that begins at the last value that was seen."""
    return np.concatenate(([last], values))
