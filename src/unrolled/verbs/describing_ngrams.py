"""`describe` of a run whose model was fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unrolled.runs.directory import Run

__all__ = ["FittedDescription", "describe_fitted"]

_ABOUT = """Interpolated modified Kneser-Ney smoothing of n-grams (Chen and Goodman 1999, section 3)."""
_EQUATIONS = [
    "p_k(w | h) = (c_k(h w) - D_k(c_k(h w))) / C_k(h) + g_k(h) p_{k-1}(w | h without its first symbol)",
    "g_k(h) = (D_k1 N1(h .) + D_k2 N2(h .) + D_k3 N3+(h .)) / C_k(h),   C_k(h) = sum of c_k(h .)",
    "c_n = how often,   c_k = after how many different symbols (k < n),   p_0(w) = 1 / V",
]
_LATEX = r"""\begin{aligned}
p_k(w \mid h) &= \frac{c_k(hw) - D_k(c_k(hw))}{C_k(h)} + \gamma_k(h)\, p_{k-1}(w \mid h') \\
\gamma_k(h) &= \frac{D_{k,1} N_1(h\,\cdot) + D_{k,2} N_2(h\,\cdot) + D_{k,3} N_{3+}(h\,\cdot)}{C_k(h)}
\end{aligned}"""


@dataclass(frozen=True)
class FittedDescription:
    """The n-gram model of a run.

    Attributes:
        name: of the run.
        about: what kind of model it is.
        equations: one line each.
        latex: the same in LaTeX.
        order: symbols of the longest n-gram.
        lines: what a line end does to the context, "carry" or "reset".
        ngrams: how many of each order there are, the start of a sequence among those of order 1.
        discounts: for counts of 1, 2 and more, an order a row.
        vocabulary_size: V.
        parameters: how many n-grams there are.
        config: the configuration of the run.
    """

    name: str
    about: str
    equations: list[str]
    latex: str
    order: int
    lines: str
    ngrams: list[int]
    discounts: list[list[float]]
    vocabulary_size: int
    parameters: int
    config: dict[str, Any]

    def text(self) -> str:
        """The description as it is printed."""
        sizes = [
            f"  {k:>2}  {ngrams:>13,}  {'  '.join(f'{value:.4f}' for value in row)}"
            for k, (ngrams, row) in enumerate(zip(self.ngrams, self.discounts, strict=True), 1)
        ]
        context = "begins anew with each line" if self.lines == "reset" else "is carried over line ends"
        return "\n".join(
            [
                f"{self.name}\n\n{self.about}\n",
                *(f"  {line}" for line in self.equations),
                f"\norder {self.order}, V = {self.vocabulary_size}; the context {context}\n",
                "  order   n-grams  discounts of counts 1, 2, more",
                *sizes,
                f"{self.parameters:,} n-grams",
            ]
        )


def describe_fitted(run: Run) -> FittedDescription:
    """What there is in a run of an n-gram model.

    Raises:
        RunError: a file of it is damaged.
    """
    from unrolled.runs.models import load_language_model

    model, vocabulary, loaded = load_language_model(run)
    return FittedDescription(
        name=run.name,
        about=_ABOUT,
        equations=_EQUATIONS,
        latex=_LATEX,
        order=loaded.state["order"],
        lines="carry" if loaded.state["boundary"] is None else "reset",
        ngrams=loaded.state["sizes"],
        discounts=loaded.state["discounts"],
        vocabulary_size=vocabulary.size,
        parameters=model.size,
        config=run.config,
    )
