"""The worked examples that recurrent networks are taught with, through the public interface.

Numbers are those of the examples, recomputed in float64; where they were given with six digits, six are compared. The
second part holds that mistakes which are often printed beside such examples are not made here.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled.cells import find_cell
from unrolled.data import Batch, Characters, StreamPosition, Tokens
from unrolled.decoding import Sampler, generate, probabilities
from unrolled.evaluation import FIRST_SYMBOL, evaluate, score, surprisals
from unrolled.inspection import bptt_terms, gradient_flow, step_jacobian
from unrolled.layers import Recurrent, RecurrentLayer, detach, from_torch, to_torch
from unrolled.runs import Run
from unrolled.runs.logs import Logs
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel, LanguageModelTask
from unrolled.training.configuration import TrainingConfig
from unrolled.training.loop import Trainer
from unrolled.training.optimizers import AdagradInside, build_optimizer, clip_norm

SIX = 5e-7  # half a unit of the sixth decimal
W_H = torch.tensor([[0.1, 0.5, 0.1], [0.5, 0.9, 0.3], [0.3, 0.2, 0.1]], dtype=torch.float64)
W_X = torch.tensor([[0.6, 0.8, 0.4, 0.8], [0.2, 0.2, 0.8, 0.7], [0.9, 0.8, 0.1, 0.2]], dtype=torch.float64)
W_Y = torch.tensor([[0.9, 0.8, 0.3], [0.2, 0.3, 0.4], [0.6, 0.9, 0.1], [0.5, 0.0, 0.3]], dtype=torch.float64)
# The example's alphabet is d, o, g, s; a vocabulary is sorted.
DOGS = Characters.count(["dogs"])
PLACES = torch.from_numpy(DOGS.encode("dogs"))
TEXT = PLACES.unsqueeze(0)


def network(vocabulary_size: int, hidden_size: int) -> LanguageModel:
    """One layer of tanh units that reads symbols one-hot."""
    config = LanguageModelConfig(cell="rnn", hidden_size=hidden_size, layers=1, embedding_size=0)
    return LanguageModel(vocabulary_size, find_cell("rnn"), config)


@pytest.fixture
def dogs() -> LanguageModel:
    """The network of the examples a and b, without biases."""
    model = network(4, 3).double()
    layer = model.recurrent.layers[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        layer.U["h"].copy_(W_H)
        layer.W["h"][:, PLACES] = W_X
        model.output.weight[PLACES] = W_Y
    return model


def batch_of(text: torch.Tensor) -> Batch:
    """Texts (B, T + 1) as what is read and what follows."""
    return Batch(text[:, :-1], text[:, 1:], None, None, fresh=True, next=StreamPosition())


def near(values: torch.Tensor, expected: list[float] | list[list[float]] | float, within: float = SIX) -> None:
    torch.testing.assert_close(
        values.detach().double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=within
    )


def one_hot(text: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(text, 4).double()


# The examples.


def test_a_dogs(dogs: LanguageModel) -> None:
    layer = dogs.recurrent.layers[0]
    h, _ = layer(one_hot(TEXT[:, :3]))
    logits, state = dogs(TEXT[:, :3])
    y = torch.softmax(logits, -1)[0, :, PLACES]
    near(
        h[0],
        [[0.537050, 0.197375, 0.716298], [0.771500, 0.696799, 0.790296], [0.718520, 0.967392, 0.500400]],
    )
    near(
        y,
        [
            [0.321599, 0.214930, 0.241935, 0.221536],
            [0.385802, 0.171727, 0.280198, 0.162274],
            [0.393491, 0.154229, 0.316133, 0.136147],
        ],
    )
    near(state[0][0][0], [0.718520, 0.967392, 0.500400])
    near(layer.W["h"][:, PLACES[0]], [0.6, 0.2, 0.9])
    losses, _ = dogs.losses(batch_of(TEXT), None)
    near(losses[0], [1.537442, 1.272260, 1.994019])
    near(losses.sum(), 4.803721)
    near(losses.mean().exp(), 4.959180)
    losses.sum().backward()
    near(
        layer.U["h"].grad,
        [[0.063637, 0.051922, 0.068394], [-0.029671, 0.006211, -0.049460], [0.008018, -0.011862, 0.019247]],
    )


def test_a_dogs_scored_and_sampled_step_by_step(dogs: LanguageModel) -> None:
    first, *others = surprisals(dogs, DOGS, DOGS.encode("dogs"))
    assert [each.nats for each in others] == pytest.approx([1.537442, 1.272260, 1.994019], abs=SIX)
    assert math.exp(-sum(each.nats for each in others)) == pytest.approx(0.00819918, abs=5e-9)
    assert first.nats == pytest.approx(math.log(4))  # one symbol of four, each seen once
    stepping, total = dogs.stepping(), 0.0
    state = stepping.initial_state(1)
    for symbol, after in itertools.pairwise(DOGS.encode("dogs").tolist()):
        logits, state = stepping.step(torch.tensor([symbol]), state)
        total -= math.log(probabilities(logits[0], Sampler())[after])
    assert total == pytest.approx(4.803721, abs=SIX)


def by_hidden(dogs: LanguageModel, step: int) -> torch.Tensor:
    """(1, 3) the gradient of the loss at a step by h there: W_Yᵀ (y − target)."""
    logits, _ = dogs(TEXT[:, : step + 1])
    slope = torch.softmax(logits[:, -1], -1) - one_hot(TEXT[:, step + 1])
    return (dogs.output.weight.T @ slope[0]).detach().unsqueeze(0)


def state_after(dogs: LanguageModel, steps: int) -> tuple[torch.Tensor, ...]:
    """h, (1, 3), after so many symbols of "dogs"."""
    return detach(dogs(TEXT[:, :steps])[1])[0]


def test_b_backpropagation_through_time_step_by_step(dogs: LanguageModel) -> None:
    layer, x = dogs.recurrent.layers[0], one_hot(TEXT[:, :3])
    found = bptt_terms(layer, x, None, by_hidden(dogs, 2))
    near(found.norms()["U.h"], [0.0, 0.031587, 0.115087])
    losses, _ = dogs.losses(batch_of(TEXT), None)
    losses[0, 2].backward()
    torch.testing.assert_close(found.gradient()["U.h"], layer.U["h"].grad)
    flow = gradient_flow(layer, x)
    near(torch.linalg.matrix_norm(W_H, 2), 1.227794)
    near(flow.spectral[0, 1], 0.206835)
    second, third = (step_jacobian(layer, x[:, t], state_after(dogs, t))["h", "h"][0] for t in (1, 2))
    near(torch.linalg.matrix_norm(third @ second, 2), 0.206835)


def test_b_the_terms_of_all_losses_are_the_gradient_of_a(dogs: LanguageModel) -> None:
    layer, x = dogs.recurrent.layers[0], one_hot(TEXT[:, :3])
    found = [bptt_terms(layer, x, None, by_hidden(dogs, step), step=step) for step in range(3)]
    assert [len(each.terms["U.h"]) for each in found] == [1, 2, 3]
    near(
        sum(each.gradient()["U.h"] for each in found),
        [[0.063637, 0.051922, 0.068394], [-0.029671, 0.006211, -0.049460], [0.008018, -0.011862, 0.019247]],
    )


HELLO = Characters.count(["hello"])
NO_MODEL_WITHOUT_MEMORY = 2 * math.log(2) / 4


def trained_on_hello(seed: int, steps: int, *, memory: bool = True) -> tuple[LanguageModel, float]:
    """Three tanh units that read h, e, l, l and are to say e, l, l, o, beginning each time from an empty state."""
    torch.manual_seed(seed)
    model = network(HELLO.size, 3)
    layer = model.recurrent.layers[0]
    if not memory:
        torch.nn.init.zeros_(layer.U["h"].requires_grad_(False))
    tokens = Tokens(HELLO.encode("hello"))
    task = LanguageModelTask(model, tokens, tokens, batch=1, length=4, seed=0, shift=False)
    optimizer = AdagradInside([p for p in model.parameters() if p.requires_grad], lr=0.1, epsilon=1e-8)
    position = task.start()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = task.loss(position, {})
        loss.total.backward()
        optimizer.step()
        position = loss.next
    held_out = task.validate()
    assert held_out is not None
    return model, held_out.loss


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_c_hello(seed: int) -> None:
    """Every seed that was drawn up beforehand gets there."""
    model, nats = trained_on_hello(seed, 3000)
    assert nats < 0.01
    greedy = Sampler(temperature=0)
    text = generate(model.stepping(), HELLO, length=4, prompt=HELLO.encode("h").tolist(), sampler=greedy)
    assert "".join(text) == "ello"


def test_c_no_model_without_memory_learns_hello() -> None:
    """'l' has two targets, one each half of the time, so 2 of 4 symbols cost ln 2: .346574 nats a character."""
    assert pytest.approx(0.346574, abs=SIX) == NO_MODEL_WITHOUT_MEMORY
    _, nats = trained_on_hello(0, 1000, memory=False)
    assert NO_MODEL_WITHOUT_MEMORY < nats < NO_MODEL_WITHOUT_MEMORY + 0.01


ABCDE = np.array([0.09, 0.31, 0.30, 0.25, 0.05])


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (Sampler(), ABCDE),
        (Sampler(temperature=0.5), [0.03125, 0.370756, 0.347222, 0.241127, 0.009645]),
        (Sampler(temperature=2), [0.140970, 0.261630, 0.257376, 0.234951, 0.105073]),
        (Sampler(top_k=3), [0, 0.360465, 0.348837, 0.290698, 0]),
        (Sampler(top_p=0.6), [0, 0.508197, 0.491803, 0, 0]),
        (Sampler(temperature=0), [0, 1, 0, 0, 0]),
    ],
)
def test_f_sampling(sampler: Sampler, expected: list[float]) -> None:
    assert probabilities(np.log(ABCDE) + 7, sampler) == pytest.approx(expected, abs=SIX)


def test_f_entropy() -> None:
    """The mean surprisal of symbols drawn from their own distribution, in nats."""
    assert -np.sum(ABCDE * np.log(ABCDE)) == pytest.approx(1.437334, abs=SIX)
    model, symbols = with_logits(np.log(ABCDE)), torch.arange(5).unsqueeze(1)
    losses, _ = model.losses(batch_of(torch.cat([symbols, symbols], 1)), None)
    near(torch.from_numpy(ABCDE) @ losses[:, 0], 1.437334)


def with_logits(logits: np.ndarray) -> LanguageModel:
    """A model that gives these logits whatever it reads."""
    model = network(len(logits), 1).double()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.from_numpy(logits))
    return model


def test_g_cross_entropy() -> None:
    losses, _ = with_logits(np.log([0.3, 0.7])).losses(batch_of(torch.tensor([[1, 0]])), None)
    near(losses[0], [1.203973])
    model = with_logits(np.array([1.0, 2.0, 3.0]))
    losses, _ = model.losses(batch_of(torch.tensor([[0, 1]])), None)  # the target is the symbol whose logit is 2
    near(losses[0], [1.407606])
    losses.sum().backward()
    near(model.output.bias.grad, [0.090031, -0.755272, 0.665241])


def test_h_sizes() -> None:
    model = network(10, 4)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    weights = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    assert sorted(weights.values()) == [(4, 4), (4, 10), (10, 4)]
    assert sum(math.prod(shape) for shape in weights.values()) == 96
    assert model.size == 110
    logits, _ = model(torch.zeros(1, 5, dtype=torch.long))  # a longer sequence has no more parameters
    assert logits.shape == (1, 5, 10)
    peer = to_torch(model.recurrent)
    assert sum(p.numel() for p in [*peer.parameters(), *model.output.parameters()]) == 114


@pytest.mark.parametrize("n", [1, 7])
def test_h_a_layer_of_lstm_between_layers_as_wide_has_8_n_squared_weights(n: int) -> None:
    stack = Recurrent(find_cell("lstm"), n, n, layers=3)
    for layer in stack.layers:
        assert sum(p.numel() for p in layer.parameters() if p.dim() == 2) == 8 * n**2


@pytest.mark.parametrize(
    ("gradient", "threshold", "expected"),
    [([3.0, 4.0], 5.0, [3.0, 4.0]), ([3.0, 4.0], 2.5, [1.5, 2.0]), ([0.6, 0.0], 0.5, [0.5, 0.0])],
)
def test_j_clipping_by_norm(gradient: list[float], threshold: float, expected: list[float]) -> None:
    whole = torch.tensor(gradient)
    assert clip_norm([whole], threshold) == pytest.approx(math.hypot(*gradient))
    assert whole.tolist() == pytest.approx(expected)
    # The length is that of all parameters together, however they are cut.
    parts = [torch.tensor(gradient[:1]), torch.tensor([gradient[1:]])]
    assert clip_norm(parts, threshold) == pytest.approx(math.hypot(*gradient))
    assert torch.cat([part.flatten() for part in parts]).tolist() == pytest.approx(expected)


def test_k_the_order_of_gates() -> None:
    """The lectures and the equations here: i, f, o, g. PyTorch: i, f, g, o."""
    assert [name for name in find_cell("lstm").parameters if name.startswith("W")] == ["W.i", "W.f", "W.o", "W.g"]
    torch.manual_seed(0)
    module = torch.nn.LSTM(3, 2, batch_first=True).double()
    stack = from_torch(module)
    layer = stack.layers[0]
    for place, gate in enumerate("ifgo"):
        rows = slice(2 * place, 2 * place + 2)
        assert torch.equal(layer.W[gate], module.weight_ih_l0[rows])
        assert torch.equal(layer.U[gate], module.weight_hh_l0[rows])
        assert torch.equal(layer.b[gate], module.bias_ih_l0[rows] + module.bias_hh_l0[rows])
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(stack(x)[0], module(x)[0])
    torch.testing.assert_close(to_torch(stack)(x)[0], module(x)[0])
    # Taken over in the lectures' order it would be another network.
    with torch.no_grad():
        for family in (layer.W, layer.U, layer.b):
            kept = family["o"].clone()
            family["o"].copy_(family["g"])
            family["g"].copy_(kept)
    assert not torch.allclose(stack(x)[0], module(x)[0], atol=1e-2)


# Mistakes that are often printed, and are not made here.


def test_the_norm_that_clips_has_its_square_root() -> None:
    """The sum of squares of (3, 4) is 25: compared with a threshold of 6 it would be clipped."""
    gradient = torch.tensor([3.0, 4.0])
    assert clip_norm([gradient], 6.0) == 5.0
    assert gradient.tolist() == [3.0, 4.0]


def test_a_singular_value_above_1_is_not_enough_to_explode(dogs: LanguageModel) -> None:
    """Necessary, not sufficient (Pascanu et al. 2013, section 2.1): the slope of tanh shrinks what the matrix grows.

    The largest singular value is 1.23, and even the first step by itself stretches; after 40 steps nothing is left.
    """
    ids = torch.from_numpy(np.tile(DOGS.encode("dogs"), 10)).unsqueeze(0)
    flow = gradient_flow(dogs.recurrent.layers[0], one_hot(ids))
    assert torch.linalg.matrix_norm(W_H, 2) > 1.2
    assert flow.steps[0, 0] > 1
    assert flow.spectral[0, 0] < 1e-25
    # The same matrix does explode where nothing shrinks: under a relu that no unit turns off.
    layer = RecurrentLayer(find_cell("rnn-relu"), 4, 3).double()
    layer.load_state_dict(dogs.recurrent.layers[0].state_dict())
    assert gradient_flow(layer, one_hot(ids)).spectral[0, 0] > 1e3


def test_truncation_cuts_the_signal_and_cures_nothing(dogs: LanguageModel) -> None:
    """The gradient of a truncated pass is the last terms of the sum, as small as they were; the others are gone."""
    layer, x = dogs.recurrent.layers[0], one_hot(TEXT[:, :3])
    terms = bptt_terms(layer, x, None, by_hidden(dogs, 2)).terms["U.h"]
    _, state = dogs(TEXT[:, :1])
    losses, _ = dogs.losses(batch_of(TEXT[:, 1:]), detach(state))
    losses[0, 1].backward()
    torch.testing.assert_close(layer.U["h"].grad, terms[1:].sum(0))


def test_a_term_holds_the_immediate_derivative(dogs: LanguageModel) -> None:
    """With the whole derivative dh_k/dW in its place, what is before k would be counted again for every k."""
    layer, x = dogs.recurrent.layers[0], one_hot(TEXT[:, :3])
    found = bptt_terms(layer, x, None, by_hidden(dogs, 2))
    whole = [bptt_terms(layer, x, None, arrived, step=k).gradient() for k, arrived in enumerate(found.adjoints["h"])]
    dogs.losses(batch_of(TEXT), None)[0][0, 2].backward()
    torch.testing.assert_close(found.gradient()["U.h"], layer.U["h"].grad)
    mistaken = sum(each["U.h"] for each in whole)
    assert (mistaken - layer.U["h"].grad).norm() > 0.2 * layer.U["h"].grad.norm()


def test_the_sum_over_k_stops_at_t(dogs: LanguageModel) -> None:
    layer, x = dogs.recurrent.layers[0], one_hot(TEXT)
    for step in range(4):
        assert (
            len(bptt_terms(layer, x, None, torch.ones(1, 3, dtype=torch.float64), step=step).terms["U.h"]) == step + 1
        )


def test_cross_entropy_has_its_minus_sign(dogs: LanguageModel) -> None:
    losses, _ = dogs.losses(batch_of(TEXT), None)
    assert (losses > 0).all()


def test_the_probability_of_a_text_has_its_first_factor(dogs: LanguageModel) -> None:
    """p(x1) is not left out, and what it is is said."""
    counts = DOGS.with_counts(np.array([5, 1, 1, 1]))  # of d, g, o, s
    scored = score(dogs, counts, DOGS.encode("dogs"))
    assert scored.tokens == 4
    assert scored.nats == pytest.approx(4.803721 - math.log(6 / 12), abs=SIX)
    assert scored.log_likelihood == -scored.nats
    assert FIRST_SYMBOL == "charged with its frequency in the training text"


def test_a_vocabulary_is_in_the_same_order_from_run_to_run() -> None:
    """Sorted: `list(set(text))` would follow the hashes of strings, which are drawn anew for every process."""
    text = "the quick brown fox, jumping"
    assert "".join(Characters.count([text]).symbols) == "".join(sorted(set(text)))
    assert Characters.count([text[::-1]]).fingerprint == Characters.count([text]).fingerprint


def test_the_epsilon_of_adagrad_is_inside_the_root() -> None:
    config = TrainingConfig(optimizer="adagrad-inside", learning_rate=0.1, epsilon=7.0)
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    optimizer, memory, expected = build_optimizer(module, config, 0.1), 0.0, 0.0
    for gradient in (3.0, -1.0):
        module.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        memory += gradient**2
        expected -= 0.1 * gradient / math.sqrt(memory + 7.0)
        assert module.weight.item() == pytest.approx(expected)


def test_the_loss_can_be_summed_over_the_sequence(tmp_path: Path) -> None:
    """As the classic minimal program has it; the mean over 25 characters would be a step 25 times shorter."""
    text = "to be, or not to be, that"
    vocabulary = Characters.count([text + "!"])
    tokens = Tokens(vocabulary.encode(text + "!"))
    updates = {}
    for reduction in ("sum", "mean"):
        torch.manual_seed(0)
        model = network(vocabulary.size, 5).double()
        before = model.output.bias.detach().clone()
        config = TrainingConfig(
            steps=1, batch=1, length=25, optimizer="sgd", momentum=0, learning_rate=1e-3, schedule="constant",
            clip_norm=0, reduction=reduction, precision="float64", validations=1,
        )  # fmt: skip
        task = LanguageModelTask(model, tokens, tokens, batch=1, length=25, seed=0, shift=False)
        run = Run.create(tmp_path / reduction, {}, vocabulary.to_json())
        with Logs(run) as logs:
            list(Trainer(task, config, run, sample_every=0).train(logs))
        updates[reduction] = model.output.bias.detach() - before
    torch.testing.assert_close(updates["sum"], 25 * updates["mean"])


def test_no_tail_of_a_text_is_dropped_when_it_is_scored(dogs: LanguageModel) -> None:
    ids = np.tile(DOGS.encode("dogs"), 100)[:-1]
    for protocol in ("carried", "windows"):
        assert evaluate(dogs, DOGS, Tokens(ids), protocol, window=25).tokens == len(ids) - 1
