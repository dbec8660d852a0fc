"""Which arrays the Triton kernels of a cell read and write.

What a kernel reads and writes, each one contiguous array:

    x        (B, T, H)     the input, where it meets values of H units
    p        (P, H)        the vectors of parameters
    r        (B, T)        resets: not 0 where the state is set to zero before the step
    s<i>     (B, H)        state i before the first step
    n<i>     (B, T, H)     state i after every step
    y        (B, T, H)     the output, where it is no state
    a<k>     (B, T, G·H)   results of the maps of product k
    o<k>     (B, T, H)     what product k, of level 1 or more, is of
    u<k>     (G·H, H)      the matrices of product k
    d...                   the gradient of the loss by each of these; ds<i> that by the state after the last step, and
                           in its place that by the state before the first
    dp       (B, Q, H)     for every row, by the vectors in `Layout.summed`
    e<k>     (B, H)        what the maps of product k pass back in one step

Arithmetic is in float32 throughout; only `x`, `a`, `o`, `u` and their gradients may be of a shorter dtype.
"""

from __future__ import annotations

from functools import cached_property

from unrolled.cells import Equations
from unrolled.cells.derivation import Derivation, Product, derive, leaf_name

__all__ = ["Layout"]


class Layout:
    """Which values the loop of a cell reads and writes.

    Attributes:
        equations: the cell.
        derivation: what is derived from it.
        products: the recurrent products with their number among all, the hoisted ones counted too.
        levels: those of level 1, of level 2, and so on.
        hoisted: the hoisted products of which the loop reads results, with their numbers.
        reads_input: whether the loop reads the input itself.
        vectors: the vectors of parameters that the loop reads, in the order of `p`.
    """

    def __init__(self, equations: Equations) -> None:
        self.equations = equations
        self.derivation: Derivation = derive(equations)
        numbered = list(enumerate(self.derivation.products))
        self.products = {number: product for number, product in numbered if product.level > 0}
        levels = sorted({product.level for product in self.products.values()})
        self.levels = [{k: p for k, p in self.products.items() if p.level == level} for level in levels]
        programs = [self.derivation.output_program]
        programs += [p for stage, p in self.derivation.argument_programs.items() if stage.level > 0]
        read = {name for program in programs for name in program.inputs}
        read |= {self.leaf(product) for product in self.products.values() if self.derivation.is_leaf(product.argument)}
        self.hoisted = {k: p for k, p in numbered if p.level == 0 and {f"@{index}" for index in p.maps} & read}
        self.reads_input = equations.input in read
        self.vectors = tuple(name for name, kind in equations.parameters.items() if kind == "vector" and name in read)

    def leaf(self, product: Product) -> str:
        """The name of the leaf that a product is of."""
        return leaf_name(self.equations, product.argument)

    @cached_property
    def place(self) -> dict[str, tuple[int, int, int]]:
        """For every map's leaf: the number of its product, its place there, and how many maps that has."""
        return {
            f"@{index}": (number, place, len(product.maps))
            for number, product in {**self.hoisted, **self.products}.items()
            for place, index in enumerate(product.maps)
        }

    @cached_property
    def _terms(self) -> dict[str, tuple[object, ...]]:
        """What is added up to the gradient of every leaf: two leaves with equal terms have equal gradients."""
        terms: dict[str, list[object]] = {}
        for name, held in self.derivation.output_adjoint.outputs:
            terms.setdefault(name[2:], []).append(("results", held))
        for number, product in reversed(self.products.items()):
            if self.derivation.is_leaf(product.argument):
                terms.setdefault(self.leaf(product), []).append((number, "argument"))
            else:
                for name, held in self.derivation.argument_adjoint(product).outputs:
                    terms.setdefault(name[2:], []).append((number, held))
        return {leaf: tuple(added) for leaf, added in terms.items()}

    @cached_property
    def gradient(self) -> dict[int, int]:
        """For every product the one in whose `da` the gradients of its maps stand: often the hoisted and the recurrent
        map of a gate are only ever added."""
        found: dict[object, int] = {}
        terms = self._terms
        return {
            number: found.setdefault(tuple(terms.get(f"@{index}") for index in product.maps), number)
            for number, product in {**self.products, **self.hoisted}.items()
        }

    @cached_property
    def added(self) -> dict[str, str]:
        """For vectors that are added to a map (biases) the leaf of that map: their gradient is the sum of its own."""
        maps = {self._terms[leaf]: leaf for leaf in self.place if leaf in self._terms}
        return {name: maps[self._terms[name]] for name in self.vectors if self._terms.get(name) in maps}

    @cached_property
    def summed(self) -> tuple[str, ...]:
        """The other vectors, in the order of `dp`."""
        return tuple(name for name in self.vectors if name not in self.added)

    @cached_property
    def forward_arrays(self) -> tuple[str, ...]:
        """The names of the arrays of the forward pass."""
        states = range(len(self.equations.states))
        names = [f"a{k}" for k in (*self.hoisted, *self.products)]
        names += [f"{kind}{k}" for k in self.products for kind in "ou"]
        names += [f"{kind}{i}" for i in states for kind in "sn"]
        names += ["y"] * (self.derivation.output_state is None)
        return ("x", "p", "r", *names)

    @cached_property
    def backward_arrays(self) -> tuple[str, ...]:
        """The names of the arrays of the backward pass."""
        states = range(len(self.equations.states))
        names = [name for name in self.forward_arrays if name[0] not in "oy"]
        names += [f"da{k}" for k in dict.fromkeys(self.gradient.values())]
        names += [f"ds{i}" for i in states] + [f"e{k}" for k in self.products]
        return (*names, "dx", "dp", "dy")
