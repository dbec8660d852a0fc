"""`probe memory`: parse, probe, print, draw."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from unrolled.cli.options import Whole
from unrolled.cli.printing import print_json
from unrolled.cli.screen import Screen, stdout_console
from unrolled.errors import ConfigurationError

__all__ = ["memory"]

_PICTURE = Path("memory.png")
_Several = Parameter(consume_multiple=True, negative="")


def memory(
    runs: Annotated[list[Path] | None, Parameter(help="Runs of language models; none to train cells.")] = None,
    /,
    *,
    cell: Annotated[
        list[str] | None,
        Parameter(
            help="Cells to compare, or FILE.py:NAME of your own; rnn, lstm, gru and mingru if none is named.",
            consume_multiple=True,
            negative="",
        ),
    ] = None,
    test: Annotated[
        list[str] | None,
        Parameter(
            help="adding, copying, agreement, recall, year; all that can be asked if none is named.",
            consume_multiple=True,
            negative="",
        ),
    ] = None,
    distances: Annotated[
        list[Whole] | None, Parameter(help="Distances that are tested.", consume_multiple=True)
    ] = None,
    longest: Annotated[Whole | None, Parameter(help="The longest distance that is trained; 32 if not given.")] = None,
    seeds: Annotated[Whole | None, Parameter(help="How often each cell is trained; 1 if not given.")] = None,
    minutes: Annotated[
        float | None, Parameter(help="Training of each cell, test and seed; half a minute if not given.")
    ] = None,
    steps: Annotated[
        Whole | None, Parameter(help="The same in updates: the figures then follow from the seed.")
    ] = None,
    hidden_size: Annotated[Whole | None, Parameter(help="Units of a layer; 96 if not given.")] = None,
    layers: Annotated[Whole | None, Parameter(help="Layers of the cell; 2 if not given.")] = None,
    batch: Annotated[Whole | None, Parameter(help="Sequences of an update; 64 if not given.")] = None,
    learning_rate: Annotated[float | None, Parameter(help="The highest; 0.003 if not given.")] = None,
    window: Annotated[
        Whole | None,
        Parameter(help="Steps that the opponent without memory sees; 0: no such opponent. 32 if not given."),
    ] = None,
    questions: Annotated[Whole | None, Parameter(help="Sequences that are tested at each distance.")] = None,
    baseline: Annotated[
        Literal["ngram"] | None, Parameter(help="With runs: also ask n-grams fitted to the text of each.")
    ] = None,
    picture: Annotated[
        Path | None, Parameter(help="File of the picture (.png, .svg, .pdf); memory.png if not given.")
    ] = None,
    checkpoint: Annotated[str, Parameter(help="With runs: best, last, or the step of a checkpoint.")] = "best",
    device: Annotated[str, Parameter(help="cpu, cuda, mps, or auto: cuda where there is one, else cpu.")] = "auto",
    threads: Annotated[Whole | None, Parameter(help="Processor threads; as many as there are cores.")] = None,
    json: Annotated[bool, Parameter(help="Print one JSON object on standard output.", negative="")] = False,
) -> None:
    """How far cells remember: accuracy against distance, as a table and a picture.

    Cells are trained on made-up sequences. Language models are asked which of two continuations is likelier.
    """
    from unrolled.data.memory import DISTANCES
    from unrolled.reports.memory import draw_memory
    from unrolled.reports.pictures import check_picture, save_picture

    training = {
        "longest": longest,
        "seeds": seeds,
        "minutes": minutes,
        "steps": steps,
        "hidden_size": hidden_size,
        "layers": layers,
        "batch": batch,
        "learning_rate": learning_rate,
        "window": window,
    }
    given: dict[str, Any] = {name: value for name, value in training.items() if value is not None}
    target = picture or (None if json else _PICTURE)
    if target is not None:
        check_picture(target)
    asked: dict[str, Any] = {"distances": distances or DISTANCES, "threads": threads}
    if test:
        asked["tests"] = test
    with Screen() as screen:
        if runs:
            if cell or given:
                option = "cell" if cell else next(iter(given)).replace("_", "-")
                fix = f"leave out --{option}, or the runs: cells are trained and runs are asked by a command each"
                raise ConfigurationError(f"--{option} is for cells, not for runs", fix=fix)
            from unrolled.verbs.probing import probe_runs

            asked |= {"baseline": baseline, "checkpoint": checkpoint, "device": device, "listener": screen}
            asked |= {} if questions is None else {"questions": questions}
            found = probe_runs(runs, **asked)
        else:
            if baseline is not None:
                raise ConfigurationError("--baseline is for runs: cells have a window beside them", fix="leave it out")
            from unrolled.inspection.memory import MemorySetting
            from unrolled.verbs.probing import CELLS, probe_cells

            asked |= {name: given.pop(name) for name in ("longest", "seeds") if name in given}
            if "minutes" not in given and "steps" not in given:
                given["minutes"] = 0.5
            if questions is not None:
                given["test_sequences"] = questions
            setting = MemorySetting(device=device, **given)
            found = probe_cells(cell or CELLS, setting=setting, listener=screen, **asked)
    if target is not None:
        save_picture(draw_memory(found), target)
    if json:
        print_json({"tests": [asdict(report) for report in found], "picture": target and str(target)})
        return
    for report in found:
        _print(report)
    print(f"\nthe picture is in {target}")


def _print(report: Any) -> None:
    from unrolled.reports.memory import memory_rows
    from unrolled.reports.tables import table

    print(f"\n{report.test}: {report.about}\n  distance: {report.counts}")
    if report.trained:
        shown = ", ".join(map(str, report.held_out)) or "none"
        print(f"  trained up to {report.trained[-1]}, held out of that: {shown}")
    print(f"  chance {report.chance:.3f}; shortcut: {report.about_shortcut}")
    rows = memory_rows(report)
    stdout_console().print(table(rows, list(rows[0])))
