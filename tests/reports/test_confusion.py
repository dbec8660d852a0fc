"""Confusion matrices: what is drawn, and the tables beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unrolled.errors import ConfigurationError
from unrolled.reports.confusion import class_rows, confused, draw_confusion


@pytest.mark.parametrize("count", [2, 18])
def test_a_matrix_of_any_size_is_drawn(tmp_path: Path, count: int) -> None:
    confusion = np.random.default_rng(0).integers(0, 9, (count, count)).tolist()
    labels = [f"label ${at}" for at in range(count)]
    path = tmp_path / "a.svg"
    draw_confusion(confusion, labels, path, title="100$ of all")
    assert b"<svg" in path.read_bytes()
    first = path.read_bytes()
    draw_confusion(confusion, labels, path, title="100$ of all")
    assert path.read_bytes() == first


def test_classes_that_do_not_occur_are_drawn(tmp_path: Path) -> None:
    draw_confusion([[0, 0], [0, 0]], ["a", "b" * 50], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigurationError, match="another kind of file"):
        draw_confusion([[1]], ["a"], tmp_path / "a.txt")


def test_tables() -> None:
    classes = {
        "ham": {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 1},
        "spam": {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2},
    }
    assert [row["label"] for row in class_rows(classes)] == ["spam", "ham"]
    assert class_rows(classes)[1]["precision"] == 0.5
    assert confused([[3, 0], [1, 1]], ["ham", "spam"]) == [("spam", "ham", 1)]
    assert confused([[3, 0], [0, 1]], ["ham", "spam"]) == []
