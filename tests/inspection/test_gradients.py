"""Jacobians, their products and the terms of backpropagation through time, against autograd through the reference."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import BUILTIN, Equations, cell, find_cell
from unrolled.cells.equations import U, V, W, b, d, maximum, p, relu, sigmoid, softplus, tanh
from unrolled.errors import ConfigurationError
from unrolled.inspection import bptt_terms, gradient_flow, step_jacobian
from unrolled.kernels import reference
from unrolled.layers import RecurrentLayer


@cell
def three_stages(x, h, c):
    """Maps after maps, a state that passes straight on, raw input, one matrix in two places, an output of its own."""
    r = sigmoid(W.r @ relu(V.r @ x) + U.r @ h + p.r * c)
    s = tanh(U.s @ (r * h + p.s) + U.r @ c)
    n = maximum(U.n @ (s + x), 0.5 * s) - U.v @ b.v
    y = n * softplus(c) + d.y * h
    return y, (n + 0.5 * c, h)


@cell
def without_maps(x, h):
    """A running mean: its slope is the same number everywhere."""
    h = 0.5 * h + 0.5 * x
    return h


@cell
def unread(x, h, c):
    """A simple recurrent unit: the state h is written, and never read."""
    f = sigmoid(W.f @ x + p.f * c + b.f)
    c = f * c + (1 - f) * (W.c @ x)
    h = f * tanh(c) + (1 - f) * x
    return h, c


CELLS = [*(find_cell(name) for name in BUILTIN), three_stages, without_maps, unread]
every_cell = pytest.mark.parametrize("equations", CELLS, ids=lambda equations: equations.name)


def drawn(equations: Equations, batch: int, steps: int, inputs: int, hidden: int, seed: int):
    """A layer in float64 with every parameter away from zero, a sequence, and a state."""
    generator = torch.Generator().manual_seed(seed)
    inputs = hidden if equations.uses_raw_input else inputs
    layer = RecurrentLayer(equations, inputs, hidden).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.7, generator=generator)
    draw = {"generator": generator, "dtype": torch.float64}
    x = torch.randn(batch, steps, inputs, **draw)
    return layer, x, tuple(torch.randn(batch, hidden, **draw) for _ in equations.states)


def after(layer: RecurrentLayer, x: torch.Tensor, state):
    """The state after a step, held."""
    return tuple(part.detach() for part in reference.step(layer.equations, layer.cell_parameters(), x, state)[1])


def close(left: torch.Tensor, right: torch.Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)


def by_autograd(layer: RecurrentLayer, x: torch.Tensor, state):
    """The blocks (B, H, H) of d(state after x (B, T, D))/d(state), one sequence at a time."""
    names, parameters = layer.equations.states, {k: v.detach() for k, v in layer.cell_parameters().items()}
    blocks: dict[tuple[str, str], list[torch.Tensor]] = {}
    for index in range(len(x)):

        def run(*parts: torch.Tensor, index: int = index):
            for t in range(x.shape[1]):
                _, parts, _ = reference.step(layer.equations, parameters, x[index : index + 1, t], parts)
            return parts

        found = torch.autograd.functional.jacobian(run, tuple(part[index : index + 1] for part in state))
        for row, column in itertools.product(range(len(names)), repeat=2):
            blocks.setdefault((names[row], names[column]), []).append(found[row][column][0, :, 0])
    return {key: torch.stack(value) for key, value in blocks.items()}


@every_cell
@pytest.mark.parametrize("batch", [1, 5])
def test_step_jacobian_is_that_of_autograd(equations: Equations, batch: int) -> None:
    layer, x, state = drawn(equations, batch, 1, 3, 4, seed=batch)
    blocks, expected = step_jacobian(layer, x[:, 0], state), by_autograd(layer, x, state)
    assert list(blocks) == [*itertools.product(equations.states, repeat=2)]
    for key, block in blocks.items():
        assert block.shape == (batch, 4, 4)
        assert not block.requires_grad
        close(block, expected[key])


@settings(max_examples=20)
@given(
    st.sampled_from(CELLS),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 100),
)
def test_step_jacobian_of_any_size(equations: Equations, batch: int, inputs: int, hidden: int, seed: int) -> None:
    layer, x, state = drawn(equations, batch, 1, inputs, hidden, seed)
    expected = by_autograd(layer, x, state)
    for key, block in step_jacobian(layer, x[:, 0], state).items():
        close(block, expected[key])


@every_cell
def test_gradient_flow_is_the_norm_of_the_product_of_jacobians(equations: Equations) -> None:
    steps = 6
    layer, x, state = drawn(equations, 2, steps, 3, 4, seed=3)
    flow, names = gradient_flow(layer, x, state), equations.states
    assert flow.states == names
    assert flow.spectral.shape == flow.frobenius.shape == (2, steps + 1)
    assert flow.steps.shape == (2, steps)
    assert list(flow.parts) == [*itertools.product(names, repeat=2)]
    at_k = state
    for k in range(steps + 1):
        blocks = by_autograd(layer, x[:, k:], at_k)
        whole = torch.cat([torch.cat([blocks[row, column] for column in names], -1) for row in names], -2)
        values = torch.linalg.svdvals(whole)
        close(flow.spectral[:, k], values[:, 0])
        close(flow.frobenius[:, k], values.square().sum(-1).sqrt())
        for key, block in blocks.items():
            close(flow.parts[key][:, k], torch.linalg.svdvals(block)[:, 0])
        if k < steps:
            alone = gradient_flow(layer, x[:, k : k + 1], at_k)
            close(flow.steps[:, k], alone.spectral[:, 0])
            at_k = after(layer, x[:, k], at_k)
    bounds = flow.steps.flip(1).cumprod(1).flip(1)
    assert (flow.spectral[:, :-1] <= bounds * (1 + 1e-9)).all()
    close(flow.spectral[:, -1], torch.ones(2, dtype=torch.float64))


def test_gradient_flow_is_computed_in_float64_and_from_an_empty_state() -> None:
    layer, x, _ = drawn(find_cell("rnn-sigmoid"), 1, 63, 3, 4, seed=1)
    expected = gradient_flow(layer, x)
    flow = gradient_flow(layer.float(), x.float(), layer.initial_state(1))
    assert flow.spectral.dtype == torch.float64
    assert 0 < flow.spectral[0, 0] < torch.finfo(torch.float32).tiny
    torch.testing.assert_close(flow.spectral.log(), expected.spectral.log(), rtol=1e-3, atol=1e-3)
    assert (flow.spectral <= flow.frobenius * (1 + 1e-9)).all()


def test_gradient_flow_says_nan_where_the_product_left_float64() -> None:
    layer = RecurrentLayer(find_cell("rnn-relu"), 1, 2).double()
    with torch.no_grad():
        layer.U["h"].copy_(1e100 * torch.eye(2, dtype=torch.float64))
    state = (torch.full((1, 2), 1e-300, dtype=torch.float64),)
    flow = gradient_flow(layer, torch.zeros(1, 5, 1, dtype=torch.float64), state)
    assert flow.spectral.isnan().tolist() == [[True, True, False, False, False, False]]
    assert flow.spectral[0, 2:].tolist() == pytest.approx([1e300, 1e200, 1e100, 1])
    assert flow.frobenius[0, 2:].tolist() == pytest.approx([2**0.5 * 10**power for power in (300, 200, 100, 0)])


@every_cell
@pytest.mark.parametrize(("steps", "at"), [(1, 0), (2, -1), (7, -1), (7, 3)])
def test_the_terms_add_up_to_the_gradient(equations: Equations, steps: int, at: int) -> None:
    layer, x, state = drawn(equations, 3, steps, 3, 4, seed=5)
    arriving = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    found = bptt_terms(layer, x, state, arriving, step=at)
    parameters, held = layer.cell_parameters(), tuple(part.requires_grad_() for part in state)
    loss = (reference.unroll(equations, parameters, x, held)[0][:, at] * arriving).sum()
    wanted = list(parameters.values())
    # A parameter that only later outputs depend on has a gradient of zero. (The state: some cells have no parameters.)
    gradients = torch.autograd.grad(loss, [*wanted, *held], allow_unused=True, materialize_grads=True)
    expected = dict(zip(parameters, gradients, strict=False))
    assert list(found.terms) == list(parameters)
    kept = at % steps + 1
    for name, total in found.gradient().items():
        assert found.terms[name].shape == (kept, *parameters[name].shape)
        assert found.norms()[name].tolist() == pytest.approx([float(term.norm()) for term in found.terms[name]])
        close(total, expected[name])


@every_cell
def test_a_term_is_the_immediate_derivative_carried_through_jacobians(equations: Equations) -> None:
    """Equation 4 of Pascanu et al. to the letter: with Jacobians as matrices and the state before each step held."""
    steps = 5
    layer, x, state = drawn(equations, 2, steps, 3, 4, seed=7)
    names, parameters = equations.states, layer.cell_parameters()
    arriving = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = bptt_terms(layer, x, state, arriving)
    befores = [state]
    for t in range(steps - 1):
        befores.append(after(layer, x[:, t], befores[-1]))

    def pulled(k: int, of_output: torch.Tensor | None, of_states: dict[str, torch.Tensor]):
        """Gradients of ⟨output, of_output⟩ + Σ ⟨state, of it⟩ after step k, the state before it held."""
        held = tuple(part.clone().requires_grad_() for part in befores[k])
        y, states, _ = reference.step(equations, parameters, x[:, k], held)
        total = sum((part * of_states[name]).sum() for name, part in zip(names, states, strict=True))
        total = total if of_output is None else total + (y * of_output).sum()
        wanted = (*held, *parameters.values())
        got = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
        return dict(zip(names, got, strict=False)), dict(zip(parameters, got[len(held) :], strict=True))

    carried, immediate = pulled(steps - 1, arriving, {name: torch.zeros(2, 4) for name in names})
    for name, term in immediate.items():
        close(found.terms[name][-1], term)
    for k in reversed(range(steps - 1)):
        for name in names:
            close(found.adjoints[name][k], carried[name])
        for name, term in pulled(k, None, carried)[1].items():
            close(found.terms[name][k], term)
        blocks = step_jacobian(layer, x[:, k], befores[k])
        carried = {
            name: sum(torch.einsum("bi,bij->bj", carried[other], blocks[other, name]) for other in names)
            for name in names
        }


def test_what_comes_after_the_loss_does_not_count() -> None:
    layer, x, state = drawn(find_cell("gru"), 2, 6, 3, 4, seed=2)
    arriving = torch.ones(2, 4, dtype=torch.float64)
    found, other = bptt_terms(layer, x, state, arriving, step=2), x.clone()
    other[:, 3:] = torch.nan
    for name, term in bptt_terms(layer, other, state, arriving, step=2).terms.items():
        close(term, found.terms[name])


def test_the_layer_is_left_as_it_was() -> None:
    layer, x, state = drawn(find_cell("lstm"), 2, 3, 3, 4, seed=2)
    x.requires_grad_()
    step_jacobian(layer, x[:, 0], state)
    flow = gradient_flow(layer, x, state)
    found = bptt_terms(layer, x, state, torch.ones(2, 4, dtype=torch.float64))
    assert all(parameter.grad is None for parameter in layer.parameters())
    assert not any(term.requires_grad for term in (*found.terms.values(), *found.adjoints.values(), flow.spectral))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda layer, x, state: step_jacobian(layer, x, state),
            r"x does not fit.*\(2, 3\).*got: \(2, 5, 3\)",
        ),
        (lambda layer, x, state: step_jacobian(layer, x[:, 0], state[:1]), r"state does not fit.*expected: 2: h, c"),
        (lambda layer, x, state: gradient_flow(layer, x[0], state), r"expected: \(B, T, 3\)"),
        (lambda layer, x, state: gradient_flow(layer, x[:, :0], state), r"T at least 1"),
        (lambda layer, x, state: gradient_flow(layer, x, (state[0], state[1][:1])), r"state c does not fit"),
        (lambda layer, x, state: bptt_terms(layer, x, None, state[0][0]), r"output_gradient does not fit"),
        (lambda layer, x, state: bptt_terms(layer, x, state, state[0], step=5), r"no step 5.*expected: 0 to 4"),
        (lambda layer, x, state: bptt_terms(layer, x, state, state[0], step=-6), r"no step -6"),
    ],
)
def test_shapes_that_do_not_fit(call, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s){message}"):
        call(*drawn(find_cell("lstm"), 2, 5, 3, 4, seed=2))
