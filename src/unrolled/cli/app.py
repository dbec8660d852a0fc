"""The commands. Each is imported when it is run, so that `unrolled --help` answers at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import cyclopts

from unrolled import __version__
from unrolled.errors import ConfigurationError

__all__ = ["run"]

# Cyclopts takes a lone hyphen for an option, where it is standard input or a text. No argument of a command line can
# hold a NUL, so that this cannot be anything else.
_HYPHEN = "\0-"

_HELP = """Train, run and look inside recurrent neural networks.

Start with `unrolled demo`, or with a text of your own: `unrolled train lm FILE`."""

_COMMANDS = {
    "resume": ("resume", "Go on with a run exactly where it stopped, or beyond its budget."),
    "sample": ("sample", "Let a trained model write."),
    "score": ("score", "How likely a text is to a trained model, symbol by symbol if asked."),
    "evaluate": ("evaluate", "The loss of a run on a part of its own text."),
    "runs": ("runs", "The runs there are, with size, loss and age."),
    "describe": ("describe", "The equations, shapes, parameters and diagram of a run or a cell."),
    "cells": ("cells", "The built-in cells."),
}

_TASKS = {
    "next": ("unrolled.cli.next_items:train_next", "Train a model of the next item of a session."),
    "classify": ("unrolled.cli.classifying:train_classify", "Train a classifier of sequences."),
    "forecast": ("unrolled.cli.forecasting:train_forecast", "Train a forecaster of series."),
    "tag": ("unrolled.cli.tagging:train_tag", "Train a tagger of words, or of the frames of series."),
    "generate": ("unrolled.cli.generating:train_generate", "Train a generator of sequences, given a category."),
}

_DEMOS = {
    "lm": ("unrolled.cli.commands:demo", "Python's own source code, learnt for two minutes; what `demo` alone does."),
    "next": ("unrolled.cli.next_items:demo_next", "What is looked at next in a shop that does not exist."),
    "classify": ("unrolled.cli.classifying:demo_classify", "What a sentence of Python's documentation is about."),
    "images": ("unrolled.cli.picturing:demo_images", "Handwritten digits, read row by row."),
    "forecast": ("unrolled.cli.forecasting:demo_forecast", "The consumption of three sites, made, a day ahead."),
    "tag": ("unrolled.cli.tagging:demo_tag", "What every word of a line of Python is."),
    "generate": (
        "unrolled.cli.generating:demo_generate",
        "Names such as Python's library has, by what they name.",
    ),
}

_USES = {
    "suggest": "The words that may come next, as you type.",
    "correct": "Correct the spelling of a text, each word in its context.",
    "attribute": "Which of several models finds a text the likeliest.",
    "fold": "Lower a text to letters and spaces.",
}


def _app() -> cyclopts.App:
    app = cyclopts.App(
        name="unrolled",
        help=_HELP,
        help_format="markdown",
        version=__version__,
        version_flags=["--version"],
        exit_on_error=False,
        print_error=False,
        # Ctrl-C is `main`'s to answer.
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    train = cyclopts.App(name="train", help="Train a model, by its task: a language model with `train lm`.")
    train.command("unrolled.cli.commands:train_lm", name="lm", help="Train a language model on text.")
    for name, (function, about) in _TASKS.items():
        train.command(function, name=name, help=about)
    app.command(train)
    demo = cyclopts.App(name="demo", help="Train on what every machine has, in two minutes, and look at the result.")
    for name, (function, about) in _DEMOS.items():
        demo.command(function, name=name, help=about)
    app.command(demo)
    app.command("unrolled.cli.supervised:predict", name="predict", help="What a trained model says of new inputs.")
    data = cyclopts.App(name="data", help="The standard corpora: fetch one with `data get NAME`.")
    data.command("unrolled.cli.corpora:get", name="get", help="Fetch a corpus, checked, into the cache.")
    data.command("unrolled.cli.corpora:listing", name="list", help="The corpora there are, and which are here.")
    app.command(data)
    probe = cyclopts.App(name="probe", help="Measure what a cell or a model can do: `probe memory`.")
    probe.command(
        "unrolled.cli.probing:memory", name="memory", help="How far cells remember: accuracy against distance."
    )
    app.command(probe)
    for name, (function, about) in _COMMANDS.items():
        app.command(f"unrolled.cli.commands:{function}", name=name, help=about)
    for name, about in _USES.items():
        app.command(f"unrolled.cli.uses:{name}", name=name, help=about)
    return app


def run(arguments: Sequence[str]) -> None:
    """Parse and run one command.

    Raises:
        UnrolledError: the command line is wrong, or the command failed.
    """
    tokens = [_HYPHEN if token == "-" else token for token in _with_values(arguments)]
    if tokens[:1] == ["demo"] and (len(tokens) == 1 or (tokens[1].startswith("--") and "--help" not in tokens)):
        tokens.insert(1, "lm")
    try:
        command, bound, _ = _app().parse_args(tokens)
    except cyclopts.CycloptsError as error:
        message = " ".join(str(error).split()).replace(_HYPHEN, "-")
        message = message.partition(" Available commands:")[0].rstrip(".")
        wrong = ConfigurationError(message, fix="see: unrolled --help, or --help after the command")
        # Of several processes on a machine, which all have the same command line, one says so.
        wrong.told = os.environ.get("LOCAL_RANK", "0") != "0"
        raise wrong from None
    command(*map(_restored, bound.args), **{name: _restored(value) for name, value in bound.kwargs.items()})


def _with_values(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments with a value for each --baseline that stands alone: which opponent follows from the run."""
    for token, following in zip(arguments, [*arguments[1:], "-"], strict=True):
        yield token
        if token == "--baseline" and following.startswith("-"):
            yield "classical"


def _restored(value: Any) -> Any:
    """A parsed argument in which a lone hyphen is one again."""
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return type(value)("-") if str(value) == _HYPHEN else value
