"""A generator gives probabilities: of every sequence the product of its steps, of all together 1."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.cells import find_cell
from unrolled.data.labelled import Labelled
from unrolled.data.ragged import Ragged
from unrolled.data.vocabulary import Characters
from unrolled.decoding import Sampler
from unrolled.errors import ConfigurationError, DataError, PromptError
from unrolled.tasks.generate.configuration import GeneratorConfig, GroupedConfig
from unrolled.tasks.generate.examples import GroupedExamples, Symbols, costs, posteriors, summarise
from unrolled.tasks.generate.model import Generator, GroupedBatch
from unrolled.tasks.generate.opponents import fit_ngrams, ngram_report
from unrolled.tasks.generate.writing import write

V, C = 3, 4


def build(cell: str = "lstm", **options: Any) -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(hidden_size=6, embedding_size=5, **options)
    model = Generator(find_cell(cell), V, C, config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # so that categories and symbols make a difference
    model.use("staged")  # nothing is compiled
    return model


def by_steps(model: Generator, ids: list[int], category: int) -> float:
    """-ln p of symbols, one by one."""
    steps, kind = model.stepping(), torch.tensor([category])
    state, before, nats = steps.initial_state(kind), V, 0.0
    for symbol in ids:
        logits, state = steps.step(torch.tensor([before]), kind, state)
        nats -= float(logits[0].log_softmax(0)[symbol])
        before = symbol
    return nats


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "mingru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_batch_costs_what_each_sequence_costs_by_itself(cell: str, layers: int) -> None:
    model = build(cell, layers=layers)
    rows = [[V], [1, V], [0, 2, 1, V], [2, 2, 2]]
    sequences = Ragged.of([np.array(row) for row in rows])
    ids, lengths = sequences.padded(np.arange(4))
    given = GroupedBatch(torch.from_numpy(ids), torch.from_numpy(lengths), torch.tensor([3, 1, 0, 2]))
    nats = model.nats(given)
    expected = [by_steps(model, row, category) for row, category in zip(rows, [3, 1, 0, 2], strict=True)]
    assert nats.sum(1).tolist() == pytest.approx(expected, rel=1e-6)
    outcome = model.loss(given)
    assert (outcome.targets, outcome.sequences) == (10, 4)
    assert outcome.total.item() == pytest.approx(sum(expected), rel=1e-6)
    # Whatever stands beyond the end of a sequence changes nothing.
    wider = torch.cat([torch.from_numpy(ids), torch.full((4, 3), 1)], 1)
    wider[0, 1:] = 2
    again = model.nats(GroupedBatch(wider, given.lengths, given.categories))
    assert again.sum(1).tolist() == pytest.approx(expected, rel=1e-6)


def test_all_sequences_together_have_probability_one() -> None:
    model = build()
    total = 0.0
    for length in range(4):
        for ids in itertools.product(range(V), repeat=length):
            total += math.exp(-by_steps(model, [*ids, V], 2))
    unfinished = sum(math.exp(-by_steps(model, [*ids], 2)) for ids in itertools.product(range(V), repeat=4))
    assert total + unfinished == pytest.approx(1)


def test_the_category_enters_the_state_and_every_step() -> None:
    model = build()
    state = model.initial_state(torch.tensor([0, 1]))
    assert [part.shape for part in state[0]] == [(2, 6), (2, 6)]
    assert not torch.allclose(state[0][0][0], state[0][0][1])
    x = model.inputs(torch.tensor([[1, 2], [1, 2]]), torch.tensor([0, 1]))
    assert x.shape == (2, 2, 5 + C)
    assert torch.equal(x[0, :, :5], x[1, :, :5])
    assert torch.equal(x[0, 0, 5:], x[0, 1, 5:])
    plain = build(conditional=False)
    assert by_steps(plain, [0, 1, V], 0) == by_steps(plain, [0, 1, V], 3)
    assert not plain.initial_state(torch.tensor([0]))[0][0].any()


TEXTS = ["ab", "b", "abba", "ccc", "ca", "a", "bab", "cab", "", "aab"]


def symbols(longest: int = 9) -> Symbols:
    return Symbols(Characters.count(["abc"]), ("x", "y", "z", "zero"), (4, 3, 2, 1), longest)


def examples(longest: int = 9) -> GroupedExamples:
    labels = ["x", "y", "x", "z", "z", "x", "y", "z", "x", "y"]
    return GroupedExamples(Labelled(list(TEXTS), labels), symbols(longest))


def test_a_text_ends_unless_it_is_cut() -> None:
    known = symbols(3)
    found, unknown = known.encode(["ab", "abba", "", "aXb"])
    order = {letter: number for number, letter in enumerate(known.vocabulary.symbols)}
    a, b = order["a"], order["b"]
    assert [row.tolist() for row in found] == [[a, b, 3], [a, b, b], [3], [a, b, 3]]
    assert unknown == 1
    assert Symbols.from_json(known.to_json()).to_json() == known.to_json()
    for wrong in ({"categories": []}, {"counts": [1]}, {"longest": 0}):
        with pytest.raises(DataError):
            Symbols.from_json({**known.to_json(), **wrong})


def test_categories_by_the_rule_of_bayes() -> None:
    model, known, given = build(), symbols(), examples()
    found = posteriors(model, known, given.sequences)
    for row in range(len(TEXTS)):
        joint = [
            math.exp(-by_steps(model, given.sequences[row].tolist(), category)) * share / 10
            for category, share in enumerate(known.counts)
        ]
        assert found[row].tolist() == pytest.approx([each / sum(joint) for each in joint], rel=1e-6)


def test_what_is_summed_up() -> None:
    model, known, given = build(), symbols(), examples()
    nats = costs(model, given)
    expected = [by_steps(model, given.sequences[row].tolist(), int(given.categories[row])) for row in range(len(TEXTS))]
    assert nats.tolist() == pytest.approx(expected, rel=1e-6)
    report = summarise(nats, given, known)
    characters = sum(map(len, TEXTS))
    assert report["symbols"] == characters + len(TEXTS)
    assert report["loss"] == pytest.approx(sum(expected) / (characters + len(TEXTS)))
    assert report["perplexity"] == pytest.approx(math.exp(report["loss"]))
    assert report["bits_per_character"] == pytest.approx(sum(expected) / math.log(2) / characters)
    assert list(report["categories"]) == ["x", "y", "z"]
    assert sum(row["examples"] for row in report["categories"].values()) == len(TEXTS)


def test_ngrams_are_probabilities_of_whole_sequences() -> None:
    known, given = symbols(), examples()
    rows = np.arange(len(TEXTS))
    model = fit_ngrams(given, given, known, rows, np.arange(0))
    assert model.order == 3
    parts = {"train": given, "valid": examples(), "test": examples()}
    report = ngram_report(parts, "test", known)
    # By hand: each symbol after those before it, from the boundary on.
    best = fit_ngrams(given, given, known, rows, rows)
    total = 0.0
    for row in rows:
        ids = [known.end, *given.sequences[row].tolist()]
        state = best.initial_state(1)
        for before, symbol in itertools.pairwise(ids):
            starts = np.array([before == known.end])
            best.look(np.array([before]), state[0], starts)
            p = best.probabilities(state[0])
            assert p.sum() == pytest.approx(1)
            total -= math.log(p[symbol])
    assert report["unconditional_ngram"]["loss"] == pytest.approx(total / report["symbols"], rel=1e-6)
    # Shares and orders were chosen on the same sequences here: the mixture is at least as good as either.
    for other in ("unconditional_ngram", "ngram_of_each_category"):
        assert report["loss"] <= report[other]["loss"] + 1e-9


def test_writing_follows_from_the_seed() -> None:
    model, known = build(), symbols()
    one, same, other = (write(model, known, "y", length=12, sampler=Sampler(seed=seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    prompted = write(model, known, "y", prompt="ab", length=5, sampler=Sampler(seed=3))
    assert prompted.text.startswith("ab")
    assert len(prompted.text) <= 7
    assert write(model, known, "y", prompt="c", length=0).text == "c"


def test_what_is_written_is_as_frequent_as_its_probability() -> None:
    model, known = build(), symbols()
    count = 600
    made = [write(model, known, "z", length=1, sampler=Sampler(seed=seed)) for seed in range(count)]
    order = [*known.vocabulary.symbols[:V], ""]
    for number, text in enumerate(order):
        p = math.exp(-by_steps(model, [number], 2))
        assert sum(each.text == text for each in made) / count == pytest.approx(p, abs=0.07)
    assert {each.ended for each in made} == {True, False}
    for each in made[:5]:
        assert each.nats == pytest.approx(by_steps(model, [order.index(each.text)], 2), rel=1e-6)
    drawn = [write(model, known, length=0, sampler=Sampler(seed=seed)).category for seed in range(count)]
    assert drawn.count("x") / count == pytest.approx(0.4, abs=0.07)


def test_the_likeliest_at_temperature_zero() -> None:
    model, known = build(), symbols()
    made = write(model, known, "x", length=1, sampler=Sampler(temperature=0))
    costs_of = [by_steps(model, [symbol], 0) for symbol in range(V + 1)]
    assert made.nats == pytest.approx(min(costs_of))


def test_the_unknown_symbol_is_never_written() -> None:
    vocabulary = Characters.count(["aabbc"], 2)
    assert vocabulary.unknown is not None
    known = Symbols(vocabulary, ("x", "y", "z", "w"), (1, 1, 1, 1), 9)
    model = build()
    with torch.no_grad():
        model.output.bias[vocabulary.unknown] = 50
    made = [write(model, known, "x", length=6, sampler=Sampler(seed=seed)).text for seed in range(5)]
    assert set("".join(made)) <= {"a", "b"}


def test_what_is_wrong_is_said() -> None:
    model, known = build(), symbols()
    with pytest.raises(ConfigurationError, match="did you mean 'zero'"):
        write(model, known, "zeros")
    with pytest.raises(ConfigurationError, match="unconditional"):
        write(build(conditional=False), known, "x")
    assert write(build(conditional=False), known, length=2).category == ""
    with pytest.raises(PromptError, match="'X'"):
        write(model, known, "x", prompt="aX")
    with pytest.raises(ConfigurationError, match="length"):
        write(model, known, "x", length=-1)
    for wrong in ({"layers": 0}, {"dropout": 1.0}, {"category_size": 0}):
        with pytest.raises(ConfigurationError):
            GeneratorConfig(**wrong)
    with pytest.raises(ConfigurationError):
        GroupedConfig(max_length=0)


def test_characters_that_are_not_read_cost_nothing_and_count_nothing() -> None:
    given = examples(longest=3)
    assert given.characters.tolist() == [min(len(text), 3) for text in TEXTS]
    whole = summarise(np.full(len(TEXTS), 2.0), given, symbols(3))
    assert whole["bits_per_character"] == pytest.approx(20 / math.log(2) / given.characters.sum())
