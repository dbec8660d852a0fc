"""`unrolled probe memory`: a table, a picture, one JSON object; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Unrolled = Callable[..., Any]

QUICK = ("--steps", "3", "--hidden-size", "4", "--layers", "1", "--batch", "4", "--questions", "20", "--threads", "1")


def test_cells_are_compared(unrolled: Unrolled) -> None:
    Path("own.py").write_text(
        "from unrolled.cells import U, W, b, cell, tanh\n\n\n@cell\ndef plain(x, h):\n"
        "    h = tanh(W.h @ x + U.h @ h + b.h)\n    return h\n"
    )
    given = ("--cell", "rnn", "own.py:plain", "--test", "copying", "year", "--distances", "1", "5", "40")
    result = unrolled("probe", "memory", *given, *QUICK, "--seeds", "2", "--longest", "8", "--picture", "curve.svg")
    assert result.status == 0
    assert "12 of 12: year, window 32, seed 1" in result.err
    for line in ("copying: ten symbols", "chance 0.125", "rnn", "plain", "window 32", "shortcut", "beyond", "±"):
        assert line in result.out
    picture = Path("curve.svg").read_text()
    assert picture.startswith("<?xml")
    assert "the picture is in curve.svg" in result.out


def test_one_object(unrolled: Unrolled) -> None:
    given = ("--cell", "rnn", "--test", "adding", "--distances", "2", "4", "6", "8", "10", "--window", "0")
    result = unrolled("probe", "memory", *given, *QUICK, "--json")
    assert result.status == 0
    found = json.loads(result.out)
    (report,) = found["tests"]
    assert found["picture"] is None
    assert not Path("memory.png").exists()
    (curve,) = report["curves"]
    assert (curve["contestant"], curve["steps"], curve["seed"]) == ("rnn", 3, 0)
    assert [point["distance"] for point in curve["points"]] == [2, 4, 6, 8, 10]
    assert all(0 <= point["accuracy"] <= 1 for point in curve["points"])
    assert report["held_out"] == [8]
    again = json.loads(unrolled("probe", "memory", *given, *QUICK, "--json").out)
    assert again["tests"][0]["curves"][0]["points"] == curve["points"]


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on sentences of its own, of characters."""
    from unrolled import train_lm

    folder = tmp_path_factory.mktemp("talker")
    line = "The cat was full. The cats were full. I grew up in France. I speak French.\n"
    (folder / "text.txt").write_text(line * 60)
    options: dict[str, Any] = {"hidden_size": 8, "layers": 1, "batch": 4, "length": 16, "sample_every": 0}
    path = folder / "run"
    train_lm([str(folder / "text.txt")], run=path, steps=5, threads=1, precision="float32", **options)
    return path


def test_a_run_is_asked(unrolled: Unrolled, talker: Path) -> None:
    given = ("--distances", "0", "3", "--questions", "10", "--threads", "1", "--test", "agreement")
    result = unrolled("probe", "memory", talker, *given, "--baseline", "ngram", "--picture", "asked.png")
    assert result.status == 0
    assert "ngram of run" in result.out
    assert "chance 0.500" in result.out
    assert Path("asked.png").stat().st_size > 1000
    found = json.loads(unrolled("probe", "memory", talker, *given, "--json").out)
    assert [report["test"] for report in found["tests"]] == ["agreement"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--cell", "lstn"), "did you mean 'lstm'"),
        (("--test", "coping"), "did you mean 'copying'"),
        (("--longest", "0"), "no distance"),
        (("--distances", "-1"), "no distance"),
        (("--seeds", "0"), "seeds"),
        (("--steps", "0"), "steps"),
        (("--steps", "2", "--minutes", "1"), "twice"),
        (("--hidden-size", "0"), "hidden_size"),
        (("--picture", "curve.jpg"), "another kind"),
        (("--baseline", "ngram"), "for runs"),
        (("nowhere",), "nowhere"),
        (("nowhere", "--cell", "rnn"), "for cells"),
        (("nowhere", "--seeds", "3"), "for cells"),
        (("nowhere", "--test", "year"), "for cells"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    unrolled: Unrolled, given: tuple[str, ...], says: str
) -> None:
    result = unrolled("probe", "memory", *given)
    assert result.status == 2
    assert says in result.err
    assert not list(Path().iterdir())
