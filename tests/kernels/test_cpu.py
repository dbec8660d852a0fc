"""The CPU kernels that are generated from equations, against the reference in float64: every cell, in every form."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled.cells import BUILTIN, Equations, U, W, b, cell, find_cell, p, sigmoid, tanh
from unrolled.cells.derivation import derive
from unrolled.errors import ConfigurationError
from unrolled.kernels import compiling, cpu, native, unroll
from unrolled.kernels.cpu_layout import Form

FILE = Path(__file__).parents[1] / "example_cells.py"


@cell
def made_up(x, h, m, k):
    """A memory written by one unit's product with another map of a computed value, read through a second state."""
    z = sigmoid(W.z @ x + U.z @ h + p.z * m)
    n = tanh(b.n + U.n @ (z * k) + W.n @ x)
    m = m + z * (n - m)
    k = 0.5 * k + tanh(W.k @ x) * m
    return n * k, (z * m, m, k)


EXAMPLES = ("four_stages", "every_function", "inner_maps", "own_input", "delay", "forgetful")
CELLS = {name: find_cell(name) for name in BUILTIN} | {name: find_cell(f"{FILE}:{name}") for name in EXAMPLES}
CELLS["made_up"] = made_up
# Their slope jumps: a value that bfloat16 carries to the other side of a kink has another gradient.
KINKED = ("rnn-relu", "every_function", "mingru-positive", "minlstm-positive", "indrnn")
DOUBLE, SINGLE = Form("float64", half=False, packed=False), Form("float32", half=False, packed=False)
PACKED, HALF = Form("float32", half=False, packed=True), Form("float32", half=True, packed=True)


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that nobody has written to holds NaN."""

    def poison(make):
        def made(*args, **kwargs):
            tensor = make(*args, **kwargs)
            return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

        return made

    monkeypatch.setattr(torch, "empty_like", poison(torch.empty_like))
    monkeypatch.setattr(torch.Tensor, "new_empty", poison(torch.Tensor.new_empty))


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every batch is divided, however small."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(cpu, "_WORTH_A_THREAD", 1)
    yield
    torch.set_num_threads(before)


def distance(found: torch.Tensor | None, wanted: torch.Tensor | None) -> float:
    if found is None or wanted is None:
        return float(sum(part.abs().max() for part in (found, wanted) if part is not None))
    size = float(wanted.norm())
    return float((found.double() - wanted).norm()) / (size if size > 1e-12 else 1.0)


def compare(
    equations: Equations,
    form: Form,
    batch: int,
    steps: int,
    inputs: int,
    units: int,
    *,
    marks: bool = False,
    ends: bool = False,
    seed: int = 0,
) -> dict[str, float]:
    """How far outputs and gradients are from the float64 reference, by name."""
    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, form.dtype)

    def draw(*shape: int, scale: float = 0.6) -> torch.Tensor:
        return (scale * torch.randn(*shape, generator=generator)).to(dtype).requires_grad_()

    inputs = units if equations.uses_raw_input else inputs
    parameters = {}
    for name in equations.parameters:
        shape = equations.shape(name, inputs, units)
        parameters[name] = draw(*shape, scale=0.6 if len(shape) == 1 else shape[1] ** -0.5)
    x, state = draw(batch, steps, inputs), tuple(draw(batch, units) for _ in equations.states)
    resets = torch.rand(batch, steps, generator=generator) < 0.2 if marks else None
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator) if ends else None
    leaves = {"x": x, **{f"state {n}": part for n, part in enumerate(state)}, **parameters}
    exact = {name: leaf.detach().double().requires_grad_() for name, leaf in leaves.items()}
    wanted_state = tuple(exact[f"state {n}"] for n in range(len(state)))
    wanted_parameters = {name: exact[name] for name in parameters}
    y, after = cpu.unroll(equations, parameters, x, state, form, resets, lengths)
    wanted, wanted_after = unroll(
        equations, wanted_parameters, exact["x"], wanted_state, kernel="reference", resets=resets, lengths=lengths
    )
    weights = [torch.randn(part.shape, generator=generator, dtype=torch.float64) for part in (wanted, *wanted_after)]
    found = torch.autograd.grad(
        sum((part.double() * w).sum() for part, w in zip((y, *after), weights, strict=True)),
        list(leaves.values()),
        allow_unused=True,
    )
    expected = torch.autograd.grad(
        sum((part * w).sum() for part, w in zip((wanted, *wanted_after), weights, strict=True)),
        list(exact.values()),
        allow_unused=True,
    )
    pairs = {"y": (y, wanted)} | {f"after {n}": pair for n, pair in enumerate(zip(after, wanted_after, strict=True))}
    pairs |= {f"d {name}": pair for name, *pair in zip(leaves, found, expected, strict=True)}
    return {name: distance(*(None if t is None else t.detach() for t in pair)) for name, pair in pairs.items()}


def assert_close(found: dict[str, float], tolerance: float) -> None:
    wrong = {name: value for name, value in found.items() if not value < tolerance}
    assert not wrong


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_in_float64(name: str) -> None:
    # PyTorch's softplus is the identity from 20 on, where the difference is 2e-9.
    tolerance = 1e-8 if name == "every_function" else 1e-10
    for batch, steps, units in ((1, 1, 1), (3, 2, 5), (2, 63, 4), (3, 17, 33)):
        assert_close(compare(CELLS[name], DOUBLE, batch, steps, 3, units), tolerance)
    assert_close(compare(CELLS[name], DOUBLE, 4, 30, 3, 5, marks=True), tolerance)
    assert_close(compare(CELLS[name], DOUBLE, 5, 9, 3, 5, ends=True), tolerance)
    assert_close(compare(CELLS[name], DOUBLE, 7, 23, 2, 5, marks=True, ends=True), tolerance)


@pytest.mark.parametrize("name", [name for name in CELLS if name != "every_function"])
def test_every_cell_with_packed_products(name: str) -> None:
    for form, tolerance in ((PACKED, 1e-5), (HALF, 2e-2)):
        if form.half and name in KINKED:
            continue
        # Every stage of a step rounds to bfloat16 again.
        stages = max((stage.level for stage in derive(CELLS[name]).products), default=1)
        tolerance *= max(stages, 1) if form.half else 1
        if form.packed and not native.available(torch.bfloat16 if form.half else torch.float32):
            pytest.skip("PyTorch lends no products here")
        assert_close(compare(CELLS[name], form, 3, 12, 8, 16), tolerance)
        assert_close(compare(CELLS[name], form, 9, 11, 8, 32, marks=True, ends=True), tolerance)


@pytest.mark.parametrize(
    ("batch", "steps", "units"),
    [shape for shape in itertools.product((1, 3, 64), (1, 2, 63, 500), (1, 5, 100, 512)) if np.prod(shape) <= 2e6],
)
def test_the_lstm_at_many_sizes(batch: int, steps: int, units: int, two_threads: None) -> None:
    """Also where a batch is divided between threads."""
    product = torch.float32
    form = cpu.form_for(CELLS["lstm"], batch, units, torch.float32, product)
    assert form is not None
    marks = steps > 2
    assert_close(compare(CELLS["lstm"], form, batch, steps, 4, units, marks=marks), 1e-5)


@pytest.mark.parametrize("form", [DOUBLE, HALF])
def test_threads_change_nothing_but_the_order_of_sums(form: Form, two_threads: None) -> None:
    tolerance = 1e-10 if form is DOUBLE else 2e-2
    for batch in (2, 3, 17):
        assert_close(compare(CELLS["gru-reset-before"], form, batch, 9, 8, 16, marks=True, ends=True), tolerance)


def test_equal_calls_give_equal_bits(two_threads: None) -> None:
    def once() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        equations = CELLS["lstm-peephole"]
        parameters = {
            name: torch.randn(equations.shape(name, 8, 16), generator=generator).requires_grad_()
            for name in equations.parameters
        }
        x = torch.randn(9, 20, 8, generator=generator).requires_grad_()
        y, after = cpu.unroll(equations, parameters, x, (torch.zeros(9, 16), torch.zeros(9, 16)), HALF)
        return [y, *after, *torch.autograd.grad(y.square().sum(), [x, *parameters.values()])]

    first = once()
    for _ in range(3):
        assert all(torch.equal(one, two) for one, two in zip(first, once(), strict=True))


def test_without_a_gradient_nothing_is_kept_and_the_result_is_the_same() -> None:
    equations = CELLS["lstm"]
    parameters = {name: torch.randn(equations.shape(name, 8, 16)).requires_grad_() for name in equations.parameters}
    x, state = torch.randn(5, 30, 8), (torch.zeros(5, 16), torch.zeros(5, 16))
    for form in (SINGLE, HALF):
        wanted = cpu.unroll(equations, parameters, x, state, form)
        with torch.no_grad():
            found = cpu.unroll(equations, parameters, x, state, form)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)
        assert not found[0].requires_grad


@pytest.mark.parametrize("name", ["lstm", "gru-reset-before"])
@pytest.mark.parametrize("form", [SINGLE, HALF])
def test_threads_do_not_meet_where_nothing_is_kept(name: str, form: Form, two_threads: None) -> None:
    equations = CELLS[name]
    parameters = {key: torch.randn(equations.shape(key, 8, 16)) for key in equations.parameters}
    x, state = torch.randn(17, 40, 8), tuple(torch.randn(16, 17).t() for _ in equations.states)
    lengths = torch.randint(1, 41, (17,))
    found = cpu.unroll(equations, parameters, x, state, form, None, lengths)
    kept = {key: value.clone().requires_grad_() for key, value in parameters.items()}
    torch.testing.assert_close(found, cpu.unroll(equations, kept, x, state, form, None, lengths), rtol=0, atol=0)


@cell
def map_of_a_map(x, h):
    """What is multiplied again outside the loop, and added to inside."""
    a = W.a @ x
    u = W.b @ tanh(a)
    return sigmoid(u) * tanh(a + U.a @ h)


def test_a_map_that_is_read_outside_the_loop_is_not_added_to() -> None:
    for form, tolerance in ((DOUBLE, 1e-10), (SINGLE, 1e-5)):
        assert_close(compare(map_of_a_map, form, 3, 9, 5, 5), tolerance)


def test_an_input_that_wants_no_gradient_gets_none() -> None:
    equations = CELLS["lstm"]
    parameters = {name: torch.randn(equations.shape(name, 3, 4)).requires_grad_() for name in equations.parameters}
    x = torch.randn(2, 5, 3)
    y, _ = cpu.unroll(equations, parameters, x, (torch.zeros(2, 4), torch.zeros(2, 4)), SINGLE)
    y.sum().backward()
    assert x.grad is None
    assert all(value.grad is not None for value in parameters.values())


def test_a_parameter_changed_before_the_way_back_is_an_error() -> None:
    equations = CELLS["lstm-peephole"]
    parameters = {name: torch.randn(equations.shape(name, 3, 4)).requires_grad_() for name in equations.parameters}
    y, _ = cpu.unroll(equations, parameters, torch.randn(2, 5, 3), (torch.zeros(2, 4), torch.zeros(2, 4)), SINGLE)
    with torch.no_grad():
        parameters["p.i"].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_net_that_is_not_finite_says_so() -> None:
    equations = CELLS["lstm"]
    parameters = {name: torch.zeros(equations.shape(name, 3, 4)) for name in equations.parameters}
    parameters["W.g"][1, 1] = float("nan")
    for form in (SINGLE, HALF):
        y, _ = cpu.unroll(equations, parameters, torch.ones(1, 1, 3), (torch.zeros(1, 4), torch.zeros(1, 4)), form)
        assert torch.equal(y.isnan().any(1)[0], torch.tensor([False, True, False, False]))


def test_where_pytorch_lends_no_products_the_staged_path_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda dtype: False)
    equations = CELLS["lstm-peephole"]
    assert cpu.form_for(equations, 64, 512, torch.float32, torch.float32) is None
    assert cpu.form_for(equations, 1, 100, torch.float32, torch.float32) == SINGLE
    state = (torch.zeros(64, 512), torch.zeros(64, 512))
    with pytest.raises(ConfigurationError, match=r"the CPU kernel does not serve lstm-peephole(.|\n)*use 'staged'"):
        unroll(equations, {}, torch.zeros(64, 2, 3), state, kernel="cpu")


def test_code_is_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    compiling._directory.cache_clear()
    heard: list[tuple[str, bool]] = []
    stop = compiling.on_compiling(lambda what, seconds: heard.append((what, seconds is None)))
    source = "from numba import njit\n@njit(cache=True)\ndef double(x):\n    return 2 * x\n"
    try:
        module = compiling.compiled("a test", source)
        assert module.double(4) == 8
        assert compiling.compiled("a test", source) is module
        compiling.compiled.cache_clear()
        assert compiling.compiled("a test", source).double(5) == 10
    finally:
        stop()
        compiling._directory.cache_clear()
    what = "a test (double)"
    assert heard == [(what, True), (what, False)], "told once: the second time it is found"
    (path,) = (tmp_path / "kernels").glob("*.py")
    assert path.stat().st_mode & 0o022 == 0
    assert (tmp_path / "kernels").stat().st_mode & 0o022 == 0


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="wants owners of files")
def test_a_directory_that_others_may_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels").chmod(0o777)
    compiling._directory.cache_clear()
    try:
        assert compiling._directory() != tmp_path / "kernels"
    finally:
        compiling._directory.cache_clear()


def test_calls_from_several_threads_do_not_disturb_each_other(two_threads: None) -> None:
    equations = CELLS["gru"]
    parameters = {name: torch.randn(equations.shape(name, 8, 16)) for name in equations.parameters}
    inputs = [torch.randn(6, 40, 8) for _ in range(8)]

    def one(x: torch.Tensor) -> torch.Tensor:
        return cpu.unroll(equations, parameters, x, (torch.zeros(6, 16),), PACKED)[0]

    wanted = [one(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(one, inputs), wanted, strict=True):
            assert torch.equal(found, expected)


@pytest.mark.parametrize("rows", [1, 2047, 2048, 2501])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_product_of_many_rows_is_that_of_float64(rows: int, dtype: torch.dtype) -> None:
    x, weight = torch.randn(7, rows).t().to(dtype), torch.randn(7, 5).t().to(dtype)
    found = native.linear(x, weight)
    expected = x.double() @ weight.double().t()
    assert found.dtype == dtype
    assert (found.double() - expected).norm() <= {2: 2e-2, 4: 1e-6, 8: 1e-12}[dtype.itemsize] * expected.norm()
