from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from unrolled import describe, open_run, train_lm
from unrolled.cells import BUILTIN
from unrolled.errors import CellError, RunError
from unrolled.verbs.describing import cells, runs

MINE = '''from unrolled.cells import U, W, cell, tanh


@cell
def mine(x, h):
    """A network without a bias."""
    h = tanh(W.h @ x + U.h @ h)
    return h
'''


LINEAR = ("mingru", "mingru-positive", "minlstm", "minlstm-positive", "lru", "qrnn", "qrnn-ifo")
STAGES = {"gru-reset-before": 2, "sru": 0, "indrnn": 0, **dict.fromkeys(LINEAR, 0)}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", BUILTIN)
def test_every_cell(name: str) -> None:
    inputs = 4 if name == "sru" else 3
    found = describe(name, input_size=inputs, hidden_size=4)
    assert found.name == name
    assert found.about
    assert len(found.equations) >= len(found.states)
    assert found.latex.count("\\\\") == len(found.equations) - 1
    assert all(shape in ([4, inputs], [4, 4], [4]) for shape in found.shapes.values())
    assert found.parameters == sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in found.shapes.values())
    assert (found.sizes, found.layers, found.config) == ({"D": inputs, "H": 4}, 1, {})
    assert found.stages == STAGES.get(name, 1)
    assert found.linear == (name in LINEAR)


def test_an_output_layer_on_top() -> None:
    """Parameters of a simple network with V = D: D H + H² + H and H V + V."""
    found = describe("rnn", input_size=5, hidden_size=3, output_size=5)
    assert found.parameters == 5 * 3 + 3 * 3 + 3 + 3 * 5 + 5
    assert found.shapes["output.weight"] == [5, 3]
    assert found.sizes == {"D": 5, "H": 3, "V": 5}


def test_a_cell_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "cells.py").write_text(MINE)
    for name in ("cells.py", "cells.py:mine"):
        found = describe(name)
        assert found.about == "A network without a bias."
        assert found.equations == ["h[t] = tanh(W.h x[t] + U.h h[t-1])"]


def test_the_network_of_a_run(trained: Path) -> None:
    found = describe(trained)
    assert (found.name, found.layers) == ("trained", 1)
    assert found.sizes == {"V": open_run(trained).vocabulary.size, "E": 16, "D": 16, "H": 16}
    assert found.shapes["recurrent.layers.0.U.f"] == [16, 16]
    assert found.config["training"]["steps"] == 60


def test_a_run_of_one_hot_symbols_has_no_embedding(corpus: Path) -> None:
    run = train_lm([str(corpus)], recipe="min-char-rnn", steps=1, threads=1, sample_every=0).run
    assert describe(run).sizes.keys() == {"V", "D", "H"}


def test_a_run_by_its_bare_name(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "runs" / "mine")
    assert describe("mine").name == "mine"


def test_what_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(CellError, match="unknown cell 'ltsm'") as caught:
        describe("ltsm")
    assert caught.value.fix == "did you mean 'lstm'?"
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="folder is not a run"):
        describe("folder")
    with pytest.raises(CellError, match="there is no such cell file"):
        describe("nothing.py")


def test_a_damaged_run(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "config.json").unlink()
    with pytest.raises(RunError, match=r"config\.json is missing"):
        describe(run)


def test_the_list_of_cells() -> None:
    lines = {line.name: line for line in cells()}
    assert list(lines) == list(BUILTIN)
    assert (lines["lstm"].states, lines["lstm"].matrices) == (["h", "c"], 8)
    assert all("\n" not in line.about and line.about for line in lines.values())


def test_the_list_of_runs(trained: Path, tmp_path: Path) -> None:
    assert runs("nowhere") == []
    shutil.copytree(trained, tmp_path / "runs" / "good")
    bad = Path(shutil.copytree(trained, tmp_path / "runs" / "bad"))
    (bad / "config.json").write_text("{")
    found = {summary.name: summary for summary in runs()}
    assert found["good"].step == 60
    assert found["good"].damage is None
    assert "config.json is cut short" in (found["bad"].damage or "")
