"""Which works there are, and that each can be asked for."""

from __future__ import annotations

import pytest

from benchmarks.registry import Absent, Contender, choose, peer, works
from unrolled.errors import ConfigurationError

# What is promised, line by line: a name, or what names begin with, and the ratios that are to be reached.
PROMISED = {
    "min-char-rnn": {1.3},
    "train-lstm-2x512-float32": {1.3},
    "train-lstm-2x512-bfloat16": {1.2},
    "train-gru-2x512-float32": {2.0},
    "train-gru-2x512-bfloat16": {1.2},
    "train-rnn-1x512-float32": {2.0},
    "train-rnn-1x512-bfloat16": {1.2},
    "train-lstm-2x128-float32": {1.5},
    "train-lstm-2x128-bfloat16": {1.0},
    "cell-lstm-peephole-2x512": {0.85},
    "cell-lstm-coupled-2x512": {0.85},
    "cell-made-up-2x512": {0.85},
    "cell-lstm-peephole-1x128": {5.0},
    "cell-lstm-coupled-1x128": {5.0},
    "cell-made-up-1x128": {5.0},
    "lengths-lstm-2x512": {1.5},
    "resets-lstm-2x512": {1.5},
    "step-lstm-2x512-float32-64-streams": {1.5},
    "step-lstm-1x128": {3.0},
    "scan-mingru": {1.5},
    "scan-lru": {1.5},
    "softmax-10000-memory": {0.1},
    "softmax-100000-memory": {0.1},
}


def test_every_promise_is_measured() -> None:
    for name, targets in PROMISED.items():
        assert {work.target for work in choose([name])} == targets, name
    known = works()
    assert (known["step-lstm-2x512-float32"].target, known["step-lstm-2x512-int8"].target) == (1.1, 1.3)
    assert (known["softmax-10000"].target, known["softmax-100000"].target) == (1.5, 1.5)
    assert {f"scan-{cell}-{steps}" for cell in ("mingru", "lru") for steps in (784, 8192, 65_536)} <= known.keys()


def test_every_work_says_what_it_is() -> None:
    for name, work in works().items():
        assert work.name == name
        assert work.about
        assert work.threads in (1, 2)
        assert work.measure == ("memory" if work.unit == "MB" else "rate")


def test_names_may_be_shortened_to_their_first_words() -> None:
    assert [work.name for work in choose(["softmax-10000"])] == ["softmax-10000", "softmax-10000-memory"]
    assert len(choose([])) == len(works())
    with pytest.raises(ConfigurationError, match="did you mean 'softmax-10000'"):
        choose(["softmax-1000"])


def test_a_peer_that_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    found = peer("Other", ["torch", "no_such_package_anywhere"], lambda: pytest.fail("built without its package"))
    assert isinstance(found, Absent)
    assert "no_such_package_anywhere" in found.why
    assert "torch" not in found.why
    assert "pip install -c constraints.txt -e '.[bench]'" in found.why


def test_a_peer_that_cannot_be_built_is_told_of() -> None:
    def build() -> Contender:
        raise ValueError("no such operator\nand a long report")

    assert peer("Other", [], build) == Absent("Other", "failed: ValueError: no such operator")
