"""Parts that every label has its share in, drawn by a seed."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.labelled_splits import read_parts, stratified
from unrolled.data.store import PARTS, SplitSources


@given(
    st.lists(st.sampled_from("aaaaabbc"), min_size=1, max_size=200),
    st.sampled_from([(80, 10, 10), (90, 10, 0), (50, 25, 25), (100, 0, 0), (34, 33, 33)]),
    st.integers(0, 5),
)
def test_every_label_has_its_share(labels: list[str], shares: tuple[int, int, int], seed: int) -> None:
    parts = stratified(labels, shares, seed)
    rows = np.concatenate([parts[part] for part in PARTS])
    assert sorted(rows.tolist()) == list(range(len(labels)))
    moved = 0
    for label, count in Counter(labels).items():
        assert any(labels[row] == label for row in parts["train"])
        for part, share in zip(PARTS, shares, strict=True):
            found = sum(labels[row] == label for row in parts[part])
            assert abs(found - count * share / 100) <= 3
        moved += count * shares[0] < 300
    for part, share in zip(PARTS, shares, strict=True):
        assert abs(len(parts[part]) - len(labels) * share / 100) < 1 + moved


def test_the_parts_follow_from_the_seed() -> None:
    labels = ["a", "b"] * 50
    first, again, other = (stratified(labels, (80, 10, 10), seed) for seed in (1, 1, 2))
    assert all((first[part] == again[part]).all() for part in PARTS)
    assert (first["test"] != other["test"]).any()
    exact = stratified(labels, (Fraction("33.3"), Fraction("33.3"), Fraction("33.4")), 0)
    assert [len(exact[part]) for part in PARTS] == [33, 33, 34]


def test_a_label_seen_once_is_trained_on() -> None:
    labels = ["often"] * 97 + ["x", "y", "z"]
    for seed in range(10):
        parts = stratified(labels, (34, 33, 33), seed)
        assert {97, 98, 99} <= set(parts["train"].tolist())


def lines(path: Path, count: int) -> str:
    path.write_text("".join(f"{at % 2} text {at}\n" for at in range(count)))
    return str(path)


def test_parts_of_one_file_and_of_several(tmp_path: Path) -> None:
    one = read_parts(SplitSources.find([lines(tmp_path / "all", 100)]), LabelledConfig())
    assert [len(one[part]) for part in PARTS] == [80, 10, 10]
    files: dict[str, Any] = {part: [lines(tmp_path / part, n)] for part, n in (("train", 40), ("test", 7))}
    held = read_parts(SplitSources.find(**files), LabelledConfig())
    assert [len(held[part]) for part in PARTS] == [36, 4, 7]
    assert Counter(held["valid"].labels) == {"0": 2, "1": 2}
    none = read_parts(SplitSources.find(**files), LabelledConfig(hold_out=0.0))
    assert [len(none[part]) for part in PARTS] == [40, 0, 7]
    files["valid"] = [lines(tmp_path / "valid", 5)]
    assert [len(part) for part in read_parts(SplitSources.find(**files), LabelledConfig()).values()] == [40, 5, 7]
