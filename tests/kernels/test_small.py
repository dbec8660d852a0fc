"""The parts of the compiled training step, each against NumPy or PyTorch; the whole is in tests/training/test_fused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from unrolled.cells import find_cell
from unrolled.kernels.small import KINDS, Rule, Shape, SmallNet, Work, is_small
from unrolled.kernels.small_parts import adapt, softmax
from unrolled.kernels.small_source import arrays
from unrolled.kernels.tiles import PADDED, product

CLOSE = {"float32": {"rtol": 2e-5, "atol": 2e-5}, "float64": {"rtol": 1e-12, "atol": 1e-12}}
sizes = st.sampled_from([1, 2, 3, 4, 5, 7, 16, 33])


def padded(matrix: Any, fill: float = 0.0) -> Any:
    """A matrix with rows that are whole vectors long."""
    wide = -(-matrix.shape[1] // PADDED) * PADDED
    whole = np.full((len(matrix), wide), fill, matrix.dtype)
    whole[:, : matrix.shape[1]] = matrix
    return whole


@njit
def call_product(c: Any, a: Any, b: Any, m: int, n: int, k: int, am: int, ak: int, add: bool) -> None:
    product(c, 0, n, a, 0, am, ak, b, 0, n, m, n, k, add)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(m=sizes, vectors=st.integers(1, 11), k=sizes, turned=st.booleans(), add=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_a_product_is_numpys(dtype: str, m: int, vectors: int, k: int, turned: bool, add: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    n = vectors * PADDED
    a, b = random.standard_normal((m, k)).astype(dtype), random.standard_normal((k, n)).astype(dtype)
    # What is not added to is not read.
    c = random.standard_normal((m, n)).astype(dtype) if add else np.full((m, n), np.nan, dtype)
    wanted = a @ b + c if add else a @ b
    flat = (a.T if turned else a).copy().reshape(-1)
    strides = (1, m) if turned else (k, 1)
    after = c.reshape(-1).copy()
    call_product(after, flat, b.reshape(-1), m, n, k, *strides, add)
    np.testing.assert_allclose(after.reshape(m, n), wanted, **CLOSE[dtype])


@njit
def call_softmax(x: Any, wide: int, symbols: int, y: Any, w: Any, weighted: bool, scale: Any, b: Any, db: Any) -> float:
    return softmax(x, wide, symbols, y, w, weighted, scale, b, db)


@given(rows=sizes, symbols=sizes, shift=st.sampled_from([-300.0, 0.0, 300.0]), weighted=st.booleans())
@settings(max_examples=30)
def test_the_loss_and_its_gradient_are_pytorchs(rows: int, symbols: int, shift: float, weighted: bool) -> None:
    random = np.random.default_rng(rows * 100 + symbols)
    logits, bias = 5 * random.standard_normal((rows, symbols)) + shift, random.standard_normal(symbols)
    targets = random.integers(0, symbols, rows)
    weights = random.integers(0, 2, rows).astype(np.float64) if weighted else np.ones(rows)
    ours, wide = padded(logits), padded(logits).shape[1]
    d_bias = np.full(wide, np.nan)
    flat = ours.reshape(-1)
    total = call_softmax(
        flat, wide, symbols, targets, weights, weighted, np.float64(0.5), padded(bias[None])[0], d_bias
    )
    x, b = (torch.tensor(value, requires_grad=True) for value in (logits, bias))
    nats = torch.nn.functional.cross_entropy(x + b, torch.tensor(targets), reduction="none") * torch.tensor(weights)
    (nats.sum() / 2).backward()
    assert total == pytest.approx(float(nats.detach().sum()), rel=1e-10, abs=1e-10)
    assert x.grad is not None
    assert b.grad is not None
    np.testing.assert_allclose(ours, padded(x.grad.numpy()), atol=1e-12)
    np.testing.assert_allclose(d_bias, padded(b.grad.numpy()[None])[0], atol=1e-12)


@njit
def call_adapt(kind: int, w: Any, g: Any, m: Any, n: Any, step: int, rate: float, decay: float, hyper: Any) -> None:
    adapt(kind, w, g, m, n, 1, w.size - 1, step, 0.5, rate, decay, hyper)


@pytest.mark.parametrize("kind", [*KINDS])
def test_optimisers_are_pytorchs_and_touch_nothing_else(kind: str) -> None:
    from unrolled.training.optimizers import AdagradInside

    random = np.random.default_rng(0)
    w, m, n = random.standard_normal(40), np.zeros(40), np.zeros(40)
    theirs = torch.tensor(w, requires_grad=True)
    decay = 0.0 if kind == "adagrad-inside" else 0.1
    optimizer: torch.optim.Optimizer = {
        "adamw": lambda: torch.optim.AdamW([theirs], 0.02, (0.8, 0.95), 1e-6, decay),
        "sgd": lambda: torch.optim.SGD([theirs], 0.02, 0.7, weight_decay=decay),
        "adagrad": lambda: torch.optim.Adagrad([theirs], 0.02, weight_decay=decay, eps=1e-6),
        "adagrad-inside": lambda: AdagradInside([theirs], 0.02, 1e-6),
    }[kind]()
    ends = w[[0, -1]].copy()
    for step in range(1, 6):
        g = random.standard_normal(40)
        theirs.grad = torch.tensor(0.5 * g)
        optimizer.step()
        call_adapt(KINDS[kind], w, g, m, n, step, 0.02, decay, np.array([0.7, 0.8, 0.95, 1e-6]))
        np.testing.assert_allclose(w[1:-1], theirs.detach().numpy()[1:-1], rtol=1e-12, atol=1e-12)
    assert (w[[0, -1]] == ends).all()


def work(shape: Shape, updates: int, seed: int = 0) -> Work:
    random = np.random.default_rng(seed)
    x = random.integers(0, shape.symbols, (updates, shape.steps, shape.batch))
    ones = np.ones(updates)
    return Work(x, x[::-1], None, None, ones == 0, ones, np.full(updates, x[0].size), 0.05 * ones)


@pytest.mark.parametrize(("embedding", "layers"), [(0, 1), (0, 2), (3, 2)])
def test_what_was_in_its_arrays_before_does_not_matter(embedding: int, layers: int) -> None:
    """Everything that is worked in is written before it is read; beyond the units all stays zero."""
    shape = Shape(symbols=6, embedding=embedding, units=5, layers=layers, batch=3, steps=4)
    nets = [SmallNet(find_cell("rnn"), shape, Rule("adamw", beta1=0.9, beta2=0.99), "float64") for _ in range(2)]
    for name, view in nets[0].weights.items():
        view[...] = np.random.default_rng(len(name)).standard_normal(view.shape)
        nets[1].weights[name][...] = view
    names = [*arrays(find_cell("rnn"))]
    for layer in range(layers):
        for column, name in enumerate(names):
            if name[0] not in "wgt":
                begin, end = nets[1]._at[layer, 2 * column : 2 * column + 2]
                nets[1]._scratch[begin:end] = np.nan
    nets[1]._scratch[nets[1]._ends[8] : nets[1]._ends[9]] = np.nan
    made = [net.train(work(shape, 5), 0) for net in nets]
    assert made[0].done == 5
    assert (made[0].totals == made[1].totals).all()
    assert (made[0].norms == made[1].norms).all()
    for name, view in nets[0].weights.items():
        assert (view == nets[1].weights[name]).all()
        view[...] = 0
    assert not nets[0]._w.any()


def test_which_nets_are_small() -> None:
    def small(cell: str, **given: Any) -> bool:
        shape = {"symbols": 65, "embedding": 100, "units": 100, "layers": 1, "batch": 1, "steps": 25, **given}
        return is_small(find_cell(cell), Shape(**shape))

    assert small("rnn", embedding=0)
    assert small("lstm", units=128, batch=1)
    assert not small("lstm", units=512)
    assert not small("lstm", units=256, batch=8)
    assert not small("rnn", symbols=100_000)
