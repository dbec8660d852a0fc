"""Writing a cell: what tracing makes of its equations."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from unrolled.cells import BUILTIN, U, V, W, b, cell, find_cell, maximum, p, relu, sigmoid, sqrt, tanh
from unrolled.errors import CellError


def test_a_cell_is_data() -> None:
    lstm = find_cell("lstm")
    assert (lstm.name, lstm.input, lstm.states) == ("lstm", "x", ("h", "c"))
    assert "Hochreiter & Schmidhuber 1997" in lstm.doc
    assert [name for name, _ in lstm.names] == ["i", "f", "o", "g", "h", "c"]
    assert lstm.next_states[0] == lstm.output == dict(lstm.names)["h"]
    assert dict(lstm.init) == {"b.f": 1.0}
    assert list(lstm.parameters) == [f"{family}.{gate}" for gate in "ifog" for family in "WUb"]
    assert [lstm.shape(name, 3, 4) for name in ("W.i", "U.i", "b.i")] == [(4, 3), (4, 4), (4,)]
    assert not lstm.uses_raw_input


@pytest.mark.parametrize(
    ("name", "states", "parameters"),
    [
        ("rnn", ("h",), 4 * 4 + 4 * 3 + 4),
        ("rnn-relu", ("h",), 4 * 4 + 4 * 3 + 4),
        ("rnn-sigmoid", ("h",), 4 * 4 + 4 * 3 + 4),
        ("lstm", ("h", "c"), 4 * (4 * 4 + 4 * 3 + 4)),
        ("lstm-1997", ("h", "c"), 3 * (4 * 4 + 4 * 3 + 4)),
        ("lstm-peephole", ("h", "c"), 4 * (4 * 4 + 4 * 3 + 4) + 3 * 4),
        ("lstm-coupled", ("h", "c"), 3 * (4 * 4 + 4 * 3 + 4)),
        ("gru", ("h",), 3 * (4 * 4 + 4 * 3 + 4) + 4),
        ("gru-reset-before", ("h",), 3 * (4 * 4 + 4 * 3 + 4)),
        ("mingru", ("h",), 2 * (4 * 3 + 4)),
        ("mingru-positive", ("h",), 2 * (4 * 3 + 4)),
        ("minlstm", ("h",), 3 * (4 * 3 + 4)),
        ("minlstm-positive", ("h",), 3 * (4 * 3 + 4)),
        ("lru", ("re", "im"), 2 * 4 * 3 + 3 * 4),
        ("sru", ("c",), 3 * 4 * 3 + 4 * 4),
        ("qrnn", ("c",), 3 * (4 * 3 + 4)),
        ("qrnn-ifo", ("c",), 4 * (4 * 3 + 4)),
        ("indrnn", ("h",), 4 * 3 + 2 * 4),
    ],
)
def test_every_built_in_cell(name: str, states: tuple[str, ...], parameters: int) -> None:
    equations = find_cell(name)
    assert equations.name == name
    assert equations.states == states
    assert sum(math.prod(equations.shape(parameter, 3, 4)) for parameter in equations.parameters) == parameters
    assert equations.doc.endswith(".")


def test_the_list_of_built_in_cells_is_whole() -> None:
    assert len(BUILTIN) == 18


def test_a_name_and_a_start_can_be_given() -> None:
    @cell(name="my-own", init={"U": "orthogonal", "b.h": -1})
    def something(x, h):
        return tanh(W.h @ x + U.h @ h + b.h)

    assert (something.name, dict(something.init)) == ("my-own", {"U": "orthogonal", "b.h": -1})

    @cell
    def with_underscores(x, h):
        return tanh(W.h @ x + U.h @ h)

    assert with_underscores.name == "with-underscores"


def test_an_output_that_is_no_state() -> None:
    @cell
    def plain(x, c):
        c = sigmoid(W.f @ x) * c
        return relu(c), (c,)

    assert plain.output not in plain.next_states
    assert plain.nodes[plain.output].op == "relu"


def test_equal_expressions_are_one_node() -> None:
    @cell
    def twice(x, h):
        return tanh(W.h @ x + U.h @ h) * tanh(W.h @ x + U.h @ h)

    assert [node.op for node in twice.nodes].count("tanh") == 1


def test_arithmetic_on_numbers_is_done_at_once() -> None:
    @cell
    def numbers(x, h):
        half = sigmoid(0.0)
        return sqrt(2.0) * half * (W.h @ x) + np.sqrt(2.0) * h - maximum(1, 2) / np.float32(4) * relu(-3.0)

    found = {node.number for node in numbers.nodes if node.op == "constant"}
    assert found == {math.sqrt(2) * 0.5, math.sqrt(2), 0.0}
    assert "half" not in dict(numbers.names)


def test_numpy_numbers_on_the_left() -> None:
    @cell
    def numbers(x, h):
        return (np.float64(2) + h) / (np.float64(3) - (np.float64(4) / (np.float64(5) * (W.h @ x))))

    ops = [node.op for node in numbers.nodes if node.op in ("add", "sub", "mul", "div")]
    assert ops == ["add", "mul", "div", "sub", "div"]


def test_a_long_loop_of_equations_is_traced() -> None:
    @cell
    def loop(x, h):
        for _ in range(3000):
            h = h + 0.001 * (W.h @ x)
        return h

    assert len(loop.nodes) > 3000


def test_tracing_leaves_the_profiler_alone() -> None:
    seen: list[str] = []

    def profiler(frame: object, event: str, argument: object) -> None:
        seen.append(event)

    before = sys.getprofile()
    sys.setprofile(profiler)
    try:

        @cell
        def one(x, h):
            return W.h @ x + h

        with pytest.raises(CellError):

            @cell
            def other(x, h):
                return nowhere(h)  # noqa: F821

        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(before)


def test_the_input_unit_by_unit_needs_as_many_units() -> None:
    @cell
    def raw(x, c):
        f = sigmoid(W.f @ x)
        c = f * c + (1 - f) * x
        return c

    raw.check_sizes(4, 4)
    with pytest.raises(CellError) as caught:
        raw.check_sizes(3, 4)
    assert caught.value.problem == "the equations use x unit by unit together with c, which mixes units"
    assert caught.value.got == "3 inputs and 4 hidden units"
    assert caught.value.fix == "give the two the same size, or write W.h @ x"


def test_the_input_alone_or_with_numbers_may_have_its_own_size() -> None:
    @cell
    def own(x, h):
        u = 2 * tanh(x) * x + 1
        return tanh(W.h @ u + V.h @ x + U.h @ h)

    own.check_sizes(3, 4)
    assert own.shape("W.h", 3, 4) == (4, 3)

    @cell
    def returned(x, h):
        return h, (tanh(x),)

    @cell
    def with_a_vector(x, h):
        return tanh(W.h @ (p.x * x) + U.h @ h)

    assert (own.uses_raw_input, returned.uses_raw_input, with_a_vector.uses_raw_input) == (False, True, True)


def test_symbols_raise_when_asked_for_what_they_are_not() -> None:
    with pytest.raises(AttributeError):
        W._private  # noqa: B018
    with pytest.raises(AttributeError):
        W.h._private  # noqa: B018
