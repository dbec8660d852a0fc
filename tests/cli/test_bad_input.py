"""Whatever a user gets wrong: the message, the exit status, and nothing that is left behind or lost."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Unrolled = Callable[..., Any]


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copied"))


def refused(result: Any, *lines: str, status: int = 2) -> None:
    """It ended with the status, said all of this on standard error, and nothing on standard output."""
    assert result.status == status, result
    assert result.err.startswith("unrolled: ")
    for line in lines:
        assert line in result.err, result.err
    assert result.out == ""
    assert not Path("runs").exists()


# ---- texts


def test_a_missing_file(unrolled: Unrolled) -> None:
    result = unrolled("train", "lm", "nowhere.txt")
    refused(result, "there is no such file or directory", "where: nowhere.txt", "what to do: check the path")


def test_no_text_at_all(unrolled: Unrolled) -> None:
    refused(unrolled("train", "lm"), "there is nothing to train on", "--train FILE...")


def test_an_empty_file(unrolled: Unrolled, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    refused(unrolled("train", "lm", "empty.txt"), "the file is empty", "where: empty.txt")


def test_a_file_shorter_than_one_sequence(unrolled: Unrolled, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("hello")
    result = unrolled("train", "lm", "short.txt", "--steps", "3")
    refused(result, "the text is too short for one sequence", "expected: at least 129 tokens", "got: 4 tokens")


def test_bad_utf_8(unrolled: Unrolled, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"good text " * 30 + b"caf\xe9 and more")
    result = unrolled("train", "lm", "bad.txt")
    refused(result, "bad.txt is not UTF-8", "where: bad.txt, byte offset 303", "byte 0xe9", "--errors replace")


def test_bad_utf_8_is_replaced_on_request(unrolled: Unrolled, tmp_path: Path, quick: tuple[str, ...]) -> None:
    (tmp_path / "bad.txt").write_bytes(b"good text " * 30 + b"caf\xe9 and more")
    assert unrolled("train", "lm", "bad.txt", "--errors", "replace", *quick).status == 0


def test_a_directory_without_text(unrolled: Unrolled, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "picture").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "folder" / ".hidden").write_text("hidden")
    refused(unrolled("train", "lm", "folder"), "the directory has no text", "where: folder")


def test_a_glob_that_finds_nothing(unrolled: Unrolled) -> None:
    refused(unrolled("train", "lm", "*.txt"), "the glob finds no text", "where: *.txt")


def test_empty_standard_input(unrolled: Unrolled) -> None:
    refused(unrolled("train", "lm", "-", stdin=b""), "standard input is empty")


def test_a_text_that_is_given_twice(unrolled: Unrolled, corpus: Path) -> None:
    refused(unrolled("train", "lm", corpus, "--train", corpus), "the text is given twice")


def test_a_count_that_no_character_reaches(unrolled: Unrolled, corpus: Path) -> None:
    result = unrolled("train", "lm", corpus, "--min-count", "100000")
    refused(result, "no character is left for the vocabulary", "lower --min-count")


# ---- options


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (["--stepz", "3"], ["Unknown option: --stepz. Did you mean --steps?"]),
        (["--hiden-size", "3"], ["Unknown option: --hiden-size. Did you mean --hidden-size?"]),
        (["--learning-rate", "nan"], ["'learning_rate' has a wrong value", "a finite number", "got: NaN"]),
        (["--learning-rate", "fast"], ["Invalid value for --learning-rate", '"fast"']),
        (["--learning-rate", "-1"], ["learning_rate is out of range", "above 0"]),
        (["--minutes", "inf"], ["'minutes' has a wrong value", "a finite number"]),
        (["--steps", "1.5"], ["Invalid value for --steps: '1.5' is not a whole number"]),
        (["--steps", "0"], ["steps is out of range"]),
        (["--steps"], ["--steps requires an argument"]),
        (["--steps", "3", "--minutes", "1"], ["the budget is given twice: minutes and steps"]),
        (["--split", "90/5/6"], ["split does not add up to 100", "got: '90/5/6', which is 101"]),
        (["--split", "90/10"], ["split is not three numbers"]),
        (["--split", "110/-5/-5"], ["split has a negative part"]),
        (["--split", "0/50/50"], ["split leaves nothing to train on"]),
        (["--optimizer", "adam"], ['Invalid value "adam" for --optimizer', 'Did you mean "adamw"?']),
        (["--unit", "letter"], ['Invalid value "letter" for --unit', '"char", "byte"']),
        (["--precision", "float16"], ['Invalid value "float16" for --precision']),
        (["--unit", "byte", "--min-count", "2"], ["min_count folds characters"]),
        (["--dropout", "1"], ["dropout is a probability"]),
        (["--hidden-size", "0"], ["hidden_size is too small"]),
        (["--seed", "-1"], ["seed is out of range"]),
        (["--threads", "0"], ["threads is out of range"]),
        (["--device", "abacus"], ["device 'abacus' cannot be used here", "cpu, cuda, mps or auto"]),
        (["--recipe", "min-char"], ["unknown recipe 'min-char'", "did you mean 'min-char-rnn'?"]),
        (["--cell", "ltsm"], ["unknown cell 'ltsm'", "did you mean 'lstm'?"]),
        (["--batch", "1000", "--length", "100"], ["the text is too short for one sequence", "--batch"]),
        (["--init-from", "nowhere"], ["there is no run nowhere"]),
        (["--run", "."], [". is not empty"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].startswith("--") else "",
)
def test_options_of_training(unrolled: Unrolled, corpus: Path, options: list[str], lines: list[str]) -> None:
    Path("something").touch()
    refused(unrolled("train", "lm", corpus, *options), *lines)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["tran"], ['Unknown command "tran". Did you mean "train"?']),
        (["train", "ml"], ['Unknown command "ml"']),
        (["--nope"], ['Unknown command "--nope"']),
        (["sample"], ["RUN requires an argument"]),
        (["sample", "nowhere"], ["there is no run nowhere", "unrolled runs"]),
        (["resume", "nowhere"], ["there is no run nowhere"]),
        (["score", "nowhere", "text"], ["there is no run nowhere"]),
        (["describe", "ltsm"], ["unknown cell 'ltsm'", "did you mean 'lstm'?"]),
        (["describe", "lstm", "--hidden-size", "0"], ["hidden_size is too small", "at least 1"]),
        (["describe", "lstm", "--output-size", "-3"], ["output_size is too small", "got: -3"]),
        (["cells", "more"], ["Unused Tokens: ['more']"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_commands(unrolled: Unrolled, arguments: list[str], lines: list[str]) -> None:
    refused(unrolled(*arguments), *lines)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["sample", "RUN", "--temperature", "-1"], ["temperature is out of range"]),
        (["sample", "RUN", "--temperature", "nan"], ["temperature is out of range"]),
        (["sample", "RUN", "--top-k", "-1"], ["top_k is a number of symbols"]),
        (["sample", "RUN", "--top-p", "0"], ["top_p is a probability"]),
        (["sample", "RUN", "--length", "-1"], ["length is a number of symbols"]),
        (["sample", "RUN", "--length", "2.5"], ["'2.5' is not a whole number"]),
        (["sample", "RUN", "--count", "0"], ["count is a number of texts"]),
        (["sample", "RUN", "--seed", "-1"], ["seed is out of range"]),
        (["sample", "RUN", "--stop", ""], ["a text to stop at is empty"]),
        (["sample", "RUN", "--prompt", "#€"], ["the model knows no character of the prompt", "'#' '€' at 1, 2"]),
        (["sample", "RUN", "--prompt", "-"], ["the model knows no character of the prompt", "'-' at 1"]),
        (["sample", "RUN", "--checkpoint", "first"], ["has no checkpoint 'first'", "last, best or one of the steps"]),
        (["sample", "RUN", "--checkpoint", "99"], ["has no checkpoint '99'"]),
        (["sample", "RUN", "--threads", "0"], ["threads is out of range"]),
        (["evaluate", "RUN", "--device", "abacus"], ["device 'abacus' cannot be used here"]),
        (["resume", "RUN", "--steps", "70", "--threads", "-1"], ["threads is out of range"]),
        (["score", "RUN", "nowhere"], ["there is no such file or directory", "where: nowhere"]),
        (["score", "RUN", "empty"], ["the file is empty"]),
        (["score", "RUN", "bad"], ["bad is not UTF-8", "byte offset 3", "--errors replace"]),
        (["score", "RUN", "folder"], ["folder is 2 files", "one file, or - for standard input"]),
        (
            ["score", "RUN", "unknown"],
            ["2 characters that the model does not know", "line 2, column 3", "--skip-unknown"],
        ),
        (["score", "RUN", "unknown", "--each", "symbol"], ["2 characters that the model does not know"]),
        (["score", "RUN", "good", "--sort", "size"], ['Invalid value "size" for --sort']),
        (["score", "RUN", "good", "--sort", "mean", "--top", "0"], ["a number of lines is too small"]),
        (["score", "RUN", "good", "--top", "3"], ["--top and --context go with --sort", "add --sort surprise"]),
        (["score", "RUN", "good", "--alone"], ["--alone is for lines"]),
        (["score", "RUN", "good", "--each", "symbol", "--sort", "peak"], ["--sort and --alone are for lines"]),
        (["score", "RUN", "unknown", "--each", "line"], ["line 2 has characters that the model", "line 2, column "]),
        (["score", "RUN", "good", "--each", "sentence"], ['Invalid value "sentence" for --each']),
        (
            ["score", "RUN", "good", "--each", "symbol", "--alternatives", "-1"],
            ["alternatives are a number of symbols"],
        ),
        (["evaluate", "RUN", "--split", "tset"], ['Invalid value "tset" for --split', 'Did you mean "test"?']),
        (["evaluate", "RUN", "--protocol", "window"], ['Invalid value "window"', 'Did you mean "windows"?']),
        (["evaluate", "RUN", "--window", "0"], ["a window is too short"]),
        (["resume", "RUN", "--steps", "60"], ["the new budget is spent already", "60 steps"]),
        (["resume", "RUN", "--steps", "nan"], ["'nan' is not a whole number"]),
        (["resume", "RUN", "--minutes", "nan"], ["'minutes' has a wrong value"]),
        (["resume", "RUN", "--checkpoint", "99"], ["has no checkpoint '99'"]),
    ],
    ids=lambda value: " ".join(value[0:1] + value[2:]) if value[0] in ("sample", "score", "evaluate", "resume") else "",
)
def test_use_of_a_run(unrolled: Unrolled, trained: Path, arguments: list[str], lines: list[str]) -> None:
    Path("empty").touch()
    Path("bad").write_bytes(b"the\xff")
    Path("good").write_text("the sea")
    Path("unknown").write_text("the sea\nan# th€")
    Path("folder").mkdir()
    for name in ("one", "two"):
        Path("folder", name).write_text("the")
    refused(unrolled(*(trained if argument == "RUN" else argument for argument in arguments)), *lines)


def test_some_unknown_characters_of_a_prompt_are_noted(unrolled: Unrolled, trained: Path) -> None:
    result = unrolled("sample", trained, "--prompt", "the #old", "--length", "5")
    assert result.status == 0
    assert result.err.splitlines()[0] == "note: 1 character is not known to the model and left out: '#' at 5"
    assert result.out.startswith("the #old")
    assert len(result.out) == len("the #old") + 5 + 1


def test_unknown_characters_of_a_text_are_left_out_on_request(unrolled: Unrolled, trained: Path) -> None:
    Path("text").write_text("the #sea")
    result = unrolled("score", trained, "text", "--skip-unknown")
    assert result.status == 0
    assert "1 character is not known to the model and left out: '#' at 5" in result.err
    assert "7 symbols" in result.out


# ---- cells


HEAD = "from unrolled.cells import U, W, b, cell, sigmoid, tanh\n\n\n@cell\n"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def broken(x, h:\n    return h\n", ["the cell file is not Python", "mine.py:5"]),
        ("def mine(x, h):\n    h = gelu(W.h @ x + U.h @ h)\n    return h\n", ["gelu", "mine.py:6"]),
        ("def mine(x, h):\n    import math\n    h = math.tanh(W.h @ x)\n    return h\n", ["mine.py"]),
        ("def mine(x, h):\n    h = tanh(W.h @ x + W.h @ h)\n    return h\n", ["W.h"]),
        ("def mine(x, h):\n    h = tanh(W.h @ x + U.h @ h)\n", ["mine"]),
    ],
    ids=["syntax", "unknown function", "foreign function", "mixed units", "nothing returned"],
)
def test_a_cell_that_is_wrong(unrolled: Unrolled, corpus: Path, source: str, lines: list[str]) -> None:
    Path("mine.py").write_text(HEAD + source)
    refused(unrolled("train", "lm", corpus, "--cell", "mine.py"), *lines)
    refused(unrolled("describe", "mine.py"), *lines)


def test_an_input_used_unit_by_unit_must_be_as_wide_as_the_state(
    unrolled: Unrolled, corpus: Path, quick: tuple[str, ...]
) -> None:
    Path("mine.py").write_text(HEAD + "def mine(x, h):\n    h = tanh(W.h @ x + U.h @ h) + x\n    return h\n")
    train = ("train", "lm", corpus, "--cell", "mine.py:mine", *quick)
    refused(unrolled(*train, "--embedding-size", "5"), "5", "6")
    refused(unrolled(*train, "--embedding-size", "0"), "6")  # one-hot: as wide as the vocabulary
    assert unrolled(*train).status == 0  # by default the embedding is as wide as the state


def test_a_cell_that_is_not_in_its_file(unrolled: Unrolled, corpus: Path) -> None:
    Path("mine.py").write_text(HEAD + "def mine(x, h):\n    h = tanh(W.h @ x + U.h @ h)\n    return h\n")
    refused(unrolled("train", "lm", corpus, "--cell", "mine.py:mind"), "no cell named 'mind'", "did you mean 'mine'?")
    refused(unrolled("train", "lm", corpus, "--cell", "nowhere.py"), "there is no such cell file", "where: nowhere.py")


# ---- damaged runs


def change(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
@pytest.mark.parametrize("how", ["cut", "changed", "missing"])
def test_a_run_directory_that_is_damaged(unrolled: Unrolled, copied: Path, name: str, how: str) -> None:
    path = copied / name
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif how == "changed":
        change(path, path.stat().st_size // 2)
    else:
        path.unlink()
    words = {"cut": "cut short", "changed": "", "missing": f"{name} is missing"}
    for verb in (["sample"], ["evaluate"], ["resume"], ["describe"]):
        refused(unrolled(*verb, copied), f"the run {copied} is damaged", name, words[how])


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "training.json", "manifest.json"])
@pytest.mark.parametrize("how", ["cut", "changed", "missing"])
def test_a_checkpoint_that_is_damaged(unrolled: Unrolled, copied: Path, name: str, how: str) -> None:
    path = copied / "checkpoints" / "000000060" / name
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif how == "changed":
        change(path, path.stat().st_size // 2)
    else:
        path.unlink()
    (copied / "best").unlink()
    result = unrolled("resume", copied, "--steps", "63")
    refused(result, "checkpoint 60 of the run", "cannot be used", name, "--checkpoint 54")
    if name != "training.safetensors":  # which is not needed to use a model
        refused(unrolled("sample", copied), "checkpoint 60 of the run", name, "--checkpoint 54")
    assert unrolled("sample", copied, "--checkpoint", "54", "--length", "3").status == 0
    assert unrolled("resume", copied, "--steps", "63", "--checkpoint", "54").status == 0


def test_a_damaged_run_in_the_list(unrolled: Unrolled, trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "all"
    shutil.copytree(trained, root / "good")
    bad = Path(shutil.copytree(trained, root / "bad"))
    change(bad / "config.json", 300)
    result = unrolled("runs", root)
    assert result.status == 0
    good, bad_line = sorted(result.out.splitlines()[1:], key=lambda line: "is damaged:" in line)
    assert str(root / "good") in good
    assert bad_line.startswith(f"{bad} ")
    assert f"the run {bad} is damaged: config.json " in bad_line


def test_something_that_is_not_a_run(unrolled: Unrolled, corpus: Path) -> None:
    refused(unrolled("sample", corpus), "is not a run", "got: a file")
    refused(unrolled("sample", corpus.parent), "is not a run", "got: another directory")


def test_files_of_another_run(unrolled: Unrolled, copied: Path, quick: tuple[str, ...]) -> None:
    Path("other.txt").write_text("0123456789\n" * 60)
    assert unrolled("train", "lm", "other.txt", "--run", "other", *quick).status == 0
    shutil.copy("other/vocabulary.json", copied / "vocabulary.json")
    refused(unrolled("sample", copied), "it was made with another vocabulary than the run has", "vocabulary.json")
    refused(unrolled("resume", copied), "another vocabulary")


def test_weights_of_another_run(unrolled: Unrolled, copied: Path, corpus: Path, quick: tuple[str, ...]) -> None:
    assert unrolled("train", "lm", corpus, "--run", "other", *quick).status == 0
    shutil.copy("other/checkpoints/000000003/model.safetensors", copied / "checkpoints/000000060/model.safetensors")
    refused(unrolled("sample", copied, "--checkpoint", "60"), "model.safetensors is", "--checkpoint")


def test_weights_of_another_vocabulary(unrolled: Unrolled, trained: Path, quick: tuple[str, ...]) -> None:
    Path("other.txt").write_text("0123456789\n" * 60)
    result = unrolled("train", "lm", "other.txt", "--init-from", trained, "--steps", "2")
    refused(result, "the text has another vocabulary than the run", "got: 11 symbols (char)")


def test_a_run_that_is_there_already(unrolled: Unrolled, copied: Path, corpus: Path, quick: tuple[str, ...]) -> None:
    result = unrolled("train", "lm", corpus, "--run", copied, *quick)
    refused(result, f"{copied} holds a run already", f"unrolled resume {copied}")


# ---- divergence


def test_divergence(unrolled: Unrolled, corpus: Path, quick: tuple[str, ...]) -> None:
    options = ("--optimizer", "sgd", "--learning-rate", "1e30", "--clip-norm", "0", "--validations", "1")
    result = unrolled("train", "lm", corpus, "--run", "run", *quick[:-4], *options, "--steps", "50")
    assert result.status == 1
    assert "unrolled: training diverged at step " in result.err
    assert "a smaller --learning-rate" in result.err
    assert "the last good checkpoint is kept" in result.err
    assert unrolled("sample", "run", "--length", "5").status == 0


# ---- without the extra


def test_tensorboard_that_is_not_installed(
    unrolled: Unrolled, corpus: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "tensorboard" or name.startswith("torch.utils.tensorboard"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for command in (("train", "lm", corpus), ("resume", trained)):
        result = unrolled(*command, "--tensorboard", "board")
        refused(result, "--tensorboard needs the package tensorboard", "pip install 'unrolled[tensorboard]'")
