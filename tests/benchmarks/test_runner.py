"""Measuring, with contenders that are made up: what agrees, what is timed, what the ratio is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import runner
from benchmarks.agreement import difference, worst
from benchmarks.registry import Absent, Case, Contender, Limit, Work
from benchmarks.runner import Result, as_json, conclude, pinned, run, run_apart

TRUTH = {"y": torch.tensor([3.0, 4.0], dtype=torch.float64), "loss": 2.0}
# What readers of the JSON rely on.
KEYS = {"name", "agrees", "ours", "peers", "unit", "ratio", "of_limit", "limit", "target", "reached", "absent"}


def work_of(case: Case, **options: Any) -> Work:
    return Work("made-up", "a work made up here", "things/s", 1.5, 1, lambda: case, **options)


def case_of(ours: Contender | Absent, *peers: Contender | Absent, **options: Any) -> Case:
    return Case(ours, peers, lambda: TRUTH, tolerance=1e-5, **options)


def right(name: str, do: Callable[[], object] = lambda: None, **options: Any) -> Contender:
    return Contender(name, do, lambda: {"y": torch.tensor([3.0, 4.0]), "loss": np.float32(2)}, **options)


def wrong(name: str) -> Contender:
    return Contender(name, lambda: pytest.fail("what is wrong is not timed"), lambda: {**TRUTH, "loss": 2.001})


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_ROUND_SECONDS", 1e-4)


def test_difference_is_relative_to_the_norm() -> None:
    assert difference([3.0, 4.5], TRUTH["y"]) == pytest.approx(0.1)
    assert difference([0.0, 0.0], [0.0, 0.0]) == 0
    for bad in ([1.0], [3.0, float("nan")], [3.0, float("inf")]):
        assert difference(bad, TRUTH["y"]) == float("inf")
    assert difference([1e-9], [0.0]) == float("inf")


def test_the_worst_tensor_is_the_worst_for_what_is_allowed_of_it() -> None:
    given, allowed = {"y": [3.0, 4.5], "loss": 2.02}, {"y": 1.0, "loss": 1e-3}
    assert worst(given, TRUTH, allowed.__getitem__) == ("loss", pytest.approx(0.01))
    assert worst({"y": TRUTH["y"]}, TRUTH, lambda _: 1.0) == ("loss", float("inf"))


def test_a_result_has_what_readers_rely_on() -> None:
    peers = (right("slow"), Absent("gone", "not installed: gone"))
    case = case_of(right("us"), *peers, limit=lambda: Limit(1e12, "known"), note="a note")
    result = run(work_of(case), rounds=3)
    (given,) = json.loads(json.dumps(as_json([result])))
    assert given.keys() >= KEYS
    assert (given["name"], given["agrees"], given["unit"]) == ("made-up", True, "things/s")
    assert given["ours"] > 0
    assert given["peers"].keys() == {"slow"}
    assert given["ratio"] == given["ours"] / given["peers"]["slow"]
    assert given["of_limit"] == given["ours"] / 1e12
    assert given["reached"] == (given["ratio"] >= 1.5)
    assert given["absent"] == {"gone": "not installed: gone"}
    assert (given["rounds"], given["note"]) == (3, "a note")
    assert Result(**given) == result


def test_ours_if_it_is_wrong_is_not_timed() -> None:
    result = run(work_of(case_of(wrong("us"), right("other"))))
    assert (result.agrees, result.ours, result.ratio, result.reached) == (False, None, None, None)
    assert result.differences["us"] == ["loss", pytest.approx(5e-4)]
    assert "does not agree" in result.absent["us"]


def test_a_peer_that_is_wrong_is_left_out() -> None:
    result = run(work_of(case_of(right("us"), wrong("other"))), rounds=1)
    assert (result.agrees, result.peers, result.ratio) == (True, {}, None)
    assert "does not agree" in result.absent["other"]


def test_ours_if_it_is_absent_neither_agrees_nor_disagrees() -> None:
    result = run(work_of(case_of(Absent("us", "not available"), right("other"))))
    assert (result.agrees, result.ours, result.absent) == (None, None, {"us": "not available"})


def test_who_fails_is_told_of() -> None:
    def fail() -> None:
        raise RuntimeError("out of memory")

    peers = (right("later", fail), Contender("at once", fail, fail))  # type: ignore[arg-type]
    result = run(work_of(case_of(right("us"), *peers)), rounds=2)
    assert (result.agrees, result.peers) == (True, {})
    assert result.absent == dict.fromkeys(("at once", "later"), "failed: RuntimeError: out of memory")


def test_a_tensor_may_have_a_tolerance_of_its_own_and_a_peer_a_reference() -> None:
    def other() -> dict[str, Any]:
        return {"loss": 7.0}

    ours = Contender("us", lambda: None, lambda: {**TRUTH, "loss": 2.001})
    peers = (Contender("another work", lambda: None, other, reference=other),)
    result = run(work_of(case_of(ours, *peers, exceptions={"loss": 1e-3})), rounds=1)
    assert result.agrees
    assert result.peers.keys() == {"another work"}


def test_runs_are_interleaved_and_the_order_is_turned_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_ROUND_SECONDS", 0.0)
    order: list[str] = []
    contenders = [right(name, lambda name=name: order.append(name)) for name in "abc"]  # type: ignore[misc]
    run(work_of(case_of(*contenders)), rounds=4)
    # In the first round each runs once more before it is timed.
    assert "".join(order) == "aabbcc" + "cba" + "abc" + "cba"


def test_the_ratio_is_of_medians_to_the_best_peer() -> None:
    work = work_of(case_of(right("us")))
    result = Result.of(work)
    conclude(result, work, {"us": [30.0, 1.0, 20.0], "a": [9.0, 10.0, 500.0], "b": [8.0, 8.0, 8.0]}, "us")
    assert (result.ours, result.peers, result.best_peer) == (20.0, {"a": 10.0, "b": 8.0}, "a")
    assert (result.ratio, result.reached) == (2.0, True)
    assert result.spread["us"] == [1.0, 30.0]


def test_of_memory_the_least_is_the_best() -> None:
    work = Work("made-up", "", "MB", 0.1, 1, lambda: case_of(right("us")), measure="memory")
    result = Result.of(work)
    conclude(result, work, {"us": [10.0], "a": [400.0], "b": [200.0]}, "us")
    assert (result.best_peer, result.ratio, result.reached) == ("b", 0.05, True)
    conclude(result, work, {"us": [30.0], "b": [200.0]}, "us")
    assert result.reached is False


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="only Linux tells the highest memory")  # noqa: PTH110
def test_memory_is_what_a_run_holds_at_its_highest() -> None:
    def hold() -> None:
        assert np.ones(25_000_000).sum() > 0  # 200 MB, given back

    work = work_of(case_of(right("us"), right("large", hold)), measure="memory")
    assert 150 < run(work, rounds=1).peers["large"] < 300


def test_a_process_that_dies_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(command: list[str], **options: Any) -> Any:
        assert command[-4:] == ["--here", "--json", "--rounds", "5"]
        return subprocess.CompletedProcess(command, -9, stdout="")

    monkeypatch.setattr(runner.subprocess, "run", die)
    result = run_apart(work_of(case_of(right("us"))), rounds=5)
    assert (result.agrees, result.note) == (False, "its process ended with status -9")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin processes to cores")
def test_a_work_has_the_cores_it_says() -> None:
    before = os.sched_getaffinity(0)
    with pinned(1) as environment:
        assert len(os.sched_getaffinity(0)) == 1
        assert environment["OMP_NUM_THREADS"] == environment["NUMBA_NUM_THREADS"] == "1"
    assert os.sched_getaffinity(0) == before
