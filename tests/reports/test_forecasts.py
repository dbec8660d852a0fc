"""Forecasts as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from unrolled.reports.forecasts import draw_forecasts
from unrolled.tasks.forecast.prediction import Forecast


@pytest.mark.parametrize(
    ("ends", "shown"), [(("10:00:00", "11:00:00"), "10:00<"), (("10:00:00", "10:00:30"), "10:00:00<")]
)
def test_names_are_no_formulas_and_times_no_longer_than_they_need_be(
    tmp_path: Path, ends: tuple[str, str], shown: str
) -> None:
    seen, stamps = [f"2024-01-01 {ends[0]}", "2024-01-02", "2024-01-03"], [f"2024-01-04 {end}" for end in ends]
    point = np.array([[4.0], [5.0]])
    spread = np.stack([point - 1, point + 1], axis=2)
    made = Forecast("US$_{ / CA$", ("v",), seen, np.array([[1.0], [2.0], [3.0]]), stamps, point, spread, (0.1, 0.9))
    with mpl.rc_context({"svg.fonttype": "none"}):
        assert draw_forecasts([made], tmp_path / "a.svg") == 1
    drawn = (tmp_path / "a.svg").read_text()
    assert f"2024-01-01 {shown}" in drawn
    assert "US$_{ / CA$" in drawn
