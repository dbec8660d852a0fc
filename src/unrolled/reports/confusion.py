"""What a classifier took for what: a picture and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolled.reports.pictures import new_figure, plain_text, save_picture

__all__ = ["class_rows", "confused", "draw_confusion"]

_NUMBERED = 25  # classes up to which the counts are written into the cells
_NAMED = 60  # and up to which each row has its name


def draw_confusion(confusion: Sequence[Sequence[int]], labels: Sequence[str], path: Path, title: str = "") -> None:
    """Draw a confusion matrix: a row a true label, a column what was said, shaded by its share of the row.

    Args:
        confusion: (C, C) how often.
        labels: C names.
        path: the file, .png, .svg or .pdf.
        title: what stands above.

    Raises:
        ConfigurationError: another kind of file, or matplotlib is not installed.
        StorageError: it cannot be written.
    """
    count = len(labels)
    side = min(16.0, max(3.5, 0.4 * count))
    figure = new_figure(side + 2.0, side + 1.2)
    axes = figure.add_subplot()
    shares = [[value / max(sum(row), 1) for value in row] for row in confusion]
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="share of the true label", shrink=0.8)
    every = max(1, -(-count // _NAMED))
    places = range(0, count, every)
    names = [_short(labels[place]) for place in places]
    axes.set_xticks(list(places), names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(list(places), names)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    if title:
        axes.set_title(plain_text(title))
    if count <= _NUMBERED:
        for row in range(count):
            for column in range(count):
                if confusion[row][column]:
                    colour = "white" if shares[row][column] > 0.5 else "black"
                    text = f"{confusion[row][column]:,}"
                    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
    save_picture(figure, path)


def class_rows(classes: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """One row a label, the most frequent first: precision, recall, F1, and how many examples have it."""
    rows = [
        {
            "label": label,
            "precision": float(found["precision"]),
            "recall": float(found["recall"]),
            "f1": float(found["f1"]),
            "examples": int(found["support"]),
        }
        for label, found in classes.items()
    ]
    return sorted(rows, key=lambda row: -row["examples"])


def confused(confusion: Sequence[Sequence[int]], labels: Sequence[str], most: int = 5) -> list[tuple[str, str, int]]:
    """What is taken for something else most often: the true label, what was said, how often.

    >>> confused([[5, 2], [1, 7]], ["ham", "spam"])
    [('ham', 'spam', 2), ('spam', 'ham', 1)]
    """
    found = [
        (labels[row], labels[column], int(count))
        for row, counts in enumerate(confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    return sorted(found, key=lambda each: -each[2])[:most]


def _short(label: str) -> str:
    return plain_text(label if len(label) <= 20 else label[:19] + "…")
