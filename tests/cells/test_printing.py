"""Equations as text and as LaTeX, from the traced equations."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from unrolled.cells import BUILTIN, U, W, absolute, as_latex, as_text, b, cell, exp, find_cell, maximum, sqrt, tanh

FILE = Path(__file__).parents[1] / "example_cells.py"
EXAMPLES = ("two_stages", "four_stages", "sru", "min_gru", "lru", "every_function", "inner_loop", "delay", "forgetful")
NAMES = [*BUILTIN, *(f"{FILE}:{name}" for name in EXAMPLES)]

LSTM_TEXT = [
    "i[t] = σ(W.i x[t] + U.i h[t-1] + b.i)",
    "f[t] = σ(W.f x[t] + U.f h[t-1] + b.f)",
    "o[t] = σ(W.o x[t] + U.o h[t-1] + b.o)",
    "g[t] = tanh(W.g x[t] + U.g h[t-1] + b.g)",
    "c[t] = f[t] ⊙ c[t-1] + i[t] ⊙ g[t]",
    "h[t] = o[t] ⊙ tanh(c[t])",
]
MINLSTM_GATES = ["u[t] = W.f x[t] + b.f", "v[t] = W.i x[t] + b.i", "f[t] = σ(softplus(-v[t]) - softplus(-u[t]))"]
QRNN_GATES = ["z[t] = tanh(W.z x[t] + b.z)", *(f"{gate}[t] = σ(W.{gate} x[t] + b.{gate})" for gate in "ifo")]
CHANGED = {
    "rnn": ["h[t] = tanh(W.h x[t] + U.h h[t-1] + b.h)"],
    "rnn-relu": ["h[t] = relu(W.h x[t] + U.h h[t-1] + b.h)"],
    "rnn-sigmoid": ["h[t] = σ(W.h x[t] + U.h h[t-1] + b.h)"],
    "lstm": LSTM_TEXT,
    "lstm-1997": [LSTM_TEXT[0], *LSTM_TEXT[2:4], "c[t] = c[t-1] + i[t] ⊙ g[t]", LSTM_TEXT[5]],
    "lstm-peephole": [
        "i[t] = σ(W.i x[t] + U.i h[t-1] + p.i ⊙ c[t-1] + b.i)",
        "f[t] = σ(W.f x[t] + U.f h[t-1] + p.f ⊙ c[t-1] + b.f)",
        LSTM_TEXT[3],
        LSTM_TEXT[4],
        "o[t] = σ(W.o x[t] + U.o h[t-1] + p.o ⊙ c[t] + b.o)",
        LSTM_TEXT[5],
    ],
    "lstm-coupled": [*LSTM_TEXT[1:4], "c[t] = f[t] ⊙ c[t-1] + (1 - f[t]) ⊙ g[t]", LSTM_TEXT[5]],
    "gru": [
        "r[t] = σ(W.r x[t] + U.r h[t-1] + b.r)",
        "z[t] = σ(W.z x[t] + U.z h[t-1] + b.z)",
        "n[t] = tanh(W.n x[t] + b.n + r[t] ⊙ (U.n h[t-1] + d.n))",
        "h[t] = (1 - z[t]) ⊙ n[t] + z[t] ⊙ h[t-1]",
    ],
    "gru-reset-before": [
        "r[t] = σ(W.r x[t] + U.r h[t-1] + b.r)",
        "z[t] = σ(W.z x[t] + U.z h[t-1] + b.z)",
        "n[t] = tanh(W.n x[t] + U.n (r[t] ⊙ h[t-1]) + b.n)",
        "h[t] = (1 - z[t]) ⊙ n[t] + z[t] ⊙ h[t-1]",
    ],
    "mingru": [
        "z[t] = σ(W.z x[t] + b.z)",
        "n[t] = W.n x[t] + b.n",
        "h[t] = (1 - z[t]) ⊙ h[t-1] + z[t] ⊙ n[t]",
    ],
    "mingru-positive": [
        "z[t] = σ(W.z x[t] + b.z)",
        "v[t] = W.n x[t] + b.n",
        "n[t] = maximum(v[t] + 0.5, σ(v[t]))",
        "h[t] = (1 - z[t]) ⊙ h[t-1] + z[t] ⊙ n[t]",
    ],
    "minlstm": [
        *MINLSTM_GATES,
        "n[t] = W.n x[t] + b.n",
        "h[t] = f[t] ⊙ h[t-1] + (1 - f[t]) ⊙ n[t]",
    ],
    "minlstm-positive": [
        *MINLSTM_GATES,
        "w[t] = W.n x[t] + b.n",
        "n[t] = maximum(w[t] + 0.5, σ(w[t]))",
        "h[t] = f[t] ⊙ h[t-1] + (1 - f[t]) ⊙ n[t]",
    ],
    "lru": [
        "size[t] = exp(-exp(a.nu))",
        "phase[t] = exp(a.theta)",
        "scale[t] = exp(a.gamma)",
        "turned[t] = size[t] ⊙ cos(phase[t]) ⊙ im[t-1] + size[t] ⊙ sin(phase[t]) ⊙ re[t-1]",
        "re[t] = size[t] ⊙ cos(phase[t]) ⊙ re[t-1] - size[t] ⊙ sin(phase[t]) ⊙ im[t-1] + scale[t] ⊙ W.re x[t]",
        "im[t] = turned[t] + scale[t] ⊙ W.im x[t]",
    ],
    "sru": [
        "f[t] = σ(W.f x[t] + p.f ⊙ c[t-1] + b.f)",
        "r[t] = σ(W.r x[t] + p.r ⊙ c[t-1] + b.r)",
        "c[t] = f[t] ⊙ c[t-1] + (1 - f[t]) ⊙ W.c x[t]",
        "h[t] = r[t] ⊙ c[t] + 1.7320508075688772 (1 - r[t]) ⊙ x[t]",
    ],
    "qrnn": [QRNN_GATES[0], *QRNN_GATES[2:], "c[t] = f[t] ⊙ c[t-1] + (1 - f[t]) ⊙ z[t]", "h[t] = o[t] ⊙ c[t]"],
    "qrnn-ifo": [*QRNN_GATES, "c[t] = f[t] ⊙ c[t-1] + i[t] ⊙ z[t]", "h[t] = o[t] ⊙ c[t]"],
    "indrnn": ["h[t] = relu(W.h x[t] + p.h ⊙ h[t-1] + b.h)"],
}


@pytest.mark.parametrize("name", BUILTIN)
def test_the_text_of_every_built_in_cell(name: str) -> None:
    assert as_text(find_cell(name)) == CHANGED[name]


def test_the_latex_of_the_lstm() -> None:
    assert as_latex(find_cell("lstm")).splitlines() == [
        r"\begin{aligned}",
        r"i_{t} &= \sigma(W_{i}\, x_{t} + U_{i}\, h_{t-1} + b_{i}) \\",
        r"f_{t} &= \sigma(W_{f}\, x_{t} + U_{f}\, h_{t-1} + b_{f}) \\",
        r"o_{t} &= \sigma(W_{o}\, x_{t} + U_{o}\, h_{t-1} + b_{o}) \\",
        r"g_{t} &= \tanh(W_{g}\, x_{t} + U_{g}\, h_{t-1} + b_{g}) \\",
        r"c_{t} &= f_{t} \odot c_{t-1} + i_{t} \odot g_{t} \\",
        r"h_{t} &= o_{t} \odot \tanh(c_{t})",
        r"\end{aligned}",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_latex_is_whole(name: str) -> None:
    equations = find_cell(name)
    latex = as_latex(equations)
    assert latex.count("{") == latex.count("}")
    assert len(latex.splitlines()) == len(as_text(equations)) + 2
    assert all(line.count("&=") == 1 for line in latex.splitlines()[1:-1])


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib reads LaTeX, and is not there")
@pytest.mark.parametrize("name", NAMES)
def test_latex_can_be_read(name: str) -> None:
    from matplotlib.mathtext import MathTextParser

    parser = MathTextParser("path")
    for line in as_latex(find_cell(name)).splitlines()[1:-1]:
        left, right = line.removesuffix(r" \\").split("&=")
        for side in (left, right):
            assert parser.parse(f"${side}$").width > 0


def texts(function: object) -> tuple[list[str], list[str]]:
    equations = cell(function)
    lines = [line.removesuffix(r" \\") for line in as_latex(equations).splitlines()[1:-1]]
    return as_text(equations), lines


def test_parentheses_where_a_reader_needs_them() -> None:
    def grouped(x, h):
        s = (h + b.a) * (h - b.a)
        t = h - (b.a + h)
        u = h - (b.a - h) - h
        v = -(h * b.a) - -h
        w = h / (b.a / h) / (h * b.a)
        y = (h / b.a) ** 2 * (h * b.a) ** 0.5
        z = U.a @ (U.b @ (h + b.a))
        h = s + t + u + v + w + y + z + (W.h @ x) * h
        return h

    text, latex = texts(grouped)
    assert text[:-1] == [
        "s[t] = (h[t-1] + b.a) ⊙ (h[t-1] - b.a)",
        "t[t] = h[t-1] - (b.a + h[t-1])",
        "u[t] = h[t-1] - (b.a - h[t-1]) - h[t-1]",
        "v[t] = -h[t-1] ⊙ b.a - (-h[t-1])",
        "w[t] = (h[t-1] / (b.a / h[t-1])) / (h[t-1] ⊙ b.a)",
        "y[t] = (h[t-1] / b.a)^2 ⊙ (h[t-1] ⊙ b.a)^0.5",
        "z[t] = U.a U.b (h[t-1] + b.a)",
    ]
    assert text[-1] == "h[t] = s[t] + t[t] + u[t] + v[t] + w[t] + y[t] + z[t] + W.h x[t] ⊙ h[t-1]"
    assert latex[4] == (r"w_{t} &= \frac{\frac{h_{t-1}}{\frac{b_{a}}{h_{t-1}}}}{h_{t-1} \odot b_{a}}")
    assert latex[5] == r"y_{t} &= (\frac{h_{t-1}}{b_{a}})^{2} \odot (h_{t-1} \odot b_{a})^{0.5}"


def test_numbers_are_written_as_they_are() -> None:
    def numbers(x, h):
        h = 0.123456789 * h - 2e-9 * (W.h @ x) + h * -3 + 1000000.0 * b.h + h**-2 + (h - 0.5)
        return h

    text, latex = texts(numbers)
    assert text == [
        "h[t] = 0.123456789 h[t-1] - 2e-09 W.h x[t] + (-3) h[t-1] + 1000000.0 b.h + h[t-1]^-2 + h[t-1] - 0.5"
    ]
    assert r"2 \cdot 10^{-9}\, W_{h}\, x_{t}" in latex[0]
    assert r"h_{t-1}^{-2}" in latex[0]


def test_functions_and_long_names() -> None:
    def functions(x, hidden_state):
        forget_gate = exp(sqrt(absolute(W.one_two @ x))) + maximum(hidden_state, tanh(b.x))
        return forget_gate * hidden_state

    text, latex = texts(functions)
    assert text == [
        "forget_gate[t] = exp(sqrt(|W.one_two x[t]|)) + maximum(hidden_state[t-1], tanh(b.x))",
        "hidden_state[t] = forget_gate[t] ⊙ hidden_state[t-1]",
    ]
    assert latex == [
        r"\mathit{forget\_gate}_{t} &= \exp(\sqrt{|W_{one\_two}\, x_{t}|}) + "
        r"\max(\mathit{hidden\_state}_{t-1}, \tanh(b_{x}))",
        r"\mathit{hidden\_state}_{t} &= \mathit{forget\_gate}_{t} \odot \mathit{hidden\_state}_{t-1}",
    ]


def test_an_output_without_a_name_and_states_that_are_one() -> None:
    def nameless(x, h, c):
        h = tanh(W.h @ x + c)
        return 2 * h, (h, h)

    assert texts(nameless)[0] == ["c[t] = tanh(W.h x[t] + c[t-1])", "y[t] = 2 c[t]", "h[t] = c[t]"]


def test_states_that_are_passed_on() -> None:
    assert as_text(find_cell(f"{FILE}:delay")) == [
        "before[t] = h[t-1]",
        "h[t] = tanh(U.h h[t-1] + p.a ⊙ before[t-1] + p.b ⊙ last[t-1])",
        "last[t] = x[t]",
    ]


def test_what_is_used_again_and_again_is_written_once() -> None:
    text = as_text(find_cell(f"{FILE}:inner_loop"))
    assert len(text) == 13
    assert text[1] == "v1[t] = h[t-1] + 0.1 (tanh(a.h ⊙ h[t-1] ⊙ h[t-1] + drive[t]) - h[t-1])"
    assert text[-1] == "h[t] = v11[t] + 0.1 (tanh(a.h ⊙ v11[t] ⊙ v11[t] + drive[t]) - v11[t])"

    def deep(x, h):
        h = W.h @ x + h
        for _ in range(700):
            h = tanh(h)
        return h

    assert max(len(line) for line in texts(deep)[0]) < 1000
