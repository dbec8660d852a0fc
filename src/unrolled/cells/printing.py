"""Equations for readers: as text for a terminal and as LaTeX for a page, both from the traced equations themselves."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from unrolled.cells._graph import Equations

__all__ = ["as_latex", "as_text"]

_TIGHTEST = 9
# Operations on the right side of an equation.
_LONG, _TOO_LONG = 8, 60


@dataclass(frozen=True)
class _Notation:
    """How one form of print writes what the other writes otherwise."""

    functions: Mapping[str, str]
    times: str
    join: str
    before: str
    now: str
    fraction: str
    power: str

    def name(self, name: str, when: str = "") -> str:
        family, _, gate = name.partition(".")
        if self.fraction == "{} / {}":
            return f"{name}{when}"
        index = ",".join(part for part in (gate.replace("_", r"\_"), when) if part)
        base = family if len(family) == 1 else rf"\mathit{{{family}}}".replace("_", r"\_")
        return f"{base}_{{{index}}}" if index else base


_TEXT = _Notation(
    functions={"sigmoid": "σ({})", "absolute": "|{}|"},
    times=" ⊙ ",
    join=" ",
    before="[t-1]",
    now="[t]",
    fraction="{} / {}",
    power="{}^{}",
)
_LATEX = _Notation(
    functions={
        "sigmoid": r"\sigma({})",
        "tanh": r"\tanh({})",
        "relu": r"\mathrm{{relu}}({})",
        "softplus": r"\mathrm{{softplus}}({})",
        "exp": r"\exp({})",
        "log": r"\log({})",
        "sqrt": r"\sqrt{{{}}}",
        "sin": r"\sin({})",
        "cos": r"\cos({})",
        "absolute": r"|{}|",
        "maximum": r"\max({}, {})",
        "minimum": r"\min({}, {})",
    },
    times=r" \odot ",
    join=r"\, ",
    before="t-1",
    now="t",
    fraction=r"\frac{{{}}}{{{}}}",
    power="{}^{{{}}}",
)


def as_text(equations: Equations) -> list[str]:
    """One line an equation, in the order they are computed, such as `i[t] = σ(W.i x[t] + U.i h[t-1] + b.i)`."""
    return [f"{left} = {right}" for left, right in _lines(equations, _TEXT)]


def as_latex(equations: Equations) -> str:
    """The equations as one LaTeX `aligned` environment."""
    lines = [f"{left} &= {right}" for left, right in _lines(equations, _LATEX)]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def _lines(equations: Equations, notation: _Notation) -> list[tuple[str, str]]:
    names: dict[int, str] = {}
    for name, index in equations.names:
        names.setdefault(index, name)
    for state, index in zip(equations.states, equations.next_states, strict=True):
        names[index] = state
    names.setdefault(equations.output, "y")
    names |= _abbreviations(equations, names)
    printer = _Printer(equations, notation, names)
    lines = [(notation.name(names[index], notation.now), printer.whole(index)) for index in sorted(names)]
    # States that are one and the same value have one name on its line.
    others = [(state, names[index]) for state, index in zip(equations.states, equations.next_states, strict=True)]
    same = [(notation.name(s, notation.now), notation.name(name, notation.now)) for s, name in others if s != name]
    return lines + same


def _abbreviations(equations: Equations, names: Mapping[int, str]) -> dict[int, str]:
    """Names for what is long and used several times without one, or too long for a line: v1, v2, ..."""
    uses = Counter(argument for node in equations.nodes for argument in node.args)
    free = (f"v{count}" for count in itertools.count(1) if f"v{count}" not in {*names.values(), equations.input})
    found: dict[int, str] = {}
    sizes: list[int] = []
    for index, node in enumerate(equations.nodes):
        inner = (argument for argument in node.args if argument not in names and argument not in found)
        sizes.append(1 + sum(sizes[argument] for argument in inner))
        if index not in names and sizes[index] > (_LONG if uses[index] > 1 else _TOO_LONG):
            found[index] = next(free)
    return found


class _Printer:
    def __init__(self, equations: Equations, notation: _Notation, names: Mapping[int, str]) -> None:
        self.equations, self.notation, self.names = equations, notation, names

    def whole(self, index: int) -> str:
        """The right side of the equation whose left side is this node."""
        return self._write(index)[0]

    def part(self, index: int, strength: int) -> str:
        """A node inside an expression: by its name if it has one, in parentheses where the reader needs them."""
        node = self.equations.nodes[index]
        if index in self.names and node.op not in ("input", "state"):
            return self.notation.name(self.names[index], self.notation.now)
        text, own = self._write(index)
        return text if own >= strength else f"({text})"

    def _write(self, index: int) -> tuple[str, int]:
        node, notation = self.equations.nodes[index], self.notation
        if node.op == "input":
            return notation.name(node.name, notation.now), _TIGHTEST
        if node.op == "state":
            return notation.name(node.name, notation.before), _TIGHTEST
        if node.op == "parameter":
            return notation.name(node.name), _TIGHTEST
        if node.op == "constant":
            return self._number(node.number)
        if node.op == "map":
            return notation.name(node.name) + notation.join + self.part(node.args[0], 4), 4
        if node.op in ("add", "sub"):
            sign = "+" if node.op == "add" else "-"
            return f"{self.part(node.args[0], 1)} {sign} {self.part(node.args[1], 3 if sign == '-' else 1)}", 1
        if node.op == "neg":
            return f"-{self.part(node.args[0], 3)}", 2
        if node.op == "mul":
            is_number = [self.equations.nodes[argument].op == "constant" for argument in node.args]
            factors = [self.part(argument, 3) for argument in (reversed(node.args) if is_number[1] else node.args)]
            return (notation.join if any(is_number) else notation.times).join(factors), 3
        if node.op == "div":
            strength = 0 if notation is _LATEX else 4
            parts = [self.part(argument, strength) for argument in node.args]
            return notation.fraction.format(*parts), 4 if notation is _LATEX else 3
        if node.op == "pow":
            return notation.power.format(self.part(node.args[0], 6), self.part(node.args[1], 0)), 5
        form = notation.functions.get(node.op, node.op + "(" + ", ".join("{}" for _ in node.args) + ")")
        return form.format(*(self.part(argument, 0) for argument in node.args)), _TIGHTEST

    def _number(self, number: float) -> tuple[str, int]:
        whole = number.is_integer() and abs(number) < 1e6
        digits, _, exponent = (str(int(number)) if whole else repr(number)).partition("e")
        strength = _TIGHTEST if number >= 0 else 0
        if exponent and self.notation is _LATEX:
            return rf"{digits} \cdot 10^{{{int(exponent)}}}", min(strength, 4)
        return f"{digits}e{exponent}" if exponent else digits, strength
