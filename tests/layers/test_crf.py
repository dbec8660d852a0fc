"""The forward algorithm and Viterbi's against sums and maxima over all paths."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigurationError
from unrolled.layers.crf import ChainCRF


def made(tags: int, steps: int, batch: int, seed: int, scale: float = 2.0) -> tuple[ChainCRF, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    crf = ChainCRF(tags).double().requires_grad_(False)
    for parameter in crf.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return crf, scale * torch.randn(batch, steps, tags, generator=generator, dtype=torch.float64)


def all_paths(crf: ChainCRF, emissions: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The score of every path over one sequence (T, C), by its definition."""
    steps, tags = emissions.shape
    e, a, start, end = emissions.tolist(), crf.transitions.tolist(), crf.start.tolist(), crf.end.tolist()
    return {
        path: start[path[0]]
        + sum(e[t][path[t]] for t in range(steps))
        + sum(a[i][j] for i, j in itertools.pairwise(path))
        + end[path[-1]]
        for path in itertools.product(range(tags), repeat=steps)
    }


shapes = st.tuples(st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 999))


@given(shapes)
@settings(max_examples=40)
def test_all_is_as_over_all_paths(shape: tuple[int, list[int], int]) -> None:
    tags, lengths, seed = shape
    crf, emissions = made(tags, max(lengths), len(lengths), seed)
    for row, length in enumerate(lengths):  # what stands beyond the end is poison
        emissions[row, length:] = torch.nan
    ends = torch.tensor(lengths)
    emissions = torch.nan_to_num(emissions, nan=1e3)
    whole, marginals = crf.log_partition(emissions, ends), crf.marginals(emissions, ends)
    best, score = crf.best(emissions, ends)
    for row, length in enumerate(lengths):
        paths = all_paths(crf, emissions[row, :length])
        log_z = math.log(sum(math.exp(value) for value in paths.values()))
        assert float(whole[row]) == pytest.approx(log_z, rel=1e-12)
        likeliest = max(paths, key=lambda path: paths[path])
        assert tuple(best[row, :length].tolist()) == likeliest
        assert float(score[row]) == pytest.approx(paths[likeliest])
        assert (best[row, length:] == -1).all()
        assert (marginals[row, length:] == 0).all()
        for step, tag in itertools.product(range(length), range(tags)):
            share = sum(math.exp(value - log_z) for path, value in paths.items() if path[step] == tag)
            assert float(marginals[row, step, tag]) == pytest.approx(share, abs=1e-12)


@given(shapes, st.data())
@settings(max_examples=30)
def test_the_loss_sums_over_what_is_not_known(shape: tuple[int, list[int], int], data: st.DataObject) -> None:
    tags, lengths, seed = shape
    crf, emissions = made(tags, max(lengths), len(lengths), seed)
    least = data.draw(st.sampled_from([0, -1]))
    given_tags = data.draw(
        st.lists(
            st.lists(st.integers(least, tags - 1), min_size=max(lengths), max_size=max(lengths)),
            min_size=len(lengths),
            max_size=len(lengths),
        )
    )
    loss = crf.loss(emissions, torch.tensor(given_tags), torch.tensor(lengths))
    for row, length in enumerate(lengths):
        paths = all_paths(crf, emissions[row, :length])
        known = given_tags[row][:length]
        fits = [value for path, value in paths.items() if all(b in (-1, a) for a, b in zip(path, known, strict=True))]
        log_z = math.log(sum(map(math.exp, paths.values())))
        assert float(loss[row]) == pytest.approx(log_z - math.log(sum(map(math.exp, fits))), abs=1e-9)


@given(shapes, st.integers(0, 2**16))
@settings(max_examples=30)
def test_only_allowed_paths_are_decoded(shape: tuple[int, list[int], int], bits: int) -> None:
    tags, lengths, seed = shape
    crf, emissions = made(tags, max(lengths), len(lengths), seed)
    allowed = torch.rand(tags + 1, tags + 1, generator=torch.Generator().manual_seed(bits)) < 0.7
    best, score = crf.best(emissions, torch.tensor(lengths), allowed)
    for row, length in enumerate(lengths):
        paths = {
            path: value
            for path, value in all_paths(crf, emissions[row, :length]).items()
            if all(allowed[i, j] for i, j in itertools.pairwise([tags, *path, tags]))
        }
        if paths:
            likeliest = max(paths, key=lambda path: paths[path])
            assert tuple(best[row, :length].tolist()) == likeliest
            assert float(score[row]) == pytest.approx(paths[likeliest])


@pytest.mark.parametrize("lengths", [[1], [2, 1], [7, 1, 4]])
@pytest.mark.parametrize("hidden", [False, True])
def test_gradients(lengths: list[int], hidden: bool) -> None:
    crf, emissions = made(3, max(lengths), len(lengths), 1)
    crf.requires_grad_()
    emissions.requires_grad_()
    tags = torch.randint(3, emissions.shape[:2], generator=torch.Generator().manual_seed(2))
    if hidden:
        tags[:, 0] = -1

    def loss(emissions: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return crf.loss(emissions, tags, torch.tensor(lengths)).sum()

    assert torch.autograd.gradcheck(loss, (emissions, *crf.parameters()))


def test_a_batch_is_as_each_alone_and_single_precision_is_near() -> None:
    crf, emissions = made(9, 63, 5, 3)
    lengths = torch.tensor([63, 1, 2, 40, 17])
    tags = torch.randint(9, (5, 63), generator=torch.Generator().manual_seed(4))
    together = crf.loss(emissions, tags, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = crf.loss(emissions[row : row + 1, :length], tags[row : row + 1, :length], lengths[row : row + 1])
        assert float(alone) == pytest.approx(float(together[row]), rel=1e-12)
    single = crf.float().loss(emissions.float(), tags, lengths)
    assert torch.allclose(single.double(), together, rtol=1e-5)


def test_a_field_needs_a_tag() -> None:
    with pytest.raises(ConfigurationError, match="at least one tag"):
        ChainCRF(0)
