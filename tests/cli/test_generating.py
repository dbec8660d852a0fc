"""`train generate`: sampled from the run alone, resumed to the bit, evaluated beside n-grams."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Unrolled = Callable[..., Any]

QUICK = ("--threads", "1", "--precision", "float32", "--hidden-size", "8", "--batch", "16")


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """Two languages that are easy to tell apart, a file each."""
    source, folder = random.Random(0), tmp_path / "names"
    folder.mkdir()
    for name, letters in (("Aba", "abn"), ("Xyl", "xyl")):
        words = ["".join(source.choices(letters, k=source.randint(2, 6))) for _ in range(60)]
        (folder / f"{name}.txt").write_text("\n".join(words) + "\n")
    return folder


def weights(run: Path) -> dict[str, bytes]:
    last = (run / "last").read_text().strip()
    return {path.name: path.read_bytes() for path in (run / "checkpoints" / last).glob("*.safetensors")}


def test_from_files_to_samples(unrolled: Unrolled, names: Path) -> None:
    result = unrolled("train", "generate", names, "--run", "run", "--steps", "120", "--learning-rate", "0.02", *QUICK)
    assert result.status == 0
    assert "2 categories" in result.err
    assert "category 2" in result.err
    assert "nats a symbol" in result.out
    assert "unrolled sample run --count 5" in result.out

    beside = json.loads(unrolled("evaluate", "run", "--split", "test", "--baseline", "classical", "--json").out)
    assert beside["category_accuracy"] > 0.8
    assert set(beside["categories"]) == {"Aba", "Xyl"}
    (opponent,) = beside["beside"]
    assert opponent["symbols"] == beside["symbols"]
    assert {"unconditional_ngram", "ngram_of_each_category"} <= set(opponent)
    assert "bits a character" in unrolled("evaluate", "run", "--split", "test").out

    shutil.rmtree(names)  # the run is all that is needed from here on
    lines = unrolled("sample", "run", "--category", "Xyl", "--count", "6", "--seed", "3").out.splitlines()
    assert len(lines) == 6
    assert sum(set(line) <= set("xyl") for line in lines) >= 4
    assert unrolled("sample", "run", "--category", "Xyl", "--count", "6", "--seed", "3").out.splitlines() == lines
    prompted = unrolled("sample", "run", "--category", "Aba", "--prompt", "ab", "--temperature", "0.5").out
    assert prompted.startswith("ab")
    found = json.loads(unrolled("sample", "run", "--count", "3", "--json").out)
    assert [set(item) for item in found["items"]] == [{"category", "text", "ended", "nats"}] * 3
    assert all("\t" in line for line in unrolled("sample", "run", "--count", "3").out.splitlines())

    Path("new.txt").write_text("abba\nxyyl\n")
    said = [json.loads(line) for line in unrolled("predict", "run", "new.txt").out.splitlines()]
    assert [each["category"] for each in said] == ["Aba", "Xyl"]
    assert sum(said[0]["probabilities"].values()) == pytest.approx(1)

    wrong = unrolled("sample", "run", "--category", "Xil")
    assert wrong.status == 2
    assert "did you mean 'Xyl'" in wrong.err
    assert unrolled("sample", "run", "--prompt", "QQ").status == 2
    assert unrolled("sample", "run", "--count", "0").status == 2
    assert unrolled("sample", "run", "--stop", "a").status == 2


def test_resumed_to_the_bit_and_without_a_category(unrolled: Unrolled, names: Path) -> None:
    begin = ("train", "generate", names, "--no-conditional", "--dropout", "0.2", *QUICK)
    assert unrolled(*begin, "--run", "whole", "--steps", "14", "--schedule", "constant").status == 0
    assert unrolled(*begin, "--run", "parts", "--steps", "6", "--schedule", "constant").status == 0
    assert unrolled("resume", "parts", "--steps", "14").status == 0
    assert weights(Path("whole")) == weights(Path("parts"))
    assert "unconditional" in unrolled("resume", "parts", "--steps", "15").err
    assert unrolled("predict", "parts", "-", stdin=b"abba\n").status == 2
    assert "category_accuracy" not in json.loads(unrolled("evaluate", "parts", "--split", "test", "--json").out)


def test_columns_and_their_faults(unrolled: Unrolled, trained: Path) -> None:
    rows = "\n".join(f"{'ab' * (1 + row % 3)},{'pq'[row % 2]}" for row in range(30))
    Path("table.csv").write_text(f"word,kind\n{rows}\n")
    begin = ("train", "generate", "table.csv", "--text", "word", "--by", "kind", "--steps", "2", *QUICK)
    assert unrolled(*begin, "--run", "run").status == 0
    said = [json.loads(line) for line in unrolled("predict", "run", "table.csv", "--top", "1").out.splitlines()]
    assert [(each["line"], each["text"], each["given"]) for each in said[:2]] == [(2, "ab", "p"), (3, "abab", "q")]
    assert (len(said), len(said[0]["probabilities"])) == (30, 1)
    assert json.loads(unrolled("evaluate", "run", "--on", "table.csv", "--json").out)["examples"] == 30
    wrong = unrolled("train", "generate", "table.csv", "--text", "word", "--by", "kinds", "--steps", "2")
    assert wrong.status == 2
    assert "kinds" in wrong.err
    other = unrolled("sample", trained, "--category", "p")
    assert other.status == 2
    assert "for generators" in other.err
