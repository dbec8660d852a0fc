"""The commands for what a trained language model is good for beside writing."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from unrolled.cli.options import Whole
from unrolled.cli.screen import Screen, printable

if TYPE_CHECKING:
    from unrolled.evaluation.attribution import Candidate
    from unrolled.verbs.suggesting import Suggester, Suggestion

__all__ = ["attribute", "correct", "fold", "suggest"]

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


def correct(
    run: _Run,
    file: Annotated[str, Parameter(help="A text in UTF-8, or - for standard input.")],
    /,
    *,
    grammar: Annotated[
        float,
        Parameter(help="How often a writer slips at a word, such as 0.1: its/it's, is/are, a word too few; 0: never."),
    ] = 0.0,
    spelling: Annotated[float, Parameter(help="How often a word is misspelt.")] = 0.02,
    threshold: Annotated[float, Parameter(help="Correct where this probability is reached.")] = 0.5,
    candidates: Annotated[Whole, Parameter(help="Alternatives of a word that are compared.")] = 16,
    novelty: Annotated[float, Parameter(help="Nats that a word outside the lexicon costs beside its own.")] = 3.0,
    by: Annotated[
        Literal["model", "frequency"], Parameter(help="Ask the model, or only how frequent words are.")
    ] = "model",
    words: Annotated[
        list[str] | None,
        Parameter(help="Files to take words from; the training text if not given.", consume_multiple=True, negative=""),
    ] = None,
    min_count: Annotated[Whole, Parameter(help="Words seen fewer times are not known.")] = 5,
    trial: Annotated[
        Whole | None,
        Parameter(help="Measure: so many sentences of the file, one random edit each, beside plain frequencies."),
    ] = None,
    errors: Annotated[
        Literal["spelling", "grammar"], Parameter(help="Of a trial: a misspelt word, or a slip in grammar.")
    ] = "spelling",
    seed: Annotated[Whole, Parameter(help="Of the sentences and edits of a trial.")] = 0,
    checkpoint: _Checkpoint = "best",
    threads: _Threads = None,
    json: _Json = False,
) -> None:
    """Correct the spelling of a text, each word in its context. Case and punctuation stay.

    With --json: the text, and the edits with their probabilities and places.
    """
    from unrolled.data.text import find_sources, read_text
    from unrolled.errors import ConfigurationError, DataError
    from unrolled.evaluation.correction import Channel
    from unrolled.verbs import correcting
    from unrolled.verbs.using import open_run

    channel = Channel(spelling, grammar, threshold, candidates, novelty)
    if trial is not None and trial < 1:
        raise ConfigurationError("a trial needs sentences", expected="at least 1", got=str(trial))
    with Screen(quiet=not json and trial is None and sys.stdout.isatty()) as screen:
        model = open_run(run, checkpoint, device="cpu", threads=threads, listener=screen)
        sources = find_sources([file])
        if len(sources) > 1:
            raise DataError(f"{file} is {len(sources)} files", expected="one file, or - for standard input")
        lexicon = correcting.training_words(model, find_sources(words) if words else (), min_count)
        pieces = read_text(sources[0])
        if trial is not None and errors == "grammar":
            slips = correcting.grammar_trial(model, lexicon, pieces, trial, channel, seed)
            _print_grammar({by: asdict(score) for by, score in slips.items()}, json)
            return
        if trial is not None:
            scores = correcting.correction_trial(model, lexicon, pieces, trial, channel, seed)
            _print_trial({by: asdict(score) for by, score in scores.items()}, json)
            return
        corrector, edits, text = correcting.build_corrector(model, lexicon, channel, by), [], []
        for piece, edit in correcting.correct(corrector, pieces):
            if not json:
                sys.stdout.write(piece)
                continue
            text.append(piece)
            if edit is not None:
                edits.append(asdict(edit))
    if json:
        value = {"run": str(run), "file": file, "by": by, "text": "".join(text), "edits": edits}
        print(json_module.dumps(value, ensure_ascii=False))


def attribute(
    paths: Annotated[list[str], Parameter(help="Two runs or more, and a text in UTF-8 (or -); with --trial, runs.")],
    /,
    *,
    fold: Annotated[
        Literal["none", "letters"],
        Parameter(help="letters: lower the text to letters and single spaces, as the runs' texts were."),
    ] = "none",
    stretch: Annotated[Whole, Parameter(help="Characters of a stretch, which the interval is made of.")] = 100,
    trial: Annotated[
        bool, Parameter(help="Measure on excerpts of the runs' own test parts, beside naive Bayes.", negative="")
    ] = False,
    lengths: Annotated[
        list[Whole] | None, Parameter(help="Of the excerpts of a trial.", consume_multiple=True, negative="")
    ] = None,
    count: Annotated[Whole, Parameter(help="Excerpts of each length and run in a trial.")] = 100,
    seed: Annotated[Whole, Parameter(help="Of the excerpts of a trial.")] = 0,
    threads: _Threads = None,
    json: _Json = False,
) -> None:
    """Which of several models finds a text the likeliest, by how much a character, and how sure that is.

    Runs first, the text last. RUN1+RUN2 is the two mixed, such as a network and an n-gram model of one author's text.
    """
    from unrolled.data.folding import fold as folded
    from unrolled.data.text import find_sources, read_text
    from unrolled.errors import ConfigurationError
    from unrolled.verbs import attributing
    from unrolled.verbs.using import open_run

    runs, files = (paths, []) if trial else (paths[:-1], paths[-1:])
    if len(runs) < 2:
        fix = "unrolled attribute RUN1 RUN2 FILE, or --trial RUN1 RUN2"
        raise ConfigurationError("a text is attributed to one of at least two runs", got=" ".join(paths), fix=fix)
    with Screen(quiet=not trial) as screen:
        sources = find_sources(files) if files else []
        models = [
            attributing.Author(
                tuple(open_run(run, device="cpu", threads=threads, listener=screen) for run in _mixed(names))
            )
            for names in runs
        ]
        if trial:
            rows, bayes = attributing.attribution_trial(models, lengths or attributing.LENGTHS, count, seed)
        else:
            pieces = (piece for source in sources for piece in read_text(source))
            found, number = attributing.attribute_text(models, folded(pieces, fold), stretch)
    if trial:
        _print_accuracies([asdict(row) for row in rows], {"order": bayes.order, "added": bayes.added}, json)
    elif json:
        items = [{**asdict(each), "decided": each.decided} for each in found]
        print(json_module.dumps({"file": files[0], "stretches": number, "candidates": items}, ensure_ascii=False))
    else:
        _print_candidates(found, number)


def _mixed(names: str) -> list[str]:
    """The runs of RUN1+RUN2; a directory whose own name has a plus is one run."""
    from pathlib import Path

    return [names] if Path(names).exists() else names.split("+")


def fold(files: Annotated[list[str], Parameter(help="Files, directories, globs, or - for standard input.")], /) -> None:
    """Write a text lowered to letters and single spaces: without case, accents, digits, punctuation and line ends."""
    from unrolled.data.folding import fold as verb
    from unrolled.data.text import find_sources, read_text

    for piece in verb(piece + end for source in find_sources(files) for piece, end in _ended(read_text(source))):
        sys.stdout.write(piece)
    sys.stdout.write("\n")


def _ended(pieces: Iterator[str]) -> Iterator[tuple[str, str]]:
    """The pieces of a file, and after the last something that is no letter."""
    for piece in pieces:
        yield piece, ""
    yield "", " "


def _print_candidates(found: list[Candidate], number: int) -> None:
    from unrolled.cli.screen import stdout_console
    from unrolled.reports.tables import table

    rows = [
        {
            "run": each.name,
            "nats a character": each.nats_per_character,
            "more than the likeliest": each.ratio,
            "from": each.low,
            "to": each.high,
        }
        for each in found
    ]
    stdout_console().print(table(rows, tuple(rows[0])))
    over = f"{number:,} stretch{'' if number == 1 else 'es'} of the text"
    if all(each.decided for each in found[1:]):
        print(f"the likeliest: {found[0].name} (from, to: 95% of texts made of {over}, drawn again)")
    else:
        doubt = ", ".join(each.name for each in found[1:] if not each.decided)
        print(f"undecided between {found[0].name} and {doubt}: {over} leave it open")


def _print_accuracies(rows: list[dict[str, Any]], bayes: dict[str, Any], json: bool) -> None:
    from unrolled.cli.screen import stdout_console
    from unrolled.reports.tables import table

    if json:
        print(json_module.dumps({"trial": rows, "naive_bayes": bayes}))
        return
    stdout_console().print(table(rows, tuple(rows[0])))
    print(f"naive Bayes on {bayes['order']}-grams of characters, {bayes['added']} added, tuned on the validation parts")


def _print_trial(scores: dict[str, dict[str, Any]], json: bool) -> None:
    from unrolled.cli.screen import stdout_console
    from unrolled.reports.tables import table

    rows = [
        {
            "by": by,
            **score,
            "share corrected": score["corrected"] / score["sentences"],
            "share harmed": score["harmed"] / max(score["words"], 1),
        }
        for by, score in scores.items()
    ]
    if json:
        print(json_module.dumps({"trial": rows}))
    else:
        stdout_console().print(table(rows, tuple(rows[0])))


def _print_grammar(scores: dict[str, dict[str, Any]], json: bool) -> None:
    from unrolled.cli.screen import stdout_console
    from unrolled.reports.tables import table

    rows: list[dict[str, Any]] = []
    for by, score in scores.items():
        kinds = score.pop("corrected_of")
        parts = {kind: f"{good} of {total}" for kind, (good, total) in kinds.items()}
        rows.append({"by": by, **score, **(kinds if json else parts)})
    if json:
        print(json_module.dumps({"trial": rows}))
    else:
        stdout_console().print(table(rows, tuple(rows[0])))
        print("harmed: of the same sentences without a slip; the last columns: corrected, of each kind of slip")


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
