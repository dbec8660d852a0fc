"""What follows from a cell's equations: the stages of a step, its programs, its gradient, whether it is linear.

SymPy differentiates the traced equations; common subexpressions are shared; the result is straight-line programs of
whitelisted operations, which every kernel runs or prints in its own language. Nobody writes a backward pass by hand.

The values that arithmetic starts from are called leaves: the input, the states, the per-unit parameters, and the result
of every linear map. A map is opaque: `W.i @ v` has the adjoints W.iᵀ da for v and da vᵀ for W.i, where a is its result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import sympy

from unrolled.cells._graph import Equations

__all__ = ["Derivation", "Instruction", "Product", "Program", "derive", "leaf_name"]


@dataclass(frozen=True)
class Instruction:
    """`target = op(args)`; an argument is the name of an earlier target or leaf, or a number."""

    target: str
    op: str
    args: tuple[str | float, ...]


@dataclass(frozen=True)
class Program:
    """Straight-line arithmetic, unit by unit.

    Attributes:
        inputs: the names it reads.
        instructions: in order.
        outputs: for every result its name and the name or number that holds it.
    """

    inputs: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[tuple[str, str | float], ...]


@dataclass(frozen=True)
class Product:
    """All maps of one value, done as one product.

    Attributes:
        level: 0 if the value depends on no state, so that the product is hoisted out of the loop over time; 1 for a
            value of states; 2 for a value that needs the result of a map of level 1 (`U.n @ (r * h)`); and so on.
        argument: the node of the value.
        maps: the nodes of the maps.
        weights: the names of their matrices, in the same order.
    """

    level: int
    argument: int
    maps: tuple[int, ...]
    weights: tuple[str, ...]


class _Sigmoid(sympy.Function):  # type: ignore[misc]
    def fdiff(self, argindex: int = 1) -> Any:
        return self * (1 - self)


class _Relu(sympy.Function):  # type: ignore[misc]
    def fdiff(self, argindex: int = 1) -> Any:
        return _Step(self.args[0])


class _Step(sympy.Function):  # type: ignore[misc]
    """1 where the argument is above 0, else 0: the derivative of relu that PyTorch takes, 0 at 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sympy.Integer(0)


class _Softplus(sympy.Function):  # type: ignore[misc]
    def fdiff(self, argindex: int = 1) -> Any:
        return _Sigmoid(self.args[0])


class _Absolute(sympy.Function):  # type: ignore[misc]
    def fdiff(self, argindex: int = 1) -> Any:
        return _Step(self.args[0]) - _Step(-self.args[0])


class _Maximum(sympy.Function):  # type: ignore[misc]
    def fdiff(self, argindex: int = 1) -> Any:
        difference = self.args[0] - self.args[1]
        return _half(difference) if argindex == 1 else _half(-difference)


class _Minimum(sympy.Function):  # type: ignore[misc]
    def fdiff(self, argindex: int = 1) -> Any:
        difference = self.args[1] - self.args[0]
        return _half(difference) if argindex == 1 else _half(-difference)


def _half(difference: Any) -> Any:
    """1 above 0, 1/2 at 0 (as PyTorch shares the gradient of a tie), 0 below."""
    return (1 + _Step(difference) - _Step(-difference)) / 2


_FUNCTIONS: dict[str, Any] = {
    "sigmoid": _Sigmoid,
    "tanh": sympy.tanh,
    "relu": _Relu,
    "softplus": _Softplus,
    "exp": sympy.exp,
    "log": sympy.log,
    "sqrt": sympy.sqrt,
    "sin": sympy.sin,
    "cos": sympy.cos,
    "absolute": _Absolute,
    "maximum": _Maximum,
    "minimum": _Minimum,
    "neg": lambda value: -value,
    "add": lambda left, right: left + right,
    "sub": lambda left, right: left - right,
    "mul": lambda left, right: left * right,
    "div": lambda left, right: left / right,
    "pow": lambda left, right: left**right,
}
_OPERATIONS = {
    _Sigmoid: "sigmoid",
    sympy.tanh: "tanh",
    _Relu: "relu",
    _Step: "step",
    _Softplus: "softplus",
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.sin: "sin",
    sympy.cos: "cos",
    _Absolute: "absolute",
    _Maximum: "maximum",
    _Minimum: "minimum",
}


def leaf_name(equations: Equations, index: int) -> str:
    """The name of a leaf in programs: the input, a state, a parameter ("b.i"), or "@12" for the map that is node 12."""
    node = equations.nodes[index]
    return f"@{index}" if node.op == "map" else node.name


@cache
def derive(equations: Equations) -> Derivation:
    """The derivation of these equations, made once."""
    return Derivation(equations)


class Derivation:
    """Everything that is derived from the equations.

    Attributes:
        equations: the equations.
        products: the stages of a step, in order.
    """

    def __init__(self, equations: Equations) -> None:
        self.equations = equations
        self._named = {index for _, index in equations.names} | {equations.output, *equations.next_states}
        self._named = {index for index in self._named if not self.is_leaf(index)}
        self.products = self._stages()

    def _stages(self) -> tuple[Product, ...]:
        nodes = self.equations.nodes
        level: list[int] = []  # the number of products in the loop that a node waits for; -1: it needs no state
        for node in nodes:
            if node.op == "map":
                level.append(level[node.args[0]] + 1 if level[node.args[0]] >= 0 else -1)
            else:
                level.append(0 if node.op == "state" else max((level[argument] for argument in node.args), default=-1))
        groups: dict[tuple[int, int], list[int]] = {}
        for index, node in enumerate(nodes):
            if node.op == "map":
                groups.setdefault((max(level[index], 0), node.args[0]), []).append(index)
        return tuple(
            Product(stage, argument, tuple(maps), tuple(nodes[index].name for index in maps))
            for (stage, argument), maps in sorted(groups.items())
        )

    @property
    def hoisted(self) -> tuple[Product, ...]:
        """The products that need no state: done for all time steps at once."""
        return tuple(product for product in self.products if product.level == 0)

    @property
    def recurrent(self) -> tuple[Product, ...]:
        """The products that wait for a state: one a step and stage."""
        return tuple(product for product in self.products if product.level > 0)

    def is_leaf(self, index: int) -> bool:
        """Whether a node is a leaf."""
        return self.equations.nodes[index].op in ("input", "state", "parameter", "map")

    @cached_property
    def output_state(self) -> int | None:
        """Which state the output is, counted from 0; `None` if it is none of them."""
        after = self.equations.next_states
        return after.index(self.equations.output) if self.equations.output in after else None

    @cached_property
    def results(self) -> tuple[tuple[str, int], ...]:
        """What a step gives: "next h" for every state h, and "output" where that is no state, with their nodes."""
        after = zip(self.equations.states, self.equations.next_states, strict=True)
        results = tuple((f"next {state}", index) for state, index in after)
        return results if self.output_state is not None else (*results, ("output", self.equations.output))

    def _expression(self, index: int, through: bool = False) -> Any:
        """A node as SymPy writes it, in terms of leaves and of the named values it is made of (not of those if
        `through`)."""
        node = self.equations.nodes[index]
        if node.op == "constant":
            # An integer stays one, so that x**2 and 1 - z differentiate as they are written.
            return sympy.Integer(int(node.number)) if node.number.is_integer() else sympy.Float(node.number)
        if self.is_leaf(index):
            return _symbol(leaf_name(self.equations, index))
        arguments = [self._part(argument, through) for argument in node.args]
        return _FUNCTIONS[node.op](*arguments)

    def _part(self, index: int, through: bool = False) -> Any:
        if index in self._named and not through:
            return _symbol(f"v{index}")
        return self._expression(index, through)

    def _definitions(self, nodes: Iterable[int]) -> list[tuple[str, Any]]:
        """The named values that these nodes are made of, and themselves, in the order they are computed."""
        needed = sorted({inner for index in nodes for inner in self.equations.walk(index)} & self._named)
        return [(f"v{index}", self._expression(index)) for index in needed]

    @cached_property
    def output_program(self) -> Program:
        """From all leaves to `results`."""
        nodes = [index for _, index in self.results]
        return _program(self._definitions(nodes), [(name, self._part(index)) for name, index in self.results])

    def value_program(self, nodes: Sequence[int]) -> Program:
        """From leaves to the values of any nodes; the results are named by the index of the node."""
        return _program(self._definitions(nodes), [(str(index), self._part(index)) for index in nodes])

    @cached_property
    def output_adjoint(self) -> Program:
        """From the leaves and the adjoints of `results` ("d next h", "d output") to those of the leaves ("d h")."""
        return self._adjoint(self.results)

    def argument_adjoint(self, product: Product) -> Program:
        """From the leaves and the adjoint of a product's argument ("d argument") to the adjoints of its leaves."""
        return self._adjoint([("argument", product.argument)])

    def _adjoint(self, results: Sequence[tuple[str, int]]) -> Program:
        """The reverse pass over named values: each one's adjoint is the sum over what uses it, by SymPy's derivative."""
        totals: dict[str, Any] = {}

        def pass_on(expression: Any, adjoint: Any) -> None:
            for symbol in sorted(expression.free_symbols, key=str):
                totals[symbol.name] = totals.get(symbol.name, 0) + adjoint * expression.diff(symbol)

        for name, index in results:
            pass_on(self._part(index), _symbol(f"d {name}"))
        forward = self._definitions([index for _, index in results])
        backward: list[tuple[str, Any]] = []
        for name, expression in reversed(forward):
            backward.append((f"d {name}", sympy.sympify(totals.pop(name, 0))))
            pass_on(expression, _symbol(f"d {name}"))
        return _program([*forward, *backward], [(f"d {leaf}", sympy.sympify(total)) for leaf, total in totals.items()])

    @cached_property
    def is_linear_in_state(self) -> bool:
        """Whether the states after a step are an affine function of those before, unit by unit, without a map of a
        state: then the whole sequence is a scan, which can be done in parallel over time."""
        if self.recurrent:
            return False
        states = [_symbol(state) for state in self.equations.states]
        after = [self._expression(index, through=True) for index in self.equations.next_states]
        slopes = [sympy.expand(expression.diff(state)) for expression in after for state in states]
        return not any(slope.has(state) for slope in slopes for state in states)


def _symbol(name: str) -> Any:
    return sympy.Symbol(name, real=True)


def _program(definitions: Sequence[tuple[str, Any]], outputs: Sequence[tuple[str, Any]]) -> Program:
    """Lower SymPy expressions to instructions; what occurs twice is computed once."""
    lowering = _Lowering()
    for name, expression in definitions:
        lowering.rename[name] = lowering.lower(expression)
    results = tuple((name, lowering.lower(expression)) for name, expression in outputs)
    used = {symbol.name for _, expression in [*definitions, *outputs] for symbol in expression.free_symbols}
    instructions = lowering.needed({value for _, value in results})
    return Program(tuple(sorted(used - lowering.rename.keys())), instructions, results)


class _Lowering:
    def __init__(self) -> None:
        self.rename: dict[str, str | float] = {}
        self._targets: dict[tuple[str, tuple[str | float, ...]], str] = {}

    def emit(self, op: str, *args: str | float) -> str:
        return self._targets.setdefault((op, args), f"t{len(self._targets)}")

    def needed(self, results: set[str | float]) -> tuple[Instruction, ...]:
        """The instructions that the results depend on, in order."""
        kept: list[Instruction] = []
        for (op, args), target in reversed(self._targets.items()):
            if target in results:
                kept.append(Instruction(target, op, args))
                results |= set(args)
        return tuple(reversed(kept))

    def lower(self, expression: Any) -> str | float:
        if expression.is_Symbol:
            return self.rename.get(expression.name, expression.name)
        if expression.is_Number:
            return float(expression)
        if expression.is_Add:
            return self._sum(expression)
        if expression.is_Mul:
            return self._product(expression)
        if expression.is_Pow:
            return self._power(expression.base, expression.exp)
        return self.emit(_OPERATIONS[expression.func], *(self.lower(argument) for argument in expression.args))

    def _sum(self, expression: Any) -> str | float:
        terms = sorted(expression.args, key=lambda term: bool(term.could_extract_minus_sign()))
        total = self.lower(terms[0])
        for term in terms[1:]:
            if term.could_extract_minus_sign():
                total = self.emit("sub", total, self.lower(-term))
            else:
                total = self.emit("add", total, self.lower(term))
        return total

    def _product(self, expression: Any) -> str | float:
        number, rest = expression.as_coeff_Mul()
        above = [factor for factor in sympy.Mul.make_args(rest) if not _below(factor)]
        below = [1 / factor for factor in sympy.Mul.make_args(rest) if _below(factor)]
        total: str | float | None = None
        for factor in above:
            value = self.lower(factor)
            total = value if total is None else self.emit("mul", total, value)
        if number != 1 and number != -1 or total is None:
            total = float(number) if total is None else self.emit("mul", total, float(number))
            number = 1
        for factor in below:
            total = self.emit("div", total, self.lower(factor))
        return self.emit("neg", total) if number == -1 else total

    def _power(self, base: Any, exponent: Any) -> str | float:
        value = self.lower(base)
        if exponent == sympy.Rational(1, 2):
            return self.emit("sqrt", value)
        if exponent == -1:
            return self.emit("div", 1.0, value)
        if exponent == 2:
            return self.emit("mul", value, value)
        return self.emit("pow", value, float(exponent))


def _below(factor: Any) -> bool:
    return bool(factor.is_Pow and factor.exp.is_number and factor.exp.is_negative)
