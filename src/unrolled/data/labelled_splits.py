"""Cutting labelled examples into parts, so that every label has its share in each."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction

import numpy as np

from unrolled.data.folds import folded
from unrolled.data.labelled import Labelled, read_labelled
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.preparation import Progress
from unrolled.data.store import PARTS, Part, SplitSources
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError

__all__ = ["read_parts", "stratified"]


def read_parts(sources: SplitSources, config: LabelledConfig, told: Progress | None = None) -> dict[Part, Labelled]:
    """The examples of each part: of the files of each, or drawn from those that come as one.

    Where files are given to train on and none to validate on, `config.hold_out` percent of them are drawn for that.

    Raises:
        DataError: see `read_labelled`.
        ConfigurationError: folds are asked for and it is not said which, or parts are given as files.
    """
    if config.folds is not None and config.fold is None:
        raise ConfigurationError(
            "which fold is tested on is not said",
            expected=f"from 1 to {config.folds}",
            fix="give --fold too: without it only the command line goes through all, with networks",
        )
    parts: dict[Part, Labelled] = {part: Labelled() for part in PARTS}
    if sources.text:
        examples = read_labelled(sources.text, config, told=told)
        strata = _strata(examples, config)
        if config.folds is not None and config.fold is not None:
            drawn = folded(strata, config.folds, config.fold, config.hold_out, config.split_seed)
        else:
            drawn = stratified(strata, config.shares, config.split_seed)
        parts = {part: examples.select(rows) for part, rows in drawn.items()}
    elif config.fold is not None:
        raise ConfigurationError(
            "folds are made of all examples together", got="--train", fix="give the files without --train"
        )
    else:
        for part in PARTS:
            if files := getattr(sources, part):
                parts[part] = read_labelled(files, config, told=told)
        if not sources.valid and config.hold_out:
            examples, share = parts["train"], Fraction(config.hold_out)
            drawn = stratified(_strata(examples, config), (100 - share, share, 0), config.split_seed)
            parts["train"], parts["valid"] = examples.select(drawn["train"]), examples.select(drawn["valid"])
    return parts


def _strata(examples: Labelled, config: LabelledConfig) -> Sequence[Hashable]:
    """What has its share in each part: the labels; of numbers nothing."""
    return [0] * len(examples) if config.target == "number" else examples.labels


def stratified(labels: Sequence[Hashable], shares: Sequence[float | Fraction], seed: int) -> dict[Part, IntArray]:
    """The numbers of the examples of each part, ascending, drawn at random.

    The examples are shuffled and sorted by label; then each goes to the part that lacks most of its share. So the parts
    have their shares of all examples, give or take one, and of each label, give or take two. A label that is seen at
    all is seen in the training part: the only example of a label goes there.

    Args:
        labels: (n) of the examples.
        shares: of train, valid and test; what they add up to is the whole.
        seed: the parts follow from it and the labels alone.

    >>> {part: rows.tolist() for part, rows in stratified(["a", "b"] * 5, (60, 20, 20), seed=1).items()}
    {'train': [0, 3, 5, 6, 7, 8], 'valid': [1, 4], 'test': [2, 9]}
    """
    numbers: dict[Hashable, int] = {}
    classes = np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    # In whole numbers, so that nothing is rounded.
    exact = [Fraction(share) for share in shares]
    scale = math.lcm(*(share.denominator for share in exact))
    wanted = [int(share * scale) for share in exact]
    total, given = sum(wanted), [0] * len(wanted)
    part_of = np.empty(len(classes), np.int64)
    trained: dict[int, int] = {}
    for place, row in enumerate(order.tolist()):
        lacks = [share * (place + 1) - total * count for share, count in zip(wanted, given, strict=True)]
        part = lacks.index(max(lacks))
        given[part] += 1
        part_of[row] = part
        if part == 0:
            trained[int(classes[row])] = row
    if wanted[0]:
        for row in order.tolist():
            if classes[row] not in trained:
                part_of[row], trained[int(classes[row])] = 0, row
    return {part: np.flatnonzero(part_of == number) for number, part in enumerate(PARTS)}
