"""The traced equations as data: nodes, their sizes, and their form on disk."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NoReturn

from unrolled.errors import CellError, nearest

UNARY = ("neg", "sigmoid", "tanh", "relu", "softplus", "exp", "log", "sqrt", "sin", "cos", "absolute")
BINARY = ("add", "sub", "mul", "div", "pow", "maximum", "minimum")
NAMED = ("input", "state", "parameter", "map")
# How a parameter can start, and how many numbers in parentheses it takes: "glorot", "between(0, 1)".
INITIALISERS = {
    **dict.fromkeys(("glorot", "orthogonal", "uniform", "zeros", "complex"), 0),
    **dict.fromkeys(("between", "log-between", "ring", "ring-scale"), 2),
}
ARITY = {
    **dict.fromkeys(UNARY, 1),
    **dict.fromkeys(BINARY, 2),
    **dict.fromkeys(("input", "state", "parameter", "constant"), 0),
    "map": 1,
}
# The operations on plain numbers, for what a cell computes of them alone: `sqrt(2) * h`.
ON_NUMBERS: dict[str, Callable[..., float]] = {
    "neg": operator.neg,
    "sigmoid": lambda value: (1 + math.tanh(value / 2)) / 2,
    "tanh": math.tanh,
    "relu": lambda value: max(value, 0.0),
    "softplus": lambda value: max(value, 0.0) + math.log1p(math.exp(-abs(value))),
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "absolute": abs,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": math.pow,
    "maximum": max,
    "minimum": min,
}


def initialiser(how: str) -> tuple[str, tuple[float, ...]]:
    """The name of an initialiser and the numbers in its parentheses; a `ValueError` if those are none.

    >>> initialiser("between(0, 1)")
    ('between', (0.0, 1.0))
    """
    name, opened, inside = how.partition("(")
    if opened and not inside.endswith(")"):
        raise ValueError(how)
    return name, tuple(float(number) for number in inside[:-1].split(",")) if opened else ()


@dataclass(frozen=True)
class Node:
    """One operation: its name, the indices of its arguments, and the name or number it carries."""

    op: str
    args: tuple[int, ...] = ()
    name: str = ""
    number: float = 0.0


@dataclass(frozen=True)
class Equations:
    """One time step of a cell, traced: data without code, hashable, the same on disk.

    Attributes:
        name: the cell's name.
        doc: its docstring: the paper, the equation, why the initialisation is what it is.
        input: the name of the input, of D units.
        states: the names of the states, of H units each.
        nodes: the operations, arguments before what uses them.
        output: the index of the node that is the cell's output.
        next_states: the indices of the nodes that are the states after the step.
        names: pairs of a name in the equations (a gate, a state after the step) and its node.
        init: pairs of a parameter or family and how it starts.
    """

    name: str
    doc: str
    input: str
    states: tuple[str, ...]
    nodes: tuple[Node, ...]
    output: int
    next_states: tuple[int, ...]
    names: tuple[tuple[str, int], ...]
    init: tuple[tuple[str, float | str], ...] = ()

    def __hash__(self) -> int:
        # What is compiled and found out is kept by equations, and asked for in every step: not of all nodes each time.
        return hash((self.name, self.states, len(self.nodes), self.output, self.next_states))

    def __post_init__(self) -> None:
        leaves = (self.input, *self.states)
        if len(leaves) < 2 or len({*leaves}) < len(leaves) or not all(leaf.isidentifier() for leaf in leaves):
            self._wrong(
                "a cell needs an input and at least one state, each with a name of its own", got=", ".join(leaves)
            )
        for index in range(len(self.nodes)):
            self._check_node(index)
        for index in (self.output, *self.next_states, *(index for _, index in self.names)):
            if not 0 <= index < len(self.nodes) or self._kinds[index] == "number":
                self._wrong(f"node {index} is no value that could be given a name")
        if len(self.states) != len(self.next_states):
            self._wrong(f"there are {len(self.states)} states before a step and {len(self.next_states)} after it")
        self._check_parameters()
        self._check_init()

    def _wrong(
        self, problem: str, *, expected: str | None = None, got: str | None = None, fix: str | None = None
    ) -> NoReturn:
        raise CellError(problem, expected=expected, got=got, where=f"cell {self.name}", fix=fix)

    def _check_node(self, index: int) -> None:
        node = self.nodes[index]
        if node.op not in ARITY:
            self._wrong(f"unknown operation {node.op!r} in node {index}", fix=nearest(node.op, ARITY))
        if len(node.args) != ARITY[node.op] or not all(0 <= argument < index for argument in node.args):
            self._wrong(f"node {index} ({node.op}) has wrong arguments", got=str(node.args))
        known = {"input": (self.input,), "state": self.states}.get(node.op)
        parts = node.name.split(".")
        if node.op in ("parameter", "map"):
            fits = len(parts) == 2 and all(part.isidentifier() for part in parts)
        else:
            fits = node.name in known if known else not node.name
        if not fits or not math.isfinite(node.number) or (node.number and node.op != "constant"):
            self._wrong(f"node {index} ({node.op}) has a wrong name or number", got=f"{node.name!r}, {node.number}")
        of = [self.nodes[argument] for argument in node.args]
        if of and all(argument.op == "constant" for argument in of):
            self._wrong(f"node {index} ({node.op}) is arithmetic on numbers alone")
        if node.op == "pow" and of[1].op != "constant":
            self._wrong(f"node {index} is a power without a number as its exponent")
        if node.op == "div" and of[1].op == "constant" and of[1].number == 0:
            self._wrong("the equations divide by zero")

    def _check_parameters(self) -> None:
        matrices = {node.name for node in self.nodes if node.op == "map"}
        for name in sorted(matrices & {node.name for node in self.nodes if node.op == "parameter"}):
            self._wrong(
                f"{name} is a matrix in one equation and a vector in another", fix="give one of the two another name"
            )
        for name in sorted(matrices):
            kinds = {self._kinds[node.args[0]] for node in self.nodes if node.op == "map" and node.name == name}
            if len(kinds) > 1:
                self._wrong(
                    f"{name} is applied to the input and to a state: it would need two shapes",
                    fix="give each its own matrix",
                )

    def _check_init(self) -> None:
        known = {*self.parameters, *(name.split(".")[0] for name in self.parameters)}
        for key, how in self.init:
            if key not in known:
                self._wrong(f"init names an unknown parameter, {key!r}", fix=nearest(str(key), known))
            if isinstance(how, str):
                self._check_initialiser(key, how)
            if not isinstance(how, str) and not (isinstance(how, int | float) and math.isfinite(how)):
                self._wrong(f"init of {key} is neither a number nor the name of an initialiser", got=repr(how))

    def _check_initialiser(self, key: str, how: str) -> None:
        try:
            name, bounds = initialiser(how)
        except ValueError:
            name, bounds = how.partition("(")[0], (math.nan,)
        if name not in INITIALISERS:
            self._wrong(f"init of {key} is an unknown initialiser, {name!r}", fix=nearest(name, INITIALISERS))
        least, most = (-math.inf if name == "between" else 0.0), (1.0 if name.startswith("ring") else math.inf)
        fits = not bounds or (least <= bounds[0] < bounds[-1] <= most and all(map(math.isfinite, bounds)))
        if len(bounds) != INITIALISERS[name] or not fits:
            limits = f", between {least:g} and {most:g}" if name != "between" else ""
            expected = f"{name}(LOW, HIGH), the first the smaller{limits}" if INITIALISERS[name] else name
            self._wrong(f"init of {key} has wrong bounds", expected=expected, got=how)

    @cached_property
    def _kinds(self) -> tuple[str, ...]:
        """For every node what it is sized by: "input" (D units), "hidden" (H) or "number"."""
        kinds: list[str] = []
        for node in self.nodes:
            if node.op in ("input", "constant"):
                kinds.append("input" if node.op == "input" else "number")
            elif node.op in ("state", "parameter", "map"):
                kinds.append("hidden")
            else:
                of = {kinds[argument] for argument in node.args} - {"number"}
                kinds.append("hidden" if "hidden" in of else "input" if of else "number")
        return tuple(kinds)

    def kind(self, index: int) -> str:
        """What a node is sized by: "input" (D units), "hidden" (H) or "number"."""
        return self._kinds[index]

    @cached_property
    def uses_raw_input(self) -> bool:
        """Whether the input meets values of H units without a map between, so that D must equal H."""
        meets = any(
            {"input", "hidden"} <= {self._kinds[argument] for argument in node.args}
            for node in self.nodes
            if node.op != "map"
        )
        return meets or any(self._kinds[index] == "input" for index in (self.output, *self.next_states))

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Every parameter by name: "vector" (H,), "input matrix" (H, D) or "hidden matrix" (H, H)."""
        shapes: dict[str, str] = {}
        for node in self.nodes:
            if node.op == "map":
                shapes[node.name] = "input matrix" if self._kinds[node.args[0]] == "input" else "hidden matrix"
            elif node.op == "parameter":
                shapes[node.name] = "vector"
        return shapes

    def shape(self, parameter: str, input_size: int, hidden_size: int) -> tuple[int, ...]:
        """The shape of a parameter of a cell with D = `input_size` and H = `hidden_size`."""
        kind = self.parameters[parameter]
        return (hidden_size,) if kind == "vector" else (hidden_size, input_size if kind[0] == "i" else hidden_size)

    def check_sizes(self, input_size: int, hidden_size: int) -> None:
        """Raise a `CellError` if the equations do not fit these sizes."""
        if self.uses_raw_input and input_size != hidden_size:
            raise CellError(
                f"the equations use {self.input} unit by unit together with {self.states[0]}, which mixes units",
                expected="as many inputs as hidden units",
                got=f"{input_size} inputs and {hidden_size} hidden units",
                where=f"cell {self.name}",
                fix=f"give the two the same size, or write W.h @ {self.input}",
            )

    def to_json(self) -> dict[str, Any]:
        """The equations as JSON values."""
        return {
            "name": self.name,
            "doc": self.doc,
            "input": self.input,
            "states": list(self.states),
            "nodes": [_plain(node) for node in self.nodes],
            "output": self.output,
            "next_states": list(self.next_states),
            "names": dict(self.names),
            "init": dict(self.init),
        }

    @classmethod
    def from_json(cls, value: Any, where: str = "equations") -> Equations:
        """Equations from JSON values. Nothing in them is executed: a tree of known operations, checked node by node.

        Raises:
            CellError: the values are not equations.
        """
        try:
            given = _typed(value, dict)
            known = [field.name for field in fields(cls)]
            for key in given:
                if key not in known:
                    raise CellError(f"unknown key {key!r}", fix=nearest(str(key), known))
            return cls(
                name=_typed(given["name"], str),
                doc=_typed(given["doc"], str),
                input=_typed(given["input"], str),
                states=tuple(_typed(state, str) for state in _typed(given["states"], list)),
                nodes=tuple(_node(_typed(entry, dict)) for entry in _typed(given["nodes"], list)),
                output=_typed(given["output"], int),
                next_states=tuple(_typed(index, int) for index in _typed(given["next_states"], list)),
                names=tuple((key, _typed(index, int)) for key, index in _typed(given["names"], dict).items()),
                init=tuple(
                    (key, how if isinstance(how, str) else _number(how))
                    for key, how in _typed(given["init"], dict).items()
                ),
            )
        except CellError as error:
            raise CellError(error.problem, got=error.got, where=where, fix=error.fix) from error
        except (KeyError, TypeError, OverflowError) as error:
            problem = f"these are not a cell's equations ({type(error).__name__}: {error})"
            raise CellError(problem, where=where) from error


def _plain(node: Node) -> dict[str, Any]:
    plain: dict[str, Any] = {"op": node.op}
    if node.args:
        plain["args"] = list(node.args)
    if node.name:
        plain["name"] = node.name
    if node.op == "constant":
        plain["number"] = node.number
    return plain


def _node(entry: dict[str, Any]) -> Node:
    unknown = entry.keys() - {"op", "args", "name", "number"}
    if unknown:
        raise TypeError(f"a node has {', '.join(sorted(unknown))}")
    arguments = tuple(_typed(argument, int) for argument in _typed(entry.get("args", []), list))
    return Node(
        _typed(entry["op"], str), arguments, _typed(entry.get("name", ""), str), _number(entry.get("number", 0.0))
    )


def _typed(value: Any, kind: type) -> Any:
    # By its exact type: `true` is no index.
    if type(value) is not kind:
        raise TypeError(f"{value!r:.60} is not {kind.__name__}")
    return value


def _number(value: Any) -> float:
    return float(value if type(value) is int else _typed(value, float))
