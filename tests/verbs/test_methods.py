"""Evaluation with methods, on a run and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled import open_run, train_lm
from unrolled.errors import ConfigurationError
from unrolled.files import sha256

Start = Callable[..., Any]


def contents(run: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(run)): (sha256(path), path.stat().st_mtime_ns)
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


def test_the_run_is_byte_for_byte_as_it_was(trained: Path) -> None:
    before, model = contents(trained), open_run(trained, threads=1)
    text = model.sample(length=50)
    static = model.evaluate("test")
    found = model.evaluate("test", dynamic="rms", cache=30, temperature="tune", tune_limit=150)
    assert contents(trained) == before
    assert model.sample(length=50) == text
    assert model.evaluate("test") == static
    assert static.method == "static"
    assert static.numbers == {}
    assert found.method.startswith("dynamic (rms) + cache")
    assert found.tuned_on == "150 symbols of valid"
    assert found.streams == 1
    assert found.tokens == static.tokens
    numbers = {name: value for name, value in found.numbers.items() if name != "epsilon"}
    again = model.evaluate("test", dynamic="rms", **numbers)
    assert again.log_likelihood == pytest.approx(found.log_likelihood)
    assert again.tuned_on == ""


def test_on_the_part_that_numbers_were_found_on_it_says_so(trained: Path) -> None:
    found = open_run(trained, threads=1).evaluate("valid", temperature="tune", tune_limit=100)
    assert "numbers found on 100 symbols of valid, which is this part" in found.detail


def test_the_command_line(trained: Path, start: Start) -> None:
    done = start("evaluate", trained, "--split", "test", "--cache", "30", "--flatness", "0.3", "--share", "0.1")
    assert done.wait() == 0, done.stderr
    assert done.stdout.startswith("test, carried, cache (1 stream; window of 30, flatness 0.3, share 0.1)")
    done = start("evaluate", trained, "--dynamic", "sgd", "--rate", "0.1", "--decay", "0.01", "--json")
    assert done.wait() == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["method"] == "dynamic (sgd)"
    assert report["numbers"]["rate"] == 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rate", "0.1"), "rate is a number of dynamic, which is not asked for"),
        (("--share", "0.1"), "share is a number of cache, which is not asked for"),
        (("--cache", "0"), "a cache is too short"),
        (("--temperature", "0"), "temperature is out of range"),
        (("--dynamic", "sgd", "--segment", "0"), "a segment is too short"),
        (("--tune-limit", "1"), "tune_limit is out of range"),
        (("--temperature", "tune", "--protocol", "windows"), "do not go with windows"),
    ],
)
def test_bad_options(options: tuple[str, ...], message: str, trained: Path, start: Start) -> None:
    done = start("evaluate", trained, *options)
    assert done.wait() == 2
    assert message in " ".join(done.stderr.split())


def test_a_run_without_a_validation_part_needs_numbers(corpus: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"hidden_size": 4, "layers": 1, "batch": 2, "length": 8, "steps": 2, "threads": 1}
    run = train_lm([str(corpus)], run=tmp_path / "run", split="100/0/0", precision="float32", **options).run
    model = open_run(run, threads=1)
    with pytest.raises(ConfigurationError, match="no validation part to find numbers on"):
        model.evaluate("train", cache=20)
    assert model.evaluate("train", temperature=1.2).method == "temperature 1.2"
