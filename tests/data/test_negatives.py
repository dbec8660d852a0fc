from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from unrolled.data.alphabets import find_alphabet
from unrolled.data.labelled import Labelled
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.negatives import add_negatives
from unrolled.errors import ConfigurationError

DNA = find_alphabet("dna")
CONFIG = LabelledConfig(alphabet="dna", negatives=2)


def examples(count: int, labels: list[str], seed: int = 0) -> Labelled:
    generator = np.random.default_rng(seed)
    codes = [generator.integers(0, 4, 40).astype(np.uint8) for _ in range(count)]
    return Labelled(codes, [labels[index % len(labels)] for index in range(count)], [], [0] * count, [1] * count)


def pairs(codes: np.ndarray) -> Counter[tuple[int, int]]:
    return Counter(zip(codes.tolist(), codes[1:].tolist(), strict=False))


def test_every_sequence_has_its_shuffles_where_there_is_one_label():
    parts = {"train": examples(5, ["1"]), "valid": examples(3, ["1"], 1), "test": examples(4, ["1", "0"], 2)}
    found = add_negatives(parts, CONFIG, fitting=True)
    assert [Counter(found[part].labels) for part in ("train", "valid", "test")] == [
        {"1": 5, "0": 10},
        {"1": 3, "0": 6},
        {"1": 2, "0": 2},
    ]
    train = found["train"]
    for index in range(5, 15):
        assert pairs(train.inputs[index]) == pairs(train.inputs[index % 5])
        assert train.inputs[index].tolist() != train.inputs[index % 5].tolist()
        assert train.lines[index] == 1
    again = add_negatives(parts, CONFIG, fitting=True)["train"]
    assert all(np.array_equal(one, other) for one, other in zip(train.inputs, again.inputs, strict=True))
    assert len(parts["train"]) == 5


@pytest.mark.parametrize(("label", "name"), [("1", "0"), ("bound", "shuffled")])
def test_what_shuffles_are_called(label, name):
    parts = {"train": examples(2, [label]), "valid": Labelled(), "test": Labelled()}
    found = add_negatives(parts, CONFIG, fitting=True)
    assert found["train"].labels == [label] * 2 + [name] * 4
    assert len(found["test"]) == 0


def test_several_labels():
    parts = {"train": examples(4, ["a", "b"]), "valid": Labelled(), "test": Labelled()}
    with pytest.raises(ConfigurationError, match="data with one label"):
        add_negatives(parts, CONFIG, fitting=True)
    assert add_negatives(parts, CONFIG, fitting=False)["train"].labels == ["a", "b", "a", "b"]
    parts = {"train": examples(4, ["a"]), "valid": examples(2, ["b"]), "test": examples(2, ["c"])}
    with pytest.raises(ConfigurationError, match="could have several labels"):
        add_negatives(parts, CONFIG, fitting=True)


@pytest.mark.parametrize("target", ["labels", "number"])
def test_negatives_are_a_class(target):
    with pytest.raises(ConfigurationError, match="a class of their own"):
        LabelledConfig(alphabet="dna", negatives=1, target=target)
