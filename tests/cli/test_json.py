"""`--json`: one JSON object on standard output and nothing else there, with a terminal or without."""

from __future__ import annotations

import json
import math
import os
import pty
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled.cells import BUILTIN
from unrolled.evaluation import Likelihood

TRAINED = {"run", "task", "steps", "minutes", "epochs", "parameters", "best_valid_nats_per_token"}
REPORT = {"task", "split", "protocol", "tokens", "nats_per_token", "bits_per_character", "perplexity"}
VERBS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "train": (("train", "lm", "CORPUS", "--run", "new", "--sample-every", "1", "QUICK"), TRAINED),
    "resume": (("resume", "COPY", "--steps", "62"), TRAINED),
    "sample": (("sample", "RUN", "--length", "30", "--count", "2"), {"run", "checkpoint", "seed", "prompt", "texts"}),
    "score": (("score", "RUN", "CORPUS"), REPORT | {"log_likelihood"}),
    "score each symbol": (("score", "RUN", "CORPUS", "--each", "symbol"), {"run", "task", "split", "each", "items"}),
    "score each line": (("score", "RUN", "CORPUS", "--each", "line"), {"run", "task", "split", "each", "items"}),
    "evaluate": (("evaluate", "RUN"), REPORT | {"log_likelihood"}),
    "evaluate windows": (("evaluate", "RUN", "--split", "test", "--protocol", "windows"), REPORT),
    "runs": (("runs", "ROOT"), {"root", "runs"}),
    "cells": (("cells",), {"cells"}),
    "data list": (("data", "list"), {"corpora"}),
    "describe a run": (("describe", "RUN"), {"name", "equations", "latex", "shapes", "parameters", "config"}),
    "describe a cell": (("describe", "gru"), {"name", "equations", "latex", "shapes", "parameters", "config"}),
}


@pytest.fixture
def arguments(
    trained: Path, corpus: Path, tmp_path: Path, quick: tuple[str, ...]
) -> Callable[[tuple[str, ...]], list[str]]:
    """Arguments with the names in capitals replaced."""
    options = list(quick[: quick.index("--sample-every")])
    copy = shutil.copytree(trained, tmp_path / "copy")
    places = {"CORPUS": [str(corpus)], "RUN": [str(trained)], "ROOT": [str(trained.parent)], "COPY": [str(copy)]}
    places["QUICK"] = options
    return lambda given: [part for name in given for part in places.get(name, [name])] + ["--json"]


class Terminal:
    """A terminal, and what was written to it."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.path, self._slave, self._seen = os.ttyname(slave), slave, b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._master, 65536):
                self._seen += piece
        except OSError:  # the other end is closed
            pass

    def close(self) -> str:
        os.close(self._slave)
        self._reader.join()
        os.close(self._master)
        return self._seen.decode()


@pytest.mark.parametrize("verb", VERBS)
def test_one_object_and_nothing_else(unrolled: Callable[..., Any], arguments: Any, verb: str) -> None:
    given, keys = VERBS[verb]
    result = unrolled(*arguments(given))
    assert result.status == 0, result.err
    assert result.out.count("\n") == 1
    found = json.loads(result.out)
    assert keys <= found.keys()


@pytest.mark.parametrize("verb", VERBS)
def test_the_same_with_a_terminal(start: Callable[..., Any], arguments: Any, verb: str, tmp_path: Path) -> None:
    given, keys = VERBS[verb]
    terminal = Terminal()
    process = start(*arguments(given), cwd=tmp_path, terminal=terminal.path, environment={"TERM": "xterm"})
    status, seen = process.wait(), terminal.close()
    assert status == 0, seen
    assert process.stdout.count("\n") == 1
    assert keys <= json.loads(process.stdout).keys()
    assert "Traceback" not in seen
    if verb in ("train", "resume"):
        assert "held out" in seen
        assert "\x1b[" in seen  # a bar was drawn


def test_lines_come_to_standard_output_while_a_bar_is_drawn(
    start: Callable[..., Any], trained: Path, corpus: Path, tmp_path: Path
) -> None:
    for each, lines in (("symbol", 6000), ("line", len(corpus.read_text().splitlines()))):
        terminal = Terminal()
        process = start("score", trained, corpus, "--each", each, terminal=terminal.path, environment={"TERM": "xterm"})
        assert process.wait() == 0
        assert "reading" in terminal.close()
        assert len(process.stdout.splitlines()) == lines
        assert all(isinstance(json.loads(line), dict) for line in process.stdout.splitlines())


# ---- what the objects say


def test_training(unrolled: Callable[..., Any], corpus: Path, quick: tuple[str, ...]) -> None:
    found = json.loads(unrolled("train", "lm", corpus, "--run", "run", *quick, "--json").out)
    assert (found["run"], found["steps"], found["task"]) == ("run", 3, "lm")
    assert 0 < found["minutes"] < 1
    report = json.loads(unrolled("evaluate", "run", "--json").out)
    assert report["nats_per_token"] == pytest.approx(found["best_valid_nats_per_token"])
    again = json.loads(unrolled("resume", "run", "--steps", "5", "--json").out)
    assert (again["run"], again["steps"]) == ("run", 5)


def test_the_demo(
    unrolled: Callable[..., Any], make_text: Callable[[int, int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make_text(20_000, 0))
        return path

    monkeypatch.setattr("unrolled.data.standard_library.write", write)
    monkeypatch.setattr("unrolled.verbs.training.choose_threads", lambda given, processes=1: 1)
    found = json.loads(unrolled("demo", "--minutes", "0.001", "--json").out)
    assert found.keys() >= TRAINED
    assert found["run"] == "runs/demo"
    assert found["best_valid_nats_per_token"] > 0


def test_without_a_validation_part_there_is_no_loss(
    unrolled: Callable[..., Any], corpus: Path, quick: tuple[str, ...]
) -> None:
    found = json.loads(unrolled("train", "lm", corpus, "--run", "run", *quick, "--split", "100/0/0", "--json").out)
    assert found["best_valid_nats_per_token"] is None


def test_scores(unrolled: Callable[..., Any], trained: Path) -> None:
    Path("text").write_text("the sea\nrose")
    whole = json.loads(unrolled("score", trained, "text", "--json").out)
    assert (whole["split"], whole["protocol"], whole["tokens"]) == ("text", "carried", 12)
    symbols = [json.loads(line) for line in unrolled("score", trained, "text", "--each", "symbol").out.splitlines()]
    assert "".join(symbol["text"] for symbol in symbols) == "the sea\nrose"
    assert sum(symbol["nats"] for symbol in symbols) == pytest.approx(-whole["log_likelihood"])
    assert all(len(symbol["alternatives"]) == 3 for symbol in symbols)
    assert symbols[0]["alternatives"][0]["p"] <= 1
    lines = [json.loads(line) for line in unrolled("score", trained, "text", "--each", "line").out.splitlines()]
    assert [(line["text"], line["symbols"]) for line in lines] == [("the sea\n", 8), ("rose", 4)]
    assert sum(line["nats"] for line in lines) == pytest.approx(-whole["log_likelihood"])
    one = json.loads(unrolled("score", trained, "text", "--each", "line", "--json").out)
    assert one["items"] == lines


def test_standard_input(unrolled: Callable[..., Any], trained: Path) -> None:
    found = json.loads(unrolled("score", trained, "-", "--json", stdin=b"the sea").out)
    assert (found["split"], found["tokens"]) == ("-", 7)


def test_scores_of_bytes(unrolled: Callable[..., Any], quick: tuple[str, ...]) -> None:
    Path("text").write_text("zwölf é€\n" * 40)
    assert unrolled("train", "lm", "text", "--run", "run", "--unit", "byte", *quick).status == 0
    Path("line").write_text("é€\nö")
    lines = [json.loads(line) for line in unrolled("score", "run", "line", "--each", "line").out.splitlines()]
    assert [(line["text"], line["symbols"]) for line in lines] == [("é€\n", 6), ("ö", 2)]
    symbols = [json.loads(line) for line in unrolled("score", "run", "line", "--each", "symbol").out.splitlines()]
    assert [symbol["text"] for symbol in symbols][:2] == ["\\xc3", "\\xa9"]


def test_a_number_that_is_not_finite_is_null(
    unrolled: Callable[..., Any], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Likelihood, "perplexity", math.inf)
    assert json.loads(unrolled("evaluate", trained, "--json").out)["perplexity"] is None


def test_lists(unrolled: Callable[..., Any], trained: Path) -> None:
    assert [cell["name"] for cell in json.loads(unrolled("cells", "--json").out)["cells"]] == list(BUILTIN)
    (run,) = json.loads(unrolled("runs", trained.parent, "--json").out)["runs"]
    assert (run["run"], run["task"], run["steps"], run["damage"]) == (str(trained), "lm", 60, None)
    assert run["valid"] > 0
    assert json.loads(unrolled("runs", "--json").out) == {"root": "runs", "runs": []}


def test_samples(unrolled: Callable[..., Any], trained: Path) -> None:
    options = ("--prompt", "the ", "--length", "20", "--seed", "4", "--temperature", "0.7", "--top-k", "5")
    found = json.loads(unrolled("sample", trained, *options, "--count", "3", "--json").out)
    assert len(set(found["texts"])) == 3
    assert all(text.startswith("the ") and len(text) == 24 for text in found["texts"])
    assert found["texts"][0] + "\n" == unrolled("sample", trained, *options).out
    again = json.loads(unrolled("sample", trained, *options[:4], "--seed", "5", *options[6:], "--json").out)
    assert again["texts"] == found["texts"][1:2]  # each has the seed after


def test_an_error_leaves_standard_output_empty(unrolled: Callable[..., Any], trained: Path) -> None:
    assert unrolled("evaluate", trained, "--split", "none", "--json").out == ""
    assert unrolled("sample", "nowhere", "--json").out == ""


def test_odd_lines(unrolled: Callable[..., Any], trained: Path) -> None:
    Path("log").write_text("the old sea\n" * 9 + "the old sea€ qqq\n" + "a pale moon\n" * 9)
    result = unrolled("score", trained, "log", "--sort", "surprise", "--top", "2", "--context", "1", "--json")
    found = json.loads(result.out)
    assert (found["sort"], len(found["items"])) == ("surprise", 2)
    first = found["items"][0]
    assert (first["line"], first["text"]) == (10, "the old sea€ qqq\n")
    assert (first["before"], first["after"]) == (["the old sea\n"], ["a pale moon\n"])
    assert first["unknown"] == 4
    assert "4 characters not known to the model, each charged" in result.err
    plain = unrolled("score", trained, "log", "--each", "line", "--sort", "peak", "--top", "1", "--alone").out
    assert plain.startswith("line 10: ")
    assert plain.endswith("  > the old sea€ qqq\n")
    alone = unrolled("score", trained, "log", "--each", "line", "--alone", "--skip-unknown").out.splitlines()
    assert json.loads(alone[0])["nats"] == pytest.approx(json.loads(alone[8])["nats"], rel=1e-4)
