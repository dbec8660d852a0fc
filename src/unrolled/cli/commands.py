"""One function a command: parse, call the verb, print."""

from __future__ import annotations

import json as json_module
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from unrolled.cli.options import (
    MethodOptions,
    ModelOptions,
    NGramOptions,
    TextOptions,
    TrainingOptions,
    Whole,
    check_of_network,
    given,
)
from unrolled.cli.printing import print_json, print_report, print_trained, print_trained_task
from unrolled.cli.screen import Screen, printable, stdout_console
from unrolled.errors import ConfigurationError
from unrolled.runs.directory import DEFAULT_ROOT
from unrolled.verbs.listening import Listener, counted
from unrolled.verbs.recipes import RECIPES

__all__ = ["cells", "demo", "describe", "evaluate", "resume", "runs", "sample", "score", "train_lm"]

_Flat = Parameter(name="*")
_Json = Annotated[bool, Parameter(help="Print one JSON object on standard output and nothing else there.", negative="")]
_Files = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]
_Checkpoint = Annotated[str, Parameter(help="best, last, or the step of a checkpoint.")]


_Device = Annotated[str, Parameter(help="cpu, cuda, mps, or auto: cuda where there is one, else cpu.")]
_Precision = Annotated[
    Literal["float32", "bfloat16", "int8"],
    Parameter(help="Of the weights, on the processor: smaller is faster and a little less exact."),
]
_Mix = Annotated[
    list[str] | None,
    Parameter(
        help="Another run of the same symbols or labels, or ngram to fit one: mixed with this one, weights found on "
        "valid; can be given several times.",
        negative="",
    ),
]
_Threads = Annotated[Whole | None, Parameter(help="Processor threads; as many as there are cores if not given.")]


def train_lm(
    paths: Annotated[list[str] | None, Parameter(help="Files, directories, globs, or - for standard input.")] = None,
    /,
    *,
    run: Annotated[Path | None, Parameter(help="Directory of the run; named after text and cell if not given.")] = None,
    train: Annotated[_Files, Parameter(help="Files to train on, where the split is given.")] = None,
    valid: Annotated[_Files, Parameter(help="Files to validate on.")] = None,
    test: Annotated[_Files, Parameter(help="Files kept for testing.")] = None,
    recipe: Annotated[str | None, Parameter(help=f"Many options at once: {', '.join(RECIPES)}.")] = None,
    init_from: Annotated[Path | None, Parameter(help="A run whose best weights training starts from.")] = None,
    sample_every: Annotated[
        Whole | None, Parameter(help="Steps between samples; at growing intervals if not given; 0 for none.")
    ] = None,
    tensorboard: Annotated[
        Path | None, Parameter(help="Also write metrics there for TensorBoard (needs unrolled[tensorboard]).")
    ] = None,
    kind: Annotated[Literal["network", "ngram"], Parameter(name="--model", help="What is trained.")] = "network",
    text: Annotated[TextOptions, _Flat] = TextOptions(),  # type: ignore[valid-type]  # noqa: B008
    model: Annotated[ModelOptions, _Flat] = ModelOptions(),  # type: ignore[valid-type]  # noqa: B008
    training: Annotated[TrainingOptions, _Flat] = TrainingOptions(),  # type: ignore[valid-type]  # noqa: B008
    ngram: Annotated[NGramOptions, _Flat] = NGramOptions(),  # type: ignore[valid-type]  # noqa: B008
    json: _Json = False,
) -> None:
    """Train a language model on text.

    What is not given is chosen from the text and the budget, and printed.
    """
    options = given(text, model, training)
    if kind == "ngram":
        from unrolled.cli.fitting import fit

        others = {"recipe": recipe, "init_from": init_from, "sample_every": sample_every, "tensorboard": tensorboard}
        options |= {**given(ngram), **others}
        fit(paths or (), train or (), valid or (), test or (), run, options, json)
        return
    check_of_network(ngram)
    from unrolled.verbs.training import train_lm as verb

    with _screen(tensorboard) as screen:
        trained = verb(
            paths or (),
            train=train or (),
            valid=valid or (),
            test=test or (),
            run=run,
            recipe=recipe,
            init_from=init_from,
            sample_every=sample_every,
            listener=screen,
            **options,
        )
    print_trained(trained, json)


def resume(
    run: Annotated[Path, Parameter(help="The directory of the run.")],
    /,
    *,
    minutes: Annotated[float | None, Parameter(help="A new budget, counted from the beginning of the run.")] = None,
    epochs: Annotated[float | None, Parameter(help="A new budget, counted from the beginning of the run.")] = None,
    steps: Annotated[Whole | None, Parameter(help="A new budget, counted from the beginning of the run.")] = None,
    checkpoint: _Checkpoint = "last",
    device: Annotated[str | None, Parameter(help="Go on elsewhere than the run was; the bits may then differ.")] = None,
    threads: Annotated[Whole | None, Parameter(help="Go on with other threads; the bits may then differ.")] = None,
    tensorboard: Annotated[Path | None, Parameter(help="Also write metrics there for TensorBoard.")] = None,
    json: _Json = False,
) -> None:
    """Go on with a run exactly where it stopped, or beyond its budget."""
    from unrolled.verbs.supervised import TrainedTask
    from unrolled.verbs.training import resume as verb

    with _screen(tensorboard) as screen:
        trained = verb(
            run,
            minutes=minutes,
            epochs=epochs,
            steps=steps,
            checkpoint=checkpoint,
            device=device,
            threads=threads,
            listener=screen,
        )
    (print_trained_task if isinstance(trained, TrainedTask) else print_trained)(trained, json)


def demo(
    *,
    run: Annotated[Path | None, Parameter(help="Directory of the run; runs/demo or the next free name.")] = None,
    minutes: Annotated[float, Parameter(help="Minutes of training.")] = 2.0,
    json: _Json = False,
) -> None:
    """Train on Python's own source code for two minutes and look at the result."""
    from unrolled.verbs.demo import demo as verb
    from unrolled.verbs.using import open_run

    with Screen() as screen:
        trained = verb(run, minutes=minutes, listener=screen)
    if not json:
        text = open_run(trained.run).sample(length=400, temperature=0.7)
        print(f"\nits text at temperature 0.7:\n{printable(text)}")
    print_trained(trained, json)


def sample(
    run: Annotated[Path, Parameter(help="The directory of a run.")],
    /,
    *,
    prompt: Annotated[
        str, Parameter(help="The text to go on from; it is printed first.", allow_leading_hyphen=True)
    ] = "",
    length: Annotated[Whole, Parameter(help="How many symbols to make, at most.")] = 500,
    temperature: Annotated[float, Parameter(help="Below 1 bolder, above 1 wilder, 0 always the likeliest.")] = 1.0,
    top_k: Annotated[Whole, Parameter(help="Keep only so many of the likeliest symbols; 0 keeps all.")] = 0,
    top_p: Annotated[float, Parameter(help="Keep the likeliest symbols up to this probability together.")] = 1.0,
    category: Annotated[
        str | None, Parameter(help="Of a generator: what category; drawn by how frequent each is if not given.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        Parameter(help="Stop before this text; can be given several times.", negative="", allow_leading_hyphen=True),
    ] = None,
    count: Annotated[Whole, Parameter(help="How many texts.")] = 1,
    seed: Annotated[Whole, Parameter(help="The texts follow from it.")] = 0,
    checkpoint: _Checkpoint = "best",
    device: _Device = "auto",
    threads: _Threads = None,
    precision: _Precision = "float32",
    json: _Json = False,
) -> None:
    """Let a trained model write. The text streams as it is made."""
    from unrolled.runs.directory import Run
    from unrolled.runs.models import learns_from_examples
    from unrolled.verbs.using import open_run

    if count < 1:
        raise ConfigurationError("count is a number of texts", expected="at least 1", got=str(count))
    if learns_from_examples(Run.open(run)):
        from unrolled.cli.generating import sample_generator

        options: dict[str, Any] = {"prompt": prompt, "count": count, "length": length, "temperature": temperature}
        options |= {"top_k": top_k, "top_p": top_p, "seed": seed}
        options |= {"stop": stop, "precision": precision}
        sample_generator(run, category, checkpoint, device, threads, json, options)
        return
    if category is not None:
        raise ConfigurationError("--category is for generators", got=f"{run}, a language model", fix="leave it out")
    # On a terminal a text must not move the cursor or change colours; a file gets it as it is.
    shown = printable if sys.stdout.isatty() else str
    texts = []
    with Screen(quiet=True) as screen:
        model = open_run(run, checkpoint, device=device, threads=threads, precision=precision, listener=screen)
        for index in range(count):
            if index == 1:
                model.listener = Listener()  # what there is to say of the prompt was said once
            pieces = model.stream(
                prompt=prompt,
                length=length,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                stop=stop or (),
                seed=seed + index,
            )
            if json:
                texts.append(prompt + "".join(pieces))
                continue
            if index:
                sys.stdout.write("\n--------\n")
            sys.stdout.write(shown(prompt))
            for piece in pieces:
                sys.stdout.write(shown(piece))
                sys.stdout.flush()
    if json:
        print_json({"run": str(run), "checkpoint": model.step, "seed": seed, "prompt": prompt, "texts": texts})
    else:
        sys.stdout.write("\n")


def score(
    run: Annotated[Path, Parameter(help="The directory of a run.")],
    file: Annotated[str, Parameter(help="A text in UTF-8, or - for standard input.")],
    /,
    *,
    each: Annotated[
        Literal["symbol", "word", "line"] | None,
        Parameter(help="One JSON line for every symbol, for every word, or for every line."),
    ] = None,
    alternatives: Annotated[Whole, Parameter(help="With --each symbol: likeliest symbols to show at each place.")] = 3,
    sort: Annotated[
        Literal["surprise", "mean", "peak"] | None,
        Parameter(help="Odd lines first: by their nats, nats a symbol, or those of their most surprising symbol."),
    ] = None,
    top: Annotated[Whole | None, Parameter(help="With --sort: how many lines; 10 if not given.")] = None,
    context: Annotated[Whole | None, Parameter(help="With --sort: lines to show before and after each.")] = None,
    alone: Annotated[
        bool, Parameter(help="With lines: each by itself, not after those before it.", negative="")
    ] = False,
    skip_unknown: Annotated[bool, Parameter(help="Leave out characters the model does not know.", negative="")] = False,
    errors: Annotated[Literal["strict", "replace"], Parameter(help="What a byte that is not UTF-8 does.")] = "strict",
    checkpoint: _Checkpoint = "best",
    device: _Device = "auto",
    threads: _Threads = None,
    precision: _Precision = "float32",
    mix: _Mix = None,
    json: _Json = False,
) -> None:
    """How likely a text is: p(x1 ... xT), every symbol given all before it.

    The first symbol is charged with its frequency in the training text.
    """
    from unrolled.cli.comparing import score_compared
    from unrolled.cli.lines import check_lines, each_line, each_piece, print_odd
    from unrolled.data.text import find_sources, read_text
    from unrolled.errors import DataError
    from unrolled.verbs.using import open_run

    check_lines(each, sort, top=top, context=context, alone=alone)
    # A bar would run into lines that come to the same terminal.
    with Screen(quiet=each is not None and not json and sys.stdout.isatty()) as screen:
        model = open_run(run, checkpoint, device=device, threads=threads, precision=precision, listener=screen)
        sources = find_sources([file])
        if len(sources) > 1:
            raise DataError(f"{file} is {len(sources)} files", expected="one file, or - for standard input")
        if mix:
            score_compared(model, "".join(read_text(sources[0], errors)), file, mix, skip_unknown, each, sort, json)
            return
        if sort is not None:
            print_odd(model, sources[0], sort, json, top=top, context=context, alone=alone, errors=errors)
            return
        if each is None:
            report = model.score("".join(read_text(sources[0], errors)), name=file, skip_unknown=skip_unknown)
        else:
            if each == "line":
                lines = each_line(model, sources[0], alone=alone, skip_unknown=skip_unknown, errors=errors)
            else:
                text = "".join(read_text(sources[0], errors))
                lines = each_piece(model, text, each, alternatives=alternatives, skip_unknown=skip_unknown)
            if json:
                print_json({"run": str(run), "task": "lm", "split": file, "each": each, "items": list(lines)})
                return
            for line in lines:
                print(json_module.dumps(line, ensure_ascii=False))
            return
    print_report(asdict(report), json)


def evaluate(
    run: Annotated[Path, Parameter(help="The directory of a run.")],
    /,
    *,
    split: Annotated[
        Literal["train", "valid", "test"], Parameter(help="Which part of the run's text or data.")
    ] = "valid",
    protocol: Annotated[
        Literal["carried", "windows"], Parameter(help="With all that was read before, or in windows from nothing.")
    ] = "carried",
    window: Annotated[Whole | None, Parameter(help="Symbols of a window; as in training if not given.")] = None,
    methods: Annotated[MethodOptions, _Flat] = MethodOptions(),  # type: ignore[valid-type]  # noqa: B008
    checkpoint: _Checkpoint = "best",
    device: _Device = "auto",
    threads: _Threads = None,
    baseline: Annotated[
        Literal["ngram", "classical"] | None,
        Parameter(help="Also fit the classical opponent to the run's data, and show it: ngram of a language model."),
    ] = None,
    mix: _Mix = None,
    on: Annotated[str | None, Parameter(help="Evaluate on this file instead; not of language models.")] = None,
    picture: Annotated[Path | None, Parameter(help="Draw what is confused with what: .png, .svg or .pdf.")] = None,
    json: _Json = False,
) -> None:
    """The loss of a run on a part of its own text; of other tasks than a language model, its metrics."""
    from unrolled.cli.comparing import compared
    from unrolled.cli.supervised import evaluate_task
    from unrolled.runs.directory import Run
    from unrolled.runs.models import learns_from_examples
    from unrolled.verbs.using import open_run

    if learns_from_examples(Run.open(run)):
        others = {"protocol": protocol != "carried", "window": window is not None}
        for name in [*(name for name, is_given in others.items() if is_given), *given(methods)]:
            option = "--" + name.replace("_", "-")
            raise ConfigurationError(f"{option} is of language models", got=str(run), fix=f"leave {option} out")
        evaluate_task(run, split, checkpoint, device, threads, json, baseline, on=on, mix=mix or (), picture=picture)
        return
    if on is not None or picture is not None:
        raise ConfigurationError(
            "--on and --picture are not of language models",
            fix="leave them out; `unrolled score RUN FILE` reads a file",
        )
    with Screen() as screen:
        model = open_run(run, checkpoint, device=device, threads=threads, listener=screen)
        if baseline is not None or mix:
            classical = None if baseline is None else "ngram"
            compared(model, split, protocol, window, classical, mix or (), given(methods), json)
            return
        report = model.evaluate(split, protocol, window=window, **given(methods))
    print_report(asdict(report), json)


def runs(
    root: Annotated[Path, Parameter(help="Where runs lie.")] = DEFAULT_ROOT,
    /,
    *,
    json: _Json = False,
) -> None:
    """The runs there are, with task, size, loss and age."""
    from unrolled.reports.tables import run_rows, table
    from unrolled.verbs.describing import runs as verb

    rows = run_rows(verb(root), now=time.time())
    if json:
        print_json({"root": str(root), "runs": rows})
    elif rows:
        stdout_console().print(table(rows, ("run", "task", "network", "parameters", "steps", "valid", "age", "damage")))
    else:
        print(f"no runs in {root}; make one with: unrolled demo")


def cells(*, json: _Json = False) -> None:
    """The built-in cells."""
    from unrolled.reports.tables import table
    from unrolled.verbs.describing import cells as verb

    rows = [asdict(line) for line in verb()]
    if json:
        print_json({"cells": rows})
        return
    shown = [{**row, "states": " ".join(row["states"])} for row in rows]
    stdout_console().print(table(shown, ("name", "states", "matrices", "about")))
    print("equations of one: unrolled describe NAME; one of your own: --cell FILE.py:NAME")


def describe(
    what: Annotated[str, Parameter(help="The directory of a run, a cell's name, or FILE.py:NAME.")],
    /,
    *,
    input_size: Annotated[Whole, Parameter(help="Inputs D of the layer, for a cell.")] = 128,
    hidden_size: Annotated[Whole, Parameter(help="Hidden units H of the layer, for a cell.")] = 128,
    output_size: Annotated[Whole | None, Parameter(help="Outputs V of a layer on top, for a cell.")] = None,
    latex: Annotated[bool, Parameter(help="Print the equations in LaTeX only.", negative="")] = False,
    json: _Json = False,
) -> None:
    """The equations, shapes, parameter count and unrolled diagram of a run's network or a cell."""
    from unrolled.reports.diagrams import unrolled_diagram
    from unrolled.verbs.describing import describe as verb
    from unrolled.verbs.describing_bags import BagDescription
    from unrolled.verbs.describing_ngrams import FittedDescription

    found = verb(what, input_size=input_size, hidden_size=hidden_size, output_size=output_size)
    if json:
        print_json(asdict(found))
        return
    if latex:
        print(found.latex)
        return
    if isinstance(found, FittedDescription | BagDescription):
        print(found.text())
        return
    print(f"{found.name}\n\n{found.about}\n")
    for line in found.equations:
        print(f"  {line}")
    print(f"\nsizes: {', '.join(f'{name} = {size}' for name, size in found.sizes.items())}")
    width = max(map(len, found.shapes))
    for name, shape in found.shapes.items():
        print(f"  {name:<{width}}  {' x '.join(map(str, shape))}")
    print(f"{found.parameters:,} parameters")
    waits = (
        "no product of a state: hoisted whole out of the loop"
        if found.stages == 0
        else f"{counted(found.stages, 'product')} of the state a time step"
    )
    print(f"{waits}; {'linear' if found.linear else 'not linear'} in its state\n")
    print(unrolled_diagram(found.cell, found))


def _screen(tensorboard: Path | None) -> Screen:
    if tensorboard is None:
        return Screen()
    from unrolled.cli.tensorboard import TensorBoardScreen

    return TensorBoardScreen(tensorboard)
