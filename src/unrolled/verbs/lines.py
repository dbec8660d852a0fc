"""`score --each line`: what every line of a file costs, and which lines are odd."""

from __future__ import annotations

from collections.abc import Iterator

from unrolled.data.text import Source, decode, read_bytes
from unrolled.errors import PromptError
from unrolled.evaluation.lines import Found, Line, Order, line_surprises, most_surprising
from unrolled.verbs.listening import counted
from unrolled.verbs.using import LanguageModelRun

__all__ = ["lines", "odd_lines"]


def lines(
    model: LanguageModelRun,
    source: Source,
    *,
    alone: bool = False,
    skip_unknown: bool = False,
    errors: str = "strict",
) -> Iterator[Line]:
    """What every line of a file costs; see `evaluation.line_surprises`. The file is read as the lines are asked for.

    Raises:
        PromptError: it has characters that the model does not know (unless they are skipped: each is then charged as
            one that training never saw), or no line.
        DataError: it cannot be read, or is not UTF-8.
    """
    charged = number = 0
    pieces = decode(_watched(model, source), source, errors)  # type: ignore[arg-type]
    strict = not skip_unknown
    for line in line_surprises(model.reader(), model.vocabulary, pieces, alone=alone, strict=strict):
        charged, number = charged + line.unknown, line.number
        yield line
    if not number:
        raise PromptError("there is no text to score", expected="at least one character the model knows")
    if charged:
        what = counted(charged, "character")
        model.listener.note(f"{what} not known to the model, each charged as one that its training text never had")


def odd_lines(
    model: LanguageModelRun,
    source: Source,
    order: Order = "surprise",
    *,
    top: int = 10,
    context: int = 0,
    alone: bool = False,
    errors: str = "strict",
) -> list[Found]:
    """The most surprising lines of a file, however long it is, most surprising first; see
    `evaluation.most_surprising`.

    Characters that the model does not know are charged as ones that training never saw.
    """
    found = lines(model, source, alone=alone, skip_unknown=True, errors=errors)
    return most_surprising(found, order, top, context)


def _watched(model: LanguageModelRun, source: Source) -> Iterator[bytes]:
    """The bytes of a file, and how far they have come."""
    return read_bytes(source, lambda done: model.listener.preparing(done, source.size, "reading"))
