"""The commands for what a trained language model is good for beside writing."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from unrolled.cli.options import Whole
from unrolled.cli.screen import Screen, printable

if TYPE_CHECKING:
    from unrolled.verbs.suggesting import Suggester, Suggestion

__all__ = ["suggest"]

_Run = Annotated[Path, Parameter(help="The directory of a run.")]
_Json = Annotated[bool, Parameter(help="Print JSON on standard output and nothing else there.", negative="")]
_Checkpoint = Annotated[str, Parameter(help="best, last, or the step of a checkpoint.")]
_Threads = Annotated[Whole | None, Parameter(help="Processor threads; as many as there are cores if not given.")]
_CLEAR = "\x1b[0J"


def suggest(
    run: _Run,
    text: Annotated[
        str | None,
        Parameter(help="What is typed so far; each line of standard input if not given, or keys on a terminal."),
    ] = None,
    /,
    *,
    count: Annotated[Whole, Parameter(help="How many words.")] = 5,
    width: Annotated[Whole, Parameter(help="Beams, for a model of characters.")] = 16,
    checkpoint: _Checkpoint = "best",
    threads: _Threads = None,
    json: _Json = False,
) -> None:
    """The words that may come next, or complete the one that is half typed. On a terminal, as you type.

    Tab takes the first, Enter begins a new text, Ctrl-D ends.
    """
    from unrolled.verbs.suggesting import Suggester
    from unrolled.verbs.using import open_run

    with Screen(quiet=True) as screen:
        model = open_run(run, checkpoint, device="cpu", threads=threads, listener=screen)
        suggester = Suggester(model, count=count, width=width)
        if text is None and not json and sys.stdout.isatty() and sys.stdin.isatty():
            suggester.suggest("")  # what has to be compiled is compiled before the first key
            _type(suggester)
            return
        for line in _stdin() if text is None or text == "-" else [text]:
            found = suggester.suggest(line)
            if json:
                items = [{"word": each.word, "rest": each.rest, "p": each.p} for each in found]
                print(json_module.dumps({"text": line, "suggestions": items}, ensure_ascii=False), flush=True)
            else:
                print(_shown(found), flush=True)


def _stdin() -> Iterator[str]:
    """The lines of standard input as they come."""
    from unrolled.errors import DataError

    for number, line in enumerate(iter(sys.stdin.buffer.readline, b""), 1):
        try:
            yield line.decode().removesuffix("\n")
        except UnicodeDecodeError as error:
            raise DataError("standard input is not UTF-8", where=f"line {number}, byte {error.start}") from None


def _shown(found: list[Suggestion]) -> str:
    return "  ".join(f"{printable(each.word)} {each.p:.2f}" for each in found)


def _type(suggester: Suggester) -> None:
    """Suggestions below the text, key by key."""
    import codecs
    import os
    import termios
    import tty

    def show(text: str) -> None:
        # The suggestions are written a line below, and the cursor goes back to the end of the text.
        below = _shown(suggester.suggest(text))[: max(os.get_terminal_size().columns - 1, 1)]
        sys.stdout.write(f"\r{_CLEAR}{printable(text)}\x1b7\r\n\x1b[2m{below}\x1b[0m\x1b8")
        sys.stdout.flush()

    descriptor, decoder = sys.stdin.fileno(), codecs.getincrementaldecoder("utf-8")("replace")
    before: Any = termios.tcgetattr(descriptor)
    text = ""
    sys.stdout.write("\n\x1b[1A")  # room for a line below, at the end of the screen too
    try:
        tty.setcbreak(descriptor)
        show(text)
        while byte := os.read(descriptor, 1):
            key = decoder.decode(byte)
            if key == "\x04":
                break
            if key == "\t":
                found = suggester.suggest(text)
                text = text + found[0].rest + " " if found else text
            elif key in ("\x7f", "\b"):
                text = text[:-1]
            elif key in ("\r", "\n"):
                sys.stdout.write(f"\r{_CLEAR}{printable(text)}\n\n\x1b[1A")
                text = ""
            elif key == "\x1b":
                _skip_escape(descriptor)
            elif key.isprintable() and key:
                text += key
            if key:
                show(text)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        sys.stdout.write(f"\r{_CLEAR}{printable(text)}\n")
        sys.stdout.flush()


def _skip_escape(descriptor: int) -> None:
    """Pass over the rest of what an arrow key sends."""
    import os
    import select

    while select.select([descriptor], [], [], 0.01)[0]:
        if os.read(descriptor, 1)[-1:].isalpha():
            return
