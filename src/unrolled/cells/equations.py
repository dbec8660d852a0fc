"""Write a cell down: the names its equations use, and the tracing that turns them into data.

A cell file imports from here `cell`, the parameter families `W`, `U`, `b`, ... and the functions, and then holds the
equations of one time step as the paper prints them:

    @cell
    def rnn(x, h):
        h = tanh(W.h @ x + U.h @ h + b.h)
        return h

The function is called once, with symbols. `W.h @ x` is a linear map: opaque, its weight a matrix of shape (H, D) if it
is applied to the input and (H, H) if it is applied to something of H units. Everything else is arithmetic on units,
one by one, and `b.h` there is a vector of shape (H,). What comes out is an `Equations`: data, without any code in it.
"""

from __future__ import annotations

import inspect
import math
import numbers
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn, overload

from unrolled.cells._graph import ON_NUMBERS, Equations, Node
from unrolled.errors import CellError, nearest

__all__ = [
    "Parameter",
    "Parameters",
    "U",
    "V",
    "Value",
    "W",
    "a",
    "absolute",
    "b",
    "cell",
    "cos",
    "d",
    "exp",
    "log",
    "maximum",
    "minimum",
    "p",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "tanh",
]

_FUNCTIONS = "sigmoid, tanh, relu, softplus, exp, log, sqrt, sin, cos, absolute, maximum, minimum"


class Value:
    """A vector while a cell is traced: an input, a state, a parameter, or arithmetic on those, unit by unit."""

    def __init__(self, op: str, args: Sequence[Value] = (), name: str = "", number: float = 0.0) -> None:
        self.op, self.args, self.name, self.number = op, tuple(args), name, number

    def __add__(self, other: object) -> Value:
        return _operation("add", self, other)

    def __radd__(self, other: object) -> Value:
        return _operation("add", other, self)

    def __sub__(self, other: object) -> Value:
        return _operation("sub", self, other)

    def __rsub__(self, other: object) -> Value:
        return _operation("sub", other, self)

    def __mul__(self, other: object) -> Value:
        return _operation("mul", self, other)

    def __rmul__(self, other: object) -> Value:
        return _operation("mul", other, self)

    def __truediv__(self, other: object) -> Value:
        return _operation("div", self, other)

    def __rtruediv__(self, other: object) -> Value:
        return _operation("div", other, self)

    def __pow__(self, exponent: object) -> Value:
        if not isinstance(exponent, numbers.Real):
            raise CellError("a power needs a number as its exponent", expected="value ** 2", got=f"value ** {exponent}")
        return _operation("pow", self, exponent)

    def __rpow__(self, base: object) -> Value:
        raise CellError("a power needs a number as its exponent", got=f"{base!r} ** value", fix="use `exp`")

    def __neg__(self) -> Value:
        return _operation("neg", self)

    def __abs__(self) -> Value:
        return _operation("absolute", self)

    def __matmul__(self, other: object) -> Value:
        raise CellError(
            "`@` mixes the units of two values",
            expected="a parameter on its left: `W.i @ x`",
            fix="every product across units goes through a matrix of parameters",
        )

    def _mixes(self, doing: str) -> NoReturn:
        raise CellError(
            f"{doing} mixes units",
            expected="arithmetic unit by unit; only a linear map such as `U.i @ h` looks at several units",
            fix="normalisation, attention and sums across units belong in a layer around the cell",
        )

    def __getitem__(self, index: object) -> Value:
        self._mixes("indexing a value")

    def __iter__(self) -> NoReturn:
        self._mixes("going through the units of a value")

    def __len__(self) -> int:
        self._mixes("asking how many units a value has")

    def _branches(self) -> NoReturn:
        raise CellError(
            "an equation cannot depend on whether a value is true",
            expected="the same arithmetic for every unit and time step",
            fix="use `maximum`, `minimum` or `relu`",
        )

    def __bool__(self) -> bool:
        self._branches()

    def __eq__(self, other: object) -> bool:
        self._branches()

    def __lt__(self, other: object) -> bool:
        self._branches()

    __hash__ = object.__hash__
    __ne__, __le__, __gt__, __ge__ = __eq__, __lt__, __lt__, __lt__

    def __float__(self) -> float:
        _unknown("a function of numbers, such as one of `math`")

    def _sympy_(self) -> NoReturn:
        _unknown("a function of SymPy")

    def __array_ufunc__(self, function: Any, method: str, *args: object, **kwargs: object) -> Value:
        name = getattr(function, "__name__", str(function))
        if name in _NUMPY and method == "__call__" and not kwargs:
            return _operation(_NUMPY[name], *args)
        _unknown(f"numpy.{name}")

    @classmethod
    def __torch_function__(cls, function: Any, *args: object, **kwargs: object) -> NoReturn:
        _unknown(f"torch.{getattr(function, '__name__', function)}")

    def __getattr__(self, name: str) -> NoReturn:
        # Only names that a reader could have meant: protocol look-ups (`__array_interface__`) must stay plain misses.
        if name.startswith("_"):
            raise AttributeError(name)
        self._mixes(f"`.{name}` of a value")


class Parameter(Value):
    """A parameter: a matrix where it stands left of `@`, else one number a unit."""

    def __init__(self, name: str) -> None:
        super().__init__("parameter", name=name)

    def __matmul__(self, other: object) -> Value:
        value = _value(other)
        if value.op == "constant":
            raise CellError(f"{self.name} is applied to a number", expected="a matrix is applied to values of units")
        return Value("map", (value,), name=self.name)


class Parameters:
    """A family of parameters: `W.i` is the parameter named "W.i"."""

    def __init__(self, family: str) -> None:
        self._family = family

    def __getattr__(self, name: str) -> Parameter:
        if name.startswith("_"):
            raise AttributeError(name)
        return Parameter(f"{self._family}.{name}")

    def __matmul__(self, other: object) -> Value:
        raise CellError(
            f"`{self._family} @ ...` has no name for its matrix",
            expected=f"`{self._family}.h @ ...`, with a name of the gate after the point",
        )


W, U, V = Parameters("W"), Parameters("U"), Parameters("V")
a, b, d, p = Parameters("a"), Parameters("b"), Parameters("d"), Parameters("p")


# What NumPy calls the operations that one of its numbers asks it for: `numpy.sqrt(2) * h`.
_NUMPY = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div"}


def _operation(op: str, *operands: object) -> Value:
    values = [_value(operand) for operand in operands]
    if all(value.op == "constant" for value in values):
        return Value("constant", number=ON_NUMBERS[op](*(value.number for value in values)))
    return Value(op, values)


def _unknown(function: str) -> NoReturn:
    raise CellError(
        "an unknown function was applied to a value",
        expected=f"one of {_FUNCTIONS} from unrolled.cells",
        got=function,
    )


def _value(given: object) -> Value:
    if isinstance(given, Value):
        return given
    if isinstance(given, numbers.Real) and not isinstance(given, bool):
        if not math.isfinite(given):
            raise CellError("a number in the equations is not finite", got=str(given))
        return Value("constant", number=float(given))
    if isinstance(given, Parameters):
        raise CellError(f"`{given._family}` stands alone", expected=f"`{given._family}.h`, with a name after the point")
    raise CellError(
        "an equation holds something that is not a value",
        expected="an input, a state, a parameter, a number, or arithmetic on them",
        got=f"{type(given).__name__}: {given!r}",
    )


def _unary(op: str) -> Callable[[object], Value]:
    def function(value: object) -> Value:
        return _operation(op, value)

    function.__name__, function.__doc__ = op, f"`{op}` of every unit."
    return function


def _binary(op: str) -> Callable[[object, object], Value]:
    def function(left: object, right: object) -> Value:
        return _operation(op, left, right)

    function.__name__, function.__doc__ = op, f"The {op} of two values, unit by unit."
    return function


sigmoid, tanh, relu, softplus = _unary("sigmoid"), _unary("tanh"), _unary("relu"), _unary("softplus")
exp, log, sqrt, sin, cos = _unary("exp"), _unary("log"), _unary("sqrt"), _unary("sin"), _unary("cos")
absolute, maximum, minimum = _unary("absolute"), _binary("maximum"), _binary("minimum")


@overload
def cell(function: Callable[..., Any], /) -> Equations: ...


@overload
def cell(*, init: Mapping[str, float | str] = ..., name: str = ...) -> Callable[[Callable[..., Any]], Equations]: ...


def cell(
    function: Callable[..., Any] | None = None, /, *, init: Mapping[str, float | str] | None = None, name: str = ""
) -> Equations | Callable[[Callable[..., Any]], Equations]:
    """Trace the equations of one time step.

    The function's first argument is the input, the others are the states before the step. It returns the states after
    the step in the same order (the first is then the cell's output), or `output, (states,)`.

    Args:
        function: the equations.
        init: how parameters start, by name ("b.f") or family ("U"): a number, or the name of an initialiser of
            `unrolled.layers.initialise` ("orthogonal", "between(0, 1)"). Without it, matrices of the input start as
            "glorot", other matrices as "orthogonal", and vectors as zeros.
        name: the cell's name; by default the function's, with hyphens.

    Raises:
        CellError: the equations use something that is not theirs; the message names file and line.
    """
    if function is None:
        return lambda later: _trace(later, dict(init or {}), name)
    return _trace(function, dict(init or {}), name)


def _trace(function: Callable[..., Any], init: dict[str, float | str], name: str) -> Equations:
    if not inspect.isfunction(function):
        raise CellError("`@cell` stands above a function", got=repr(function), fix="or `@cell(init={...}, name=...)`")
    name = name or function.__name__.replace("_", "-")
    signature = inspect.signature(function).parameters
    arguments = list(signature)
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}, cell {name}"
    if len(arguments) < 2:
        raise CellError("a cell needs an input and at least one state", got=f"{len(arguments)} arguments", where=where)
    if any(argument.kind is not argument.POSITIONAL_OR_KEYWORD for argument in signature.values()):
        raise CellError(
            "a cell's arguments are its input and its states by name", got=", ".join(arguments), where=where
        )
    leaves = [Value("input", name=arguments[0]), *(Value("state", name=state) for state in arguments[1:])]
    found: dict[str, Any] = {}

    def remember(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code is function.__code__:
            found.update(frame.f_locals)

    # The local variables are the names of the gates: taken as the function returns, so that a cell file needs nothing
    # but its equations. A profiler is the one hook that sees them without touching debuggers and coverage.
    before = sys.getprofile()
    sys.setprofile(remember)
    try:
        returned = function(*leaves)
    except Exception as error:
        sys.setprofile(before)
        raise _explained(error, function, name) from error
    finally:
        sys.setprofile(before)
    output, states = _outputs(returned, arguments[1:], where)
    flat = _Flattening()
    used = {id(value) for value in _tree((output, *states))}
    gates = {key: v for key, v in found.items() if id(v) in used and v.op not in ("input", "state", "constant")}
    # Gates first and in the order of the text: shapes, parameters and drawings then follow the equations.
    order = sorted(gates, key=lambda key: key in arguments)
    names = {key: flat.add(gates[key]) for key in order}
    indices = [flat.add(value) for value in (output, *states)]
    try:
        return Equations(
            name=name,
            doc=inspect.getdoc(function) or "",
            input=arguments[0],
            states=tuple(arguments[1:]),
            nodes=tuple(flat.nodes),
            output=indices[0],
            next_states=tuple(indices[1:]),
            names=tuple(names.items()),
            init=tuple(sorted(init.items())),
        )
    except CellError as error:
        raise CellError(error.problem, expected=error.expected, got=error.got, where=where, fix=error.fix) from None


def _outputs(returned: Any, states: list[str], where: str) -> tuple[Value, list[Value]]:
    explicit = isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], tuple)
    after = returned[1] if explicit else returned if isinstance(returned, tuple) else (returned,)
    if len(after) != len(states) or not all(isinstance(value, Value) for value in after):
        raise CellError(
            "a cell returns its states after the step",
            expected=f"{', '.join(states)}, or `output, ({', '.join(states)},)`",
            got=f"{len(after)} of type {', '.join(sorted({type(value).__name__ for value in after}))}",
            where=where,
        )
    output = returned[0] if explicit else after[0]
    if not isinstance(output, Value):
        raise CellError("a cell's output is a value", got=type(output).__name__, where=where)
    if "constant" in (value.op for value in (output, *after)):
        raise CellError("a cell returns a plain number", expected="a value of its equations", where=where)
    return output, list(after)


def _explained(error: Exception, function: Callable[..., Any], name: str) -> CellError:
    """The error raised inside a cell as a `CellError` that names file and line."""
    file = function.__code__.co_filename
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"{file}:{lines[-1] if lines else function.__code__.co_firstlineno}, cell {name}"
    if isinstance(error, CellError):
        return CellError(error.problem, expected=error.expected, got=error.got, where=where, fix=error.fix)
    if isinstance(error, UnboundLocalError):
        return CellError(
            f"a value is used before it is computed ({error})",
            where=where,
            fix="if it hides a family or a function of the same name, give it another",
        )
    if isinstance(error, NameError):
        unknown = str(getattr(error, "name", "") or error)
        if unknown in __all__:
            return CellError(
                f"{unknown} is used and not imported", where=where, fix=f"write `from unrolled.cells import {unknown}`"
            )
        return CellError(
            f"the equations use an unknown name, {unknown!r}",
            expected=f"an argument, a parameter (W.i, U.i, b.i, ...) or one of {_FUNCTIONS}",
            where=where,
            fix=nearest(unknown, [*_FUNCTIONS.split(", "), *function.__code__.co_varnames]),
        )
    return CellError(f"the equations raised {type(error).__name__}: {error}", where=where)


def _tree(values: Iterable[Value]) -> Iterator[Value]:
    seen: set[int] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.args)
            yield value


class _Flattening:
    """The tree of values as a list of nodes, arguments before what uses them, equal nodes once."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[Node, int] = {}
        self._seen: dict[int, tuple[Value, int]] = {}

    def add(self, value: Value) -> int:
        waiting = [value]
        while waiting:
            missing = [argument for argument in waiting[-1].args if id(argument) not in self._seen]
            if missing:
                waiting.extend(reversed(missing))
                continue
            ready = waiting.pop()
            node = Node(
                ready.op, tuple(self._seen[id(argument)][1] for argument in ready.args), ready.name, ready.number
            )
            if node not in self._known:
                self._known[node] = len(self.nodes)
                self.nodes.append(node)
            self._seen[id(ready)] = (ready, self._known[node])
        return self._seen[id(value)][1]
