"""What `score` prints of lines."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from unrolled.cli.screen import printable
from unrolled.errors import ConfigurationError

if TYPE_CHECKING:
    from unrolled.data.text import Source
    from unrolled.evaluation.lines import Line, Order
    from unrolled.verbs.using import LanguageModelRun

__all__ = ["check_lines", "each_line", "each_piece", "print_odd"]


def check_lines(each: str | None, sort: str | None, *, top: int | None, context: int | None, alone: bool) -> None:
    """Whether the options of `score` that are about lines go together.

    Raises:
        ConfigurationError: they do not.
    """
    if each in ("symbol", "word") and (sort is not None or alone):
        raise ConfigurationError("--sort and --alone are for lines", got=f"--each {each}", fix="use --each line")
    if sort is None and (top is not None or context is not None):
        raise ConfigurationError("--top and --context go with --sort", fix="add --sort surprise")
    if each is None and sort is None and alone:
        raise ConfigurationError("--alone is for lines", fix="add --each line, or --sort surprise")
    if (top is not None and top < 1) or (context is not None and context < 0):
        raise ConfigurationError("a number of lines is too small", got=f"--top {top}, --context {context}")


def each_line(model: LanguageModelRun, source: Source, **options: Any) -> Iterator[dict[str, Any]]:
    """One record a line."""
    from unrolled.verbs.lines import lines

    return (_record(line) for line in lines(model, source, **options))


def each_piece(
    model: LanguageModelRun, text: str, each: str, *, alternatives: int, skip_unknown: bool
) -> Iterator[dict[str, Any]]:
    """One record a symbol, or a word."""
    if each == "word":
        yield from (asdict(word) for word in model.each_word(text, skip_unknown=skip_unknown))
        return
    symbols = model.vocabulary.symbols
    for found in model.each(text, alternatives=alternatives, skip_unknown=skip_unknown):
        others = [{"text": symbols[token], "p": p} for token, p in found.alternatives]
        yield {"text": symbols[found.token], "nats": found.nats, "alternatives": others}


def print_odd(
    model: LanguageModelRun,
    source: Source,
    order: Order,
    json: bool,
    *,
    top: int | None,
    context: int | None,
    alone: bool,
    errors: str,
) -> None:
    """The most surprising lines, the most surprising first."""
    from unrolled.verbs.lines import odd_lines

    options: dict[str, Any] = {"alone": alone, "errors": errors}
    found = odd_lines(model, source, order, top=10 if top is None else top, context=context or 0, **options)
    if json:
        items = [{**_record(each.line), "before": each.before, "after": each.after} for each in found]
        value = {"run": str(model.run.path), "task": "lm", "split": source.name, "sort": order, "items": items}
        print(json_module.dumps(value, ensure_ascii=False))
        return
    # On a terminal a log must not move the cursor or change colours; a file gets it as it is.
    shown = printable if sys.stdout.isatty() else str
    for rank, each in enumerate(found):
        line = each.line
        unknown = f", {line.unknown} unknown" if line.unknown else ""
        print(
            f"{'' if not rank or not context else chr(10)}line {line.number}: {line.nats:.1f} nats, {line.mean:.2f} a "
            f"symbol, {line.peak:.1f} at column {line.column}{unknown}"
        )
        around = [(" ", text) for text in each.before] + [(">", line.text)] + [(" ", text) for text in each.after]
        for mark, text in around:
            print(f"  {mark} {shown(text.rstrip(chr(10)))}")


def _record(line: Line) -> dict[str, Any]:
    """A line as JSON."""
    found = asdict(line)
    return {"text": found.pop("text"), "line": found.pop("number"), **found}
