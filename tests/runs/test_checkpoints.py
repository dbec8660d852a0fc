from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from unrolled.errors import RunError, StorageError
from unrolled.runs import Checkpoint, Logs, Run, load, read_metrics, rewind, save

FILES = ["model.safetensors", "training.safetensors", "training.json", "manifest.json"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "a", {"task": "lm"}, {"unit": "char", "symbols": ["a", "b"]})


def save_step(run: Run, step: int, best: bool = False, keep: int = 2) -> Path:
    """A checkpoint of which every part depends on its step."""
    return save(run, step, {"w": torch.full((2,), step)}, {"m": torch.full((1,), -step)}, {"n": step}, best, keep=keep)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_whole(checkpoint: Checkpoint) -> bool:
    step = checkpoint.step
    return (
        torch.equal(checkpoint.model["w"], torch.full((2,), step))
        and torch.equal(checkpoint.training["m"], torch.full((1,), -step))
        and checkpoint.state == {"n": step}
    )


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(6, 4, generator=generator)
    return {
        "float32": base,
        "tied": base,
        "float64": base.double(),
        "bfloat16": base.bfloat16(),
        "complex64": torch.view_as_complex(base.reshape(12, 2)),
        "transposed": base.t(),
        "strided": base[::2, 1:3],
        "expanded": base[:1].expand(5, 4),
        "parameter": torch.nn.Parameter(base),
        "int64": torch.arange(5),
        "bool": torch.tensor([True, False]),
        "generator": generator.get_state(),
        "scalar": torch.tensor(0.1),
        "empty": torch.zeros(0, 3),
        "not finite": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


def test_what_is_saved_is_loaded_bit_for_bit(run: Run) -> None:
    state = {"epoch": 1, "chunk": 2, "loss": 0.1 + 0.2, "best": None, "history": [1e-300], "text": "naïve ☃"}
    folder = save(run, 1200, tensors(), {"memory": torch.ones(3)}, state, True)
    assert folder == run.path / "checkpoints" / "000001200"
    assert names(folder) == sorted(FILES)
    checkpoint = load(run)
    assert (checkpoint.step, checkpoint.name, checkpoint.state) == (1200, "000001200", state)
    assert checkpoint.best == "000001200"
    for name, tensor in tensors().items():
        loaded = checkpoint.model[name]
        assert (loaded.dtype, loaded.shape) == (tensor.dtype, tensor.shape)
        raw = tensor.detach().contiguous().flatten().view(torch.uint8)
        assert torch.equal(loaded.flatten().view(torch.uint8), raw)
    assert torch.equal(checkpoint.training["memory"], torch.ones(3))


def test_loaded_tensors_can_be_trained_on(run: Run) -> None:
    save_step(run, 1)
    checkpoint = load(run)
    checkpoint.model["w"].add_(1)
    checkpoint.training["m"].add_(1)
    assert is_whole(load(run))


def test_the_same_state_makes_the_same_bytes(run: Run, tmp_path: Path) -> None:
    other = Run.create(tmp_path / "b", run.config, run.vocabulary)
    backwards = dict(reversed(tensors().items()))
    one, two = save(run, 1, tensors(), {}, {}), save(other, 1, backwards, {}, {})
    for name in FILES:
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_any_safetensors_reader_reads_the_weights(run: Run) -> None:
    loaded = safetensors.torch.load_file(save_step(run, 1) / "model.safetensors")
    assert torch.equal(loaded["w"], torch.ones(2, dtype=torch.int64))


def test_which_checkpoint(run: Run) -> None:
    for step in (10, 20, 30):
        save_step(run, step, best=step == 20)
    assert [load(run, which).step for which in ("last", "best", "20", "000000030", 30)] == [30, 20, 20, 30, 30]
    assert (run.path / "last").read_text() == "000000030\n"


def test_weights_alone_need_no_training_state(run: Run) -> None:
    (save_step(run, 7) / "training.safetensors").unlink()
    checkpoint = load(run, weights_only=True)
    assert torch.equal(checkpoint.model["w"], torch.full((2,), 7))
    assert (checkpoint.training, checkpoint.state) == ({}, {"n": 7})
    with pytest.raises(RunError, match=r"training\.safetensors is missing"):
        load(run)


@pytest.mark.parametrize(
    ("keep", "steps"),
    [(0, [20, 60]), (1, [20, 60]), (2, [20, 50, 60]), (3, [20, 40, 50, 60]), (99, [10, 20, 30, 40, 50, 60])],
)
def test_what_is_kept(run: Run, keep: int, steps: list[int]) -> None:
    for step in range(10, 61, 10):
        save_step(run, step, best=step == 20, keep=keep)
    assert [int(name) for name in run.checkpoint_names()] == steps


def test_left_overs_of_a_crash_go_with_the_next_save(run: Run) -> None:
    save_step(run, 1)
    for name in (".writing-000000002", ".removing-000000000"):
        (run.path / "checkpoints" / name / "below").mkdir(parents=True)
    save_step(run, 2)
    assert names(run.path / "checkpoints") == ["000000001", "000000002"]


def test_a_damaged_pointer_keeps_nobody_from_saving_and_nothing_is_removed(run: Run) -> None:
    for step in (1, 2, 3):
        save_step(run, step, best=step == 1)
    (run.path / "best").write_text("gone")
    for step in (4, 5, 6):
        save_step(run, step)
    assert load(run).step == 6
    assert "000000001" in run.checkpoint_names()


def test_a_step_that_is_there_stays_as_it_is(run: Run) -> None:
    folder = save_step(run, 5)
    before = [(folder / name).read_bytes() for name in FILES]
    save(run, 5, {"w": torch.zeros(1)}, {}, {})
    assert [(folder / name).read_bytes() for name in FILES] == before


def test_a_step_may_become_the_best_after_it_was_saved(run: Run) -> None:
    save_step(run, 4, best=True)
    save_step(run, 5)
    save_step(run, 5, best=True)
    checkpoint = load(run, "best")
    assert is_whole(checkpoint)
    assert checkpoint.best == "000000005"
    rewind(run, checkpoint)
    assert run.pointer("best") == "000000005"


def test_a_damaged_checkpoint_is_written_anew(run: Run) -> None:
    os.truncate(save_step(run, 5, best=True) / "model.safetensors", 3)
    save_step(run, 5)
    assert is_whole(load(run))


def test_state_that_is_not_json_is_refused_before_anything_is_written(run: Run) -> None:
    save_step(run, 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        save(run, 2, {}, {}, {"best": float("inf")})
    assert names(run.path / "checkpoints") == ["000000001"]
    with pytest.raises(ValueError, match="negative"):
        save_step(run, -1)


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_byte_is_noticed_and_an_intact_checkpoint_is_named(run: Run, name: str) -> None:
    save_step(run, 1)
    path = save_step(run, 2) / name
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(RunError) as caught:
            load(run)
        assert name in str(caught.value)
        assert str(run.path) in str(caught.value)
        assert caught.value.fix
        assert "--checkpoint 1" in caught.value.fix or "version" in caught.value.fix
    assert is_whole(load(run, 1))


@pytest.mark.parametrize("name", FILES)
def test_every_cut_is_noticed(run: Run, name: str) -> None:
    path = save_step(run, 2) / name
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(RunError, match=rf"{name} (is cut short|was changed)") as caught:
            load(run)
        assert "no other checkpoint of this run is intact" in str(caught.value)
    path.unlink()
    with pytest.raises(RunError, match=f"{name} is missing"):
        load(run)


def test_the_message_about_a_cut_file(run: Run) -> None:
    save_step(run, 1)
    path = save_step(run, 2) / "model.safetensors"
    os.truncate(path, 10)
    with pytest.raises(RunError) as caught:
        load(run)
    assert str(caught.value).splitlines() == [
        f"checkpoint 2 of the run {run.path} cannot be used: model.safetensors is cut short",
        f"  where: {path}",
        "  expected: 80 bytes",
        "  got: 10 bytes",
        "  what to do: use another checkpoint of this run, which is intact: --checkpoint 1",
    ]
    path.write_bytes(bytes(100))
    with pytest.raises(RunError, match="is too long"):
        load(run)


def test_the_intact_one_that_is_named_was_verified(run: Run) -> None:
    for step in (1, 2, 3):
        os.truncate(save_step(run, step, best=step == 1) / "training.json", 1 if step > 1 else 8)
    (run.checkpoint("000000001") / "training.json").write_text('{\n  "n": 1\n}\n')
    with pytest.raises(RunError, match=r"--checkpoint 1$"):
        load(run)


def test_a_checkpoint_that_is_not_there(run: Run) -> None:
    with pytest.raises(RunError, match="has no checkpoint yet"):
        load(run)
    save_step(run, 1)
    for which in ("7", "first", "²", "-1", ""):
        with pytest.raises(RunError, match="has no checkpoint '") as caught:
            load(run, which)
        assert caught.value.expected == "last, best or one of the steps 1"
    with pytest.raises(RunError, match="has no best checkpoint") as caught:
        load(run, "best")
    assert "--checkpoint 1" in str(caught.value)
    (run.path / "best").write_text("000000009\n")
    with pytest.raises(RunError, match="there is no checkpoint 000000009"):
        load(run, "best")
    (run.path / "best").write_text("../../etc\n")
    with pytest.raises(RunError, match=r"the file 'best' of the run .* is damaged") as caught:
        load(run, "best")
    assert "--checkpoint 1" in str(caught.value)


def test_a_checkpoint_of_another_vocabulary(run: Run, tmp_path: Path) -> None:
    other = Run.create(tmp_path / "b", run.config, {"unit": "char", "symbols": ["a", "c"]})
    save_step(run, 1)
    shutil.copytree(run.path / "checkpoints", other.path / "checkpoints")
    shutil.copy(run.path / "last", other.path)
    with pytest.raises(RunError, match="made with another vocabulary") as caught:
        load(other)
    assert "put back the vocabulary.json" in str(caught.value)


def test_a_checkpoint_under_the_name_of_another_step(run: Run) -> None:
    folder = save_step(run, 1)
    folder.rename(folder.with_name("000000002"))
    with pytest.raises(RunError, match=r"manifest\.json does not belong") as caught:
        load(run, 2)
    assert (caught.value.expected or "").startswith("step 2 with")


def test_a_manifest_of_other_keys(run: Run) -> None:
    from unrolled.runs.sealed import write_sealed

    path = save_step(run, 1) / "manifest.json"
    value = json.loads(path.read_text())
    del value["sha256"]
    write_sealed(path, {**value, "stpe": 1})
    with pytest.raises(RunError, match="unknown key 'stpe'"):
        load(run)


def test_rewinding_makes_the_run_what_it_was(run: Run) -> None:
    with Logs(run) as logs:
        for step in (1, 2, 3):
            logs.metrics({"step": step})
            logs.sample(f"step {step}", "text")
            save_step(run, step, best=step != 2, keep=9)
            logs.metrics({"after": step})
    assert rewind(run, load(run, 2)) == []
    assert read_metrics(run) == [{"step": 1}, {"after": 1}, {"step": 2}]
    assert (run.path / "samples.txt").read_text() == "=== step 1 ===\ntext\n\n=== step 2 ===\ntext\n\n"
    assert (run.pointer("last"), run.pointer("best")) == ("000000002", "000000001")
    # what was given up is still there, until the run goes on
    assert is_whole(load(run, 3))
    save_step(run, 4)
    assert run.checkpoint_names() == ["000000001", "000000002", "000000004"]


def test_a_step_that_was_given_up_is_written_anew(run: Run) -> None:
    save_step(run, 1)
    save(run, 2, {"w": torch.zeros(9)}, {}, {})
    rewind(run, load(run, 1))
    save_step(run, 2)
    assert is_whole(load(run))


def test_rewinding_leaves_the_best_that_cannot_be_put_back(run: Run) -> None:
    for step in (1, 2, 3, 4, 5):
        save_step(run, step, best=step in (1, 3, 5), keep=4)
    shutil.rmtree(run.checkpoint("000000001"), ignore_errors=True)
    rewind(run, load(run, 2))
    assert run.pointer("best") == "000000005"


def test_rewinding_where_nothing_was_validated_sets_no_best(run: Run) -> None:
    save_step(run, 1)
    rewind(run, load(run))
    assert run.pointer("best") is None


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 64 KiB, as if the disk were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_costs_nothing_that_was_saved(run: Run) -> None:
    save_step(run, 1, best=True)
    with small_files(), pytest.raises(StorageError, match=r"saving checkpoint 000000002 of .* failed: File too large"):
        save(run, 2, {"w": torch.zeros(100_000)}, {}, {}, True)
    assert names(run.path / "checkpoints") == ["000000001"]
    assert is_whole(load(run, "last"))
    assert is_whole(load(run, "best"))
    save_step(run, 2)
    assert load(run).step == 2


def test_a_run_removed_while_it_trains(run: Run) -> None:
    shutil.rmtree(run.path)
    with pytest.raises(StorageError, match="saving checkpoint"):
        save_step(run, 1)
