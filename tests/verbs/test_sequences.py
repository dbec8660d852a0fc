"""Letters, pictures and series through `train classify`: from the files to the prediction."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.data.images import write_idx
from unrolled.errors import ConfigurationError, DataError, RunError
from unrolled.runs.checkpoints import load
from unrolled.runs.directory import Run
from unrolled.verbs.bags import fit_bag
from unrolled.verbs.crossvalidating import cross_validate
from unrolled.verbs.demo_images import demo_images
from unrolled.verbs.supervised import open_task, train_task
from unrolled.verbs.training import resume

SMALL: dict[str, Any] = {"cell": "gru", "hidden_size": 8, "threads": 1, "precision": "float32", "batch": 8}
QUICK: dict[str, Any] = {**SMALL, "learning_rate": 0.02}
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def letters(count: int, seed: int, motif: str = "TTGACA") -> list[str]:
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        text = "".join(generator.choice(list("ACGT"), int(generator.integers(20, 30))))
        at = int(generator.integers(0, 14))
        found.append(text[:at] + motif + text[at + len(motif) :])
    return found


@pytest.fixture
def fasta(tmp_path: Path) -> list[str]:
    """Two files, a class each: one with a motif."""
    paths = []
    for name, motif, seed in (("with", "TTGACA", 0), ("without", "", 1)):
        path = tmp_path / f"{name}.fa"
        path.write_text(
            "".join(f">{name}{i}\n{text[:12]}\n{text[12:]}\n" for i, text in enumerate(letters(80, seed, motif)))
        )
        paths.append(str(path))
    return paths


def weights(run: Path) -> dict[str, Any]:
    return {name: value.numpy() for name, value in load(Run.open(run), "last").model.items()}


def test_fasta_both_strands(fasta, tmp_path):
    options = {**QUICK, "alphabet": "dna", "kmer": 6, "strands": "both", "dropout": 0.0}
    trained = train_task("classify", fasta, run=tmp_path / "run", epochs=12, **options)
    assert trained.valid is not None
    opened = open_task(tmp_path / "run")
    report = opened.evaluate("test")
    assert report["labels"] == ["with", "without"]
    assert report["examples"] == 16
    assert report["roc_area"] > 0.9
    new = tmp_path / "new.fa"
    text = letters(1, 5)[0]
    new.write_text(f">one\n{text}\n>other\n{text[::-1].translate(COMPLEMENT)}\n")
    one, other = opened.predict_file(str(new))
    assert one["label"] == "with"
    assert one["probabilities"] == other["probabilities"]
    lines = tmp_path / "new.txt"
    lines.write_text(text.lower() + "\n")
    (again,) = opened.predict_file(str(lines))
    assert again["probabilities"]["with"] == pytest.approx(one["probabilities"]["with"], abs=1e-5)
    new.write_text(">one\nACGX\n")
    with pytest.raises(DataError, match="is no letter"):
        list(opened.predict_file(str(new)))


def test_positives_alone_in_a_table(tmp_path):
    table = tmp_path / "peaks.tsv"
    table.write_text("id\tseq\tbound\n" + "".join(f"{i}\t{text}\t1\n" for i, text in enumerate(letters(60, 2))))
    held = tmp_path / "held.tsv"
    rows = [f"{i}\t{text}\t{i % 2}\n" for i, text in enumerate(letters(20, 3))]
    held.write_text("id\tseq\tbound\n" + "".join(rows))
    options = {**QUICK, "alphabet": "dna", "text": "seq", "label": "bound"}
    given = {"train": [str(table)], "test": [str(held)]}
    with pytest.raises(DataError, match="one label only"):
        train_task("classify", run=tmp_path / "none", steps=1, **given, **options)
    train_task("classify", run=tmp_path / "run", steps=4, negatives=2, kmer=3, stretch="symbol", **given, **options)
    vocabulary = Run.open(tmp_path / "run").vocabulary
    assert (vocabulary["labels"], vocabulary["counts"]) == (["0", "1"], [108, 54])
    opened = open_task(tmp_path / "run")
    assert opened.evaluate("test")["examples"] == 20
    assert opened.evaluate("valid")["examples"] == 18
    assert opened.evaluate_file(str(held))["examples"] == 20


def test_a_letter_outside_the_alphabet_is_said_or_left_out(tmp_path):
    table = tmp_path / "some.csv"
    good = "".join(f"{text},{label}\n" for label in "ab" for text in letters(12, 4))
    table.write_text("text,label\n" + good + "ACGJ,a\n")
    options = {**QUICK, "alphabet": "dna", "run": tmp_path / "run", "steps": 1}
    with pytest.raises(DataError, match="'J' is no letter") as raised:
        train_task("classify", str(table), **options)
    assert "some.csv, line 26, letter 4" in str(raised.value)
    train_task("classify", str(table), bad_rows="skip", **options)


@pytest.mark.parametrize("scan", ["rows", "permuted"])
def test_pictures_and_exact_resume(tmp_path, scan):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 120).astype(np.uint8)
    pixels = generator.integers(0, 40, (120, 6, 5)).astype(np.uint8)
    pixels[labels == 1] += 150
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", pixels[:90])
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels[:90])
    write_idx(tmp_path / "t10k-images-idx3-ubyte", pixels[90:])
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", labels[90:])
    train, test = str(tmp_path / "train-images-idx3-ubyte.gz"), str(tmp_path / "t10k-images-idx3-ubyte")
    options = {**QUICK, "train": [train], "test": [test], "images": scan, "images_seed": 3, "move": 1}
    train_task("classify", run=tmp_path / "run", steps=40, **options)
    train_task("classify", run=tmp_path / "part", steps=40, **options)
    resume(tmp_path / "part", checkpoint=str(int(Run.open(tmp_path / "part").checkpoint_names()[0])))
    for name, saved in weights(tmp_path / "run").items():
        np.testing.assert_array_equal(saved, weights(tmp_path / "part")[name])
    opened = open_task(tmp_path / "run")
    found = opened.evaluate("test")
    assert found["examples"] == 30
    if scan == "rows":
        assert found["accuracy"] > 0.8
    else:
        assert Run.open(tmp_path / "run").vocabulary["input"]["order"] != list(range(30))
    assert len(list(opened.predict_file(test))) == 30
    write_idx(tmp_path / "other", pixels[:2, :5])
    with pytest.raises(DataError, match="another size"):
        list(opened.predict_file(str(tmp_path / "other")))


def waves(count: int, seed: int) -> tuple[list[np.ndarray[Any, Any]], list[str]]:
    generator = np.random.default_rng(seed)
    series, labels = [], []
    for index in range(count):
        steps = int(generator.integers(8, 14))
        slow = index % 2
        times = np.arange(steps) / (4 if slow else 1.5) + generator.uniform(0, 6)
        series.append(np.stack([1000 + 50 * np.sin(times), np.full(steps, 7.0)], 1))
        labels.append("slow" if slow else "fast")
    return series, labels


def test_series_of_several_lengths(tmp_path):
    series, labels = waves(80, 0)
    lengths = [len(one) for one in series]
    np.savez(tmp_path / "a.npz", x=np.concatenate(series), lengths=lengths, y=labels, columns=["wave", "still"])
    train_task("classify", str(tmp_path / "a.npz"), run=tmp_path / "run", epochs=12, **QUICK)
    opened = open_task(tmp_path / "run")
    report = opened.evaluate("test")
    assert report["accuracy"] > 0.8
    assert opened.run.vocabulary["input"]["means"] == pytest.approx([1000, 7], abs=5)
    # The same from a table, whose columns come in another order.
    series, labels = waves(6, 1)
    rows = ["t,still,series,wave\n"]
    rows += [f"{t},7,s{n},{row[0]}\n" for n, one in enumerate(series) for t, row in enumerate(one)]
    (tmp_path / "b.csv").write_text("".join(rows))
    lengths = [len(one) for one in series]
    np.savez(tmp_path / "b.npz", x=np.concatenate(series), lengths=lengths, columns=["wave", "still"])
    found = list(opened.predict_file(str(tmp_path / "b.npz")))
    assert sum(one["label"] == label for one, label in zip(found, labels, strict=True)) >= 5
    with pytest.raises(DataError, match="other columns"):
        list(opened.predict_file(str(tmp_path / "b.csv"), "series"))


def test_series_in_a_table(tmp_path):
    series, labels = waves(24, 2)
    rows = ["name,when,kind,wave\n"]
    rows += [f"s{n},{t},{labels[n]},{row[0]}\n" for n, one in enumerate(series) for t, row in enumerate(one)]
    (tmp_path / "a.csv").write_text("".join(rows))
    options = {"format": "series", "series": "name", "time": "when", "label": "kind"}
    train_task("classify", str(tmp_path / "a.csv"), run=tmp_path / "run", steps=3, **options, **QUICK)
    opened = open_task(tmp_path / "run")
    assert opened.run.vocabulary["input"]["columns"] == ["wave"]
    assert [one["line"] for one in opened.predict_file(str(tmp_path / "a.csv"))][:2] == [2, 2 + len(series[0])]


def test_options_for_something_else(fasta, tmp_path):
    with pytest.raises(ConfigurationError, match="an alphabet, and it is not said which"):
        train_task("classify", fasta, run=tmp_path / "run", steps=1, **QUICK)
    np.savez(tmp_path / "a.npz", x=np.zeros((8, 3)), y=[0, 1] * 4)
    for wrong in (
        *({"alphabet": "dna"}, {"kmer": 3}, {"max_length": 2}, {"unit": "word"}, {"images": "pixels"}),
        *({"word_dropout": 0.1}, {"embedding_dropout": 0.1}, {"embedding_std": 0.1}),
        *({"target": "number", "class_weights": "balanced"}, {"target": "number", "label_smoothing": 0.1}),
    ):
        with pytest.raises(ConfigurationError):
            train_task("classify", str(tmp_path / "a.npz"), run=tmp_path / "run", steps=1, **wrong, **QUICK)
    assert not (tmp_path / "run").exists()


def test_what_another_model_reads_is_refused(fasta, tmp_path):
    generator, series, text = np.random.default_rng(0), tmp_path / "a.npz", tmp_path / "a.csv"
    np.savez(series, x=generator.normal(size=(20, 4, 2)), y=["a", "b"] * 10)
    text.write_text("text,label\n" + "one word,a\nno word,b\n" * 10)
    pictures = tmp_path / "some-images-idx3-ubyte"
    write_idx(pictures, generator.integers(0, 255, (20, 3, 3)).astype(np.uint8))
    write_idx(tmp_path / "some-labels-idx1-ubyte", np.arange(20, dtype=np.uint8) % 2)
    (tmp_path / "lines.txt").write_text("a line\n")
    runs = {
        name: train_task("classify", paths, run=tmp_path / name, steps=1, **options, **QUICK).run
        for name, paths, options in (
            ("series", [str(series)], {}),
            ("text", [str(text)], {"unit": "char"}),
            ("pictures", [str(pictures)], {}),
            ("letters", fasta, {"alphabet": "dna"}),
        )
    }
    for name, file in (("series", "lines.txt"), ("pictures", "lines.txt"), ("text", "a.npz"), ("letters", "a.npz")):
        with pytest.raises(DataError, match=r"another kind|no sequence of letters"):
            list(open_task(runs[name]).predict_file(str(tmp_path / file)))
    fit_bag([str(text)], run=tmp_path / "bag", classifier="naive-bayes", word_ngrams="1", char_ngrams="0")
    with pytest.raises(DataError, match="another kind"):
        list(open_task(tmp_path / "bag").predict_file(str(series)))
    with pytest.raises(DataError, match="another kind"):
        train_task("generate", [str(series)], run=tmp_path / "run", steps=1)


def test_the_demo_of_digits(tmp_path):
    pytest.importorskip("sklearn")
    trained = demo_images(tmp_path / "demo", minutes=0.005)
    opened = open_task(trained.run)
    assert opened.run.vocabulary["input"]["shape"] == [8, 8, 1]
    assert opened.evaluate("test")["examples"] == 180
    shutil.rmtree(tmp_path / "demo")
    with pytest.raises(RunError, match="would replace"):
        demo_images(tmp_path / "demo", minutes=0.005)


def test_every_example_is_tested_once(fasta, tmp_path):
    told: list[int] = []
    found = cross_validate(
        "classify",
        fasta,
        folds=3,
        run=tmp_path / "folds",
        each=lambda fold, report: told.append(report["examples"]),
        alphabet="dna",
        steps=2,
        **QUICK,
    )
    assert sum(told) == 160
    assert len(found.folds) == 3
    saved = json.loads((tmp_path / "folds" / "folds.json").read_text())
    assert saved["means"]["accuracy"] == found.means["accuracy"]
    assert open_task(tmp_path / "folds" / "fold-2").evaluate("test")["examples"] == told[1]
    # Other files have no folds.
    (tmp_path / "other.csv").write_text("text,label\nACGT,with\n")
    assert open_task(tmp_path / "folds" / "fold-2").evaluate_file(str(tmp_path / "other.csv"))["examples"] == 1
    for train in (train_task, lambda task, *given, **options: fit_bag(*given, run=options["run"], folds=3)):
        with pytest.raises(ConfigurationError, match="which fold"):
            train("classify", fasta, folds=3, run=tmp_path / "all", alphabet="dna", steps=1, **QUICK)
    with pytest.raises(ConfigurationError):
        cross_validate("classify", fasta, folds=1, run=tmp_path / "other", alphabet="dna", **QUICK)
    with pytest.raises(ConfigurationError, match="folds are made of all"):
        train_task("classify", train=fasta, run=tmp_path / "one", folds=3, fold=1, alphabet="dna", steps=1, **QUICK)


def test_the_command_line_shows_every_fold(fasta, tmp_path, start: Callable[..., Any]):
    common = ["--alphabet", "dna", "--cell", "gru", "--hidden-size", "4", "--steps", "2", "--threads", "1"]
    process = start("train", "classify", *fasta, "--folds", "2", "--run", tmp_path / "folds", *common)
    assert process.wait() == 0, process.stderr
    assert "fold 2: accuracy" in process.stdout
    assert "2 folds, mean and standard deviation" in process.stdout
