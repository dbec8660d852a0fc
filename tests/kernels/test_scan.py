"""The scan over time against the reference's loop: outputs, gradients, resets, chunks, coupled states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import Equations, U, W, a, b, cell, find_cell, p, relu, sigmoid, tanh
from unrolled.cells.derivation import derive
from unrolled.errors import ConfigurationError
from unrolled.kernels import reference, scan, staged
from unrolled.kernels.affine import affine_steps
from unrolled.layers import RecurrentLayer

FILE = Path(__file__).parents[1] / "example_cells.py"


@cell
def three_states(x, u, v, w):
    """States that meet in one direction, an output that is none of them and is not linear, a map of a parameter."""
    z = sigmoid(W.z @ x + U.z @ b.z)
    w = (1 - z) * w - u / (2 + z) + W.w @ tanh(W.v @ x)
    v = p.v * v + b.v
    u = 0.5 * u + v * z
    y = tanh(u * w) + relu(v)
    return y, (u, v, w)


@cell
def fixed(x, h, c):
    """A state that is one input, one that is a parameter, and an output of the state before the step."""
    return h * c + a.c, (x, a.c)


LINEAR = {name: find_cell(name) for name in ("mingru", "mingru-positive", "minlstm", "lru", "qrnn", "qrnn-ifo")}
LINEAR |= {name: find_cell(f"{FILE}:{name}") for name in ("lru", "average")} | {"three": three_states, "fixed": fixed}
DIAGONAL = {name: find_cell(name) for name in ("indrnn", "sru")}
CELLS = LINEAR | DIAGONAL
Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """New memory is full of NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_CHUNK_ON_CPU", 300)


def make(equations: Equations, batch: int, steps: int, inputs: int = 3, units: int = 4, seed: int = 0) -> Tensors:
    """Parameters, input and states, leaves of autograd in float64."""
    torch.manual_seed(seed)
    inputs = units if equations.uses_raw_input else inputs
    shapes = {name: equations.shape(name, inputs, units) for name in equations.parameters}
    shapes |= {"x": (batch, steps, inputs)} | {f"state {name}": (batch, units) for name in equations.states}

    def draw(shape: tuple[int, ...]) -> torch.Tensor:
        # Slopes below 1, so that a long sequence stays finite.
        return (0.5 * torch.randn(shape, dtype=torch.float64)).clamp(-0.9, 0.9).requires_grad_()

    return {name: draw(shape) for name, shape in shapes.items()}


def cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    return {name: value.detach().to(dtype).requires_grad_() for name, value in tensors.items()}


def parts(equations: Equations, tensors: Tensors) -> tuple[Tensors, torch.Tensor, tuple[torch.Tensor, ...]]:
    state = tuple(tensors[f"state {name}"] for name in equations.states)
    return {name: tensors[name] for name in equations.parameters}, tensors["x"], state


def looped(
    equations: Equations,
    tensors: Tensors,
    resets: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    parameters, x, state = parts(equations, tensors)
    outputs = []
    for t in range(x.shape[1]):
        before = state
        if resets is not None:
            before = tuple(part.masked_fill(resets[:, t : t + 1], 0.0) for part in state)
        y, after, _ = reference.step(equations, parameters, x[:, t], before)
        if lengths is not None:
            runs = (lengths > t).unsqueeze(1)
            y = torch.where(runs, y, 0.0)
            after = tuple(torch.where(runs, new, old) for new, old in zip(after, state, strict=True))
        state = after
        outputs.append(y)
    return [torch.stack(outputs, 1), *state]


def scanned(
    equations: Equations,
    tensors: Tensors,
    resets: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    newton = None if derive(equations).is_linear_in_state else scan.Newton()
    y, state = scan.unroll(equations, *parts(equations, tensors), resets, lengths, newton=newton)
    return [y, *state]


def gradients(outputs: list[torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> Tensors:
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(output.shape, dtype=torch.float64, generator=generator) for output in outputs]
    total = torch.stack([(out * weight.to(out)).sum() for out, weight in zip(outputs, weights, strict=True)]).sum()
    found = torch.autograd.grad(total, list(tensors.values()), allow_unused=True)
    pairs = zip(tensors.items(), found, strict=True)
    return {name: torch.zeros_like(value) if part is None else part for (name, value), part in pairs}


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    size = float(wanted.detach().double().norm())
    return float((found.detach().double() - wanted.detach().double()).norm()) / (size if size > 1e-12 else 1.0)


def assert_agree(
    equations: Equations,
    tensors: Tensors,
    tolerance: float,
    resets: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    exact: Tensors | None = None,
) -> None:
    exact = exact or tensors
    found, wanted = scanned(equations, tensors, resets, lengths), looped(equations, exact, resets, lengths)
    for place, pair in enumerate(zip(found, wanted, strict=True)):
        assert pair[0].shape == pair[1].shape
        assert distance(*pair) < tolerance, f"output {place}"
    of_wanted = gradients(wanted, exact)
    for name, gradient in gradients(found, tensors).items():
        assert gradient.shape == of_wanted[name].shape
        assert distance(gradient, of_wanted[name]) < tolerance, f"gradient of {name}"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("steps", [1, 2, 63, 500])
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.usefixtures("small_chunks")
def test_the_scan_is_the_loop(name: str, steps: int, batch: int) -> None:
    tensors = make(CELLS[name], batch, steps)
    assert_agree(CELLS[name], tensors, 1e-10)
    assert_agree(CELLS[name], cast(tensors, torch.float32), 1e-5, exact=tensors)


@pytest.mark.parametrize("name", ["mingru", "lru"])
def test_a_long_sequence(name: str) -> None:
    """As near to float64 in float32 as the loop is: the rounding of an LRU's phase counts 5,000 times."""
    equations = CELLS[name]
    tensors = make(equations, 1, 5000)
    layer = RecurrentLayer(equations, 3, 4)
    tensors |= {key: value.detach().double().requires_grad_() for key, value in layer.cell_parameters().items()}
    single = cast(tensors, torch.float32)
    y, state = staged.unroll(equations, *parts(equations, single))
    loop, exact = [y, *state], looped(equations, tensors)
    of_loop, of_exact = gradients(loop, single), gradients(exact, tensors)
    loop, exact = [*loop, *of_loop.values()], [*exact, *of_exact.values()]
    for leaves, least, allowed in ((tensors, 1e-10, 0), (single, 1e-5, 3)):
        found = scanned(equations, leaves)
        found += gradients(found, leaves).values()
        for one, other, right in zip(found, loop, exact, strict=True):
            assert distance(one, right) < max(least, allowed * distance(other, right))


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(CELLS)),
    st.integers(1, 4),
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 200),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_any_shape_chunk_resets_and_ends(
    name: str, batch: int, steps: int, inputs: int, units: int, chunk: int, often: float, seed: int
) -> None:
    tensors = make(CELLS[name], batch, steps, inputs, units, seed)
    generator = torch.Generator().manual_seed(seed)
    resets = torch.rand(batch, steps, generator=generator) < often
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator) if seed % 2 else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_CHUNK_ON_CPU", chunk)
        assert_agree(CELLS[name], tensors, 1e-9, resets, lengths)


@pytest.mark.parametrize("name", ["mingru", "lru", "qrnn", "sru"])
def test_what_is_beyond_an_end_counts_for_nothing(name: str) -> None:
    equations = CELLS[name]
    tensors = make(equations, 3, 7)
    lengths = torch.tensor([7, 1, 4])
    outcomes = []
    for padding in (0.0, float("nan")):
        x = tensors["x"].detach().clone()
        for place, length in enumerate(lengths.tolist()):
            x[place, length:] = padding
        leaves = tensors | {"x": x.requires_grad_()}
        found = scanned(equations, leaves, None, lengths)
        outcomes.append([*found, *gradients(found, leaves).values()])
    torch.testing.assert_close(outcomes[1], outcomes[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.usefixtures("small_chunks")
def test_gradients_equal_finite_differences(name: str) -> None:
    equations = CELLS[name]
    tensors = make(equations, 2, 5, inputs=2, units=2, seed=3)
    resets = torch.tensor([[False, False, True, False, False], [False, False, False, True, True]])
    keys = tuple(tensors)

    def outputs(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(scanned(equations, dict(zip(keys, values, strict=True)), resets))

    assert torch.autograd.gradcheck(outputs, tuple(tensors.values()), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", CELLS)
def test_bfloat16_autocast(name: str) -> None:
    tensors = make(CELLS[name], 3, 20, inputs=8, units=16)
    single = cast(tensors, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = scanned(CELLS[name], single)
    assert {output.dtype for output in found} == {torch.float32}
    wanted = looped(CELLS[name], tensors)
    for pair in zip(found, wanted, strict=True):
        assert distance(*pair) < 2e-2
    if name not in ("mingru-positive", "indrnn"):  # their slope jumps
        of_wanted = gradients(wanted, tensors)
        for key, gradient in gradients(found, single).items():
            assert distance(gradient, of_wanted[key]) < 2e-2, key


@pytest.mark.parametrize("lost", [float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["mingru", "lru", "three"])
def test_a_state_that_is_not_finite_ends_with_a_reset(name: str, lost: float) -> None:
    equations = LINEAR[name]
    tensors = make(equations, 2, 9)
    state = tuple(torch.full((2, 4), lost, dtype=torch.float64) for _ in equations.states)
    resets = torch.zeros(2, 9, dtype=torch.bool)
    resets[:, 4] = True
    parameters, x, _ = parts(equations, tensors)
    y, after = scan.unroll(equations, parameters, x, state, resets)
    cut = tensors | {"x": x[:, 4:]} | {key: torch.zeros_like(value) for key, value in tensors.items() if "state" in key}
    wanted = looped(equations, cut)
    assert not y[:, :4].isfinite().any()
    torch.testing.assert_close([y[:, 4:], *after], wanted, rtol=1e-10, atol=1e-12)
    y[:, 4:].sum().backward()
    assert x.grad is not None
    assert x.grad[:, 4:].isfinite().all()


def test_the_coefficients_are_no_more_than_the_equations_need() -> None:
    def listing(program) -> list[str]:
        return [f"{step.op}({', '.join(map(str, step.args))})" for step in program.instructions]

    steps = affine_steps(find_cell("mingru"))
    assert listing(steps.slopes) == ["add(@1, b.z)", "sigmoid(%0)", "sub(1.0, %1)"]
    assert steps.slopes.inputs == ("@1", "b.z")
    assert "h" not in steps.offsets.inputs
    crossed = dict(affine_steps(find_cell("lru")).slopes.outputs)
    assert set(crossed) == {"0 0", "0 1", "1 0", "1 1"}
    assert crossed["0 0"] == crossed["1 1"]
    assert not set(affine_steps(find_cell("lru")).slopes.inputs) & {"re", "im"}
    assert set(dict(affine_steps(three_states).slopes.outputs)) == {"0 0", "0 1", "1 1", "2 0", "2 2"}
    assert not affine_steps(fixed).slopes.outputs


def test_what_does_not_fit_is_said() -> None:
    for name, problem in (("lstm", "a map of lstm waits for a state"), ("indrnn", "indrnn is not linear in its state")):
        equations = find_cell(name)
        with pytest.raises(ConfigurationError, match=problem):
            scan.unroll(equations, *parts(equations, make(equations, 1, 2)))


@pytest.mark.parametrize(("name", "most"), [("indrnn", 12), ("sru", 12)])
def test_newton_needs_few_iterations(name: str, most: int) -> None:
    """At the start of training, where the slopes are at most 1."""
    torch.manual_seed(0)
    layer = RecurrentLayer(find_cell(name), 16, 16).double()
    x = torch.randn(4, 1000, 16, dtype=torch.float64)
    newton = scan.Newton()
    with torch.no_grad():
        y, state = scan.unroll(layer.equations, layer.cell_parameters(), x, layer.initial_state(4), newton=newton)
        wanted, last = reference.unroll(layer.equations, layer.cell_parameters(), x, layer.initial_state(4))
    assert distance(y, wanted) < 1e-12
    assert distance(state[0], last[0]) < 1e-12
    assert 1 <= max(newton.taken) <= most


def test_iterations_that_do_not_end_are_an_error() -> None:
    @cell
    def chaotic(x, h):
        return 4 * h * (1 - h) + 0 * (W.h @ x)

    parameters, x, state = {"W.h": torch.zeros(1, 1)}, torch.zeros(1, 500, 1), (torch.full((1, 1), 0.3),)
    with pytest.raises(ConfigurationError, match="the iterations of chaotic do not end"):
        scan.unroll(chaotic, parameters, x, state, newton=scan.Newton(most=3))
