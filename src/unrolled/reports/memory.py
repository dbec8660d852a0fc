"""Accuracy against distance: a table for a terminal, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unrolled.inspection.memory import MemoryReport
from unrolled.reports.pictures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_memory", "memory_rows"]

_COLUMNS = 3
_MARKERS = "osD^vPX*<>"


def memory_rows(report: MemoryReport) -> list[dict[str, Any]]:
    """One row a distance: the accuracy of each contestant, with the standard deviation over seeds where there are
    several, and of who takes what is nearest."""
    rows = []
    for index, point in enumerate(report.shortcut):
        distance = point.distance
        row: dict[str, Any] = {"distance": distance}
        for name in report.contestants:
            found = report.accuracies(name)[:, index]
            spread = f" ± {found.std(ddof=1):.3f}" if len(found) > 1 else ""
            row[name] = f"{found.mean():.3f}{spread}"
        row["shortcut"] = f"{point.accuracy:.3f}"
        row[""] = "held out" if distance in report.held_out else "beyond" if distance in report.beyond else ""
        rows.append(row)
    return rows


def draw_memory(reports: Sequence[MemoryReport]) -> Figure:
    """A panel a test, a curve a contestant: the mean over seeds, and a band from the worst to the best of them.

    Hollow points are distances that were held out of training, the grey area lies beyond all of training.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    columns = min(_COLUMNS, len(reports))
    rows = -(-len(reports) // columns)
    figure = new_figure(4.6 * columns, 3.6 * rows + 0.8)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    names = list(dict.fromkeys(name for report in reports for name in report.contestants))
    styles = {name: (f"C{index % 10}", _MARKERS[index % len(_MARKERS)]) for index, name in enumerate(names)}
    for axes, report in zip(panels, reports, strict=False):
        _draw(axes, report, styles)
    for axes in panels[len(reports) :]:
        axes.set_axis_off()
    lines = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    shown = {str(name): line for name, line in lines.items() if not str(name).startswith("_")}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return figure


def _draw(axes: Axes, report: MemoryReport, styles: dict[str, tuple[str, str]]) -> None:
    tested = report.tested
    axes.set_xscale("symlog", base=2, linthresh=1)
    if report.beyond:
        edge = (report.trained[-1] * report.beyond[0]) ** 0.5
        axes.axvspan(edge, tested[-1] * 1.2, color="0.93", label="_beyond")
    axes.axhline(report.chance, color="0.4", linestyle="--", linewidth=1, label="chance")
    nearest = [point.accuracy for point in report.shortcut]
    axes.plot(tested, nearest, color="0.4", linestyle=":", linewidth=1.2, label="shortcut")
    seen = [each not in report.held_out for each in tested]
    for name in report.contestants:
        colour, marker = styles[name]
        found = report.accuracies(name)
        mean = found.mean(0)
        dashes = "-." if name.startswith("window ") else "-"
        axes.plot(
            tested, mean, color=colour, marker=marker, markersize=4.5, linewidth=1.4, linestyle=dashes, label=name
        )
        hollow = [(x, y) for x, y, inside in zip(tested, mean, seen, strict=True) if not inside]
        if hollow:
            axes.plot(
                *zip(*hollow, strict=True),
                color=colour,
                marker=marker,
                markersize=4.5,
                markerfacecolor="white",
                linestyle="",
                label="_held out",
                zorder=3,
            )
        if len(found) > 1:
            axes.fill_between(tested, found.min(0), found.max(0), color=colour, alpha=0.15, linewidth=0)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(tested[0] * 0.9, tested[-1] * 1.2)
    axes.set_xticks(tested, [str(each) for each in tested], fontsize=8)
    axes.minorticks_off()
    axes.set_title(report.test)
    axes.set_xlabel(report.counts)
    axes.set_ylabel("accuracy")
