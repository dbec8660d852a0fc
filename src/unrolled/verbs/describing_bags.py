"""`describe` of a run of a bag of words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unrolled.runs.directory import Run

__all__ = ["BagDescription", "describe_bag"]

_SHOWN = 10  # n-grams a label

_ABOUT = {
    "naive-bayes": "Multinomial naive Bayes on n-grams (Manning, Raghavan & Schütze 2008, section 13.2).",
    "logistic": "Logistic regression on n-grams.",
    "nbsvm": "A support vector machine on ratios of naive Bayes, interpolated (Wang & Manning 2012, section 2.3).",
    "nb-logistic": "Logistic regression on ratios of naive Bayes (Mesnil et al. 2014, section 2.3).",
    "mlp": "A perceptron with one hidden layer on n-grams.",
    "ridge": "Ridge regression on n-grams.",
}
_EQUATIONS = {
    "naive-bayes": [
        "p(y | x) = exp(s_y / T) / sum of exp(s / T),   s_y = ln p(y) + sum over f of x_f ln p(f | y)",
        "p(f | y) = (c(f, y) + a) / (c(y) + a F)",
    ],
    "logistic": [
        "p(y | x) = exp(s_y / T) / sum of exp(s / T),   s = W x + b",
        "W, b = argmin |W|^2 / 2 - C sum of ln p(y | x)",
    ],
    "nbsvm": [
        "p(y | x) = exp(s_y / T) / sum of exp(s / T),   s_y = w' (r x) + b",
        "r = ln((p / |p|) / (q / |q|)),   p, q = a + counts of the class and of all others",
        "w' = (1 - beta) |w| / F + beta w,   w, b = argmin w^2 / 2 + C sum of max(0, 1 - y (w (r x) + b))^2",
    ],
    "nb-logistic": [
        "p(y | x) = exp(s_y / T) / sum of exp(s / T),   s_y = w (r x) + b",
        "r = ln((p / |p|) / (q / |q|)),   p, q = a + counts of the class and of all others",
        "w, b = argmin w^2 / 2 + C sum of ln(1 + exp(-y (w (r x) + b)))",
    ],
    "mlp": ["p(y | x) = softmax(W_2 max(0, W_1 x + b_1) + b_2)"],
    "ridge": ["y = w x + b,   w, b = argmin |w|^2 / C + sum of (y - w x - b)^2"],
}
_LATEX = {
    "naive-bayes": r"""\begin{aligned}
p(y \mid x) &\propto \Bigl(p(y) \prod_f p(f \mid y)^{x_f}\Bigr)^{1/T} \\
p(f \mid y) &= \frac{c(f, y) + a}{\sum_g c(g, y) + a F}
\end{aligned}""",
    "logistic": r"""\begin{aligned}
p(y \mid x) &\propto \exp\bigl((W x + b)_y / T\bigr) \\
W, b &= \arg\min \tfrac{1}{2}\lVert W \rVert^2 - C \sum_i \ln p(y_i \mid x_i)
\end{aligned}""",
    "nbsvm": r"""\begin{aligned}
r &= \ln \frac{p / \lVert p \rVert_1}{q / \lVert q \rVert_1} \\
w' &= (1 - \beta) \frac{\lVert w \rVert_1}{F} + \beta w \\
w, b &= \arg\min \tfrac{1}{2}\lVert w \rVert^2 + C \sum_i \max(0, 1 - y_i (w \cdot (r \circ x_i) + b))^2
\end{aligned}""",
    "nb-logistic": r"""\begin{aligned}
r &= \ln \frac{p / \lVert p \rVert_1}{q / \lVert q \rVert_1} \\
w, b &= \arg\min \tfrac{1}{2}\lVert w \rVert^2 + C \sum_i \ln(1 + \exp(-y_i (w \cdot (r \circ x_i) + b)))
\end{aligned}""",
    "mlp": r"p(y \mid x) = \operatorname{softmax}(W_2 \max(0, W_1 x + b_1) + b_2)",
    "ridge": r"w, b = \arg\min \lVert w \rVert^2 / C + \sum_i (y_i - w \cdot x_i - b)^2",
}


@dataclass(frozen=True)
class BagDescription:
    """The bag of words of a run.

    Attributes:
        name: of the run.
        about: what kind of model it is.
        equations: one line each; F n-grams, T the temperature.
        latex: the same in LaTeX.
        setting: what it counts and how it was fitted, by name.
        ngrams: F.
        temperature: T, found on the validation part.
        telling: by label the n-grams that speak for it most, with how much more than for other labels.
        parameters: how many numbers were fitted.
        config: the configuration of the run.
    """

    name: str
    about: str
    equations: list[str]
    latex: str
    setting: dict[str, Any]
    ngrams: int
    temperature: float
    telling: dict[str, list[tuple[str, float]]]
    parameters: int
    config: dict[str, Any]

    def text(self) -> str:
        """The description as it is printed."""
        setting = ", ".join(f"{name} {value}" for name, value in self.setting.items() if value is not None)
        width = max(map(len, self.telling), default=0)
        lines = [f"{self.name}\n\n{self.about}\n", *(f"  {line}" for line in self.equations)]
        lines.append(f"\n{setting}\nF = {self.ngrams:,} n-grams, T = {self.temperature:.4g}")
        if self.telling:
            lines.append("\nwhat speaks for each:")
            for label, found in self.telling.items():
                lines.append(f"  {label:<{width}}  {'  '.join(f'{name} {weight:.2f}' for name, weight in found)}")
        return "\n".join([*lines, f"{self.parameters:,} numbers were fitted"])


def describe_bag(run: Run) -> BagDescription:
    """What there is in a run of a bag of words.

    Raises:
        RunError: a file of it is damaged.
    """
    from unrolled.runs.models import load_bag  # which brings torch

    bag, _, _ = load_bag(run)
    setting = {name: value for name, value in run.config["model"].items() if name != "kind"}
    classifier = setting["classifier"]
    telling = bag.telling(_SHOWN)
    labels = run.vocabulary["labels"] or ["more"]
    return BagDescription(
        name=run.name,
        about=_ABOUT[classifier],
        equations=_EQUATIONS[classifier],
        latex=_LATEX[classifier],
        setting=setting,
        ngrams=bag.features.width,
        temperature=bag.temperature,
        telling=dict(zip(labels, telling, strict=True)) if telling else {},
        parameters=bag.parameters,
        config=run.config,
    )
