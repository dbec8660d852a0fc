"""Pictures: figures that are drawn with matplotlib and written to a file, without a window."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import ConfigurationError
from unrolled.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "check_picture", "new_figure", "plain_text", "save_picture"]

FORMATS = ("png", "svg", "pdf")


def check_picture(path: Path) -> None:
    """Raise a `ConfigurationError` where a picture cannot be drawn into a file: before what it shows is computed."""
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise ConfigurationError(
            "a picture has another kind of file", expected=", ".join(f".{each}" for each in FORMATS), got=str(path)
        )
    new_figure(1, 1)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError("pictures need the package matplotlib", fix="pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def plain_text(text: str) -> str:
    """A text in which a dollar sign begins no formula.

    >>> print(plain_text("US$ and CA$"))
    US\\$ and CA\\$
    """
    return text.replace("$", r"\$")


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; the same figure gives the same bytes.

    Raises:
        ConfigurationError: the name ends in none of `FORMATS`.
        StorageError: it cannot be written.
    """
    import matplotlib

    check_picture(path)
    kind, written = path.suffix.lower().removeprefix("."), io.BytesIO()
    # Without the time of day, and with names that do not follow from a random number.
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    with matplotlib.rc_context({"svg.hashsalt": "unrolled"}):
        figure.savefig(written, format=kind, dpi=150, metadata=dated)
    write_atomically(path, written.getvalue())
