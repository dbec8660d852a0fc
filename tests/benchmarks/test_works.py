"""The works themselves at tiny sizes: every peer computes what the reference computes. Nothing is timed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.agreement import worst
from benchmarks.limits import product_rate, read_bandwidth
from benchmarks.peers import numpy_programs
from benchmarks.peers.eager_loops import EagerTraining
from benchmarks.peers.torch_modules import TorchTraining
from benchmarks.registry import Absent, Contender
from benchmarks.works import cells, losses, min_char_rnn, outputs, scans, sequences, stepping, training
from unrolled.kernels import unroll
from unrolled.layers import to_torch


def distance(given: Any, reference: Any) -> float:
    return worst(given, reference, lambda _: 1.0)[1]


@pytest.mark.parametrize(("cell", "layers"), [("lstm", 2), ("gru", 2), ("rnn", 1)])
def test_training_with_modules_of_pytorch_is_the_reference(cell: str, layers: int) -> None:
    ours = training.Training(training.Shape(cell, layers, 8, 3, 5))
    ids = torch.from_numpy(ours.ids)
    for bfloat16, close in ((False, 1e-5), (True, 0.05)):
        theirs = TorchTraining(ours.model, ids, training.CLIP, 1e-3, bfloat16)
        theirs.step()
        assert 0 < distance(theirs.results(), ours.reference()) < close


@pytest.mark.parametrize(("cell", "layers"), [("lstm", 1), ("gru", 2), ("rnn", 1)])
def test_training_with_jax_is_the_reference(cell: str, layers: int) -> None:
    pytest.importorskip("jax", reason="a peer of benchmarks alone")
    from benchmarks.peers.jax_networks import JaxTraining

    ours = training.Training(training.Shape(cell, layers, 8, 3, 5))
    bfloat16, close = (True, 0.05) if cell == "rnn" else (False, 1e-5)
    theirs = JaxTraining(ours.start, ours.ids, cell, layers, clip=training.CLIP, rate=1e-3, bfloat16=bfloat16)
    if cell == "rnn":
        theirs.step()
    assert 0 < distance(theirs.results(), ours.reference()) < close


def test_our_own_training_is_the_reference_and_stays_where_it_was() -> None:
    ours = training.Training(training.Shape("rnn", 1, 8, 3, 5), updates=2)
    ours.model.recurrent.layers[0].kernel = "reference"  # nothing is compiled: kernels have tests of their own
    assert 0 < distance(ours.results(), ours.reference()) < 1e-5
    assert 0 < distance(ours.results(), ours.reference()) < 1e-5
    ours.step()
    assert ours.trainer.step == 2
    assert ours.flop == 6 * (2 * 8 * 8 + 8 * training.V)


@pytest.mark.parametrize("name", cells.CELLS)
def test_eager_loops_are_the_reference(name: str) -> None:
    ours = training.Training(training.Shape(cells.CELLS[name], 1, 8, 2, 5))
    theirs = EagerTraining(ours.start, name, torch.from_numpy(ours.ids), training.CLIP, 1e-3)
    assert 0 < distance(theirs.results(), ours.reference()) < 1e-5


def test_min_char_rnn_by_everyone() -> None:
    recipe = min_char_rnn.Recipe("float32")
    reference = recipe.reference()
    program = numpy_programs.MinCharRNN(recipe.weights, recipe.ids, min_char_rnn.T)
    program.run(3)
    assert distance(program.results(), reference) < 1e-12
    module = min_char_rnn.TorchMinCharRNN(recipe.weights, recipe.ids)
    module.run()
    assert distance(module.results(), reference) < 1e-5


def test_min_char_rnn_by_jax() -> None:
    pytest.importorskip("jax", reason="a peer of benchmarks alone")
    from benchmarks.peers.jax_networks import MinCharRNN

    recipe = min_char_rnn.Recipe("float32")
    theirs = MinCharRNN(recipe.weights, recipe.ids, min_char_rnn.T, 2)
    theirs.run()
    assert distance(theirs.results(), recipe.reference()) < 1e-5


def test_segments_are_the_stretches_between_resets() -> None:
    resets = torch.tensor([[True, False, True, True], [False, False, False, False]])
    places, sizes = sequences.segments(resets)
    # Row 1 whole, then 0-1, 2 and 3 of row 0: step by step, the longest first.
    assert sizes.tolist() == [4, 2, 1, 1]
    assert places.tolist() == [4, 0, 2, 3, 5, 1, 6, 7]


def test_lengths_pad_a_half() -> None:
    lengths = sequences.lengths_of(64, 128)
    assert lengths.sum() / (64 * 128) == pytest.approx(0.5, abs=0.01)
    assert (lengths.min(), lengths.max()) == (1, 128)


def test_packed_sequences_of_pytorch_are_the_reference() -> None:
    batch = sequences.Sequences(torch.arange(7) < torch.tensor([[7], [1], [3]]), layers=2, hidden=6)
    lstm = to_torch(batch.recurrent)
    padded = batch.contender("padded", lstm, lambda x: lstm(x)[0])
    assert 0 < distance(padded.results(), batch.reference()) < 1e-5


@pytest.mark.parametrize("cell", ["mingru", "lru"])
def test_the_reference_of_long_sequences_is_the_plain_loop(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "_CHUNK", 7)
    work = scans.Scans(cell, 30, hidden=5, batch=2)
    w = {name: value.double().requires_grad_() for name, value in work.start.items()}
    x = work.x.double().transpose(0, 1).requires_grad_()
    state = tuple(part.double() for part in work.layer.initial_state(2))
    y, _ = unroll(work.layer.equations, w, x, state, kernel="reference")
    y.backward(work.above.double().transpose(0, 1))
    assert x.grad is not None
    seen = {"y": y.transpose(0, 1)[work.rows], "x": x.grad.transpose(0, 1)[work.rows]}
    assert distance(seen | {name: value.grad for name, value in w.items()}, work.reference()) < 1e-12


@pytest.mark.parametrize("cell", ["mingru", "lru"])
@pytest.mark.parametrize("method", ["lax.scan", "associative_scan"])
def test_scans_of_jax_are_the_reference(cell: str, method: str) -> None:
    pytest.importorskip("jax", reason="a peer of benchmarks alone")
    work = scans.Scans(cell, 30, hidden=5, batch=2)
    theirs = work.jax(method)
    assert isinstance(theirs, Contender)
    assert 0 < distance(theirs.results(), work.reference()) < 1e-5


@pytest.mark.parametrize("streams", [1, 3])
def test_stepping_through_pytorch_is_the_reference(streams: int) -> None:
    work = stepping.Stepping(2, 8, streams, "float32", scored=20)
    theirs = work.torch(5)
    theirs.run()
    assert theirs.amount == 5 * streams
    assert 0 < distance(theirs.results(), work.reference()) < 1e-5


@pytest.mark.parametrize("streams", [1, 3])
def test_stepping_through_onnx_runtime_is_the_reference(streams: int) -> None:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="a peer of benchmarks alone")
    for precision, close in (("float32", 1e-5), ("int8", 0.01)):
        work = stepping.Stepping(2, 8, streams, precision, scored=20)
        theirs = work.onnx(5, precision == "int8")
        assert not isinstance(theirs, Absent), theirs.why
        theirs.run()
        assert 0 < distance(theirs.results(), work.reference()) < close


def test_softmax_losses_are_the_reference() -> None:
    work = losses.Softmax(50, 20, hidden=8)
    for loss in (losses._plain, losses._narrow):
        assert 0 < distance(work.contender("one", loss).results(), work.reference()) < 2e-2
    assert work.x.grad is None


def test_limits_are_rates() -> None:
    assert product_rate(16, 16, 16, torch.float32)[0] > 0
    assert product_rate(16, 16, 16, torch.bfloat16)[0] > 0
    assert read_bandwidth(1 << 16) > 0
    assert read_bandwidth(1 << 16, threads=2) > 0


def test_texts_of_the_recipe_are_whole_numbers_from_zero() -> None:
    ids = min_char_rnn.text()
    assert set(np.unique(ids).tolist()) == set(range(int(ids.max()) + 1))


@pytest.mark.parametrize("kind", ["adaptive", "sampled", "mixture"])
def test_output_layers_by_everyone(kind: str) -> None:
    work = outputs.Outputs(kind, 3000, 96, "bfloat16", 64, samples=500)
    assert len(work.cutoffs) > 0
    assert 0 < distance(work.ours().results(), work.reference()) < 2e-2
    full = work.full()
    assert full.reference is not None
    assert 0 < distance(full.results(), full.reference()) < 2e-2
    if kind == "adaptive":
        assert 0 < distance(work.adaptive_of_pytorch().results(), work.reference()) < 2e-2
