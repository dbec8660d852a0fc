"""The Mogrifier against its paper's equations written out, in outputs and gradients, and in all that runs a cell."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unrolled.cells import BUILTIN, Equations, U, W, as_text, cell, find_cell, mogrified, tanh
from unrolled.errors import CellError, ConfigurationError
from unrolled.layers import Recurrent, RecurrentLayer, watch
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel
from unrolled.training.loop import seeded

CPU = torch.device("cpu")


def by_hand(equations: Equations, rounds: int, parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Step by step: gate, then the cell alone for one step."""
    plain = RecurrentLayer(equations, x.shape[2], x.shape[2], kernel="reference").double()
    own = {name: parameters[name] for name in equations.parameters}
    state, found = plain.initial_state(len(x)), []
    gated = next((k for k, after in enumerate(equations.next_states) if after == equations.output), 0)
    for t in range(x.shape[1]):
        xs, hs = x[:, t], state[gated]
        for i in range(1, rounds + 1):
            if i % 2:
                xs = 2 * torch.sigmoid(hs @ parameters[f"Q.x{i}"].t()) * xs
            else:
                hs = 2 * torch.sigmoid(xs @ parameters[f"R.{equations.states[gated]}{i}"].t()) * hs
        state = tuple(hs if k == gated else part for k, part in enumerate(state))
        y, state = torch.func.functional_call(plain, own, (xs.unsqueeze(1), state))
        found.append(y[:, 0])
    return torch.stack(found, 1)


@pytest.mark.parametrize(("name", "rounds"), [("lstm", 1), ("lstm", 5), ("gru", 4), ("sru", 3)])
@pytest.mark.parametrize("kernel", ["reference", "cpu", "staged"])
def test_it_is_what_the_paper_says(name: str, rounds: int, kernel: Any) -> None:
    equations = find_cell(name)
    with seeded(CPU, 0):
        layer = RecurrentLayer(mogrified(equations, rounds), 5, 5, kernel=kernel).double()
        x = torch.randn(3, 7, 5, dtype=torch.float64)
    y, _ = layer(x)
    leaves = {key: value.detach().clone().requires_grad_() for key, value in layer.cell_parameters().items()}
    wanted = by_hand(equations, rounds, leaves, x)
    torch.testing.assert_close(y, wanted)
    y.square().sum().backward()
    wanted.square().sum().backward()
    for key, parameter in layer.cell_parameters().items():
        torch.testing.assert_close(parameter.grad, leaves[key].grad, msg=key)


@pytest.mark.parametrize("name", BUILTIN)
def test_every_cell_can_be_mogrified(name: str) -> None:
    equations = mogrified(find_cell(name), 3)
    assert Equations.from_json(equations.to_json()) == equations
    assert len([name for name in equations.parameters if name[0] in "QR"]) == 3
    y, _ = RecurrentLayer(equations, 4, 4)(torch.randn(2, 3, 4))
    assert bool(y.isfinite().all())


def test_without_rounds_the_cell_is_as_it_was() -> None:
    assert mogrified(find_cell("lstm"), 0) is find_cell("lstm")
    with pytest.raises(CellError, match="rounds is negative"):
        mogrified(find_cell("lstm"), -1)


def test_it_reads_as_the_paper() -> None:
    lines = as_text(mogrified(find_cell("rnn"), 2))
    assert len(lines) == 3
    assert "Q.x1 h[t-1]" in lines[0]
    assert "R.h2 x1[t]" in lines[1]


def test_a_name_that_is_taken() -> None:
    @cell
    def other(x, h):  # type: ignore[no-untyped-def]
        x1 = tanh(W.h @ x)
        h = tanh(x1 + U.h @ h)
        return h

    with pytest.raises(CellError, match="something called x1"):
        mogrified(other, 1)


def test_a_model_of_them_is_stepped_packed_and_watched() -> None:
    config = LanguageModelConfig(hidden_size=6, layers=2, tied=True, mogrifier=5)
    with seeded(CPU, 0):
        model = LanguageModel(9, find_cell("lstm"), config).eval()
    ids = torch.randint(9, (3, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, _ = model(ids)
    steps, found = model.stepping(), []
    state = steps.initial_state(3)
    for t in range(6):
        step, state = steps.step(ids[:, t], state)
        found.append(step)
    torch.testing.assert_close(torch.stack(found, 1), logits)
    packed, _ = model.engine().read(ids.numpy())
    torch.testing.assert_close(packed, logits, rtol=1e-4, atol=1e-5)
    with watch() as seen:
        model(ids)
    assert seen["layers.1.x5"].shape == (3, 6, 6)
    assert model.equations is find_cell("lstm")


def test_weights_are_dropped_from_the_cells_own_matrices() -> None:
    stack = Recurrent(find_cell("lstm"), 4, 4, mogrifier=2, weight_drop=0.5)
    assert stack.layers[0].dropped == ("U.i", "U.f", "U.o", "U.g")


@pytest.mark.parametrize("sizes", [{"input_size": 3}, {"last_size": 5, "layers": 2}], ids=str)
def test_it_gates_as_many_inputs_as_units(sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="as many inputs as units"):
        Recurrent(find_cell("lstm"), **{"input_size": 4, "hidden_size": 4, "mogrifier": 2, **sizes})  # type: ignore[arg-type]
