"""How good tags are: accuracy and F1 tag by tag, and exact spans as the script `conlleval` counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from unrolled.tasks.tag.spans import find_spans

__all__ = ["span_scores", "tag_scores"]


def tag_scores(gold: Iterable[str | None], found: Iterable[str]) -> dict[str, Any]:
    """Accuracy, macro F1 over all tags that are given or found, a table of the tags, and how often which was taken for
    which (a row a given tag, a column one that was found, both in the order of the table).

    Words without a given tag are left out. F1 is 0 where it is 0/0.
    """
    pairs = Counter((given, tag) for given, tag in zip(gold, found, strict=True) if given is not None)
    right = {given: count for (given, tag), count in pairs.items() if given == tag}
    supports, guesses = Counter[str](), Counter[str]()
    for (given, tag), count in pairs.items():
        supports[given] += count
        guesses[tag] += count
    table = {
        tag: _shares(right.get(tag, 0), guesses[tag], supports[tag]) for tag in sorted(supports.keys() | guesses.keys())
    }
    return {
        "accuracy": _divided(sum(right.values()), supports.total()),
        "macro_f1": _divided(sum(row["f1"] for row in table.values()), len(table)),
        "per_tag": table,
        "confusion": [[pairs[given, tag] for tag in table] for given in table],
    }


def span_scores(gold: Iterable[Sequence[str | None]], found: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Precision, recall and F1 of exact spans, all together (micro average) and type by type.

    A span is right if it begins, ends and is called as one that is given. A word without a given tag counts as outside.
    """
    right, guesses, supports = Counter[str](), Counter[str](), Counter[str]()
    for given, tags in zip(gold, found, strict=True):
        wanted, made = set(find_spans(tag or "O" for tag in given)), set(find_spans(tags))
        right.update(kind for _, _, kind in wanted & made)
        guesses.update(kind for _, _, kind in made)
        supports.update(kind for _, _, kind in wanted)
    whole = _shares(right.total(), guesses.total(), supports.total())
    return {
        "span_precision": whole["precision"],
        "span_recall": whole["recall"],
        "span_f1": whole["f1"],
        "spans": supports.total(),
        "per_type": {
            kind: _shares(right[kind], guesses[kind], supports[kind])
            for kind in sorted(supports.keys() | guesses.keys())
        },
    }


def _shares(right: int, guessed: int, given: int) -> dict[str, Any]:
    return {
        "precision": _divided(right, guessed),
        "recall": _divided(right, given),
        "f1": _divided(2 * right, guessed + given),
        "support": given,
    }


def _divided(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
