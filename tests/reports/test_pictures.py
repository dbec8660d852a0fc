"""Pictures are files of the named kind, written whole, the same each time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unrolled.errors import ConfigurationError
from unrolled.reports.pictures import check_picture, new_figure, save_picture


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("b.svg", b"<?xml"), ("c.pdf", b"%PDF")])
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, name: str, begins: bytes) -> None:
    written = []
    for folder in ("one", "two"):
        figure = new_figure(2, 1)
        figure.subplots().plot([0, 1], [1, 0])
        save_picture(figure, tmp_path / folder / name)
        written.append((tmp_path / folder / name).read_bytes())
    assert written[0] == written[1]
    assert written[0].startswith(begins)


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="another kind"):
        check_picture(Path("curve.jpeg"))


def test_without_matplotlib_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match="pip install matplotlib"):
        check_picture(Path("curve.png"))
