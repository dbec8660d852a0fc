"""Every cell through every kernel: outputs and gradients against finite differences, autograd and PyTorch's modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import BUILTIN, Equations, find_cell
from unrolled.kernels import Kernel, unroll
from unrolled.kernels.library import recognise

FILE = Path(__file__).parents[1] / "example_cells.py"
EXAMPLES = (
    "two_stages",
    "four_stages",
    "sru",
    "min_gru",
    "lru",
    "every_function",
    "inner_loop",
    "inner_maps",
    "own_input",
    "delay",
    "forgetful",
    "average",
    "clashing",
)
CELLS = {name: find_cell(name) for name in BUILTIN} | {name: find_cell(f"{FILE}:{name}") for name in EXAMPLES}
# Their slope jumps: a value that bfloat16 carries to the other side of a kink has another gradient.
KINKED = ("rnn-relu", "every_function", "mingru-positive", "minlstm-positive", "indrnn")
TORCH = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN, "rnn-relu": torch.nn.RNN}


class Case(NamedTuple):
    """What a cell is run on: leaves of autograd, float64."""

    parameters: dict[str, torch.Tensor]
    x: torch.Tensor
    state: tuple[torch.Tensor, ...]

    def leaves(self) -> dict[str, torch.Tensor]:
        states = {f"state {place}": part for place, part in enumerate(self.state)}
        return {**self.parameters, "x": self.x, **states}

    def to(self, dtype: torch.dtype) -> Case:
        def cast(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.detach().to(dtype).requires_grad_()

        parameters = {name: cast(value) for name, value in self.parameters.items()}
        return Case(parameters, cast(self.x), tuple(cast(part) for part in self.state))


def make_case(equations: Equations, batch: int, steps: int, inputs: int = 3, units: int = 4, seed: int = 0) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return (0.6 * torch.randn(*shape, dtype=torch.float64, generator=generator)).requires_grad_()

    inputs = units if equations.uses_raw_input else inputs
    parameters = {name: draw(*equations.shape(name, inputs, units)) for name in equations.parameters}
    return Case(parameters, draw(batch, steps, inputs), tuple(draw(batch, units) for _ in equations.states))


def serving(equations: Equations) -> list[Kernel]:
    """The kernels in PyTorch's operators; those of generated code have tests of their own."""
    return [*(["library"] if recognise(equations) else []), "staged", "reference"]


def run(equations: Equations, case: Case, kernel: Kernel) -> list[torch.Tensor]:
    y, after = unroll(equations, case.parameters, case.x, case.state, kernel=kernel)
    return [y, *after]


def gradients(outputs: list[torch.Tensor], leaves: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those of a sum in which every output of every unit and time has a weight of its own."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(output.shape, dtype=torch.float64, generator=generator).to(output) for output in outputs]
    total = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
    assert isinstance(total, torch.Tensor)
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    pairs = zip(leaves.items(), found, strict=True)
    return {name: torch.zeros_like(leaf) if part is None else part for (name, leaf), part in pairs}


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The norm-relative distance; of a tensor that should be 0, its norm."""
    size = float(wanted.detach().double().norm())
    return float((found.detach().double() - wanted.detach().double()).norm()) / (size if size > 1e-12 else 1.0)


def assert_agree(
    equations: Equations, case: Case, kernel: Kernel, wanted: Case, tolerance: float, backward: bool = True
) -> None:
    """Outputs and gradients of a kernel against the float64 reference."""
    outputs, expected = run(equations, case, kernel), run(equations, wanted, "reference")
    for place, pair in enumerate(zip(outputs, expected, strict=True)):
        assert pair[0].shape == pair[1].shape
        assert distance(*pair) < tolerance, f"output {place}"
    if backward:
        of_wanted = gradients(expected, wanted.leaves())
        for name, gradient in gradients(outputs, case.leaves()).items():
            assert gradient.shape == of_wanted[name].shape
            assert distance(gradient, of_wanted[name]) < tolerance, f"gradient of {name}"


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("kernel", ["staged", "reference"])
def test_gradients_equal_finite_differences(name: str, kernel: Kernel) -> None:
    equations = CELLS[name]
    case = make_case(equations, batch=2, steps=3, inputs=2, units=2, seed=3)
    names = tuple(case.parameters)

    def outputs(x: torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        state, parameters = tensors[: len(case.state)], tensors[len(case.state) :]
        given = Case(dict(zip(names, parameters, strict=True)), x, state)
        return tuple(run(equations, given, kernel))

    inputs = (case.x, *case.state, *case.parameters.values())
    assert torch.autograd.gradcheck(outputs, inputs, atol=1e-7, rtol=1e-5, fast_mode=False)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("steps", [1, 2, 63])
@pytest.mark.parametrize("name", CELLS)
def test_the_derived_gradient_is_that_of_autograd(name: str, steps: int, batch: int) -> None:
    case = make_case(CELLS[name], batch, steps)
    assert_agree(CELLS[name], case, "staged", case, 1e-10)


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(CELLS)),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(0, 99),
)
def test_kernels_agree_at_any_shape(name: str, batch: int, steps: int, inputs: int, units: int, seed: int) -> None:
    case = make_case(CELLS[name], batch, steps, inputs, units, seed)
    for kernel in serving(CELLS[name])[:-1]:
        assert_agree(CELLS[name], case, kernel, case, 1e-10)


@pytest.mark.parametrize("name", CELLS)
def test_float32_is_within_1e_5_of_float64(name: str) -> None:
    case = make_case(CELLS[name], batch=3, steps=20)
    single = case.to(torch.float32)
    for kernel in serving(CELLS[name]):
        assert_agree(CELLS[name], single, kernel, case, 1e-5)
        assert {output.dtype for output in run(CELLS[name], single, kernel)} == {torch.float32}


@pytest.mark.parametrize("name", CELLS)
def test_bfloat16_autocast_is_within_2e_2_of_float64(name: str) -> None:
    case = make_case(CELLS[name], batch=3, steps=12, units=16, inputs=8)
    for parameter in case.parameters.values():
        if parameter.dim() == 2:
            parameter.data /= parameter.shape[1] ** 0.5
    single = case.to(torch.float32)
    for kernel in serving(CELLS[name]):
        with torch.autocast("cpu", torch.bfloat16):
            outputs = run(CELLS[name], single, kernel)
        assert {output.dtype for output in outputs[1:]} == {torch.float32}, "a state keeps its dtype"
        expected = run(CELLS[name], case, "reference")
        for pair in zip(outputs, expected, strict=True):
            assert distance(*pair) < 2e-2, kernel
        if name in KINKED:
            continue
        wanted = gradients(expected, case.leaves())
        for leaf, gradient in gradients(outputs, single.leaves()).items():
            assert distance(gradient, wanted[leaf]) < 2e-2, f"{kernel}, gradient of {leaf}"


def torch_module(name: str, case: Case, units: int) -> torch.nn.RNNBase:
    """PyTorch's module with the weights of a case, put in by hand: i, f, g, o and r, z, n are its orders of gates."""
    extra = {"nonlinearity": "relu"} if name == "rnn-relu" else {}
    module: torch.nn.RNNBase = TORCH[name](case.x.shape[2], units, batch_first=True, dtype=torch.float64, **extra)
    gates = {"lstm": "ifgo", "gru": "rzn"}.get(name, "h")
    stacked = {family: torch.cat([case.parameters[f"{family}.{gate}"] for gate in gates]).data for family in "WUb"}
    inside = torch.zeros_like(stacked["b"])
    if name == "gru":
        inside[2 * units :] = case.parameters["d.n"].data
    module.load_state_dict(
        {"weight_ih_l0": stacked["W"], "weight_hh_l0": stacked["U"], "bias_ih_l0": stacked["b"], "bias_hh_l0": inside}
    )
    return module


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("steps", [1, 2, 63])
@pytest.mark.parametrize("kernel", ["library", "staged", "reference"])
@pytest.mark.parametrize("name", TORCH)
def test_kernels_equal_the_modules_of_pytorch(name: str, kernel: Kernel, steps: int, batch: int) -> None:
    units = 4
    case = make_case(CELLS[name], batch, steps, units=units)
    module = torch_module(name, case, units)
    before = [part.detach().clone().unsqueeze(0).requires_grad_() for part in case.state]
    x = case.x.detach().clone().requires_grad_()
    y, after = module(x, tuple(before) if name == "lstm" else before[0])
    expected = [y, *(part[0] for part in (after if name == "lstm" else [after]))]
    outputs = run(CELLS[name], case, kernel)
    for pair in zip(outputs, expected, strict=True):
        assert distance(*pair) < 1e-6
    weights = dict(module.named_parameters())
    states = {f"state {place}": part for place, part in enumerate(before)}
    wanted = gradients(expected, {"x": x, **states, **weights})
    found = gradients(outputs, case.leaves())
    gates = {"lstm": "ifgo", "gru": "rzn"}.get(name, "h")
    for family, weight in (("W", "weight_ih_l0"), ("U", "weight_hh_l0"), ("b", "bias_ih_l0")):
        assert distance(torch.cat([found[f"{family}.{gate}"] for gate in gates]), wanted[weight]) < 1e-6
    if name == "gru":
        assert distance(found["d.n"], wanted["bias_hh_l0"][2 * units :]) < 1e-6
    assert distance(found["x"], wanted["x"]) < 1e-6
    for state in states:
        assert distance(found[state], wanted[state][0]) < 1e-6
