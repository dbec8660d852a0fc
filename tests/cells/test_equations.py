"""Writing a cell: what tracing makes of its equations, and what it says of equations that are wrong."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
import sympy
import torch

from unrolled.cells import BUILTIN, U, V, W, b, cell, find_cell, maximum, p, relu, sigmoid, sqrt, tanh
from unrolled.errors import CellError

HERE = __file__


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
    ],
)
def test_every_built_in_cell(name: str, states: tuple[str, ...], parameters: int) -> None:
    equations = find_cell(name)
    assert equations.name == name
    assert equations.states == states
    assert sum(math.prod(equations.shape(parameter, 3, 4)) for parameter in equations.parameters) == parameters
    assert equations.doc.endswith(".")


def test_the_list_of_built_in_cells_is_whole() -> None:
    assert len(BUILTIN) == 9


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


def unknown_of_math(x, h):
    return math.tanh(h)


def unknown_of_numpy(x, h):
    return np.tanh(h)


def unknown_of_scipy(x, h):
    return scipy.special.expit(h)


def unknown_of_sympy(x, h):
    return sympy.tanh(h)


def unknown_of_torch(x, h):
    return torch.sigmoid(h)


def unknown_of_torch_functional(x, h):
    return torch.nn.functional.softplus(h)


def torch_tensor(x, h):
    return torch.ones(3) * h


def numpy_matrix(x, h):
    return np.eye(3) @ h


def numpy_array(x, h):
    return h * np.ones(3)


def unknown_name(x, h):
    return tahn(h)  # noqa: F821


def not_imported(x, h):
    return softplus(h)  # noqa: F821


def hidden_family(x, h):
    p = sigmoid(p.h * h)  # noqa: F823
    return p * h


def index(x, h):
    return h[0] * h


def slice_of(x, h):
    return h[1:] + h


def sum_of(x, h):
    return sum(h) * h


def method(x, h):
    return h.mean() * h


def length(x, h):
    return h / len(h)


def numpy_sum(x, h):
    return np.sum(h) * h


def two_values(x, h):
    return h @ h


def product_from_the_right(x, h):
    return h @ W.h


def scaled_matrix(x, h):
    return (2 * W.h) @ x + h


def matrix_without_name(x, h):
    return W @ x + h


def family_alone(x, h):
    return W * h


def family_added(x, h):
    return h + b


def number_mapped(x, h):
    return W.h @ 1.0 + h


def branch(x, h):
    if h > 0:
        h = W.h @ x
    return h


def branch_on_equality(x, h):
    if h == 0:
        h = W.h @ x
    return h


def branch_on_difference(x, h):
    return h if h != x else x


def branch_on_truth(x, h):
    return h or W.h @ x


def conditional_maximum(x, h):
    return max(h, W.h @ x)


def power_of_a_value(x, h):
    return h**h


def power_of_a_number(x, h):
    return 2**h


def text(x, h):
    return h * "2"


def truth(x, h):
    return h * True


def nothing(x, h):
    tanh(W.h @ x)


def too_few(x, h, c):
    return tanh(W.h @ x + c + h)


def too_many(x, h):
    return h, W.h @ x


def a_list(x, h, c):
    return [h, c]


def a_number(x, h):
    return 1.0


def a_folded_number(x, h):
    return sqrt(2.0)


def output_of_wrong_type(x, h):
    return 3, (h,)


def no_state(x):
    return tanh(W.h @ x)


def no_argument():
    return W.h


def any_number_of_states(x, *states):
    return states


def infinite(x, h):
    return h * math.inf


def not_a_number(x, h):
    return math.nan + h


def by_zero(x, h):
    return (W.h @ x + h) / 0


def by_zero_of_numbers(x, h):
    return h * relu(1.0) / relu(-1.0)


def root_of_minus_one(x, h):
    return h * sqrt(-1.0)


def raises(x, h):
    raise ValueError("no luck")


def no_such_attribute(x, h):
    return h * math.sigmoid(1.0)


def matrix_and_vector(x, h):
    return W.h @ x + W.h * h


def matrix_of_two_shapes(x, h):
    return tanh(W.h @ x + W.h @ h)


UNKNOWN = "an unknown function was applied to a value"
MIXES = "mixes units"
TRUE = "an equation cannot depend on whether a value is true"
RETURNS = "a cell returns its states after the step"


@pytest.mark.parametrize(
    ("function", "problem", "detail"),
    [
        (unknown_of_math, UNKNOWN, "math"),
        (unknown_of_numpy, UNKNOWN, "numpy.tanh"),
        (unknown_of_scipy, UNKNOWN, "numpy.expit"),
        (unknown_of_sympy, UNKNOWN, "a function of SymPy"),
        (unknown_of_torch, UNKNOWN, "torch.sigmoid"),
        (unknown_of_torch_functional, UNKNOWN, "torch.softplus"),
        (torch_tensor, UNKNOWN, "torch.mul"),
        (numpy_matrix, UNKNOWN, "numpy.matmul"),
        (numpy_array, "an equation holds something that is not a value", "ndarray"),
        (unknown_name, "the equations use an unknown name, 'tahn'", "did you mean 'tanh'?"),
        (not_imported, "softplus is used and not imported", "write `from unrolled.cells import softplus`"),
        (hidden_family, "a value is used before it is computed", "variable 'p'"),
        (index, f"indexing a value {MIXES}", "only a linear map such as `U.i @ h`"),
        (slice_of, f"indexing a value {MIXES}", "belong in a layer around the cell"),
        (sum_of, f"going through the units of a value {MIXES}", "belong in a layer"),
        (method, f"`.mean` of a value {MIXES}", "belong in a layer"),
        (length, f"asking how many units a value has {MIXES}", "belong in a layer"),
        (numpy_sum, f"`.sum` of a value {MIXES}", "belong in a layer"),
        (two_values, "`@` mixes the units of two values", "`W.i @ x`"),
        (product_from_the_right, "`@` mixes the units of two values", "on its left"),
        (scaled_matrix, "`@` mixes the units of two values", "on its left"),
        (matrix_without_name, "`W @ ...` has no name for its matrix", "`W.h @ ...`"),
        (family_alone, "`W` stands alone", "`W.h`"),
        (family_added, "`b` stands alone", "`b.h`"),
        (number_mapped, "W.h is applied to a number", "values of units"),
        (branch, TRUE, "use `maximum`, `minimum` or `relu`"),
        (branch_on_equality, TRUE, "use `maximum`"),
        (branch_on_difference, TRUE, "use `maximum`"),
        (branch_on_truth, TRUE, "use `maximum`"),
        (conditional_maximum, TRUE, "use `maximum`"),
        (power_of_a_value, "a power needs a number as its exponent", "value ** 2"),
        (power_of_a_number, "a power needs a number as its exponent", "use `exp`"),
        (text, "an equation holds something that is not a value", "str: '2'"),
        (truth, "an equation holds something that is not a value", "bool: True"),
        (nothing, RETURNS, "1 of type NoneType"),
        (too_few, RETURNS, "expected: h, c, or `output, (h, c,)`"),
        (too_many, RETURNS, "2 of type Value"),
        (a_list, RETURNS, "1 of type list"),
        (a_number, RETURNS, "1 of type float"),
        (a_folded_number, "a cell returns a plain number", ""),
        (output_of_wrong_type, "a cell's output is a value", "int"),
        (no_state, "a cell needs an input and at least one state", "1 arguments"),
        (no_argument, "a cell needs an input and at least one state", "0 arguments"),
        (any_number_of_states, "a cell's arguments are its input and its states by name", "x, states"),
        (infinite, "a number in the equations is not finite", "inf"),
        (not_a_number, "a number in the equations is not finite", "nan"),
        (by_zero, "the equations divide by zero", ""),
        (by_zero_of_numbers, "the equations divide by zero", ""),
        (root_of_minus_one, "the equations raised ValueError", ""),
        (raises, "the equations raised ValueError: no luck", ""),
        (no_such_attribute, "the equations raised AttributeError", "has no attribute 'sigmoid'"),
        (matrix_and_vector, "W.h is a matrix in one equation and a vector in another", "another name"),
        (matrix_of_two_shapes, "W.h is applied to the input and to a state", "give each its own matrix"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_wrong_with_a_cell(function: Callable[..., Any], problem: str, detail: str) -> None:
    with pytest.raises(CellError) as caught:
        cell(function)
    assert problem in caught.value.problem
    assert detail in str(caught.value)
    file, _, rest = str(caught.value.where).rpartition(":")
    line, _, name = rest.partition(", cell ")
    assert file == HERE
    first = function.__code__.co_firstlineno
    assert first <= int(line) <= max(place for *_, place in function.__code__.co_lines() if place)
    assert name == function.__name__.replace("_", "-")


@pytest.mark.parametrize(
    ("init", "problem", "detail"),
    [
        ({"b.g": 1.0}, "init names an unknown parameter, 'b.g'", "did you mean 'b.h'?"),
        ({"V": 1.0}, "init names an unknown parameter, 'V'", "choose one of"),
        ({"U": "orthogonl"}, "init of U is an unknown initialiser, 'orthogonl'", "did you mean 'orthogonal'?"),
        ({"b.h": math.nan}, "init of b.h is neither a number nor the name of an initialiser", "nan"),
        ({"b.h": None}, "init of b.h is neither a number nor the name of an initialiser", "None"),
    ],
)
def test_what_is_wrong_with_a_start(init: Any, problem: str, detail: str) -> None:
    with pytest.raises(CellError) as caught:

        @cell(init=init)
        def started(x, h):
            return tanh(W.h @ x + U.h @ h + b.h)

    assert caught.value.problem == problem
    assert detail in str(caught.value)
    assert HERE in str(caught.value.where)


@pytest.mark.parametrize("given", [3, "lstm", torch.tanh, len])
def test_only_a_function_is_a_cell(given: Any) -> None:
    with pytest.raises(CellError, match="`@cell` stands above a function"):
        cell(given)


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
