"""Examples of what is not looked for, where only those of what is are given: shuffled sequences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unrolled.data.labelled import Labelled
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.shuffles import shuffled
from unrolled.data.store import PARTS, Part
from unrolled.errors import ConfigurationError

__all__ = ["add_negatives"]


def add_negatives(parts: Mapping[Part, Labelled], config: LabelledConfig, *, fitting: bool) -> dict[Part, Labelled]:
    """Put `config.negatives` shuffles of each sequence into every part that has the label of the training part alone.

    A shuffle keeps how often every stretch of `config.shuffle` letters occurs; see `data.shuffles`. It is labelled as
    what other parts have besides; where they have nothing, 0 if the sequences are labelled 1, else shuffled.

    Args:
        parts: sequences over an alphabet, as numbers; the training part first.
        config: how many, and of what seed they follow.
        fitting: whether the labels are found in these parts; else they are those of a run, and a training part with
            several labels is left as it is.

    Raises:
        ConfigurationError: the training part has several labels, or other parts have several others.
    """
    given = set(parts["train"].labels)
    if not config.negatives or (len(given) > 1 and not fitting):
        return dict(parts)
    if len(given) != 1:
        raise ConfigurationError(
            "shuffled sequences are for data with one label",
            expected="one label in the training part",
            got=", ".join(sorted(map(repr, given))[:5]),
            fix="leave out --negatives",
        )
    (label,) = given
    others = {other for examples in parts.values() for other in examples.labels} - given
    if len(others) > 1:
        raise ConfigurationError(
            "shuffled sequences could have several labels", got=", ".join(sorted(map(repr, others))[:5])
        )
    name = next(iter(others), "0" if label == "1" else "shuffled")
    new = {}
    for number, part in enumerate(PARTS):
        examples = parts.get(part, Labelled())
        new[part] = examples
        if set(examples.labels) == given:
            new[part] = _with_shuffles(examples, name, config, np.random.default_rng([config.split_seed, number]))
    return new


def _with_shuffles(examples: Labelled, label: str, config: LabelledConfig, generator: np.random.Generator) -> Labelled:
    rows = np.tile(np.arange(len(examples)), 1 + config.negatives)
    new = examples.select(rows)
    for index in range(len(examples), len(rows)):
        new.inputs[index] = shuffled(new.inputs[index], generator, config.shuffle)
        new.labels[index] = label
    return new
