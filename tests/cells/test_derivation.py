"""What follows from equations: stages, programs, linearity, and that none of it grows out of bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.cells import (
    BUILTIN,
    Equations,
    U,
    W,
    absolute,
    b,
    cell,
    exp,
    find_cell,
    maximum,
    p,
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
)
from unrolled.cells.derivation import Program, derive, leaf_name

FILE = Path(__file__).parents[1] / "example_cells.py"


def stages(name: str) -> list[tuple[int, list[str]]]:
    return [(product.level, list(product.weights)) for product in derive(find_cell(name)).products]


def test_maps_of_the_input_are_hoisted_and_those_of_the_state_are_one_product() -> None:
    assert stages("rnn") == [(0, ["W.h"]), (1, ["U.h"])]
    assert stages("lstm") == [(0, ["W.i", "W.f", "W.o", "W.g"]), (1, ["U.i", "U.f", "U.o", "U.g"])]
    assert stages("gru") == [(0, ["W.r", "W.z", "W.n"]), (1, ["U.r", "U.z", "U.n"])]


def test_a_map_of_a_computed_value_is_a_second_stage() -> None:
    assert stages("gru-reset-before") == [(0, ["W.r", "W.z", "W.n"]), (1, ["U.r", "U.z"]), (2, ["U.n"])]


def test_maps_of_maps_gates_and_parameters() -> None:
    assert stages(f"{FILE}:four_stages") == [
        (0, ["W.v"]),
        (0, ["W.u"]),
        (0, ["U.p"]),
        (0, ["U.p"]),
        (1, ["U.b"]),
        (1, ["V.k", "U.b"]),
        (1, ["U.d"]),
        (2, ["U.a"]),
        (3, ["U.c"]),
        (4, ["U.e"]),
    ]
    derivation = derive(find_cell(f"{FILE}:four_stages"))
    assert derivation.hoisted + derivation.recurrent == derivation.products


def test_a_cell_without_maps_of_its_state_hoists_everything() -> None:
    for name in ("min_gru", "sru", "lru"):
        derivation = derive(find_cell(f"{FILE}:{name}"))
        assert derivation.recurrent == ()
        assert derivation.hoisted == derivation.products


def test_results_and_the_place_of_the_output() -> None:
    lstm, sru = derive(find_cell("lstm")), derive(find_cell(f"{FILE}:sru"))
    assert (lstm.output_state, [name for name, _ in lstm.results]) == (0, ["next h", "next c"])
    assert (sru.output_state, [name for name, _ in sru.results]) == (None, ["next c", "output"])
    assert lstm.results[1][1] == dict(lstm.equations.names)["c"]


def check(program: Program) -> None:
    """Every name is there before it is used, computed once, and used."""
    known = set(program.inputs)
    used = {held for _, held in program.outputs}
    for instruction in program.instructions:
        assert instruction.target not in known
        assert {name for name in instruction.args if isinstance(name, str)} <= known
        assert any(isinstance(name, str) for name in instruction.args)
        known.add(instruction.target)
        used |= set(instruction.args)
    assert {name for _, name in program.outputs if isinstance(name, str)} <= known
    assert {instruction.target for instruction in program.instructions} <= used
    assert len({(each.op, each.args) for each in program.instructions}) == len(program.instructions)


@pytest.mark.parametrize("name", [*BUILTIN, *(f"{FILE}:{name}" for name in ("four_stages", "every_function", "delay"))])
def test_programs_are_straight_lines(name: str) -> None:
    equations = find_cell(name)
    derivation = derive(equations)
    adjoints = derivation.argument_adjoints
    for program in (derivation.output_program, derivation.output_adjoint, *derivation.argument_programs.values()):
        check(program)
    for product, program in adjoints.items():
        check(program)
        assert derivation.argument_adjoint(product) is program
    leaves = {leaf_name(equations, index) for index in range(len(equations.nodes)) if derivation.is_leaf(index)}
    assert set(derivation.output_program.inputs) <= leaves
    assert set(derivation.output_adjoint.inputs) - leaves <= {f"d {name}" for name, _ in derivation.results}
    assert {name for name, _ in derivation.output_adjoint.outputs} <= {f"d {leaf}" for leaf in leaves}


@pytest.mark.parametrize("name", ["argument", "output", "t0", "v0", *(f"v{index}" for index in range(30))])
def test_no_name_of_a_state_meets_one_of_the_derivation(name: str) -> None:
    value = find_cell("lstm").to_json()
    value["states"][1] = name
    for node in value["nodes"]:
        if node["op"] == "state" and node["name"] == "c":
            node["name"] = name
    found, wanted = derive(Equations.from_json(value)).output_adjoint, derive(find_cell("lstm")).output_adjoint
    assert len(found.instructions) == len(wanted.instructions)
    assert {name, f"d next {name}"} <= set(found.inputs)
    assert [result for result, _ in found.outputs if result == f"d {name}"]
    check(found)


def test_the_derivation_is_made_once() -> None:
    assert derive(find_cell("lstm")) is derive(Equations.from_json(find_cell("lstm").to_json()))


def test_the_derivative_of_the_lstm_shares_what_it_can() -> None:
    """Four gates and two tanh forward; backward about three operations a gate more."""
    derivation = derive(find_cell("lstm"))
    assert len(derivation.output_program.instructions) <= 17
    assert len(derivation.output_adjoint.instructions) <= 38


def test_equations_in_a_loop_do_not_double_with_every_turn() -> None:
    @cell
    def loop(x, h):
        drive = W.h @ x
        for _ in range(40):
            h = h + 0.1 * (tanh(p.h * h * h + drive) - h)
        return h

    assert len(derive(loop).output_program.instructions) < 40 * 9
    assert len(derive(loop).output_adjoint.instructions) < 40 * 30

    @cell
    def doubling(x, h):
        for _ in range(200):
            h = h * h + h
        return h + W.h @ x

    assert len(derive(doubling).output_adjoint.instructions) < 200 * 8
    assert not derive(doubling).is_linear_in_state


def test_equations_of_any_depth_are_derived() -> None:
    @cell
    def deep(x, h):
        h = W.h @ x + h
        for _ in range(700):
            h = tanh(h)
        return h

    assert len(derive(deep).output_program.instructions) == 701


PROGRAMS = """
import hashlib
from unrolled.cells import BUILTIN, find_cell
from unrolled.cells.derivation import derive
for name in (*BUILTIN, {file!r} + ":every_function"):
    it = derive(find_cell(name))
    print(it.output_program, it.output_adjoint, it.argument_programs, it.argument_adjoints)
"""


def test_programs_are_the_same_in_every_process() -> None:
    """A resumed run derives again; one sum in another order and its bits would differ."""
    source = PROGRAMS.format(file=str(FILE))
    printed = [
        subprocess.run(
            [sys.executable, "-c", source],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1]
    assert len(printed[0]) > 1000


@cell
def scaled(x, h):
    return -(W.a @ x) * h / exp(W.b @ x) + sqrt(softplus(p.h)) - (h - b.h) / 2


@cell
def crossed(x, h, c):
    return h * sigmoid(W.f @ x) - c, c + 2 * h + tanh(x)


@cell
def without_state(x, h):
    return tanh(W.h @ x)


@cell
def linear_with_another_output(x, c):
    c = sigmoid(W.f @ x) * c + W.c @ x
    return relu(c) * c, (c,)


@cell
def squared(x, h):
    return h * h * (W.h @ x)


@cell
def divided(x, h):
    return (W.h @ x) / h


@cell
def rectified(x, h):
    return relu(h) + W.h @ x


@cell
def gated_by_itself(x, h):
    return sigmoid(p.h * h) * (W.h @ x)


@cell
def products_of_states(x, h, c):
    return h * c + W.h @ x, c


@cell
def power(x, h):
    return h**2 + W.h @ x


@cell
def greatest(x, h):
    return maximum(h, absolute(W.h @ x))


@cell
def mapped(x, h):
    return U.h @ h + W.h @ x


LINEAR = ("mingru", "mingru-positive", "minlstm", "minlstm-positive", "lru", "qrnn", "qrnn-ifo")


@pytest.mark.parametrize(
    ("equations", "linear"),
    [
        (scaled, True),
        (crossed, True),
        (without_state, True),
        (linear_with_another_output, True),
        *((find_cell(f"{FILE}:{name}"), True) for name in ("min_gru", "lru", "average")),
        (squared, False),
        (divided, False),
        (rectified, False),
        (gated_by_itself, False),
        (products_of_states, False),
        (power, False),
        (greatest, False),
        (mapped, False),
        (find_cell(f"{FILE}:sru"), False),
        *((find_cell(name), name in LINEAR) for name in BUILTIN),
    ],
)
def test_linearity_is_seen_in_the_equations(equations: Equations, linear: bool) -> None:
    assert derive(equations).is_linear_in_state is linear
