"""Drawings of networks, as text."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Drawn", "unrolled_diagram"]

_STEPS = 3


class Drawn(Protocol):
    """What a drawing needs to know of a network."""

    @property
    def layers(self) -> int:
        """How many recurrent layers."""

    @property
    def states(self) -> list[str]:
        """The states of the cell."""

    @property
    def sizes(self) -> dict[str, int]:
        """V, D, H as far as they are known."""


def unrolled_diagram(cell: str, network: Drawn) -> str:
    """The network unrolled over the first time steps: inputs below, outputs above, states to the right.

    The same weights stand in every column.
    """
    states = ",".join(network.states)
    box = f"[ {cell} ]"
    width, gap = len(box), len(f" ─{states}→ ")
    arrow = f" ─{states}→ "
    begin = f"{states}[0] "

    def row(symbols: list[str]) -> str:
        return " " * (len(begin) + gap) + (" " * gap).join(symbol.center(width) for symbol in symbols).rstrip()

    up = row(["↑"] * _STEPS)
    top = [f"softmax, V = {network.sizes['V']}"] if "V" in network.sizes else []
    lines = [row([f"y[{t + 1}]" for t in range(_STEPS)]), up]
    if top:
        lines += [row(["[ out ]"] * _STEPS) + f"   {top[0]}", up]
    for layer in reversed(range(network.layers)):
        note = f"   layer {layer}, H = {network.sizes['H']}"
        lines += [begin + arrow + arrow.join([box] * _STEPS) + arrow + "..." + note, up]
    if "E" in network.sizes:
        lines += [row(["[ emb ]"] * _STEPS) + f"   embedding, E = {network.sizes['E']}", up]
    lines.append(row([f"x[{t + 1}]" for t in range(_STEPS)]))
    return "\n".join(lines)
