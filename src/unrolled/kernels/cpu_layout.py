"""Which arrays the generated loops of a cell take, and which of its values are kept between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from unrolled.cells.derivation import Derivation, Instruction, Product, Program, leaf_name

__all__ = ["Form", "Layout"]


@dataclass(frozen=True)
class Form:
    """Which code is generated.

    Attributes:
        dtype: of states and arithmetic: "float32" or "float64".
        half: whether maps are held, and products made, in bfloat16.
        packed: whether products are PyTorch's on packed weights; else loops of our own.
    """

    dtype: str
    half: bool
    packed: bool


class Layout:
    """The arrays, by name, and the programs that work on them.

    Rows. A batch is laid out time step after time step, the rows of a step one under the other: (N, n) with N = T·B, or
    fewer where sequences end early. A step's rows are `first[t]` to `first[t] + count[t]`; sequences that last longer
    come first, so that row i of a step is sequence i. `tall[t]` is for how many rows packed products are made, at least
    `count[t]`: every other number costs oneDNN a new kernel.

    Arrays. `now_h` (B, H) and `was_h` (N, H) for a state h: where a sequence stands, and what stood before each step.
    `map3` (N, G·H): what product 3 gives; `arg3` (N, H): what it is of. `vec` (P, H): parameters of one number a unit.
    A "d" before a name is the adjoint; `dvec` (P, H) is a sum over rows.

    A sum of a map outside the loop and one inside, as in W.i @ x + U.i @ h, is formed once: the second is added to the
    first where it lies, and only the sum is kept.

    Attributes:
        states: names of the states.
        vectors: names of the parameters of one number a unit.
        products: all products; those of level 0 are outside the loop.
        maps: for the leaf of every map its product's number and its place there.
        merged: for a map inside the loop the map outside that it is added to.
        raw: whether the input itself is read inside the loop.
        output, output_adjoint: the programs of a step, without the sums of merged maps.
    """

    def __init__(self, derivation: Derivation, form: Form) -> None:
        self.derivation, self.form = derivation, form
        equations = derivation.equations
        self.states = equations.states
        self.vectors = tuple(name for name, kind in equations.parameters.items() if kind == "vector")
        self.products = derivation.products
        self.maps = {f"@{index}": (k, g) for k, stage in enumerate(self.products) for g, index in enumerate(stage.maps)}
        computed = [stage for stage in derivation.recurrent if self._leaf(stage) not in self.states]
        forward = [*map(self._argument_program, computed), derivation.output_program]
        backward = [*map(self._argument_adjoint, computed), derivation.output_adjoint]
        self.merged = self._pairs([*forward, *backward])
        self.output = _without(forward[-1], self.merged)
        self.output_adjoint = _without(backward[-1], self.merged)
        self._arguments = {stage: _without(p, self.merged) for stage, p in zip(computed, forward, strict=False)}
        self._adjoints = {stage: _without(p, self.merged) for stage, p in zip(computed, backward, strict=False)}
        self._needed = {name for p in [*self._adjoints.values(), self.output_adjoint] for name in p.inputs}
        self.raw = any(equations.input in program.inputs for program in [*forward, *backward])

    def _leaf(self, stage: Product) -> str | None:
        found = self.derivation.is_leaf(stage.argument)
        return leaf_name(self.derivation.equations, stage.argument) if found else None

    def _argument_program(self, stage: Product) -> Program:
        leaf = self._leaf(stage)  # a map of a map
        return self.derivation.argument_programs[stage] if leaf is None else Program((leaf,), (), (("argument", leaf),))

    def _argument_adjoint(self, stage: Product) -> Program:
        leaf, given = self._leaf(stage), "d argument"
        return (
            self.derivation.argument_adjoint(stage) if leaf is None else Program((given,), (), ((f"d {leaf}", given),))
        )

    def argument(self, k: int) -> Program:
        """The program of product k's argument, where that is no state."""
        return self._arguments[self.products[k]]

    def argument_adjoint(self, k: int) -> Program:
        """Its adjoint."""
        return self._adjoints[self.products[k]]

    @cached_property
    def recurrent(self) -> tuple[int, ...]:
        """The numbers of the products inside the loop, in order."""
        return tuple(k for k, stage in enumerate(self.products) if stage.level > 0)

    @cached_property
    def hoisted(self) -> tuple[int, ...]:
        """The numbers of the products outside."""
        return tuple(k for k, stage in enumerate(self.products) if stage.level == 0)

    def source(self, k: int) -> str | None:
        """The state that product k is of, where it is one."""
        leaf = self._leaf(self.products[k])
        return leaf if leaf in self.states else None

    def state_of(self, k: int) -> str | None:
        """The state whose rows are product k's argument as they are; None where `arg` holds it."""
        return self.source(k) if not self.form.half else None

    @cached_property
    def arguments(self) -> tuple[int, ...]:
        """The products in the loop that have an `arg`."""
        return tuple(k for k in self.recurrent if self.state_of(k) is None)

    @cached_property
    def kept_states(self) -> tuple[str, ...]:
        """The states of which the way back needs what stood before each step."""
        of_products = {self.state_of(k) for k in self.recurrent}
        return tuple(state for state in self.states if state in self._needed or state in of_products)

    def is_kept(self, leaf: str) -> bool:
        """Whether the way back needs the result of a map inside the loop by itself."""
        return leaf in self._needed

    @cached_property
    def kept_maps(self) -> tuple[int, ...]:
        """The products of which the way back needs results: all outside the loop, some inside."""
        return tuple(
            k
            for k, stage in enumerate(self.products)
            if stage.level == 0 or any(self.is_kept(f"@{index}") for index in stage.maps)
        )

    @cached_property
    def shared(self) -> dict[int, int]:
        """For a hoisted product the one in the loop whose adjoint is the same array: W.i @ x + U.i @ h."""
        if self._arguments:
            return {}
        held = {name: value for name, value in self.output_adjoint.outputs if isinstance(value, str)}

        def adjoints(k: int) -> list[str | None]:
            return [held.get(f"d @{index}") for index in self.products[k].maps]

        found = {}
        for k in self.hoisted:
            twins = [m for m in self.recurrent if adjoints(m) == adjoints(k) and None not in adjoints(k)]
            if twins:
                found[k] = twins[0]
        return found

    def forward(self) -> list[str]:
        """The arguments of `forward`, in order."""
        names = [*self._rows(), "keep", "most", "y", "vec", *(["x"] if self.raw else [])]
        names += [f"now_{state}" for state in self.states] + [f"was_{state}" for state in self.kept_states]
        names += [f"map{k}" for k in self.kept_maps] + [f"arg{k}" for k in self.arguments]
        return names + [f"weight{k}" for k in self.recurrent]

    def backward(self) -> list[str]:
        """The arguments of `backward`, in order."""
        names = [*self._rows(), "most", "dy", "vec", "dvec", *(["x", "dx"] if self.raw else [])]
        names += [f"dnow_{state}" for state in self.states] + [f"was_{state}" for state in self.kept_states]
        names += [f"map{k}" for k in self.kept_maps]
        names += [f"dmap{k}" for k in range(len(self.products)) if k not in self.shared]
        return names + [f"weight{k}" for k in self.recurrent]

    def _rows(self) -> list[str]:
        return ["first", "count", *(["tall"] if self.form.packed else []), "resets"]

    def _pairs(self, programs: list[Program]) -> dict[str, str]:
        """The maps inside the loop that occur nowhere but in a sum with one outside, the same in every program."""
        pairs: dict[str, str] = {}
        # What another product outside the loop is of stays as it is.
        refused = {leaf for k in self.hoisted for leaf in self._read_by(self.products[k])}
        for program in programs:
            here = {leaf for leaf in program.inputs if leaf in self.maps}
            found = _sums(program, {leaf for leaf in here if self._inside(leaf)}, here)
            for leaf, other in found.items():
                if pairs.setdefault(leaf, other) != other:
                    refused |= {leaf}
            for leaf in here - found.keys() - set(found.values()):
                refused |= {leaf, *(m for m, h in pairs.items() if h == leaf)}
        uses = Counter(pairs.values())
        return {m: h for m, h in pairs.items() if not {m, h} & refused and uses[h] == 1}

    def _read_by(self, stage: Product) -> tuple[str, ...]:
        leaf = self._leaf(stage)
        return self.derivation.argument_programs[stage].inputs if leaf is None else (leaf,)

    def _inside(self, leaf: str) -> bool:
        return self.products[self.maps[leaf][0]].level > 0


def _sums(program: Program, inside: set[str], maps: set[str]) -> dict[str, str]:
    """For maps of `inside` that occur once, in a sum, another map that occurs once, in the same sum."""
    uses = Counter(name for instruction in program.instructions for name in instruction.args)
    uses.update(value for _, value in program.outputs)
    sums = {instruction.target: instruction for instruction in program.instructions if instruction.op == "add"}

    def terms(target: str) -> list[str | float]:
        found: list[str | float] = []
        for name in sums[target].args:
            inner = isinstance(name, str) and name in sums and uses[name] == 1
            found += terms(str(name)) if inner else [name]
        return found

    pairs: dict[str, str] = {}
    for target in reversed(sums):
        once = [name for name in terms(target) if isinstance(name, str) and name in maps and uses[name] == 1]
        free = [name for name in once if name not in inside and name not in pairs.values()]
        for leaf in (name for name in once if name in inside and name not in pairs):
            if free:
                pairs[leaf] = free.pop(0)
    return pairs


def _without(program: Program, merged: dict[str, str]) -> Program:
    """A program in which the second map of a merged pair already has the first in it."""
    same: dict[str | float, str | float] = {}
    kept = []
    for instruction in program.instructions:
        args = tuple(same.get(name, name) for name in instruction.args)
        rest = [name for name in args if name not in merged]
        if instruction.op == "add" and len(rest) == 1:
            same[instruction.target] = rest[0]
        else:
            kept.append(Instruction(instruction.target, instruction.op, args))
    outputs = tuple((name, same.get(value, value)) for name, value in program.outputs)
    return Program(tuple(name for name in program.inputs if name not in merged), tuple(kept), outputs)
