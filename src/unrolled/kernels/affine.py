"""The step of a cell without recurrent maps as an affine map of its states: s[t] = A[t] s[t-1] + b[t], unit by unit.

A is the adjoint of every state after the step, with a one in the place of that state; b is the step from states of
zero. Both are programs, folded out of the derived ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from unrolled.cells import Equations
from unrolled.cells._graph import ON_NUMBERS
from unrolled.cells.derivation import Instruction, Program, derive
from unrolled.errors import ConfigurationError

__all__ = ["Steps", "affine_steps"]


@dataclass(frozen=True)
class Steps:
    """The programs of a step, from its leaves.

    Attributes:
        slopes: the entries of A: "0 1" is the slope of the first state after the step by the second before.
        offsets: "0", "1", ...: b of every state. Of use where the cell is linear in its state.
        after: "0", "1", ...: every state after the step.
        backs: from "d output" too: "0", "1", ...: the adjoint that every state before the step has from the output.
    """

    slopes: Program
    offsets: Program
    after: Program
    backs: Program


@cache
def affine_steps(equations: Equations) -> Steps:
    """The programs of a step of a cell without recurrent maps.

    Raises:
        ConfigurationError: a map of the cell waits for a state.
    """
    derivation = derive(equations)
    if derivation.recurrent:
        raise ConfigurationError(
            f"a map of {equations.name} waits for a state", expected="a cell without recurrent maps", fix="use 'staged'"
        )
    states = equations.states
    output = {"d output": 0.0} if derivation.output_state is None else {}
    adjoint, after = derivation.output_adjoint, [f"next {state}" for state in states]
    wanted = [f"d {state}" for state in states]

    folding = _Folding()
    slopes: dict[str, str | float] = {}
    for row, seeded in enumerate(after):
        seeds = {f"d {name}": float(name == seeded) for name in after}
        found = folding.read(adjoint, seeds | output, wanted)
        slopes |= {f"{row} {column}": found[name] for column, name in enumerate(wanted) if found.get(name)}
    steps, offsets = _Folding(), _Folding()
    back = _Folding()
    backs = back.read(adjoint, {f"d {name}": 0.0 for name in after}, wanted) if output else {}
    linear = derivation.is_linear_in_state
    zeros = dict.fromkeys(states, 0.0)
    return Steps(
        folding.program(slopes),
        offsets.program(_numbered(offsets.read(derivation.output_program, zeros, after), after) if linear else {}),
        steps.program(_numbered(steps.read(derivation.output_program, {}, after), after)),
        back.program(_numbered(backs, wanted)),
    )


def _numbered(results: Mapping[str, str | float], order: Sequence[str]) -> dict[str, str | float]:
    return {str(place): results.get(name, 0.0) for place, name in enumerate(order)}


class _Folding:
    """Programs with some inputs known: what is multiplied by zero goes, what occurs twice is computed once."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, tuple[str | float, ...]], str] = {}

    def read(self, program: Program, known: Mapping[str, float], wanted: Sequence[str]) -> dict[str, str | float]:
        """Some results of a program, as names or numbers."""
        results = {name: value for name, value in program.outputs if name in wanted}
        needed = set(results.values())
        for instruction in reversed(program.instructions):
            if instruction.target in needed:
                needed |= set(instruction.args)
        held: dict[str | float, str | float] = dict(known.items())
        for instruction in program.instructions:
            if instruction.target in needed:
                arguments = tuple(held.get(argument, argument) for argument in instruction.args)
                held[instruction.target] = self._emit(instruction.op, arguments)
        return {name: held.get(value, value) for name, value in results.items()}

    def _emit(self, op: str, args: tuple[str | float, ...]) -> str | float:
        numbers = [argument for argument in args if not isinstance(argument, str)]
        if len(numbers) == len(args):
            return float(ON_NUMBERS[op](*numbers))
        first, last = args[0], args[-1]
        if (op == "mul" and 0.0 in args) or (op == "div" and first == 0.0):
            return 0.0
        if (op in ("add", "sub") and last == 0.0) or (op in ("mul", "div") and last == 1.0):
            return first
        if (op == "add" and first == 0.0) or (op == "mul" and first == 1.0):
            return last
        if op == "sub" and first == 0.0:
            op, args = "neg", (last,)
        return self._targets.setdefault((op, args), f"%{len(self._targets)}")

    def program(self, results: Mapping[str, str | float]) -> Program:
        """A program with these results."""
        needed, kept = set(results.values()), list[Instruction]()
        for (op, args), target in reversed(self._targets.items()):
            if target in needed:
                kept.append(Instruction(target, op, args))
                needed |= set(args)
        targets = {instruction.target for instruction in kept}
        inputs = sorted(name for name in needed if isinstance(name, str) and name not in targets)
        return Program(tuple(inputs), tuple(reversed(kept)), tuple(results.items()))
