"""From files to a trained tagger and back: what is learnt, resumed, told, predicted."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.cli.tagging import write_conll
from unrolled.data import synthetic_frames
from unrolled.errors import ConfigurationError, DataError, InputError
from unrolled.tasks.tag.examples import WordExamples
from unrolled.tasks.tag.kind import _scores
from unrolled.tasks.tag.reading import words_of
from unrolled.tasks.tag.vocabulary import Tags
from unrolled.training.events import Event, Stepped
from unrolled.verbs.listening import Listener
from unrolled.verbs.supervised import open_task, train_task
from unrolled.verbs.training import resume

SETTINGS: dict[str, Any] = {
    **{"hidden_size": 12, "embedding_size": 8, "character_size": 6, "character_hidden": 6, "layers": 1},
    **{"batch": 8, "precision": "float32", "threads": 1, "dropout": 0.1, "learning_rate": 0.02},
}


def sentences(count: int, seed: int = 0) -> list[list[tuple[str, str]]]:
    """Names of one or two words that begin with a capital, and are places after `in`, else persons."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        words: list[tuple[str, str]] = []
        for _ in range(draw.randint(1, 3)):
            kind = draw.choice(("LOC", "PER"))
            words += [("in" if kind == "LOC" else "saw", "O")]
            name = ["".join(draw.choices("abcdef", k=4)).capitalize() for _ in range(draw.randint(1, 2))]
            words += [(part, f"{'I' if at else 'B'}-{kind}") for at, part in enumerate(name)]
            words += [("the", "O"), ("sea", "O")] * draw.randint(0, 1)
        made.append(words)
    return made


def conll(path: Path, given: list[list[tuple[str, str]]]) -> str:
    path.write_text("".join("".join(f"{word}\t{tag}\n" for word, tag in one) + "\n" for one in given))
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    directory = tmp_path_factory.mktemp("tagged")
    sizes = {"train": 300, "valid": 40, "test": 60}
    return {part: [conll(directory / part, sentences(size, seed))] for seed, (part, size) in enumerate(sizes.items())}


@pytest.fixture(scope="module")
def trained(files: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "names"
    return train_task("tag", run=run, epochs=4, **files, **SETTINGS).run


def test_spans_are_learnt_and_measured(trained: Path) -> None:
    opened = open_task(trained)
    report = opened.evaluate("test")
    assert report["span_f1"] > 0.95
    assert report["accuracy"] > 0.97
    assert report["unknown_words"] > 0
    assert 0 <= report["accuracy_unknown_words"] <= 1
    assert {"B-LOC", "I-LOC", "B-PER", "I-PER", "O"} == set(report["per_tag"])
    assert set(report["per_type"]) == {"LOC", "PER"}
    assert report["targets"] == sum(row["support"] for row in report["per_tag"].values())
    assert "span F1" in opened.kind.summary(report)
    json.dumps(report)


def test_the_opponent_stands_beside(trained: Path) -> None:
    opened = open_task(trained)
    beside = opened.opponent("test")
    assert beside["span_f1"] > 0.9
    assert "logistic regression on windows (C " in beside["opponent"]
    assert "accuracy" in opened.kind.summary(beside)


def test_prediction_of_every_form(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = open_task(trained)
    (found,) = opened.predict(["saw Abc Fed the sea in Cab"])
    assert found["tokens"] == ["saw", "Abc", "Fed", "the", "sea", "in", "Cab"]
    assert found["tags"] == ["O", "B-PER", "I-PER", "O", "O", "O", "B-LOC"]
    assert found["spans"][0] == {"start": 1, "end": 3, "type": "PER", "text": "Abc Fed"}
    assert all(0.3 < p <= 1 for p in found["probabilities"])
    path = tmp_path / "in.txt"
    forms: dict[str, str | None] = {
        "saw Abc\n\nin Cab\n": None,
        '{"tokens": ["saw", "Abc"]}\n{"tokens": ["in", "Cab"], "id": 3}\n': None,
        "saw\tX\nAbc\tX\n\nin\tX\nCab\tX\n": None,
        "saw X\nAbc X\n\nin X\nCab X\n": "conll",
        "saw\nAbc\n\nin\nCab\n": "conll",
    }
    for text, form in forms.items():
        path.write_text(text)
        got = [one["tags"] for one in opened.predict_file(str(path), form)]
        assert got == [["O", "B-PER"], ["O", "B-LOC"]], text
    # Columns divided by spaces look like sentences, but for what they are called or how they begin.
    (tmp_path / "in.conll").write_text("saw X\nAbc X\n\nin X\nCab X\n")
    assert [one["tags"] for one in opened.predict_file(str(tmp_path / "in.conll"))] == [["O", "B-PER"], ["O", "B-LOC"]]
    path.write_text("-DOCSTART- X\n\nsaw X\nAbc X\n")
    assert [one["tags"] for one in opened.predict_file(str(path))] == [["O", "B-PER"]]
    path.write_text("# id 1 of 2\nsaw\tX\nAbc\tX\n\nin\tX\nCab\tX\n")
    write_conll(opened, str(path))
    assert capsys.readouterr().out == "# id 1 of 2\nsaw\tO\nAbc\tB-PER\n\nin\tO\nCab\tB-LOC\n\n"
    path.write_text("in Cab\n")
    write_conll(opened, str(path), "lines")
    assert capsys.readouterr().out == "in\tO\nCab\tB-LOC\n\n"
    table = tmp_path / "in.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="reads no series"):
        list(opened.predict_file(str(table)))
    with pytest.raises(ConfigurationError, match="did you mean 'conll'"):
        list(opened.predict_file(str(path), "connl"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (" \n", "nothing to tag"),
        ('{"tokens": []}\n', "line has no words"),
        ('{"tokens": ["a"]}\n{"text": "a"}\n', "line has no words"),
        ("a\tX\nb\n", "another number of columns"),
    ],
)
def test_inputs_that_are_wrong(trained: Path, tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "in.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        list(open_task(trained).predict_file(str(path)))


class _Stopping(Listener):
    def event(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 11:
            raise KeyboardInterrupt


def _weights(run: Path) -> dict[str, bytes]:
    last = (run / "last").read_text().strip()
    return {path.name: path.read_bytes() for path in (run / "checkpoints" / last).glob("*.safetensors")}


def test_a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not(
    files: dict[str, list[str]], tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_task("tag", run=whole, steps=20, **files, **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train_task("tag", run=parts, steps=20, checkpoint_every=4, listener=_Stopping(), **files, **SETTINGS)
    resume(parts)
    assert _weights(whole) == _weights(parts)
    assert (whole / "best").read_text() == (parts / "best").read_text()


def test_one_file_is_drawn_into_parts(tmp_path: Path) -> None:
    from unrolled.data.store import SplitSources
    from unrolled.tasks.tag.configuration import TagData
    from unrolled.tasks.tag.reading import read_words

    given = sentences(50)
    path = conll(tmp_path / "all", given)
    parts = read_words(SplitSources.find([path]), TagData(split="60/20/20"))
    assert [len(parts[part]) for part in ("train", "valid", "test")] == [30, 10, 10]  # type: ignore[index]
    assert sorted(one.line for of in parts.values() for one in of) == [
        1 + sum(len(one) + 1 for one in given[:at]) for at in range(50)
    ]
    marked = "".join(f"-DOCSTART-\tO\n\na{at}\tX\n\nb{at}\tY\n\n" for at in range(20))
    Path(path).write_text(marked)
    parts = read_words(SplitSources.find([path]), TagData(split="50/25/25"))
    for part, documents in zip(("train", "valid", "test"), (10, 5, 5), strict=True):
        words = [one.tokens[0] for one in parts[part]]  # type: ignore[index]
        assert {word[1:] for word in words if word[0] == "a"} == {word[1:] for word in words if word[0] == "b"}
        assert len(words) == 2 * documents


def test_tags_that_training_does_not_have_are_told_and_counted(tmp_path: Path) -> None:
    train = conll(tmp_path / "train", sentences(40))
    other = conll(tmp_path / "valid", [[("saw", "O"), ("Abc", "B-ORG")], [("in", "O"), ("Cab", "B-LOC")]])
    heard: dict[str, str] = {}

    class Hearing(Listener):
        def started(self, run: str, facts: dict[str, str], loss: str = "") -> None:
            heard.update(facts)

    train_task("tag", train=[train], valid=[other], run=tmp_path / "run", steps=2, listener=Hearing(), **SETTINGS)
    assert heard["tags"].endswith("1 in valid")
    report = open_task(tmp_path / "run").evaluate("valid")
    assert report["unknown_tags"] == 1
    assert report["per_tag"]["B-ORG"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert np.isfinite(report["loss"])


WRONG = {
    "one tag alone": ("a\tX\nb\tX\n", {}, "nothing to learn"),
    "one column": ("a\nb\n", {}, "words without tags"),
    "a column that is not there": ("a\tX\n", {"tag_column": "3"}, "no column 3"),
    "nothing but empty lines": ("\n\n\n", {}, "no words"),
    "a file cut off": ("a\tX\nb\tY\nc", {}, "another number of columns"),
    "too little to draw from": ("a\tX\nb\tY\n", {"split": "10/45/45"}, "nothing to train on"),
}


@pytest.mark.parametrize("case", WRONG)
def test_data_that_is_wrong_costs_nothing(tmp_path: Path, case: str) -> None:
    text, options, problem = WRONG[case]
    path = tmp_path / "data.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=problem) as caught:
        train_task("tag", path, run=tmp_path / "run", steps=2, **SETTINGS, **options)
    assert caught.value.exit_status == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"split": "50/50"}, "split is train/valid/test"),
        ({"split": "a/b/c"}, "split is train/valid/test"),
        ({"output": "crt"}, "did you mean 'crf'"),
        ({"embedding_size": 0, "character_size": 0}, "nothing is left of a word"),
        ({"word_dropout": 1.0}, "word_dropout is out of range"),
        ({"longest_word": 1}, "longest_word is out of range"),
    ],
)
def test_options_that_are_wrong(files: dict[str, list[str]], options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        train_task("tag", **files, **{**SETTINGS, **options})


def test_formats_are_not_mixed(files: dict[str, list[str]], tmp_path: Path) -> None:
    synthetic_frames.write(tmp_path / "a.npz", 2, 50)
    with pytest.raises(ConfigurationError, match="different formats"):
        train_task("tag", train=files["train"], valid=[str(tmp_path / "a.npz")], run=tmp_path / "run", **SETTINGS)


def test_frames_of_series_are_labelled(tmp_path: Path) -> None:
    path = tmp_path / "motion.npz"
    synthetic_frames.write(path, 30, 400)
    options = {**SETTINGS, "hidden_size": 16, "dropout": 0.0, "batch": 4, "window": 200}
    run = train_task("tag", path, run=tmp_path / "run", epochs=8, **options).run
    opened = open_task(run)
    report, beside = opened.evaluate("test"), opened.opponent("test")
    assert report["accuracy"] > beside["accuracy"] + 0.05
    assert set(report["per_tag"]) == {"rest", "run", "stairs", "walk"}
    assert report["targets"] == 3 * 400
    table = tmp_path / "new.csv"
    made = synthetic_frames.make(1, 120, seed=9)
    np.savez(tmp_path / "new.npz", x=made["x"])
    (found,) = opened.predict_file(str(tmp_path / "new.npz"))
    assert len(found["tags"]) == len(found["probabilities"]) == 120
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y", "z"])
        writer.writerows(made["x"].tolist())
    (again,) = opened.predict_file(str(table))
    assert again["tags"] == found["tags"]
    assert opened.evaluate_file(str(path))["targets"] == 30 * 400
    np.savez(tmp_path / "wide.npz", x=np.zeros((5, 4)))
    with pytest.raises(DataError, match="another number of inputs"):
        list(opened.predict_file(str(tmp_path / "wide.npz")))
    with pytest.raises(InputError, match="reads no text"):
        list(opened.predict_file(str(table), "lines"))


def test_one_series_is_cut_in_time(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["v", "state"])
        writer.writerows([at, "up" if at % 2 else "down"] for at in range(100))
    run = train_task("tag", path, run=tmp_path / "run", tag_column="state", window=30, steps=2, **SETTINGS).run
    assert open_task(run).evaluate("test")["targets"] == 10
    vocabulary = json.loads((run / "vocabulary.json").read_text())
    assert vocabulary["mean"] == [pytest.approx(39.5)]  # of the training part, the first 80, alone


def frames_csv(path: Path, columns: list[str], count: int = 60) -> str:
    """Two inputs of which one says the label, in any order of their columns."""
    rows = [{"a": at % 2, "b": 0.1, "c": 1, "state": ("down", "up")[at % 2]} for at in range(count)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_inputs_with_names_are_found_by_them(tmp_path: Path) -> None:
    path = frames_csv(tmp_path / "a.csv", ["a", "b", "state"])
    options: dict[str, Any] = {"dropout": 0.0, "output": "linear", "average": "none", "tag_column": "state"}
    run = train_task("tag", path, run=tmp_path / "run", steps=60, **{**SETTINGS, **options}).run
    opened = open_task(run)
    (one,) = opened.predict_file(path)
    assert one["tags"][:2] == ["down", "up"]
    (other,) = opened.predict_file(frames_csv(tmp_path / "b.csv", ["b", "state", "a"]))
    assert (other["tags"], other["probabilities"]) == (one["tags"], one["probabilities"])
    with pytest.raises(DataError, match="other inputs than those trained on"):
        list(opened.predict_file(frames_csv(tmp_path / "c.csv", ["a", "c", "state"])))
    # What is constant up to rounding is only shifted.
    assert json.loads((run / "vocabulary.json").read_text())["deviation"][1] == 1.0
    with pytest.raises(InputError, match="this is no series"):
        list(opened.predict([[1.0, 2.0]]))
    with pytest.raises(DataError, match="the files hold words"):
        opened.evaluate_file(conll(tmp_path / "words", sentences(3)))


def test_options_that_would_change_nothing(files: dict[str, list[str]], tmp_path: Path) -> None:
    frames = frames_csv(tmp_path / "a.csv", ["a", "b", "state"])
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"paths": frames}, {"tag_column": "state", "lower": False}),
        ({"paths": frames}, {"tag_column": "state", "decoding": "constrained"}),
        (files, {"window": 30}),
    ]
    for given, options in cases:
        with pytest.raises(ConfigurationError, match=r"is for|nothing can be forbidden"):
            train_task("tag", run=tmp_path / "run", steps=1, **given, **SETTINGS, **options)
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_the_run(trained: Path, tmp_path: Path) -> None:
    opened = open_task(trained)
    with pytest.raises(DataError, match="the files hold series"):
        opened.evaluate_file(frames_csv(tmp_path / "a.csv", ["a", "b", "state"]))
    with pytest.raises(InputError, match="nothing to tag"):
        list(opened.predict([["saw", ""]]))


def test_a_word_without_a_tag_is_not_wrong(trained: Path) -> None:
    words = words_of(open_task(trained).run.vocabulary)
    tags = Tags.from_json(open_task(trained).run.vocabulary)
    examples = WordExamples([("saw", "Abc")], [("O", None)], [np.array([tags.names.index("O"), -1])], words)
    assert _scores(examples, [("O", "B-PER")], tags)["sequence_accuracy"] == 1.0
