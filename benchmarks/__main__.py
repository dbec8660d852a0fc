"""The command line: `python -m benchmarks [NAME...]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console

from benchmarks import machine, results
from benchmarks.registry import choose
from benchmarks.runner import ROUNDS, Result, as_json, limit_memory, run, run_apart
from unrolled.errors import UnrolledError

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="works, or what their names begin with; all if none")
    parser.add_argument("--list", action="store_true", help="say which works there are, and measure nothing")
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of a table")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs that the median is of ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="one round: to see that it works, not how fast")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where results go; a new file in benchmarks/results")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="show results beside those of an earlier file")
    # Measures in this process, and writes no file: what the program starts for each work.
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep: 0 done, 1 something does not agree or failed, 2 wrong arguments."""
    options = _parser().parse_args(arguments)
    try:
        return _measure(options)
    except UnrolledError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_status


def _measure(options: argparse.Namespace) -> int:
    chosen = choose(options.names)
    earlier = results.load(options.compare) if options.compare else None
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    progress = Console(stderr=True, highlight=False)
    if options.list:
        for work in chosen:
            console.print(f"{work.name:<32} {work.about}", soft_wrap=True, markup=False)
        return 0
    rounds = 1 if options.quick else max(1, options.rounds)
    now, found = datetime.now().astimezone(), list[Result]()
    out = options.out or results.default_path(machine.describe(), now)
    for number, work in enumerate(chosen, 1):
        if options.here:
            limit_memory()
            found.append(run(work, rounds))
            continue
        progress.print(f"[dim]{number}/{len(chosen)} {work.name}: {work.about}[/]", soft_wrap=True)
        found.append(run_apart(work, rounds))
        results.save(out, found, now)
    if options.json:
        print(json.dumps(as_json(found), indent=1))
    else:
        console.print(results.table(found))
        for line in results.remarks(found):
            console.print(f"  {line}", style="dim", markup=False, soft_wrap=True)
        if rounds < 5:
            console.print(f"{rounds} round: no figure for anyone to rely on", markup=False)
        if earlier is not None:
            console.print(results.comparison(earlier["works"], found))
    if not options.here:
        progress.print(f"written to {out}", soft_wrap=True)
    return 1 if any(result.agrees is False for result in found) else 0


if __name__ == "__main__":
    sys.exit(main())
