from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.cells import find_cell
from unrolled.data.vocabulary import Bytes, Characters, Vocabulary
from unrolled.errors import ConfigurationError, DivergenceError, PromptError
from unrolled.evaluation.lines import ORDERS, Found, Line, line_surprises, most_surprising
from unrolled.evaluation.reading import Reader
from unrolled.evaluation.scoring import surprisals
from unrolled.tasks.configuration import LanguageModelConfig
from unrolled.tasks.language_model import LanguageModel


def build(vocabulary: Vocabulary) -> LanguageModel:
    torch.manual_seed(0)
    config = LanguageModelConfig(hidden_size=7, layers=2, embedding_size=5)
    return LanguageModel(vocabulary.size, find_cell("lstm"), config).eval()


LETTERS = Characters.count(["abc \n" * 3])
MODEL = build(LETTERS)
READER = Reader(MODEL, LETTERS.unigram())


def cut(text: str, seed: int) -> list[str]:
    """A text in pieces, some of them empty."""
    source, pieces, at = random.Random(seed), [], 0
    while at < len(text):
        step = source.choice((0, 1, 2, 5, 30))
        pieces.append(text[at : at + step])
        at += step
    return pieces


@pytest.mark.parametrize("length", [1, 2, 63, 300])
@pytest.mark.parametrize("texts", [1, 3])
def test_reading_in_pieces_is_reading_at_once_and_agrees_with_the_engine(length: int, texts: int) -> None:
    ids = np.random.default_rng(0).integers(0, LETTERS.size, (texts, length))
    reader, by_engine = READER, Reader(MODEL, LETTERS.unigram(), MODEL.engine())
    whole, place = reader.read(ids, reader.start(texts))
    for row in range(texts):
        alone = [each.nats for each in surprisals(MODEL, LETTERS, ids[row])]
        assert whole[row] == pytest.approx(alone, rel=1e-5)
    other = by_engine.start(texts)
    parts = []
    for begin, end in itertools.pairwise(sorted({0, 1, length // 3, length})):
        found, other = by_engine.read(ids[:, begin:end], other)
        parts.append(found)
    assert np.concatenate(parts, 1) == pytest.approx(whole, rel=1e-4)
    assert other.following == pytest.approx(place.following, rel=1e-3, abs=1e-4)
    assert np.exp(place.following).sum(1) == pytest.approx(np.ones(texts))


def test_a_place_goes_on_in_several_ways() -> None:
    for reader in (READER, Reader(MODEL, LETTERS.unigram(), MODEL.engine())):
        _, place = reader.read([[0, 1], [2, 3]], reader.start(2))
        nats, _ = reader.read([[4], [4], [1]], reader.select(place, [1, 0, 1]))
        for row, before in enumerate(([2, 3], [0, 1], [2, 3])):
            last = (4, 4, 1)[row]
            assert nats[row, 0] == pytest.approx(reader.read([[*before, last]], reader.start())[0][0, -1], rel=1e-5)


def test_a_model_that_diverged() -> None:
    model = build(LETTERS)
    with torch.no_grad():
        model.output.bias[2] = math.nan
    with pytest.raises(DivergenceError):
        list(line_surprises(Reader(model, LETTERS.unigram()), LETTERS, ["aaa\nb"]))


@settings(max_examples=30)
@given(st.text("abc \n", max_size=60), st.integers(0, 9))
def test_lines_add_up_to_the_text(text: str, seed: int) -> None:
    found = list(line_surprises(READER, LETTERS, cut(text, seed)))
    assert "".join(line.text for line in found) == text
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    assert all("\n" not in line.text[:-1] for line in found)
    costs = [each.nats for each in surprisals(MODEL, LETTERS, LETTERS.encode(text))] if text else []
    at = 0
    for line in found:
        mine = costs[at : at + len(line.text)]
        at += len(line.text)
        assert line.nats == pytest.approx(sum(mine), rel=1e-5)
        assert line.mean == pytest.approx(sum(mine) / len(mine), rel=1e-5)
        assert line.peak == pytest.approx(max(mine), rel=1e-5)
        assert mine[line.column - 1] == pytest.approx(line.peak, rel=1e-5)


def test_lines_alone_do_not_know_of_each_other() -> None:
    text = "abc\n\ncab ab" + "\n" + "b" * 700 + "\nabc\n"
    found = list(line_surprises(READER, LETTERS, [text], alone=True))
    assert found[0].nats == pytest.approx(found[-1].nats)
    for line in found:
        costs = [each.nats for each in surprisals(MODEL, LETTERS, LETTERS.encode("\n" + line.text))][1:]
        assert line.nats == pytest.approx(sum(costs), rel=1e-4)


def test_characters_without_a_symbol_are_charged_or_refused() -> None:
    (known,) = line_surprises(READER, LETTERS, ["ab"])
    (line,) = line_surprises(READER, LETTERS, ["a#b€"])
    never = math.log(15 + 5 + 1)
    assert (line.symbols, line.unknown, line.column) == (2, 2, 2)
    assert line.nats == pytest.approx(known.nats + 2 * never)
    assert line.mean == pytest.approx(line.nats / 4)
    assert line.peak == pytest.approx(never)
    (only,) = line_surprises(READER, LETTERS, ["##"])
    assert (only.symbols, only.nats, only.column) == (0, pytest.approx(2 * never), 1)
    with pytest.raises(PromptError, match="line 2 has characters that the model does not know") as caught:
        list(line_surprises(READER, LETTERS, ["abc\nab#"], strict=True))
    assert caught.value.where == "line 2, column 3"
    folded = Characters.count(["abc\n" * 4 + "x"], 2)
    (line,) = line_surprises(Reader(build(folded), folded.unigram()), folded, ["a#"], strict=True)
    assert (line.symbols, line.unknown) == (2, 0)


def test_the_column_counts_characters_not_bytes() -> None:
    vocabulary = Bytes.count(["é€ abc"])
    (line,) = line_surprises(Reader(build(vocabulary), vocabulary.unigram()), vocabulary, ["é€ zé€abc"])
    costs = [each.nats for each in surprisals(build(vocabulary), vocabulary, vocabulary.encode("é€ zé€abc"))]
    at = costs.index(max(costs))
    before = "é€ zé€abc".encode()[:at].decode(errors="ignore")
    assert line.column in (len(before), len(before) + 1)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 8), st.integers(0, 3), st.sampled_from(ORDERS))
def test_the_most_surprising_lines_are_those_of_sorting_them_all(
    values: list[int], top: int, context: int, order: str
) -> None:
    lines = [Line(n, f"{n}\n", 2, v, v / 2, 7 - v, 1) for n, v in enumerate(values, 1)]
    found = most_surprising(iter(lines), order, top, context)  # type: ignore[arg-type]
    keys = {"surprise": lambda line: -line.nats, "mean": lambda line: -line.mean, "peak": lambda line: -line.peak}
    for each, line in zip(found, sorted(lines, key=keys[order])[:top], strict=True):
        at = line.number - 1
        before, after = lines[max(at - context, 0) : at], lines[at + 1 : at + 1 + context]
        assert each == Found(line, tuple(x.text for x in before), tuple(x.text for x in after))


def test_numbers_that_make_no_sense() -> None:
    with pytest.raises(ConfigurationError, match="unknown order 'suprise'"):
        most_surprising([], "suprise")  # type: ignore[arg-type]
    for options in ({"top": 0}, {"context": -1}):
        with pytest.raises(ConfigurationError, match="a number of lines is too small"):
            most_surprising([], **options)


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    import gc
    import tracemalloc

    def peak(lines: int) -> int:
        gc.collect()
        tracemalloc.start()
        pieces = (f"abc {'ab' * (n % 7)}\n" for n in range(lines))
        most_surprising(line_surprises(READER, LETTERS, pieces), top=3, context=2)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(64)
    # To keep 3,800 lines would take over a megabyte. What else the process allocates meanwhile is traced, too.
    assert peak(4000) < peak(200) + 400_000
