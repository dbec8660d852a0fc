"""The commands of the standard corpora: `data get` and `data list`."""

from __future__ import annotations

import contextlib
import json as json_module
import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unrolled.cli.screen import Screen, stdout_console

__all__ = ["get", "listing"]

_Json = Annotated[bool, Parameter(help="Print one JSON object on standard output and nothing else there.", negative="")]


def get(
    name: Annotated[str, Parameter(help="A corpus; see `unrolled data list`.")],
    /,
    *,
    source: Annotated[
        Path | None,
        Parameter(name="--from", help="A copy you have: its archive or files, or a directory of them."),
    ] = None,
    address: Annotated[str | None, Parameter(help="Download it from this URL instead.")] = None,
    json: _Json = False,
) -> None:
    """Fetch a standard corpus into the cache: downloaded with resume, checked, unpacked.

    What broke off is gone on with when the command is given again.
    """
    from unrolled.verbs.corpora import get_corpus

    # Left, but not entered: nothing is compiled here, and listening for that would bring in PyTorch.
    with contextlib.ExitStack() as stack:
        screen = Screen()
        stack.push(screen)
        fetched = get_corpus(name, source=source, address=address, listener=screen)
    command = shlex.join(["unrolled", "train", "lm", *fetched.arguments])
    if json:
        files = {str(path): path.stat().st_size for path in fetched.files}
        about = {"name": name, "directory": str(fetched.directory), "fresh": fetched.fresh, "files": files}
        print(json_module.dumps({**about, "train": command}, ensure_ascii=False))
        return
    total = sum(path.stat().st_size for path in fetched.files)
    print(f"{name}: {total:,} bytes in {fetched.directory}{'' if fetched.fresh else ' (it was there)'}")
    print(f"\nnext:\n  {command}")


def listing(*, json: _Json = False) -> None:
    """The standard corpora, and which of them are here."""
    from unrolled.reports.tables import table
    from unrolled.verbs.corpora import list_corpora

    corpora = list_corpora()
    if json:
        rows = [
            {
                "name": corpus.name,
                "about": corpus.about,
                "download_bytes": corpus.download,
                "unpacked_bytes": corpus.unpacked,
                "directory": None if corpus.here is None else str(corpus.here),
            }
            for corpus in corpora
        ]
        print(json_module.dumps({"corpora": rows}, ensure_ascii=False))
        return
    shown = [
        {
            "name": corpus.name,
            "download": "-" if corpus.download is None else f"{corpus.download / 1e6:,.0f} MB",
            "unpacked": f"{corpus.unpacked / 1e6:,.0f} MB",
            "here": "yes" if corpus.here else "no",
            "about": corpus.about,
        }
        for corpus in corpora
    ]
    stdout_console().print(table(shown, ("name", "download", "unpacked", "here", "about")))
    print("fetch one: unrolled data get NAME; from a copy of your own: unrolled data get NAME --from DIR")
