"""Cells that are wrong: every message, with the line it is about."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
import torch

from unrolled.cells import U, W, b, cell, p, relu, sigmoid, sqrt, tanh
from unrolled.errors import CellError

HERE = __file__


def unknown_of_math(x, h):
    return math.tanh(h)


def unknown_of_numpy(x, h):
    return np.tanh(h)


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
