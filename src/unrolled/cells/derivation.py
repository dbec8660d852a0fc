"""What follows from a cell's equations: the stages of a step, its programs, its gradient, whether it is linear.

SymPy differentiates the traced equations; common subexpressions are shared; the result is straight-line programs of
whitelisted operations, which every kernel runs or prints in its own language. Nobody writes a backward pass by hand.

The values that arithmetic starts from are called leaves: the input, the states, the per-unit parameters, and the result
of every linear map. A map is opaque: `W.i @ v` has the adjoints W.iᵀ da for v and da vᵀ for W.i, where a is its result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import sympy

from unrolled.cells._graph import ON_NUMBERS, Equations

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


def _opaque(op: str, *slopes: Callable[..., Any]) -> Any:
    """A function of which SymPy knows nothing but its slope for each argument, from its own value and the arguments.

    Its own `sqrt`, `exp` or `tanh` it would rewrite (the root of x**2 as |x|), to what is no operation of ours.
    """

    def fdiff(self: Any, argindex: int = 1) -> Any:
        return slopes[argindex - 1](self, *self.args)

    return type(sympy.Function)(op, (sympy.Function,), {"fdiff": fdiff})


# 1 where the argument is above 0, else 0: the derivative of relu that PyTorch takes, 0 at 0.
_STEP = _opaque("step", lambda y, x: sympy.Integer(0))


def _half(difference: Any) -> Any:
    """1 above 0, 1/2 at 0 (as PyTorch shares the gradient of a tie), 0 below."""
    return (1 + _STEP(difference) - _STEP(-difference)) / 2


_SIGMOID = _opaque("sigmoid", lambda y, x: y * (1 - y))
_SIN: Any = _opaque("sin", lambda y, x: _COS(x))
_COS: Any = _opaque("cos", lambda y, x: -_SIN(x))
_POWER: Any = _opaque("pow", lambda y, x, n: n * _POWER(x, n - 1))
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sigmoid": _SIGMOID,
    "tanh": _opaque("tanh", lambda y, x: 1 - y**2),
    "relu": _opaque("relu", lambda y, x: _STEP(x)),
    "softplus": _opaque("softplus", lambda y, x: _SIGMOID(x)),
    "exp": _opaque("exp", lambda y, x: y),
    "log": _opaque("log", lambda y, x: 1 / x),
    "sqrt": _opaque("sqrt", lambda y, x: 1 / (2 * y)),
    "sin": _SIN,
    "cos": _COS,
    "absolute": _opaque("absolute", lambda y, x: _STEP(x) - _STEP(-x)),
    "maximum": _opaque("maximum", lambda y, u, v: _half(u - v), lambda y, u, v: _half(v - u)),
    "minimum": _opaque("minimum", lambda y, u, v: _half(v - u), lambda y, u, v: _half(u - v)),
    "neg": lambda value: -value,
    "add": lambda left, right: left + right,
    "sub": lambda left, right: left - right,
    "mul": lambda left, right: left * right,
    "div": lambda left, right: left / right,
    # Whole powers are SymPy's own; a root stays as it is written.
    "pow": lambda base, exponent: base**exponent if exponent.is_Integer else _POWER(base, exponent),
}


def leaf_name(equations: Equations, index: int) -> str:
    """The name of a leaf in programs: the input, a state, a parameter ("b.i"), or "@12" for the map that is node 12."""
    node = equations.nodes[index]
    return f"@{index}" if node.op == "map" else node.name


_ON_NUMBERS = ON_NUMBERS | {"step": lambda value: float(value > 0)}
_SLOPED = {"sigmoid", "tanh", "relu", "softplus", "exp", "log", "sqrt", "sin", "cos", "absolute", "pow"}
# SymPy calls itself a few times for each level of an expression.
_DEEPEST = 20


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
        self._named = self._values()
        self.products = self._stages()

    def _values(self) -> set[int]:
        """The nodes that are values of their own in a program, each computed and differentiated once.

        They are those with a name, those used more than once or very deep (written out wherever they are used, the
        equations of a loop inside a step would double with every turn), and what a function is applied to, so that its
        slope is multiplied in once and not for each term of a sum.
        """
        equations = self.equations
        uses = Counter(argument for node in equations.nodes for argument in node.args)
        named = {index for _, index in equations.names} | {equations.output, *equations.next_states}
        named |= {index for index, count in uses.items() if count > 1}
        named |= {node.args[0] for node in equations.nodes if node.op in _SLOPED}
        named = {index for index in named if equations.nodes[index].op != "constant" and not self.is_leaf(index)}
        depth: list[int] = []
        for index, node in enumerate(equations.nodes):
            inner = (argument for argument in node.args if argument not in named)
            depth.append(0 if self.is_leaf(index) else 1 + max((depth[argument] for argument in inner), default=0))
            if depth[index] > _DEEPEST:
                named.add(index)
                depth[index] = 0
        return named

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

    def _expression(self, index: int) -> Any:
        """A node as SymPy writes it, in terms of leaves and of the values it is made of."""
        node = self.equations.nodes[index]
        if node.op == "constant":
            # An integer stays one, so that x**2 and 1 - z differentiate as they are written.
            return sympy.Integer(int(node.number)) if node.number.is_integer() else sympy.Float(node.number)
        if self.is_leaf(index):
            return _symbol(leaf_name(self.equations, index))
        return _FUNCTIONS[node.op](*(self._part(argument) for argument in node.args))

    def _part(self, index: int) -> Any:
        # A name that no argument of a cell can have.
        return _symbol(f"={index}") if index in self._named else self._expression(index)

    def _definitions(self, nodes: Iterable[int]) -> list[tuple[str, Any]]:
        """The values that these nodes are made of, and themselves, in the order they are computed."""
        seen: set[int] = set()
        waiting = list(nodes)
        while waiting:
            index = waiting.pop()
            if index not in seen and not self.is_leaf(index):
                seen.add(index)
                waiting.extend(self.equations.nodes[index].args)
        return [(f"={index}", self._expression(index)) for index in sorted(seen & self._named)]

    @cached_property
    def output_program(self) -> Program:
        """From all leaves to `results`."""
        nodes = [index for _, index in self.results]
        return _program(self._definitions(nodes), [(name, self._part(index)) for name, index in self.results])

    @cached_property
    def argument_programs(self) -> dict[Product, Program]:
        """From leaves to the value that a product is of ("argument"), for every product of no leaf."""
        return {
            product: _program(self._definitions([product.argument]), [("argument", self._part(product.argument))])
            for product in self.products
            if not self.is_leaf(product.argument)
        }

    @cached_property
    def output_adjoint(self) -> Program:
        """From the leaves and the adjoints of `results` ("d next h", "d output") to those of the leaves ("d h")."""
        return self._adjoint(self.results)

    @cached_property
    def argument_adjoints(self) -> dict[Product, Program]:
        """From the leaves and the adjoint of a product's argument ("d argument") to the adjoints of its leaves."""
        return {product: self._adjoint([("argument", product.argument)]) for product in self.argument_programs}

    def argument_adjoint(self, product: Product) -> Program:
        """The one of `argument_adjoints` for a product."""
        return self.argument_adjoints[product]

    def _adjoint(self, results: Sequence[tuple[str, int]]) -> Program:
        """The reverse pass over values: each one's adjoint is the sum over what uses it, by SymPy's derivative."""
        totals: dict[str, Any] = {}

        def pass_on(expression: Any, adjoint: Any) -> None:
            for symbol in sorted(expression.free_symbols, key=str):
                totals[symbol.name] = totals.get(symbol.name, sympy.Integer(0)) + adjoint * expression.diff(symbol)

        for name, index in results:
            pass_on(self._part(index), _symbol(f"d {name}"))
        forward = self._definitions([index for _, index in results])
        backward: list[tuple[str, Any]] = []
        for name, expression in reversed(forward):
            backward.append((f"d {name}", totals.pop(name, sympy.Integer(0))))
            pass_on(expression, _symbol(f"d {name}"))
        return _program([*forward, *backward], [(f"d {leaf}", total) for leaf, total in totals.items()])

    @cached_property
    def is_linear_in_state(self) -> bool:
        """Whether the states after a step are an affine function of those before, unit by unit, without a map of a
        state: then the whole sequence is a scan, which can be done in parallel over time."""
        if self.recurrent:
            return False
        degrees: list[int] = []  # 0 without a state in it, 1 affine in the states, 2 anything else
        for node in self.equations.nodes:
            of = [degrees[argument] for argument in node.args]
            if node.op == "state":
                degree = 1
            elif node.op in ("add", "sub", "neg"):
                degree = max(of)
            elif node.op == "mul" or (node.op == "div" and not of[1]):
                degree = sum(of)
            else:
                degree = 2 * any(of)
            degrees.append(min(degree, 2))
        return all(degrees[index] < 2 for index in self.equations.next_states)


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
    """Expressions as instructions, equal ones once."""

    def __init__(self) -> None:
        self.rename: dict[str, str | float] = {}
        self._targets: dict[tuple[str, tuple[str | float, ...]], str] = {}

    def emit(self, op: str, *args: str | float) -> str | float:
        # `maximum(h + 1, h)` has slopes that are a step of numbers alone.
        given = [argument for argument in args if not isinstance(argument, str)]
        if len(given) == len(args):
            return float(_ON_NUMBERS[op](*given))
        return self._targets.setdefault((op, args), f"%{len(self._targets)}")

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
            name: str = expression.name
            return self.rename.get(name, name)
        if expression.is_Number:
            return float(expression)
        if expression.is_Add:
            return self._sum(expression)
        if expression.is_Mul:
            return self._product(expression)
        if expression.is_Pow:
            return self._power(expression.base, expression.exp)
        return self.emit(expression.func.__name__, *(self.lower(argument) for argument in expression.args))

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
        if (number != 1 and number != -1) or total is None:
            total = float(number) if total is None else self.emit("mul", total, float(number))
            number = 1
        for factor in below:
            total = self.emit("div", total, self.lower(factor))
        return self.emit("neg", total) if number == -1 else total

    def _power(self, base: Any, exponent: Any) -> str | float:
        value = self.lower(base)
        if exponent == -1:
            return self.emit("div", 1.0, value)
        if exponent == 2:
            return self.emit("mul", value, value)
        return self.emit("pow", value, float(exponent))


def _below(factor: Any) -> bool:
    return bool(factor.is_Pow and factor.exp.is_number and factor.exp.is_negative)
