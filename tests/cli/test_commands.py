"""What people see: of each command the output on a page, and what its options do."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cyclopts
import pytest

from unrolled.cells import BUILTIN
from unrolled.cli import main
from unrolled.cli.app import _app
from unrolled.errors import ConfigurationError

Unrolled = Callable[..., Any]


# ---- training


def test_training_says_what_it_does_and_what_to_do_next(
    unrolled: Unrolled, corpus: Path, quick: tuple[str, ...]
) -> None:
    result = unrolled("train", "lm", corpus, "--run", "my runs/one", *quick)
    assert result.status == 0
    for line in ("5,400 characters to train on", "lstm 1x6, embedding 6", "3 steps; adamw", "kernel library"):
        assert line in result.err
    assert re.search(r"100%  step 3: held out \d\.\d{4} nats \(\d\.\d{3} bits\) a symbol, training \d", result.err)
    assert "trained 3 steps" in result.out
    assert "held out: " in result.out
    assert "the checkpoint was chosen on these" in result.out
    assert "the run is in my runs/one" in result.out
    for command in re.findall(r"^  unrolled (.*?)  +\S.*$", result.out.partition("next:")[2], re.MULTILINE):
        if "score" not in command:
            assert unrolled(*shlex.split(command)).status == 0, command
    assert "resume 'my runs/one' --steps 6 " in result.out


def test_a_sample_is_shown(unrolled: Unrolled, corpus: Path, quick: tuple[str, ...]) -> None:
    result = unrolled("train", "lm", corpus, "--run", "run", *quick[:-1], "1")
    assert "── after 0 steps ──" in result.err
    assert (Path("run") / "samples.txt").read_text().count("===") == 8


def test_options_of_parts(unrolled: Unrolled, corpus: Path, quick: tuple[str, ...]) -> None:
    for name in ("one", "two", "three"):
        shutil.copy(corpus, name)
    result = unrolled("train", "lm", "--train", "one", "two", "--valid", "three", "--run", "run", *quick)
    assert result.status == 0
    assert "12,000 characters to train on, 6,000 to validate, 0 to test" in result.err


def test_standard_input(unrolled: Unrolled, corpus: Path, quick: tuple[str, ...]) -> None:
    result = unrolled("train", "lm", "-", *quick, stdin=corpus.read_bytes())
    assert result.status == 0
    assert "the run is in runs/stdin-lstm" in result.out


def test_switches(unrolled: Unrolled, corpus: Path, quick: tuple[str, ...]) -> None:
    switches = ("--residual", "--variational", "--no-shift", "--dropout", "0.5")
    assert unrolled("train", "lm", corpus, "--run", "run", *quick, *switches).status == 0
    config = (Path("run") / "config.json").read_text()
    for line in ('"residual": true', '"variational": true', '"shift": false'):
        assert line in config


def test_an_option_wins_over_the_recipe_even_where_it_is_the_default(unrolled: Unrolled, corpus: Path) -> None:
    given = ("--recipe", "min-char-rnn", "--steps", "2", "--threads", "1", "--layers", "2", "--cell", "lstm")
    assert unrolled("train", "lm", corpus, "--run", "run", *given, "--sample-every", "0").status == 0
    config = (Path("run") / "config.json").read_text()
    for line in ('"cell": "lstm"', '"layers": 2', '"hidden_size": 100', '"optimizer": "adagrad-inside"'):
        assert line in config


def test_beginning_with_the_weights_of_a_run(unrolled: Unrolled, trained: Path, corpus: Path) -> None:
    result = unrolled("train", "lm", corpus, "--init-from", trained, "--run", "run", "--steps", "1", "--threads", "1")
    assert result.status == 0
    assert "lstm 1x16" in result.err


def test_going_on(unrolled: Unrolled, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    result = unrolled("resume", run)
    assert result.status == 0
    assert "the budget was spent already" in result.err
    result = unrolled("resume", run, "--steps", "62", "--checkpoint", "54")
    assert result.status == 0
    assert "trained 62 steps" in result.out


# ---- using


def test_a_sample_streams_after_its_prompt(unrolled: Unrolled, trained: Path) -> None:
    result = unrolled("sample", trained, "--prompt", "the ", "--length", "30")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("the ")
    assert len(result.out) == 4 + 30 + 1
    assert unrolled("sample", trained, "--prompt", "the ", "--length", "30").out == result.out
    assert unrolled("sample", trained, "--prompt", "the ", "--length", "30", "--seed", "1").out != result.out


def test_several_samples(unrolled: Unrolled, trained: Path) -> None:
    result = unrolled("sample", trained, "--length", "10", "--count", "3", "--seed", "5")
    texts = result.out.removesuffix("\n").split("\n--------\n")
    alone = [unrolled("sample", trained, "--length", "10", "--seed", str(seed)).out for seed in (5, 6, 7)]
    assert [text + "\n" for text in texts] == alone


def test_texts_to_stop_at(unrolled: Unrolled, trained: Path) -> None:
    whole = unrolled("sample", trained, "--length", "200").out
    result = unrolled("sample", trained, "--length", "200", "--stop", " ", "--stop", "e")
    assert result.out == re.split("[ e]", whole)[0] + "\n"
    assert unrolled("sample", trained, "--length", "200", "--stop", "--", "--stop=-x").status == 2
    assert unrolled("sample", trained, "--length", "200", "--stop=--", "--stop", "-x").out == whole


def test_prompts_that_look_like_options(unrolled: Unrolled, trained: Path) -> None:
    for prompt in ("-sea", "--steps", "-"):
        result = unrolled("sample", trained, "--prompt", prompt + "the", "--length", "3")
        assert result.status == 0
        assert result.out.startswith(prompt + "the")


def test_the_coldest_sample_is_always_the_same(unrolled: Unrolled, trained: Path) -> None:
    cold = ("--prompt", "the", "--temperature", "0", "--length", "20")
    assert len({unrolled("sample", trained, *cold, "--seed", str(seed)).out for seed in range(3)}) == 1
    first = unrolled("sample", trained, "--prompt", "the", "--top-k", "1", "--length", "20").out
    assert first == unrolled("sample", trained, *cold).out
    assert first == unrolled("sample", trained, "--prompt", "the", "--top-p", "0.001", "--length", "20").out


def test_a_score_says_how_the_first_symbol_is_treated(unrolled: Unrolled, trained: Path) -> None:
    Path("text").write_text("the old sea")
    result = unrolled("score", trained, "text")
    assert result.status == 0
    assert "first symbol: charged with its frequency in the training text" in result.out
    assert "11 symbols, 11 characters" in result.out
    for unit in ("nats a symbol, perplexity", "bits a character", "log-likelihood"):
        assert unit in result.out


def test_an_evaluation_names_its_protocol(unrolled: Unrolled, trained: Path) -> None:
    carried = unrolled("evaluate", trained).out
    assert carried.startswith("valid, carried (1 stream; the checkpoint was chosen on this part), checkpoint ")
    windows = unrolled("evaluate", trained, "--split", "test", "--protocol", "windows", "--window", "50").out
    assert windows.startswith("test, windows (windows of 50 symbols), checkpoint ")


# ---- describing


def test_the_list_of_runs(unrolled: Unrolled, trained: Path) -> None:
    result = unrolled("runs", trained.parent)
    assert result.status == 0
    assert all(word in result.out for word in ("trained", "lm", "lstm 1x16", "60", "age"))
    assert unrolled("runs").out == "no runs in runs; make one with: unrolled demo\n"


def test_the_list_of_cells(unrolled: Unrolled) -> None:
    out = unrolled("cells").out
    assert all(re.search(rf"^{re.escape(name)} ", out, re.MULTILINE) for name in BUILTIN)


def test_a_cell_is_described(unrolled: Unrolled) -> None:
    out = unrolled("describe", "lstm", "--input-size", "3", "--hidden-size", "4", "--output-size", "5").out
    for line in ("c[t] = f[t] ⊙ c[t-1] + i[t] ⊙ g[t]", "sizes: D = 3, H = 4, V = 5", "W.i            4 x 3"):
        assert line in out
    assert f"{4 * (4 * 3 + 4 * 4 + 4) + 5 * 4 + 5:,} parameters" in out
    assert "softmax, V = 5" in out
    latex = unrolled("describe", "lstm", "--latex").out
    assert latex.count("\\odot") > 0
    assert "parameters" not in latex


def test_a_run_is_described(unrolled: Unrolled, trained: Path) -> None:
    out = unrolled("describe", trained).out
    for line in ("recurrent.layers.0.U.f  16 x 16", "layer 0, H = 16", "embedding, E = 16", "softmax, V = "):
        assert line in out


# ---- the whole


def test_help_names_every_command(unrolled: Unrolled) -> None:
    out = unrolled("--help").out
    for name in ("train", "resume", "sample", "score", "evaluate", "runs", "describe", "cells", "data", "demo"):
        assert re.search(rf"│ {name} ", out)
    assert "--patience INT" in unrolled("train", "lm", "--help").out


def test_a_bug_is_called_one(unrolled: Unrolled, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def broken(arguments: list[str]) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr("unrolled.cli.app.run", broken)
    with pytest.raises(SystemExit, match="1"):
        main(["cells"])
    assert capsys.readouterr().err.startswith(
        "unrolled: failed: RuntimeError: oh\n  what to do: set UNROLLED_TRACEBACK=1"
    )
    monkeypatch.setenv("UNROLLED_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="oh"):
        main(["cells"])


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ConfigurationError("wrong", fix="mend it"), 2, "unrolled: wrong\n  what to do: mend it\n"),
        (KeyboardInterrupt(), 130, "unrolled: interrupted\n"),
        (OSError(36, "File name too long", "aaa"), 1, "unrolled: File name too long\n  where: aaa\n"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_exit_statuses(
    unrolled: Unrolled, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, message: str
) -> None:
    def run(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr("unrolled.cli.app.run", run)
    result = unrolled("cells")
    assert (result.status, result.err, result.out) == (status, message, "")


def _commands(app: cyclopts.App, path: str = "") -> Iterator[tuple[str, cyclopts.App]]:
    for name in app:
        if name.startswith("-"):
            continue
        below = list(_commands(app[name], f"{path} {name}"))
        yield from below or [(f"{path} {name}", app[name])]


def test_no_option_of_a_command_means_two_things() -> None:
    for path, command in _commands(_app()):
        names = [name for entry in command.assemble_argument_collection() for name in entry.names if name != "*"]
        assert not {name for name in names if names.count(name) > 1}, path
