"""The traced equations as data: nodes, their sizes, and their form on disk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from unrolled.errors import CellError, nearest

UNARY = ("neg", "sigmoid", "tanh", "relu", "softplus", "exp", "log", "sqrt", "sin", "cos", "absolute")
BINARY = ("add", "sub", "mul", "div", "pow", "maximum", "minimum")
NAMED = ("input", "state", "parameter", "map")
INITIALISERS = ("glorot", "orthogonal", "uniform", "zeros")
ARITY = {
    **dict.fromkeys(UNARY, 1),
    **dict.fromkeys(BINARY, 2),
    **dict.fromkeys(("input", "state", "parameter", "constant"), 0),
    "map": 1,
}


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

    def __post_init__(self) -> None:
        matrices = {node.name for node in self.nodes if node.op == "map"}
        both = sorted(matrices & {node.name for node in self.nodes if node.op == "parameter"})
        if both:
            raise CellError(
                f"{both[0]} is a matrix in one equation and a vector in another",
                where=f"cell {self.name}",
                fix="give one of the two another name",
            )
        for name in sorted(matrices):
            kinds = {self._kinds[node.args[0]] for node in self.nodes if node.op == "map" and node.name == name}
            if len(kinds) > 1:
                raise CellError(
                    f"{name} is applied to the input and to a state: it would need two shapes",
                    where=f"cell {self.name}",
                    fix="give each its own matrix",
                )
        known = {*self.parameters, *(name.split(".")[0] for name in self.parameters)}
        for key, how in self.init:
            if key not in known:
                raise CellError(f"init names an unknown parameter, {key!r}", fix=nearest(key, known))
            if isinstance(how, str) and how not in INITIALISERS:
                raise CellError(f"init of {key} is an unknown initialiser, {how!r}", fix=nearest(how, INITIALISERS))

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
            nodes = tuple(_node(entry, index, where) for index, entry in enumerate(value["nodes"]))
            indices = range(len(nodes))
            equations = cls(
                name=str(value["name"]),
                doc=str(value["doc"]),
                input=str(value["input"]),
                states=tuple(str(state) for state in value["states"]),
                nodes=nodes,
                output=indices[value["output"]],
                next_states=tuple(indices[index] for index in value["next_states"]),
                names=tuple((str(key), indices[index]) for key, index in value["names"].items()),
                init=tuple((str(key), how if isinstance(how, str) else float(how)) for key, how in value["init"].items()),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise CellError(f"these are not a cell's equations ({type(error).__name__}: {error})", where=where) from error
        given = [node.name for node in nodes if node.op == "state"]
        if not equations.states or len(equations.states) != len(equations.next_states) or set(given) - {*equations.states}:
            raise CellError("the states of these equations do not fit each other", where=where)
        return equations

    def walk(self, index: int) -> Iterator[int]:
        """The node and all that it is made of, without looking through maps."""
        yield index
        if self.nodes[index].op != "map":
            for argument in self.nodes[index].args:
                yield from self.walk(argument)


def _plain(node: Node) -> dict[str, Any]:
    plain: dict[str, Any] = {"op": node.op}
    if node.args:
        plain["args"] = list(node.args)
    if node.name:
        plain["name"] = node.name
    if node.op == "constant":
        plain["number"] = node.number
    return plain


def _node(entry: dict[str, Any], index: int, where: str) -> Node:
    op, args = entry["op"], tuple(entry.get("args", ()))
    if op not in ARITY:
        raise CellError(f"unknown operation {op!r} in node {index}", where=where, fix=nearest(str(op), ARITY))
    if len(args) != ARITY[op] or not all(type(argument) is int and 0 <= argument < index for argument in args):
        raise CellError(f"node {index} ({op}) has wrong arguments: {args}", where=where)
    name, number = entry.get("name", ""), float(entry.get("number", 0.0))
    if not isinstance(name, str) or (op in NAMED) != bool(name) or not math.isfinite(number):
        raise CellError(f"node {index} ({op}) has a wrong name or number", where=where)
    return Node(op, args, name, number)
