from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled.errors import RunError, StorageError
from unrolled.runs import Run, list_runs, save, unique_name

CONFIG = {"task": "lm", "seed": 1, "model": {"cell": "lstm", "rate": 1e-3}}
VOCABULARY = {"unit": "char", "symbols": ["a", "é", "\n", "☃"]}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "runs" / "a", CONFIG, VOCABULARY)


def save_step(run: Run, step: int, **options: Any) -> Path:
    return save(run, step, {"w": torch.zeros(2, 3)}, {"m": torch.ones(4)}, {"valid": 1.5, "step": step}, **options)


def test_a_created_run_opens_the_same(run: Run) -> None:
    opened = Run.open(run.path)
    assert opened == run
    assert (opened.config, opened.vocabulary, opened.name) == (CONFIG, VOCABULARY, "a")
    assert opened.checkpoint_names() == []
    assert opened.pointer("last") is opened.pointer("best") is None


def test_tuples_come_back_as_lists_at_once(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {"betas": (0.9, 0.99)}, {"symbols": ("a",)})
    assert run == Run.open(run.path)


def test_a_changed_configuration_is_written(run: Run) -> None:
    changed = run.with_config({**CONFIG, "precision": "float32"})
    assert changed.config["precision"] == "float32"
    assert Run.open(run.path) == changed


@pytest.mark.parametrize("key", ["format", "sha256"])
def test_the_keys_of_the_format_are_taken(run: Run, key: str) -> None:
    with pytest.raises(ValueError, match="is taken"):
        run.with_config({key: 1})
    assert Run.open(run.path) == run


def test_an_empty_directory_may_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Run.create(tmp_path / "a", CONFIG, VOCABULARY)
    assert Run.open(tmp_path / "a").config == CONFIG


def test_an_existing_run_is_refused(run: Run) -> None:
    with pytest.raises(RunError, match="holds a run already") as caught:
        Run.create(run.path, {}, {})
    assert f"unrolled resume {run.path}" in str(caught.value)
    assert Run.open(run.path) == run


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="is not empty"):
        Run.create(tmp_path, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "a", {}, {})


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_no_half_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(StorageError, match="No space left on device"):
        Run.create(tmp_path / "a", CONFIG, VOCABULARY)
    assert not (tmp_path / "a").exists()


def test_a_value_that_json_does_not_have_leaves_no_half_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        Run.create(tmp_path / "a", {"rate": float("nan")}, VOCABULARY)
    assert not (tmp_path / "a").exists()


def test_no_such_run(run: Run, tmp_path: Path) -> None:
    save_step(run, 1)
    Run.create(tmp_path / "runs" / "shakespeare", CONFIG, VOCABULARY)
    with pytest.raises(RunError, match="there is no run") as caught:
        Run.open(tmp_path / "runs" / "shakespear")
    assert "did you mean 'shakespeare'?" in str(caught.value)
    with pytest.raises(RunError, match="unrolled runs"):
        Run.open(tmp_path / "elsewhere" / "a")


def test_a_bare_name_is_looked_for_in_runs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Run.open("a").path == Path("runs/a")
    with pytest.raises(RunError, match="choose one of: a"):
        Run.open("zzz")


def test_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("text")
    for path, got in ((tmp_path, "another directory"), (tmp_path / "text.txt", "a file")):
        with pytest.raises(RunError, match="is not a run") as caught:
            Run.open(path)
        assert caught.value.got == got


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
def test_every_flipped_bit_of_every_byte_is_noticed(run: Run, name: str) -> None:
    content = (run.path / name).read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            (run.path / name).write_bytes(damaged)
            with pytest.raises(RunError, match=name):
                Run.open(run.path)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
def test_every_cut_is_noticed(run: Run, name: str) -> None:
    content = (run.path / name).read_bytes()
    for length in range(len(content)):
        (run.path / name).write_bytes(content[:length])
        with pytest.raises(RunError, match=f"{name} (is cut short|was changed)") as caught:
            Run.open(run.path)
        assert str(run.path) in str(caught.value)
        assert "put back a copy" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[]", "config.json is damaged"),
        ('{\n  "seed": \n}\n', "config.json is damaged"),
        ('{"format": 1, "seed": NaN, "sha256": ""}', "was changed after it was written"),
        ('{"format": 1, "seed": "\\ud800", "sha256": ""}', "was changed after it was written"),
        ("[" * 100_000, "config.json is cut short"),
        ('{"format": 2, "seed": 1}', "another version of the run format"),
        ('{"seed": 1}', "another version of the run format"),
    ],
)
def test_a_configuration_that_is_none(run: Run, content: str, problem: str) -> None:
    (run.path / "config.json").write_text(content)
    with pytest.raises(RunError, match=problem):
        Run.open(run.path)


def test_a_file_that_is_missing(run: Run) -> None:
    (run.path / "vocabulary.json").unlink()
    with pytest.raises(RunError, match=r"vocabulary\.json is missing"):
        Run.open(run.path)
    save_step(Run.create(run.path.parent / "b", CONFIG, VOCABULARY), 1)
    (run.path.parent / "b" / "config.json").unlink()
    with pytest.raises(RunError, match=r"config\.json is missing"):
        Run.open(run.path.parent / "b")


def test_a_file_that_cannot_be_read(run: Run) -> None:
    (run.path / "vocabulary.json").unlink()
    (run.path / "vocabulary.json").mkdir()
    with pytest.raises(RunError, match=r"vocabulary\.json cannot be read"):
        Run.open(run.path)


def test_unique_names(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        names.append(unique_name(tmp_path, "text-lstm"))
        (tmp_path / names[-1]).mkdir()
    assert names == ["text-lstm", "text-lstm-2", "text-lstm-3"]


def test_only_one_process_trains_a_run(run: Run) -> None:
    with run.exclusive(), pytest.raises(RunError, match="trained by another process"), run.exclusive():
        pass
    with run.exclusive():
        pass


def test_the_list_of_runs(run: Run, tmp_path: Path) -> None:
    root = run.path.parent
    for name in ("b", "c", "d", "e", "f"):
        save_step(Run.create(root / name, CONFIG, VOCABULARY), 10)
    (root / "b" / "config.json").write_text("{")
    (root / "c" / "last").write_text("nothing\n")
    os.truncate(root / "d" / "checkpoints" / "000000010" / "model.safetensors", 5)
    (root / "e" / "last").unlink()
    (root / "notes").mkdir()
    (root / "list.txt").touch()
    summaries = {summary.name: summary for summary in list_runs(root)}
    assert sorted(summaries) == ["a", "b", "c", "d", "e", "f"]
    assert summaries["a"].step is summaries["a"].damage is summaries["a"].parameters is None
    assert "config.json is cut short" in (summaries["b"].damage or "")
    assert "'last'" in (summaries["c"].damage or "")
    assert summaries["d"].damage == "model.safetensors is cut short"
    assert summaries["e"].damage == "the file 'last' is missing"
    whole = summaries["f"]
    assert (whole.damage, whole.step, whole.parameters, whole.config) == (None, 10, 6, CONFIG)
    assert whole.state == {"valid": 1.5, "step": 10}
    assert whole.bytes_on_disk > 500
    assert whole.modified > 1e9


def test_the_run_that_moved_on_last_comes_first(run: Run) -> None:
    other = Run.create(run.path.parent / "b", CONFIG, VOCABULARY)
    for path in (other.path, *other.path.iterdir()):
        os.utime(path, (1e9, 1e9))
    assert [summary.name for summary in list_runs(run.path.parent)] == ["a", "b"]
    assert list_runs(run.path.parent)[1].modified == 1e9


def test_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nowhere") == []
    assert list_runs(tmp_path) == []
