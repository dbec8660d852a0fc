"""Finding a cell by name or in a file of the user's, and what is said of a file that is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unrolled.cells import as_text, find_cell
from unrolled.errors import CellError

IMPORTS = "from unrolled.cells import U, W, b, cell, tanh\n"
CELL = "@cell\ndef {0}(x, h):\n    h = tanh(W.h @ x + U.h @ h + b.h)\n    return h\n"


def write(directory: Path, *parts: str, name: str = "mine.py") -> Path:
    path = directory / name
    path.write_text("\n".join([IMPORTS, *parts]))
    return path


def test_a_cell_in_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, CELL.format("my_cell"))
    for name in (str(path), f"{path}:my_cell", f"{path}:my-cell"):
        assert find_cell(name).name == "my-cell"
    assert as_text(find_cell(str(path))) == ["h[t] = tanh(W.h x[t] + U.h h[t-1] + b.h)"]


def test_one_of_several(tmp_path: Path) -> None:
    path = write(tmp_path, CELL.format("one"), CELL.format("two"))
    assert find_cell(f"{path}:two").name == "two"
    with pytest.raises(CellError, match=r"the file holds several cells(.|\n)*choose one of: one, two"):
        find_cell(str(path))
    with pytest.raises(CellError, match=r"the file holds no cell named 'tow'(.|\n)*did you mean 'two'\?"):
        find_cell(f"{path}:tow")


def test_a_neighbour_can_be_imported_and_nothing_stays_behind(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("HALF = 0.5\n")
    path = write(tmp_path, "from neighbour_of_mine import HALF", CELL.format("mine").replace("b.h", "HALF * h"))
    before, modules = list(sys.path), set(sys.modules)
    assert "0.5 h[t-1]" in as_text(find_cell(str(path)))[0]
    assert sys.path == before
    assert set(sys.modules) - modules <= {"neighbour_of_mine"}
    sys.modules.pop("neighbour_of_mine", None)


def test_a_file_changed_in_the_meantime_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert find_cell(str(write(tmp_path, CELL.format("one")))).name == "one"
    assert find_cell(str(write(tmp_path, CELL.format("two"))) + ":two").name == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.parametrize("name", ["lstn", "LSTM", "lstm.txt", "lstm:lstm", ""])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(CellError) as caught:
        find_cell(name)
    assert caught.value.problem == f"unknown cell {name!r}"
    assert caught.value.expected == "a cell's name, or FILE.py:NAME"
    assert "lstm" in str(caught.value.fix)


@pytest.mark.parametrize("name", ["missing.py", "missing.py:cell", "directory.py"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory.py").mkdir()
    with pytest.raises(CellError) as caught:
        find_cell(str(tmp_path / name))
    assert caught.value.problem == "there is no such cell file"
    assert caught.value.where == str(tmp_path / name).removesuffix(":cell")


def test_a_file_without_a_cell(tmp_path: Path) -> None:
    path = write(tmp_path, CELL.format("mine").removeprefix("@cell\n"))
    with pytest.raises(CellError, match="the file holds no cell") as caught:
        find_cell(str(path))
    assert (caught.value.where, "`@cell` above the function" in str(caught.value.fix)) == (str(path), True)


@pytest.mark.parametrize(
    ("line", "problem", "got"),
    [
        ("def mine(x, h:", "the cell file is not Python: '(' was never closed", "def mine(x, h:"),
        ("1 +", "the cell file is not Python: invalid syntax", "1 +"),
        ("raise ValueError('no luck')", "the cell file raised ValueError: no luck", None),
        ("from unrolled.cells import swish", "the cell file raised ImportError: cannot import name 'swish'", None),
        ("import nowhere_at_all", "the cell file raised ModuleNotFoundError: No module named 'nowhere_at_all'", None),
        ("raise SystemExit(0)", "the cell file raised SystemExit: 0", None),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, line: str, problem: str, got: str | None) -> None:
    path = write(tmp_path, line)
    with pytest.raises(CellError) as caught:
        find_cell(str(path))
    assert caught.value.problem.startswith(problem)
    assert caught.value.got == got
    assert caught.value.where == f"{path}:3"
    assert caught.value.exit_status == 2


def test_a_neighbour_that_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "wrong_neighbour.py").write_text("\n\n1 +\n")
    path = write(tmp_path, "import wrong_neighbour")
    with pytest.raises(CellError) as caught:
        find_cell(str(path))
    assert caught.value.where == f"{tmp_path / 'wrong_neighbour.py'}:3"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x = 1\x00\n", b"x = 'caf\xe9'\n"])
def test_a_file_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.py").write_bytes(content)
    with pytest.raises(CellError, match="the cell file"):
        find_cell(str(tmp_path / "mine.py"))


def test_equations_that_are_wrong_name_their_line(tmp_path: Path) -> None:
    path = write(tmp_path, CELL.format("mine").replace("tanh(", "swish("))
    with pytest.raises(CellError) as caught:
        find_cell(str(path))
    assert caught.value.problem == "the equations use an unknown name, 'swish'"
    assert caught.value.where == f"{path}:5, cell mine"
