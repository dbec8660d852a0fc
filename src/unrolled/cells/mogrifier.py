"""The Mogrifier: input and state gate each other before a cell reads them."""

from __future__ import annotations

from dataclasses import replace

from unrolled.cells._graph import Equations, Node
from unrolled.errors import CellError

__all__ = ["mogrified"]

_ABOUT = """

Mogrified (Melis, Kocisky & Blunsom 2020, equations 1 and 2): before the step, input and state gate each other in turn,
{rounds} times: x1 = 2 sigmoid(Q.x1 @ h) * x, h2 = 2 sigmoid(R.h2 @ x1) * h, and so on; the cell reads the last of each.
"""


def mogrified(equations: Equations, rounds: int) -> Equations:
    """A cell in which input and state gate each other before each step (Melis, Kocisky & Blunsom 2020, equations 1, 2).

    Odd rounds i gate the input, x_i = 2 sigmoid(Q_i h_(i-1)) * x_(i-2); even ones the state, h_i = 2 sigmoid(R_i
    x_(i-1)) * h_(i-2). The cell's own equations then read the last x and the last h, wherever they read x and h before.
    What comes out are equations like any other, so that gradient, kernels, stepping and watching follow. The state that
    is gated is the one that is also the output, or the first.

    In the paper Q and R may be products of two thin matrices; here they are whole, and D is H.

    Args:
        equations: the cell.
        rounds: r; 0 leaves the cell as it is. The paper finds 4 and 5 best.

    Raises:
        CellError: rounds are negative, or the cell has a parameter or a gate of a name that is needed.
    """
    if rounds < 0:
        raise CellError("a number of rounds is negative", expected="at least 0", got=str(rounds))
    if not rounds:
        return equations
    gated = next((k for k, after in enumerate(equations.next_states) if after == equations.output), 0)
    leaf = equations.input, equations.states[gated]
    nodes = [Node("input", name=leaf[0]), Node("state", name=leaf[1]), Node("constant", number=2.0)]
    last, names = [0, 1], []
    for i in range(1, rounds + 1):
        # Of either: 0 is the input, 1 the state.
        side = 1 - i % 2
        begin = len(nodes)
        nodes += [
            Node("map", (last[1 - side],), f"{'QR'[side]}.{leaf[side]}{i}"),
            Node("sigmoid", (begin,)),
            Node("mul", (2, begin + 1)),
            Node("mul", (begin + 2, last[side])),
        ]
        last[side] = begin + 3
        names.append((f"{leaf[side]}{i}", begin + 3))
    matrices = [node.name for node in nodes if node.op == "map"]
    _check_names(equations, names, matrices)
    moved: list[int] = []
    for node in equations.nodes:
        if node.op == "input":
            moved.append(last[0])
        elif node.op == "state" and node.name == leaf[1]:
            moved.append(last[1])
        else:
            moved.append(len(nodes))
            nodes.append(replace(node, args=tuple(moved[argument] for argument in node.args)))
    return Equations(
        name=f"{equations.name}-mogrifier-{rounds}",
        doc=equations.doc.rstrip() + _ABOUT.format(rounds=rounds).rstrip(),
        input=equations.input,
        states=equations.states,
        nodes=tuple(nodes),
        output=moved[equations.output],
        next_states=tuple(moved[index] for index in equations.next_states),
        names=(*names, *((name, moved[index]) for name, index in equations.names)),
        init=(*equations.init, *_starts(equations), *((matrix, "glorot") for matrix in matrices)),
    )


def _check_names(equations: Equations, names: list[tuple[str, int]], matrices: list[str]) -> None:
    taken = ({name for name, _ in names} & {name for name, _ in equations.names}) | (
        set(matrices) & equations.parameters.keys()
    )
    if taken:
        raise CellError(
            f"the cell has something called {', '.join(sorted(taken))} itself, which gating its input needs",
            where=f"cell {equations.name}",
            fix="give it another name",
        )


def _starts(equations: Equations) -> list[tuple[str, str]]:
    """Matrices of the input start as ever, though what they are applied to is gated by a state now."""
    given = {name for name, _ in equations.init}
    return [
        (name, "glorot")
        for name, kind in equations.parameters.items()
        if kind == "input matrix" and not {name, name.split(".")[0]} & given
    ]
