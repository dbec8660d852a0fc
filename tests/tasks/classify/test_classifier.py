"""The network of a classifier: what it computes, what it is trained by, and what its options say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.errors import ConfigurationError
from unrolled.kernels import Kernel
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.classify.model import Classifier, LabelledBatch, Target

LENGTHS = torch.tensor([5, 1, 9, 2])


def make(cell: str = "gru", target: Target = "class", classes: int = 3, **options: Any) -> Classifier:
    torch.manual_seed(0)
    reading = {name: options.pop(name) for name in ("symbols", "inputs", "unknown", "weights") if name in options}
    reading = reading if "inputs" in reading else {"symbols": 11, **reading}
    config = ClassifierConfig(hidden_size=6, **{"embedding_size": 4, **options})
    model = Classifier(find_cell(cell), config, classes=classes, target=target, **reading).double()
    model.use("reference")  # nothing to compile
    return model


def draw(model: Classifier, y: torch.Tensor) -> LabelledBatch:
    shape = (4, 9) if model.symbols else (4, 9, model.recurrent.input_size)
    x = torch.randint(0, 11, shape) if model.symbols else torch.randn(shape, dtype=torch.float64)
    return LabelledBatch(x, LENGTHS, y)


TARGETS: dict[Target, torch.Tensor] = {
    "class": torch.tensor([2, 0, 0, 1]),
    "labels": torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]),
    "number": torch.tensor([0.5, -2.0, 0.0, 1.0]),
}


@pytest.mark.parametrize("target", [*TARGETS])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bidirectional": False, "pooling": "last", "layers": 2},
        {"pooling": "mean+max+last", "between": 7, "layers": 2},
        {"pooling": "attention", "embedding_size": 0},
        {"ngrams": 3, "ngram_table": 40},
        {"inputs": 4, "embedding_size": 0},
        {"inputs": 4, "embedding_size": 4, "layers": 2, "residual": True, "bidirectional": False},
        {"mogrifier": 2, "embedding_size": 6, "bidirectional": False},
        {"above": 3, "bidirectional": False},
        {"above": 5, "embedding_size": 0, "pooling": "attention"},
    ],
    ids=str,
)
def test_the_loss_of_a_batch_is_that_of_each_alone(options: dict[str, Any], target: Target) -> None:
    model = make(target=target, classes=1 if target == "number" else 3, **options).eval()
    y = TARGETS[target]
    batch = draw(model, y)
    together = model.loss(batch)
    alone = [
        model.loss(LabelledBatch(batch.x[row : row + 1, :length], LENGTHS[row : row + 1], y[row : row + 1]))
        for row, length in enumerate(LENGTHS.tolist())
    ]
    torch.testing.assert_close(together.total, sum(outcome.total for outcome in alone))
    assert together.targets == sum(outcome.targets for outcome in alone) == (12 if target == "labels" else 4)
    assert together.sequences == 4


def test_the_loss_by_its_definition() -> None:
    for target, y in TARGETS.items():
        model = make(target=target, classes=1 if target == "number" else 3).eval()
        batch = draw(model, y)
        said = model.probabilities(batch.x, batch.lengths)
        if target == "class":
            wanted = -sum(said[row, label].log() for row, label in enumerate(y.tolist()))
        elif target == "labels":
            wanted = -torch.where(y.bool(), said, 1 - said).log().sum()
        else:
            wanted = ((said[:, 0] - y) ** 2).sum() / 2
        torch.testing.assert_close(model.loss(batch).total.double(), torch.as_tensor(wanted), rtol=1e-5, atol=1e-5)


def test_smoothing_and_weights_by_their_definition() -> None:
    y, weights = TARGETS["class"], [1.0, 3.0, 0.5]
    model = make(label_smoothing=0.3, weights=weights).train()
    batch = draw(model, y)
    logs = model.probabilities(batch.x, batch.lengths).log()
    wanted = torch.zeros(())
    for row, label in enumerate(y.tolist()):
        for c, weight in enumerate(weights):
            wanted = wanted - weight * (0.7 * (c == label) + 0.1) * logs[row, c]
    torch.testing.assert_close(model.loss(batch).total.double(), wanted.double(), rtol=1e-5, atol=1e-5)
    model.eval()
    plain = -sum(weights[label] * logs[row, label] for row, label in enumerate(y.tolist()))
    torch.testing.assert_close(model.loss(batch).total.double(), torch.as_tensor(plain), rtol=1e-5, atol=1e-5)


def test_smoothing_and_weights_of_several_labels() -> None:
    y, weights = TARGETS["labels"], torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)
    model = make(target="labels", label_smoothing=0.2, weights=weights.tolist()).train()
    batch = draw(model, y)
    said, truth = model.probabilities(batch.x, batch.lengths), 0.8 * y + 0.1
    wanted = -(weights * truth * said.log() + (1 - truth) * (1 - said).log()).sum()
    torch.testing.assert_close(model.loss(batch).total.double(), wanted, rtol=1e-5, atol=1e-5)


def test_symbols_as_they_are_are_vectors_of_a_one() -> None:
    plain, twin = make(embedding_size=0).eval(), make(embedding_size=11).eval()
    assert isinstance(twin.embedding, torch.nn.Embedding)
    twin.embedding.weight.data.copy_(torch.eye(11))
    weights = plain.state_dict()
    twin.load_state_dict({**weights, "embedding.weight": twin.embedding.weight.data})
    batch = draw(plain, TARGETS["class"])
    torch.testing.assert_close(plain(batch.x, LENGTHS), twin(batch.x, LENGTHS))


def test_the_layer_above_reads_outputs_and_vectors_side_by_side() -> None:
    model = make(above=5, bidirectional=False, pooling="last").eval()
    assert model.above is not None
    assert model.embedding is not None
    x = torch.randint(0, 11, (2, 7))
    vectors = model.embedding(x)
    outputs, _ = model.recurrent(vectors)
    even = [(part - part.mean(-1, True)) / part.std(-1, correction=0, keepdim=True) for part in (outputs, vectors)]
    y, _ = model.above(0.3 * torch.cat(even, -1))
    wanted = model.output(torch.cat([y[:, -1, :5], y[:, 0, 5:]], -1))
    torch.testing.assert_close(model(x, torch.tensor([7, 7])), wanted, rtol=1e-3, atol=1e-3)


def test_words_that_are_dropped_are_read_as_unknown() -> None:
    model = make(unknown=3, word_dropout=0.999).train()
    batch = draw(model, TARGETS["class"])
    unknown = torch.full_like(batch.x, 3)
    torch.manual_seed(1)
    torch.testing.assert_close(model(batch.x, LENGTHS), model.eval()(unknown, LENGTHS))
    nothing = make(word_dropout=0.999).train()
    assert isinstance(nothing.embedding, torch.nn.Embedding)
    torch.manual_seed(1)
    found = nothing(batch.x, LENGTHS)
    nothing.eval().embedding.weight.data.zero_()
    torch.testing.assert_close(found, nothing(batch.x, LENGTHS))


def test_everything_random_is_of_training_alone() -> None:
    options = {"dropout": 0.5, "variational": True, "embedding_dropout": 0.3, "word_dropout": 0.3, "weight_drop": 0.4}
    model = make(layers=2, **options)
    batch = draw(model, TARGETS["class"])
    assert not torch.equal(model(batch.x, LENGTHS), model(batch.x, LENGTHS))
    model.eval()
    assert torch.equal(model(batch.x, LENGTHS), model(batch.x, LENGTHS))


@pytest.mark.parametrize("kernel", ["reference", "staged", "cpu"])
def test_every_kernel_gives_the_same(kernel: Kernel) -> None:
    model = make("lstm-peephole", layers=2).float().eval()
    batch = draw(model, TARGETS["class"])
    model.use("reference")
    wanted = model(batch.x, LENGTHS)
    model.use(kernel)
    torch.testing.assert_close(model(batch.x, LENGTHS), wanted)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6).filter(any))
def test_balanced_weights_make_classes_weigh_the_same(counts: list[int]) -> None:
    labels = [str(c) for c in range(len(counts))]
    weights = ClassifierConfig(class_weights="balanced").weights(labels, counts)
    assert weights is not None
    totals = {round(weight * count, 6) for weight, count in zip(weights, counts, strict=True) if count}
    assert len(totals) == 1
    assert sum(weight * count for weight, count in zip(weights, counts, strict=True)) == pytest.approx(sum(counts))


def test_weights_by_label() -> None:
    assert ClassifierConfig().weights(["a", "b"], [1, 2]) is None
    assert ClassifierConfig(class_weights="b=5, a = b=0.5").weights(["b", "c", "a = b"], [1, 1, 1]) == [5, 1, 0.5]
    with pytest.raises(ConfigurationError, match="'d', which is no label"):
        ClassifierConfig(class_weights="d=1").weights(["b", "c"], [1, 1])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"class_weights": "balance"}, "not numbers by label"),
        ({"class_weights": "a=0"}, "not numbers by label"),
        ({"class_weights": "a=nan"}, "not numbers by label"),
        ({"pooling": "middle"}, "no such choice"),
        ({"pooling": "max+max"}, "twice"),
        ({"dropout": 1.0}, "dropout is a probability"),
        ({"word_dropout": -0.1}, "word_dropout is a probability"),
        ({"label_smoothing": 2.0}, "label_smoothing is a probability"),
        ({"embedding_std": 0.0}, "embedding_std is out of range"),
        ({"ngrams": -1}, "ngrams is too small"),
        ({"layers": 0}, "layers is too small"),
        ({"between": -1}, "between is too small"),
    ],
    ids=str,
)
def test_options_that_are_wrong(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        ClassifierConfig(**options)


def test_the_linear_layer_is_of_symbols() -> None:
    with pytest.raises(ConfigurationError, match="n-grams are of symbols"):
        make(inputs=4, ngrams=2)
    model = make(ngrams=2).eval()
    assert model.ngrams is not None
    batch = draw(model, TARGETS["class"])
    before = model(batch.x, LENGTHS)
    model.ngrams.weight.data.fill_(1.0)
    counts = (model.ngrams.rows(batch.x, LENGTHS) > 0).sum(1, keepdim=True)
    torch.testing.assert_close(model(batch.x, LENGTHS), before + counts.double().sqrt())


def test_either_symbols_or_vectors() -> None:
    with pytest.raises(ValueError, match="either symbols or vectors"):
        Classifier(find_cell("gru"), classes=2)
