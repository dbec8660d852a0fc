"""Equations nobody wrote: the derived gradient equals autograd through the reference, whatever the expressions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import (
    Equations,
    Parameters,
    U,
    W,
    absolute,
    as_latex,
    as_text,
    b,
    cell,
    cos,
    exp,
    log,
    maximum,
    minimum,
    p,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    tanh,
)
from unrolled.kernels import unroll

# Each operation where it is defined, its kinks away from where algebra could put two values exactly.
ONE: dict[str, Callable[[Any], Any]] = {
    "neg": lambda v: -v,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": lambda v: relu(v + 0.1371),
    "softplus": softplus,
    "exp": lambda v: exp(-softplus(v)),
    "log": lambda v: log(softplus(v) + 0.3),
    "sqrt": lambda v: sqrt(v**2 + 0.2),
    "sin": sin,
    "cos": cos,
    "absolute": lambda v: absolute(v - 0.0713),
    "square": lambda v: v**2,
    "cube": lambda v: tanh(v) ** 3,
    "root": lambda v: (v * v + 0.4) ** 0.5,
    "power": lambda v: (sigmoid(v) + 0.5) ** -1.5,
    "inverse": lambda v: (sigmoid(v) + 0.5) ** -1,
    "twice": lambda v: 2 * v,
    "less": lambda v: 1 - v,
    "shift": lambda v: v - 0.25,
    "reciprocal": lambda v: 0.5 / (1.5 + sin(v)),
}
TWO: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda u, v: u + v,
    "sub": lambda u, v: u - v,
    "mul": lambda u, v: u * v,
    "div": lambda u, v: u / (1.2 + cos(v)),
    "maximum": lambda u, v: maximum(u, 0.53 * v + 0.211),
    "minimum": lambda u, v: minimum(0.47 * u - 0.119, v),
}
M = Parameters("M")


@st.composite
def random_equations(draw: st.DrawFn) -> Equations:
    """A cell of two states whose equations are a drawn tree over the operations, with maps in between."""
    raw, explicit = draw(st.booleans()), draw(st.booleans())
    steps = draw(st.lists(st.sampled_from([*ONE, *TWO, "map"]), min_size=3, max_size=14))
    picks = [(draw(st.integers(0, 99)), draw(st.integers(0, 99))) for _ in steps]
    last = [draw(st.integers(0, 99)) for _ in range(3)]

    @cell(name="random")
    def made(x, h, c):
        values = [h, c, W.a @ x, W.b @ tanh(x), U.a @ h, U.b @ c, b.a, p.a]
        values += [x] if raw else []
        for place, (step, (first, second)) in enumerate(zip(steps, picks, strict=True)):
            # The newest values are the likeliest, so that expressions grow deep.
            left, right = values[-1 - first % len(values)], values[-1 - second % min(4, len(values))]
            if step == "map" and left is not x:
                values.append(tanh(getattr(M, f"m{place}") @ left))
            elif step in TWO:
                values.append(TWO[step](left, right))
            else:
                values.append(ONE.get(step, tanh)(left))
        y, h, c = (tanh(values[-1 - pick % min(6, len(values))]) + 0.01 * h for pick in last)
        return (y, (h, c)) if explicit else (h, c)

    return made


@settings(max_examples=120)
@given(random_equations(), st.integers(0, 1000))
def test_the_derived_gradient_of_random_equations_is_that_of_autograd(equations: Equations, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    units = 3
    parameters = {name: draw(*equations.shape(name, units, units)) for name in equations.parameters}
    x, state = draw(2, 3, units), (draw(2, units), draw(2, units))
    leaves = [x, *state, *parameters.values()]
    found: list[list[torch.Tensor]] = []
    for kernel in ("staged", "reference"):
        y, after = unroll(equations, parameters, x, state, kernel=kernel)
        total = (y * y.cos()).sum() + sum(part.exp().sum() for part in after)
        slopes = torch.autograd.grad(total, leaves, materialize_grads=True, allow_unused=True)
        found.append([y.detach(), *(part.detach() for part in after), *slopes])
    for mine, wanted in zip(*found, strict=True):
        assert torch.isfinite(wanted).all()
        torch.testing.assert_close(mine, wanted, rtol=1e-8, atol=1e-8 * (1 + float(wanted.abs().max())))


@settings(max_examples=60)
@given(random_equations())
def test_random_equations_are_the_same_from_disk_and_can_be_printed(equations: Equations) -> None:
    again = Equations.from_json(json.loads(json.dumps(equations.to_json())))
    assert again == equations
    assert hash(again) == hash(equations)
    assert (again.parameters, again.uses_raw_input) == (equations.parameters, equations.uses_raw_input)
    assert len(as_text(again)) >= len(equations.states)
    assert as_latex(again).count("{") == as_latex(again).count("}")
