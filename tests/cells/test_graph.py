"""Equations on disk: the same when read back, every kind of damage an error, and nothing executed."""

from __future__ import annotations

import builtins
import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.cells import BUILTIN, Equations, as_text, find_cell
from unrolled.cells.derivation import derive
from unrolled.errors import CellError

FILE = Path(__file__).parents[1] / "example_cells.py"
NAMES = [*BUILTIN, *(f"{FILE}:{name}" for name in ("four_stages", "sru", "every_function", "inner_loop", "delay"))]
LSTM = find_cell("lstm").to_json()


@pytest.mark.parametrize("name", NAMES)
def test_equations_from_disk_are_the_same(name: str) -> None:
    equations = find_cell(name)
    again = Equations.from_json(json.loads(json.dumps(equations.to_json())))
    assert again == equations
    assert hash(again) == hash(equations)
    assert again.to_json() == equations.to_json()
    assert again.parameters == equations.parameters
    assert as_text(again) == as_text(equations)
    assert derive(again) is derive(equations)


def test_what_is_on_disk_is_plain() -> None:
    assert find_cell("rnn-relu").to_json() == {
        "name": "rnn-relu",
        "doc": find_cell("rnn-relu").doc,
        "input": "x",
        "states": ["h"],
        "nodes": [
            {"op": "input", "name": "x"},
            {"op": "map", "args": [0], "name": "W.h"},
            {"op": "state", "name": "h"},
            {"op": "map", "args": [2], "name": "U.h"},
            {"op": "add", "args": [1, 3]},
            {"op": "parameter", "name": "b.h"},
            {"op": "add", "args": [4, 5]},
            {"op": "relu", "args": [6]},
        ],
        "output": 7,
        "next_states": [7],
        "names": {"h": 7},
        "init": {"U": "orthogonal"},
    }


@pytest.mark.parametrize("value", [None, 3, "lstm", [], [LSTM], True, {}])
def test_something_else_is_no_equations(value: object) -> None:
    with pytest.raises(CellError, match=r"these are not a cell's equations(.|\n)*where: config\.json"):
        Equations.from_json(value, where="config.json")


@pytest.mark.parametrize("key", LSTM)
def test_a_key_is_missing(key: str) -> None:
    with pytest.raises(CellError, match=f"these are not a cell's equations .KeyError: '{key}'"):
        Equations.from_json({name: value for name, value in LSTM.items() if name != key})


@pytest.mark.parametrize("key", LSTM)
@pytest.mark.parametrize("value", [None, True, 1.5, -1, 10**6, "x", ["x"], [[]], [None], {"x": []}, {"x": None}])
def test_a_value_is_of_another_kind(key: str, value: object) -> None:
    if (key, value) in (("name", "x"), ("doc", "x"), ("input", "x")):
        return
    with pytest.raises(CellError):
        Equations.from_json(LSTM | {key: value})


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(CellError, match=r"unknown key 'state'(.|\n)*did you mean 'states'\?"):
        Equations.from_json(LSTM | {"state": []})


def damaged(change: Callable[[dict[str, Any]], object], name: str = "lstm") -> dict[str, Any]:
    value = copy.deepcopy(find_cell(name).to_json())
    change(value)
    return value


def node(index: int, **changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["nodes"][index].update(changes)


def place(op: str) -> int:
    return next(index for index, entry in enumerate(LSTM["nodes"]) if entry["op"] == op)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (node(0, op="exec"), "unknown operation 'exec' in node 0"),
        (node(place("sigmoid"), op="sigmod"), "unknown operation 'sigmod'"),
        (node(0, op="step"), "unknown operation 'step'"),
        (node(0, op=["input"]), "is not str"),
        (node(0, op=None), "is not str"),
        (node(0, code="1"), "a node has code"),
        (node(place("add"), args=[1]), "(add) has wrong arguments"),
        (node(place("add"), args=[1, 2, 3]), "(add) has wrong arguments"),
        (node(place("add"), args=[1, -1]), "(add) has wrong arguments"),
        (node(place("add"), args=[1, place("add")]), "(add) has wrong arguments"),
        (node(place("add"), args=[1, 10**6]), "(add) has wrong arguments"),
        (node(place("add"), args=[1, 1.0]), "is not int"),
        (node(place("add"), args=[1, True]), "is not int"),
        (node(place("add"), args=[1, "2"]), "is not int"),
        (node(place("add"), args="12"), "is not list"),
        (node(place("add"), name="x"), "(add) has a wrong name or number"),
        (node(place("add"), number=2.0), "(add) has a wrong name or number"),
        (node(place("map"), name=""), "(map) has a wrong name or number"),
        (node(place("map"), name="W"), "(map) has a wrong name or number"),
        (node(place("map"), name="W."), "(map) has a wrong name or number"),
        (node(place("map"), name="W.i.j"), "(map) has a wrong name or number"),
        (node(place("map"), name="__import__('os').system('')"), "(map) has a wrong name or number"),
        (node(place("parameter"), name=3), "is not str"),
        (node(place("parameter"), name="W.i"), "W.i is a matrix in one equation and a vector in another"),
        (node(place("state"), name="k"), "(state) has a wrong name or number"),
        (node(place("state"), name="x"), "(state) has a wrong name or number"),
        (node(0, name="h"), "(input) has a wrong name or number"),
        (node(0, number="1"), "is not float"),
        (node(place("sigmoid"), op="constant", args=[], number=math.nan), "a wrong name or number"),
        (node(place("sigmoid"), op="constant", args=[], number=math.inf), "a wrong name or number"),
        (node(place("sigmoid"), op="constant", args=[], number=10**400), "OverflowError"),
        (node(place("sigmoid"), op="constant", args=[], number=1.0), "that could be given a name"),
        (lambda value: value["nodes"].clear(), "no value that could be given a name"),
        (lambda value: value["nodes"].pop(), "no value that could be given a name"),
        (lambda value: value["nodes"].insert(0, 7), "is not dict"),
        (lambda value: value.update(output=-1), "node -1 is no value"),
        (lambda value: value.update(output=len(value["nodes"])), "is no value"),
        (lambda value: value.update(output=True), "is not int"),
        (lambda value: value["next_states"].append(3), "there are 2 states before a step and 3 after it"),
        (lambda value: value["next_states"].pop(), "there are 2 states before a step and 1 after it"),
        (lambda value: value.update(states=[], next_states=[]), "an input and at least one state"),
        (lambda value: value.update(states=["h", "h"]), "each with a name of its own"),
        (lambda value: value.update(states=["h", "x"]), "each with a name of its own"),
        (lambda value: value.update(states=["h", "c d"]), "each with a name of its own"),
        (lambda value: value.update(input="h"), "each with a name of its own"),
        (lambda value: value.update(input="y"), "(input) has a wrong name or number"),
        (lambda value: value["names"].update(i=-3), "node -3 is no value"),
        (lambda value: value["names"].update(i="3"), "is not int"),
        (lambda value: value["init"].update({"b.f": "ones"}), "init of b.f is an unknown initialiser"),
        (lambda value: value["init"].update({"b.f": "between"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "between(1, 0)"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "between(0, 0)"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "between(0, inf)"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "between(0, nan)"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "between(0, 1"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "between(0, 1, 2)"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "between(0, one)"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "zeros(1)"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "zeros()"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "ring(0, 2)"}), "init of b.f has wrong bounds"),
        (lambda value: value["init"].update({"b.f": "log-between(-1, 2)"}), "init of b.f has wrong bounds"),
        (
            lambda value: value["init"].update({"b.f": "betwen(0, 1)"}),
            "init of b.f is an unknown initialiser, 'betwen'",
        ),
        (lambda value: value["init"].update({"b.f": [1.0]}), "is not float"),
        (lambda value: value["init"].update({"b.f": True}), "is not float"),
        (lambda value: value["init"].update({"b.f": math.nan}), "init of b.f is neither"),
        (lambda value: value["init"].update({"b.q": 1.0}), "init names an unknown parameter, 'b.q'"),
    ],
)
def test_every_kind_of_damage_is_an_error(change: Callable[[dict[str, Any]], object], problem: str) -> None:
    with pytest.raises(CellError) as caught:
        Equations.from_json(damaged(change), where="config.json")
    assert problem in caught.value.problem
    assert caught.value.where == "config.json"
    assert caught.value.exit_status == 2


def test_arithmetic_that_no_kernel_knows() -> None:
    constant = {"op": "constant", "number": 2.0}
    state = {"op": "state", "name": "h"}

    def equations(*nodes: dict[str, Any]) -> dict[str, Any]:
        last = len(nodes) - 1
        given = {"name": "n", "doc": "", "input": "x", "states": ["h"], "nodes": list(nodes), "output": last}
        return given | {"next_states": [last], "names": {}, "init": {}}

    Equations.from_json(equations(constant, state, {"op": "pow", "args": [1, 0]}))
    for nodes, problem in [
        ((constant, state, {"op": "pow", "args": [0, 1]}), "a power without a number as its exponent"),
        ((state, {"op": "pow", "args": [0, 0]}), "a power without a number as its exponent"),
        ((constant, state, {"op": "sqrt", "args": [0]}), "arithmetic on numbers alone"),
        ((constant, {"op": "map", "args": [0], "name": "W.h"}), "arithmetic on numbers alone"),
        (({"op": "constant", "number": 0.0}, state, {"op": "div", "args": [1, 0]}), "divide by zero"),
    ]:
        with pytest.raises(CellError, match=problem):
            Equations.from_json(equations(*nodes))


def test_nothing_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with code in every place that holds text, and not while the equations are used."""

    def forbidden(*_: object, **__: object) -> object:
        raise AssertionError("executed")

    bomb = "__import__('os').abort()"
    value = LSTM | {"name": bomb, "doc": bomb, "names": {bomb: LSTM["output"]}}
    for name in ("eval", "exec", "compile", "__import__"):
        monkeypatch.setattr(builtins, name, forbidden)
    equations = Equations.from_json(value)
    text = as_text(equations)
    monkeypatch.undo()
    assert equations.name == bomb
    assert len(text) == 2
    assert derive(equations).output_program


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.floats() | st.sampled_from(["h", "x", "W.i", "add", "map"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*LSTM, "op", "args"]), inner),
    max_leaves=5,
)


@given(st.data())
def test_damage_anywhere_is_a_cell_error_or_harmless(data: st.DataObject) -> None:
    """One value anywhere inside replaced by any JSON."""
    value = copy.deepcopy(find_cell("rnn").to_json())
    inside: Any = value
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inside[key], dict | list) or not inside[key] or data.draw(st.booleans()):
            inside[key] = data.draw(JSON)
            break
        inside = inside[key]
    try:
        equations = Equations.from_json(value)
    except CellError:
        return
    assert Equations.from_json(json.loads(json.dumps(equations.to_json()))) == equations
    derive(equations).output_adjoint  # noqa: B018
    as_text(equations)
